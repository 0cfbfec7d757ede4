//! Users and passwords of registries, where `podman login` and `docker login` keep them (containers-auth.json(5)).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine;
use serde::Deserialize;

/// Most bytes of such a file.
const MAX_FILE: u64 = 1 << 20;

/// What the people who log in to Docker's registry are told to call it.
const DOCKER: [&str; 3] = ["index.docker.io/v1", "index.docker.io", "registry-1.docker.io"];

#[derive(Deserialize, Default)]
struct AuthFile {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
}

#[derive(Deserialize, Default)]
struct Auth {
    #[serde(default)]
    auth: String,
}

/// `user:password` of registries, in base64 as the header has it.
#[derive(Clone, Default)]
pub struct Logins(BTreeMap<String, String>);

impl Logins {
    /// Those of this machine's user. A file that is not there, or not understood, has none.
    pub fn of_user() -> Logins {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = variable("HOME");
        let below = |folder: Option<PathBuf>, path: &str| folder.map(|folder| folder.join(path));
        let config = variable("XDG_CONFIG_HOME").or_else(|| below(home.clone(), ".config"));
        let docker = variable("DOCKER_CONFIG").or_else(|| below(home, ".docker"));
        let files = [
            variable("REGISTRY_AUTH_FILE"),
            below(variable("XDG_RUNTIME_DIR"), "containers/auth.json"),
            below(config, "containers/auth.json"),
            below(docker, "config.json"),
        ];
        let mut all = Logins::default();
        for file in files.into_iter().flatten() {
            for (name, login) in of_file(&file) {
                all.0.entry(name).or_insert(login);
            }
        }
        all
    }

    /// The login for a repository of a registry: that of the longest name that has one.
    pub(crate) fn of(&self, registry: &str, repository: &str) -> Option<&str> {
        let mut name = format!("{registry}/{repository}");
        loop {
            if let Some(login) = self.0.get(&name) {
                return Some(login);
            }
            match name.rfind('/') {
                Some(slash) => name.truncate(slash),
                None => break,
            }
        }
        let docker = (registry == "docker.io").then(|| DOCKER.iter().find_map(|name| self.0.get(*name)));
        docker.flatten().map(String::as_str)
    }
}

fn of_file(path: &Path) -> Vec<(String, String)> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes));
    let file: AuthFile = read.ok().and_then(|_| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    let plain = |auth: &str| {
        let decoded = base64::engine::general_purpose::STANDARD.decode(auth).ok()?;
        let with_colon = decoded.contains(&b':') && auth.bytes().all(|byte| byte.is_ascii_graphic());
        with_colon.then(|| auth.to_owned())
    };
    let named = |(name, auth): (String, Auth)| {
        let name = name.split_once("://").map_or(name.as_str(), |(_, rest)| rest).trim_end_matches('/').to_owned();
        Some((name, plain(&auth.auth)?))
    };
    file.auths.into_iter().filter_map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_login_of_the_longest_name_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auth.json");
        let text = r#"{"auths": {"r.test": {"auth": "YTpi"}, "r.test/team": {"auth": "Yzpk"}, "bad.test": {"auth": "%"},
            "https://index.docker.io/v1/": {"auth": "ZTpm"}, "helper.test": {}}, "credHelpers": {"x": "y"}}"#;
        std::fs::write(&path, text).unwrap();
        let logins = Logins(of_file(&path).into_iter().collect());
        assert_eq!(logins.of("r.test", "team/app"), Some("Yzpk"));
        assert_eq!(logins.of("r.test", "teams/app"), Some("YTpi"));
        assert_eq!(logins.of("docker.io", "library/x"), Some("ZTpm"));
        for none in ["bad.test", "helper.test", "other.test"] {
            assert_eq!(logins.of(none, "x"), None, "{none}");
        }
        assert!(of_file(&dir.path().join("none")).is_empty());
    }
}
