//! `python`: packages of a Python index, as wheels.

use crate::declare::{mapping, text};
use crate::decode::Flaw;
use crate::node::shorten;
use crate::source::At;
use crate::words::Url;

text! {
    /// A requirement as Python's packages name them (PEP 508), by name, extras and versions: `numpy`, `ai-edge-litert==2.0.3`,
    /// `uvicorn[standard]>=0.30,<1`.
    "a requirement such as `numpy>=2,<3`"
    pub struct Requirement = |text| {
        let (name, rest) = split(text);
        let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        if !ends(name.chars().next()) || !ends(name.chars().last()) || text.len() > 512 {
            return Err(Flaw::new(format!("`{}` names no Python package", shorten(text))));
        }
        if rest.trim_start().starts_with('@') || rest.contains("://") {
            return Err(Flaw::new(format!("`{}` takes a package from an address", shorten(text)))
                .help("name the package alone; `index` is the address of the index that has it"));
        }
        if let Some((before, _)) = rest.split_once(';') {
            return Err(Flaw::new("a condition after `;` has no use: the recipe says what its board is")
                .did_you_mean(format!("{name}{}", before.trim_end())));
        }
        let (extras, versions) = match rest.trim_start().strip_prefix('[') {
            Some(rest) => rest.split_once(']').unwrap_or(("?", rest)),
            None => ("", rest),
        };
        let extra = |extra: &str| extra.trim().chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        let version = |one: &str| {
            let one = one.trim();
            let version = ["===", "==", "~=", "!=", "<=", ">=", "<", ">"].iter().find_map(|sign| one.strip_prefix(sign));
            let plain = |c: char| c.is_ascii_alphanumeric() || ".*+!_-".contains(c);
            version.map(str::trim).is_some_and(|version| !version.is_empty() && version.chars().all(plain))
        };
        let versions = versions.trim();
        if !extras.split(',').all(extra) || !(versions.is_empty() || versions.split(',').all(version)) {
            let flaw = Flaw::new(format!("`{}` is not a requirement", shorten(text)));
            let single = versions.strip_prefix('=').filter(|version| !version.starts_with('=')).map(str::trim);
            return Err(match single {
                Some(one) if extras.is_empty() => flaw.did_you_mean(format!("{name}=={one}")),
                _ => flaw.help("write NAME, NAME==VERSION or NAME>=VERSION,<VERSION"),
            });
        }
        Ok(())
    }, pattern r"^[A-Za-z0-9][A-Za-z0-9._-]*.*$";
}

/// The name of a requirement, and what follows it.
fn split(text: &str) -> (&str, &str) {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || "._-".contains(c));
    text.split_at(text.len() - rest.len())
}

impl Requirement {
    /// The package that is required, as it is written.
    pub fn project(&self) -> &str {
        split(&self.0).0
    }
}

mapping! {
    /// Packages of a Python index. pip, on this machine, chooses wheels for the image's Python and architecture, with all that they
    /// require; the lock pins each by SHA-256. The node needs no pip.
    "the settings of Python packages"
    pub struct Python {
        /// Packages, each with the versions that will do: `numpy`, `ai-edge-litert==2.0.3`.
        packages: Vec<At<Requirement>>,
        /// Address of the index (PEP 503). Default: the one of `FRUITBUILD_PYTHON_INDEX`, of your configuration, or of pip's own.
        index: Option<At<Url>>,
    }
}

impl Python {
    pub(crate) fn is_empty(&self) -> bool {
        self.packages.is_empty() && self.index.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_are_names_with_versions_and_nothing_that_pip_takes_for_an_option() {
        for good in
            ["numpy", "ai-edge-litert==2.0.3", "uvicorn[standard]>=0.30,<1", "a ~= 1.2", "b==1.*", "c!=1!2.0+local"]
        {
            Requirement::new(good).unwrap_or_else(|error| panic!("{good}: {error:?}"));
        }
        for bad in [
            "",
            "-r x",
            "--index-url=x",
            "x @ https://y.test/z.whl",
            "./x.whl",
            "x=1",
            "x==",
            "x >",
            "x[",
            "x y",
            "x\n--pre",
            "x; y",
        ] {
            assert!(Requirement::new(bad).is_err(), "{bad}");
        }
    }
}
