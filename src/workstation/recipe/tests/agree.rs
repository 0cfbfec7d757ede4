//! What a recipe accepts, a node accepts, and the other way round: the rules are fruit-contract's.

use fruit_contract::access::{AuthorizedKey, PasswordHash};
use fruit_contract::url::check_url;
use fruit_contract::{HostNameTemplate, UnitName as NodeUnitName, locale};
use fruit_recipe::{HostName, Password, SshKey, TimeZone, UnitName, Url};

fn agree(what: &str, recipe: impl Fn(&str) -> bool, node: impl Fn(&str) -> bool, good: &[&str], bad: &[&str]) {
    for (texts, expected) in [(good, true), (bad, false)] {
        for text in texts {
            assert_eq!((recipe(text), node(text)), (expected, expected), "{what}: recipe and node about {text:?}");
        }
    }
}

#[test]
fn recipe_and_node_accept_the_same() {
    let hash = |method: &str, length: usize| format!("{method}{}", "x".repeat(length));
    let hashes = [hash("$2y$05$", 53), hash("$2b$12$", 53), hash("$6$saltsalt$", 86), hash("$y$j9T$salt$", 43)];
    let damaged = [
        hash("$6$salt$", 20),
        hash("$6$salt$", 85),
        hash("$y$j9T$salt$", 44),
        hash("$1$salt$", 22),
        hash("$6$sa:lt$", 86),
        hash("$2x$05$", 53),
        format!("{}\n", hash("$6$salt$", 86)),
        "secret".into(),
        "*".into(),
        "!".into(),
    ];
    agree(
        "password",
        |t| Password::new(t).is_ok(),
        |t| t.parse::<PasswordHash>().is_ok(),
        &hashes.each_ref().map(String::as_str),
        &damaged.each_ref().map(String::as_str),
    );
    let ed25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0uTQ6NVMmvZaZtSY0aZ2cLbTi/f2bBlTy8AuBT1Dh2";
    let weak_rsa = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQ==";
    agree(
        "ssh key",
        |t| SshKey::new(t).is_ok(),
        |t| t.parse::<AuthorizedKey>().is_ok(),
        &[ed25519, &format!("{ed25519} me@desk two  words"), &ed25519.replace(' ', "  ")],
        &[
            "",
            &ed25519[..50],
            &ed25519.replace("ssh-ed25519", "ssh-rsa"),
            weak_rsa,
            "ssh-dss AAAAB3NzaC1kc3M=",
            "-----BEGIN OPENSSH PRIVATE KEY-----",
            &format!("command=\"x\" {ed25519}"),
            &format!("{ed25519}\nssh-rsa AAAA"),
        ],
    );
    agree(
        "host name",
        |t| HostName::new(t).is_ok(),
        |t| t.parse::<HostNameTemplate>().is_ok(),
        &["node", "node.example.org", "{name}-{serial:8}", "{mac}", "n{mac:6}"],
        &["", "a_b", "-a", "a-", "a..b", "{seral}", "{serial", "{serial:0}", "{serial:x}", &"a".repeat(65)],
    );
    agree(
        "time zone",
        |t| TimeZone::new(t).is_ok(),
        |t| t.parse::<locale::TimeZone>().is_ok(),
        &["UTC", "Etc/GMT+5", "America/Argentina/Buenos_Aires"],
        &["", "+02:00", "+02", "Europe/New York", "../etc/passwd", "/UTC", "a/b/c/d"],
    );
    agree(
        "unit",
        |t| UnitName::new(t).is_ok(),
        |t| t.parse::<NodeUnitName>().is_ok(),
        &["ssh.service", "getty@tty1.service", "user.slice", "dev-sda1.swap", "a\\x2db.mount"],
        &["", "ssh", ".service", "a b.service", "../a.service", "ssh.servce", &format!("{}.service", "a".repeat(255))],
    );
    agree(
        "address",
        |t| Url::new(t).is_ok(),
        |t| check_url(t).is_ok(),
        &["http://deb.debian.org/debian", "https://[::1]:8080/x", "https://example.org"],
        &[
            "",
            "deb.debian.org",
            "ftp://x/",
            "https://",
            "http://:80/",
            "https://me:secret@x/",
            "https://x/é",
            "https://?x",
            "HTTPS://x/",
            "http://a b/",
            "http:///x",
        ],
    );
    // Folders are for the workstation alone.
    assert!(
        Url::new("file:///srv/debian").is_ok() && Url::new("file://host/x").is_err() && Url::new("file://").is_err()
    );
}
