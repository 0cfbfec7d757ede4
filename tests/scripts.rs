//! Packages whose scripts must run, in an image: what an installation would have left is there, in the node's architecture, and
//! what every node needs for itself is not.

#[path = "harness/built.rs"]
mod built;
mod harness;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use built::Built;
use fruit_debian::Lock;
use harness::recipe_path;
use serde_json::Value;

/// Where a path leads in the root, absolute links followed inside it.
fn follow(root: &Path, path: &str) -> PathBuf {
    let mut now = root.join(path);
    for _ in 0..10 {
        match fs::read_link(&now) {
            Ok(target) if target.is_absolute() => now = root.join(target.strip_prefix("/").unwrap()),
            Ok(target) => now = now.parent().unwrap().join(target),
            Err(_) => return now,
        }
    }
    panic!("{path}: too many links");
}

fn text(root: &Path, path: &str) -> String {
    fs::read_to_string(root.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Every regular file at and below `folder`.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files(&entry.path(), found);
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
}

#[test]
fn servers_are_installed_as_by_the_distribution_and_keys_are_made_on_the_node() {
    let built = Built::of("scripts");
    let (root, manifest) = (built.root(), &built.manifest);
    let run = &manifest["scripts_run"];
    assert!(run["changes"].as_u64().unwrap() > 200, "{run}");
    assert!(
        !run["left_out"].as_object().unwrap().is_empty()
            && manifest["scripts_not_reproduced"] == Value::Array(Vec::new())
    );
    let lock = Lock::load(&recipe_path("scripts").with_extension("lock")).unwrap();
    assert_eq!(lock.twins.len(), 1);

    // Programs and modules, in the node's architecture.
    let java = follow(&root, "usr/bin/java");
    assert!(java.is_file() && java.to_str().unwrap().ends_with("-arm64/bin/java"), "{}", java.display());
    assert!(follow(&root, "etc/ssl/certs/java/cacerts").metadata().unwrap().len() > 50_000);
    for module in ["mpm_prefork.load", "dir.load"] {
        assert!(follow(&root, &format!("etc/apache2/mods-enabled/{module}")).is_file(), "{module}");
    }
    let mut modules = fs::read_dir(root.join("etc/apache2/mods-enabled")).unwrap();
    assert!(modules.any(|m| m.unwrap().file_name().to_str().unwrap().starts_with("php")));
    let php = fs::read_dir(root.join("etc/php")).unwrap().next().unwrap().unwrap().path();
    assert!(
        follow(&php, "fpm/conf.d/20-sqlite3.ini").exists()
            || fs::read_link(php.join("fpm/conf.d/20-sqlite3.ini")).is_ok()
    );

    // Settings: of the answers, of the scripts.
    assert!(text(&root, "etc/mailname").contains("node.example.org"));
    assert!(text(&root, "etc/postfix/main.cf").contains("node.example.org"));
    let cluster = fs::read_dir(root.join("etc/postgresql")).unwrap().next().unwrap().unwrap().file_name();
    let cluster = format!("{}/main", cluster.to_str().unwrap());
    assert!(root.join("etc/postgresql").join(&cluster).join("postgresql.conf").is_file());
    assert_eq!(fs::read_dir(root.join("var/lib/postgresql").join(&cluster)).unwrap().count(), 0);
    assert!(root.join("etc/cron.d").is_dir());

    // Accounts have the ids of their names, and their files belong to them.
    let passwd = text(&root, "etc/passwd");
    let uid = |name: &str| {
        let line =
            passwd.lines().find(|line| line.starts_with(&format!("{name}:"))).unwrap_or_else(|| panic!("{name}"));
        line.split(':').nth(2).unwrap().parse::<u32>().unwrap()
    };
    for (name, path) in [("munge", "etc/munge"), ("postgres", "var/lib/postgresql")] {
        assert!(uid(name) >= 200);
        // Only root can give a folder of the extracted root away.
        if rustix::process::geteuid().is_root() {
            assert_eq!(fs::metadata(root.join(path)).unwrap().uid(), uid(name), "{path}");
        }
    }

    // What every node makes for itself, and the names of this machine's architecture, are nowhere.
    assert_eq!(run["made_on_node"].as_array().unwrap().len(), 4, "{run}");
    for name in ["snakeoil", "munge", "aliases", &format!("postgresql-{}", cluster.replace('/', "-"))] {
        let unit = root.join(format!("usr/lib/systemd/system/basic.target.wants/fruit-make-{name}.service"));
        assert!(fs::symlink_metadata(&unit).is_ok(), "{name}");
    }
    let mut all = Vec::new();
    for top in ["etc", "var", "root"] {
        files(&root.join(top), &mut all);
    }
    for path in all {
        let bytes = fs::read(&path).unwrap();
        let has = |words: &[u8]| bytes.windows(words.len()).any(|window| window == words);
        assert!(!(has(b"-----BEGIN PRIVATE KEY") || has(b"-----BEGIN RSA PRIVATE KEY")), "{}", path.display());
        assert!(!has(b"x86_64-linux-gnu"), "{}", path.display());
    }

    // Services start as the distribution would have it.
    let by = &manifest["enabled_by"];
    for (unit, package) in [("apache2.service", "apache2"), ("munge.service", "munge"), ("cron.service", "cron")] {
        assert_eq!(by[unit], package, "{by}");
    }
}
