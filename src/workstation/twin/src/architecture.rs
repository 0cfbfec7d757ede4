//! Names of architectures, which stand in paths and texts that scripts write.

use crate::error::Error;

/// Debian's names with the triplet of their folders of libraries (wiki.debian.org/Multiarch/Tuples), and Rust's names of the machines.
const ALL: [(&str, &str, &str); 7] = [
    ("amd64", "x86_64-linux-gnu", "x86_64"),
    ("arm64", "aarch64-linux-gnu", "aarch64"),
    ("armhf", "arm-linux-gnueabihf", "arm"),
    ("i386", "i386-linux-gnu", "x86"),
    ("ppc64el", "powerpc64le-linux-gnu", "powerpc64"),
    ("riscv64", "riscv64-linux-gnu", "riscv64"),
    ("s390x", "s390x-linux-gnu", "s390x"),
];

/// Debian's name of the architecture that this program runs on.
///
/// # Errors
/// One that Debian does not have.
pub fn of_workstation() -> Result<&'static str, Error> {
    let machine = std::env::consts::ARCH;
    let found = ALL.iter().find(|(.., rust)| *rust == machine).map(|(name, ..)| *name);
    found.ok_or_else(|| Error::Workstation(machine.to_owned()))
}

/// From the names of one architecture to those of another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names {
    from: (&'static str, &'static str),
    to: (&'static str, &'static str),
}

impl Names {
    pub fn new(from: &str, to: &str) -> Result<Names, Error> {
        let find = |name: &str| {
            ALL.iter().find(|(debian, ..)| *debian == name).map(|(debian, triplet, _)| (*debian, *triplet))
        };
        let unknown = |name: &str| Error::Workstation(name.to_owned());
        Ok(Names { from: find(from).ok_or_else(|| unknown(from))?, to: find(to).ok_or_else(|| unknown(to))? })
    }

    pub fn are_the_same(&self) -> bool {
        self.from == self.to
    }

    /// Whether bytes name the architecture's folder of libraries.
    pub fn are_in(&self, bytes: &[u8]) -> bool {
        let triplet = self.from.1.as_bytes();
        bytes.windows(triplet.len()).any(|window| window == triplet)
    }

    /// Triplets replaced.
    pub fn translate(&self, text: &str) -> String {
        text.replace(self.from.1, self.to.1)
    }

    /// As [`Names::translate`], and words of absolute paths with Debian's name of the architecture (`java-21-openjdk-amd64`) too,
    /// where `exists` knows the path that comes of it and not the one that was.
    pub fn translate_paths(&self, text: &str, exists: &dyn Fn(&str) -> bool) -> String {
        let text = self.translate(text);
        if self.are_the_same() || !text.contains(self.from.0) {
            return text;
        }
        let is_of_path = |c: char| c.is_ascii_alphanumeric() || "/._+-~@".contains(c);
        let mut out = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some(start) = rest.find('/') {
            out.push_str(&rest[..start]);
            let length = rest[start..].find(|c| !is_of_path(c)).unwrap_or(rest.len() - start);
            let path = &rest[start..start + length];
            let other = path.replace(self.from.0, self.to.0);
            let plain = |path: &str| path.trim_matches('/').trim_end_matches('.').to_owned();
            let translated = other != path && !exists(&plain(path)) && exists(&plain(&other));
            out.push_str(if translated { &other } else { path });
            rest = &rest[start + length..];
        }
        out.push_str(rest);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_workstation_become_those_of_the_node() {
        let names = Names::new("amd64", "arm64").unwrap();
        assert_eq!(names.translate("usr/lib/x86_64-linux-gnu/a"), "usr/lib/aarch64-linux-gnu/a");
        let exists = |path: &str| ["usr/lib/jvm/java-21-openjdk-arm64", "srv/amd64"].contains(&path);
        let text = "JAVA_HOME=\"/usr/lib/jvm/java-21-openjdk-amd64\" /srv/amd64 /opt/amd64 amd64\n/usr/lib/jvm/java-21-openjdk-amd64";
        let expected = "JAVA_HOME=\"/usr/lib/jvm/java-21-openjdk-arm64\" /srv/amd64 /opt/amd64 amd64\n/usr/lib/jvm/java-21-openjdk-arm64";
        assert_eq!(names.translate_paths(text, &exists), expected);
        assert!(names.are_in(b"\x00/usr/lib/x86_64-linux-gnu/") && !names.are_in(b"x86_64"));
    }

    #[test]
    fn this_workstation_has_a_name() {
        assert!(ALL.iter().any(|(name, ..)| *name == of_workstation().unwrap()));
    }
}
