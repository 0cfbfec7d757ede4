//! Python wheels: pip, on the workstation, chooses them for the image's Python and architecture; they are laid out here, so that
//! the node needs no pip. Format: packaging.python.org, "Binary distribution format".

mod record;
mod resolve;
mod wheel;

pub use resolve::{Chosen, NotChosen, resolve};
pub use wheel::{LaidFile, Unfit, lay_out};

/// The Python that wheels are chosen for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// Major and minor version: (3, 13).
    pub python: (u32, u32),
    /// Debian's whole upstream version: `3.13.5`.
    pub full_version: String,
    /// The kernel's name of the architecture: `aarch64`.
    pub machine: &'static str,
    /// Major and minor version of the C library: (2, 41).
    pub glibc: (u32, u32),
}

impl Target {
    /// The target of an image by its Debian architecture and the Debian versions of its packages `python3` and `libc6`.
    ///
    /// # Errors
    /// In words: no wheels exist for the architecture, or a version is none.
    pub fn new(architecture: &str, python3: &str, libc6: &str) -> Result<Target, String> {
        let machine = match architecture {
            "amd64" => "x86_64",
            "arm64" => "aarch64",
            "armhf" => "armv7l",
            "riscv64" => "riscv64",
            "ppc64el" => "ppc64le",
            "s390x" => "s390x",
            other => return Err(format!("there are no wheels for the architecture {other}")),
        };
        let upstream = |version: &str| {
            let version = version.split_once(':').map_or(version, |(_, rest)| rest);
            version.split(['-', '~', '+']).next().unwrap_or_default().to_owned()
        };
        let two = |package: &str, version: &str| {
            let mut parts = version.split('.').map(str::parse::<u32>);
            match (parts.next(), parts.next()) {
                (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor)),
                _ => Err(format!("the version {version:?} of {package} is not of the form 1.2")),
            }
        };
        let full_version = upstream(python3);
        Ok(Target {
            python: two("python3", &full_version)?,
            glibc: two("libc6", &upstream(libc6))?,
            full_version,
            machine,
        })
    }

    /// `3.13`.
    #[must_use]
    pub fn python_version(&self) -> String {
        format!("{}.{}", self.python.0, self.python.1)
    }

    /// Where Debian's Python looks for what did not come as a Debian package.
    #[must_use]
    pub fn site(&self) -> String {
        format!("usr/local/lib/python{}/dist-packages", self.python_version())
    }

    /// Tags of platforms whose wheels run here (PEP 600), the best first.
    fn platforms(&self) -> Vec<String> {
        // Before 2.17, manylinux knew x86 alone.
        let oldest = if self.machine == "x86_64" { 5 } else { 17 };
        let mut all: Vec<String> = match self.glibc {
            (2, newest) => {
                (oldest..=newest).rev().map(|minor| format!("manylinux_2_{minor}_{}", self.machine)).collect()
            }
            _ => Vec::new(),
        };
        all.push(format!("manylinux2014_{}", self.machine));
        if self.machine == "x86_64" {
            all.extend(["manylinux2010_x86_64", "manylinux1_x86_64"].map(str::to_owned));
        }
        all.push(format!("linux_{}", self.machine));
        all
    }
}

/// A project's name as indexes compare it (PEP 503): lower case, runs of `-`, `_` and `.` as one `-`.
#[must_use]
pub fn normalized(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '-' | '_' | '.' if text.ends_with('-') => {}
            '-' | '_' | '.' => text.push('-'),
            c => text.push(c.to_ascii_lowercase()),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_follows_from_debian_versions() {
        let target = Target::new("arm64", "3.13.5-1", "2.41-12+deb13u1").unwrap();
        assert_eq!((target.python, target.glibc, target.machine), ((3, 13), (2, 41), "aarch64"));
        assert_eq!(target.full_version, "3.13.5");
        assert_eq!(target.site(), "usr/local/lib/python3.13/dist-packages");
        let platforms = target.platforms();
        assert_eq!(platforms[0], "manylinux_2_41_aarch64");
        assert!(platforms.contains(&"manylinux_2_17_aarch64".to_owned()));
        assert!(!platforms.contains(&"manylinux_2_16_aarch64".to_owned()));
        assert!(Target::new("mips64el", "3.13.5-1", "2.41-12").is_err());
        assert!(Target::new("arm64", "three", "2.41-12").is_err());
    }

    #[test]
    fn names_that_an_index_takes_for_one_are_one() {
        for name in ["Ai_Edge.LiteRT", "ai-edge-litert", "AI--edge__litert"] {
            assert_eq!(normalized(name), "ai-edge-litert");
        }
    }
}
