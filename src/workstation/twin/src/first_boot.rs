//! What is made on the node instead of in the image, because every node needs its own: by the packages' own means. What belongs in
//! /etc, which is in RAM, is kept on the data partition and put back at each boot.

use serde::{Deserialize, Serialize};

/// Something that a unit makes when it is not there yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maker {
    /// Of the unit: `fruit-make-NAME.service`.
    pub name: String,
    /// For people: `the PostgreSQL cluster 17/main`.
    pub what: String,
    /// Path of the program in the root, without leading slash.
    pub program: String,
    /// Path that must be on the data partition, else it is made anew at each boot and what was written is lost.
    pub state: Option<String>,
    /// Text of the unit.
    pub unit: String,
}

/// A kind of thing that a package makes.
struct Kind<'k> {
    name: &'k str,
    what: &'k str,
    program: &'k str,
    /// What is there once it is made; absolute.
    made: &'k str,
    state: Option<&'k str>,
    user: Option<&'k str>,
    /// For the shell, without apostrophes; `$` as systemd wants it, twice.
    command: &'k str,
    keeps: &'k [Kept],
    /// As `command`, by root, after it was made or put back.
    then: Option<&'k str>,
    /// Units that wait for it; none: all that belong to the running system.
    before: &'k [&'k str],
}

/// A file that is the same at each boot of a node.
struct Kept {
    /// Absolute; no two of a kind have the same name in different folders.
    path: &'static str,
    owner: &'static str,
    group: &'static str,
    mode: &'static str,
}

/// Where a node keeps what it made, a folder for each kind: on the data partition, below what every recipe has there.
const KEPT: &str = "/var/lib/fruit/made";

/// As make-ssl-cert(8) does it, which asks debconf, and that is not on a node.
const SNAKEOIL: Kind<'static> = Kind {
    name: "snakeoil",
    what: "the self-signed certificate of ssl-cert",
    program: "usr/bin/openssl",
    made: "/etc/ssl/certs/ssl-cert-snakeoil.pem",
    state: None,
    user: None,
    command: "umask 077; cd /etc/ssl; key=private/ssl-cert-snakeoil.key; pem=certs/ssl-cert-snakeoil.pem; \
        host=$$(cat /proc/sys/kernel/hostname); openssl req -x509 -newkey rsa:2048 -nodes -sha256 -days 3650 -subj \"/CN=$$host\" \
        -addext \"subjectAltName=DNS:$$host\" -keyout $$key -out $$pem; \
        chmod 644 $$pem; chown root:ssl-cert $$key; chmod 640 $$key",
    keeps: &[
        Kept { path: "/etc/ssl/private/ssl-cert-snakeoil.key", owner: "root", group: "ssl-cert", mode: "640" },
        Kept { path: "/etc/ssl/certs/ssl-cert-snakeoil.pem", owner: "root", group: "root", mode: "644" },
    ],
    then: Some(
        "cd /etc/ssl/certs; ln -sf ssl-cert-snakeoil.pem $$(openssl x509 -noout -hash -in ssl-cert-snakeoil.pem).0",
    ),
    before: &[],
};

const ALIASES: Kind<'static> = Kind {
    name: "aliases",
    what: "the database of mail aliases",
    program: "usr/bin/newaliases",
    made: "/etc/aliases.db",
    state: None,
    user: None,
    command: "exec /usr/bin/newaliases",
    // Of /etc/aliases, which the image has.
    keeps: &[],
    then: None,
    before: &["postfix.service", "postfix@-.service"],
};

const MUNGE: Kind<'static> = Kind {
    name: "munge",
    what: "the key of munge",
    program: "usr/sbin/mungekey",
    made: "/etc/munge/munge.key",
    state: None,
    user: Some("munge"),
    command: "exec /usr/sbin/mungekey --create",
    keeps: &[Kept { path: "/etc/munge/munge.key", owner: "munge", group: "munge", mode: "600" }],
    then: None,
    before: &["munge.service"],
};

const RNDC: Kind<'static> = Kind {
    name: "rndc",
    what: "the control key of the name server",
    program: "usr/sbin/rndc-confgen",
    made: "/etc/bind/rndc.key",
    state: None,
    user: None,
    command: "/usr/sbin/rndc-confgen -a -u bind; chmod 640 /etc/bind/rndc.key",
    keeps: &[Kept { path: "/etc/bind/rndc.key", owner: "bind", group: "bind", mode: "640" }],
    then: None,
    before: &["named.service"],
};

/// As its postinst makes it: Erlang itself would, of less randomness.
const RABBITMQ: Kind<'static> = Kind {
    name: "rabbitmq",
    what: "the cookie of RabbitMQ",
    program: "usr/bin/openssl",
    made: "/var/lib/rabbitmq/.erlang.cookie",
    state: None,
    user: Some("rabbitmq"),
    command: "umask 077; cd /var/lib/rabbitmq; openssl rand -base64 -out .erlang.cookie.new 42; \
        chmod 400 .erlang.cookie.new; mv .erlang.cookie.new .erlang.cookie",
    keeps: &[Kept { path: "/var/lib/rabbitmq/.erlang.cookie", owner: "rabbitmq", group: "rabbitmq", mode: "400" }],
    then: None,
    before: &["rabbitmq-server.service"],
};

const MARIADB: Kind<'static> = Kind {
    name: "mariadb",
    what: "MariaDB's system tables",
    program: "usr/bin/mariadb-install-db",
    made: "/var/lib/mysql/mysql",
    state: Some("/var/lib/mysql"),
    user: None,
    // Made beside its place, which may be a mount point, and the folder that shows that all is there comes last.
    command: "cd /var/lib/mysql; rm -rf .new; install -d -o mysql -g mysql -m 700 .new; \
        /usr/bin/mariadb-install-db --auth-root-authentication-method=socket --rpm --cross-bootstrap --user=mysql --disable-log-bin \
        --skip-test-db --datadir=/var/lib/mysql/.new; cd .new; \
        for made in *; do test $$made = mysql || { rm -rf ../$$made; mv $$made ..; }; done; sync; rm -rf ../mysql; mv mysql ..; cd ..; \
        rm -rf .new; sync",
    keeps: &[],
    then: None,
    before: &["mariadb.service"],
};

/// What makes the file at `path` on the node, so that the image need not have it.
pub(crate) fn maker(path: &str) -> Option<Maker> {
    let kind = match path {
        "etc/ssl/private/ssl-cert-snakeoil.key" | "etc/ssl/certs/ssl-cert-snakeoil.pem" => &SNAKEOIL,
        "etc/aliases.db" | "etc/aliases.lmdb" => return Some(aliases(path)),
        "etc/munge/munge.key" => &MUNGE,
        "etc/bind/rndc.key" => &RNDC,
        "var/lib/rabbitmq/.erlang.cookie" => &RABBITMQ,
        path if path.starts_with("var/lib/mysql/") => &MARIADB,
        path => return cluster(path),
    };
    Some(kind.maker())
}

fn aliases(path: &str) -> Maker {
    let made = format!("/{path}");
    Kind { made: &made, ..ALIASES }.maker()
}

/// The PostgreSQL cluster that a file belongs to: `var/lib/postgresql/17/main/PG_VERSION`. Its settings are in /etc and in the
/// image; initdb(1) makes the rest, as pg_createcluster(1) has it do.
fn cluster(path: &str) -> Option<Maker> {
    let mut parts = path.strip_prefix("var/lib/postgresql/")?.splitn(3, '/');
    let (version, cluster, _) = (parts.next()?, parts.next()?, parts.next()?);
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._".contains(&b));
    if !plain(version) || !plain(cluster) {
        return None;
    }
    let data = format!("/var/lib/postgresql/{version}/{cluster}");
    let initdb = format!("/usr/lib/postgresql/{version}/bin/initdb");
    let maker = Kind {
        name: &format!("postgresql-{version}-{cluster}"),
        what: &format!("the PostgreSQL cluster {version}/{cluster}"),
        program: &initdb[1..],
        made: &format!("{data}/PG_VERSION"),
        state: Some("/var/lib/postgresql"),
        user: Some("postgres"),
        // A power cut leaves all of it or nothing.
        command: &format!(
            "rm -rf {data}.new; {initdb} -D {data}.new --auth-local peer --auth-host scram-sha-256 --no-instructions --encoding UTF8 --locale C.UTF-8; \
            sync; test ! -d {data} || rmdir {data}; mv {data}.new {data}; sync"
        ),
        keeps: &[],
        then: None,
        before: &[&format!("postgresql@{version}-{cluster}.service"), "postgresql.service"],
    };
    Some(maker.maker())
}

impl Kind<'_> {
    fn maker(&self) -> Maker {
        let mut unit = format!(
            "[Unit]\nDescription=Make {}\nConditionPathExists=!{}\nConflicts=shutdown.target\n",
            self.what, self.made
        );
        // Ordinary units start after basic.target: what nobody names waits for nobody in particular.
        let before = match self.before {
            [] => "basic.target".to_owned(),
            units => units.join(" "),
        };
        unit += &format!("DefaultDependencies=no\nAfter=sysinit.target\nBefore={before} shutdown.target\n\n");
        unit += "[Service]\nType=oneshot\nRemainAfterExit=yes\n";
        if let Some(user) = self.user {
            unit += &format!("User={user}\n");
        }
        unit += &self.lines();
        Maker {
            name: self.name.to_owned(),
            what: self.what.to_owned(),
            program: self.program.to_owned(),
            state: self.state.map(str::to_owned),
            unit,
        }
    }
}

impl Kind<'_> {
    /// The unit's commands. Root puts back and keeps, whoever makes.
    fn lines(&self) -> String {
        let shell = |kind: &str, script: &str| format!("{kind}/bin/sh -ec '{script}'\n");
        if self.keeps.is_empty() {
            return shell("ExecStart=", self.command);
        }
        let kept = format!("{KEPT}/{}", self.name);
        let name = |path: &'static str| path.rsplit('/').next().unwrap_or(path);
        let mut put_back = format!("test -d {kept} || exit 0");
        let mut keep = format!("test -d {kept} && exit; umask 077; rm -rf {kept}.new; mkdir -p {kept}.new");
        for Kept { path, owner, group, mode } in self.keeps {
            put_back += &format!("; install -o {owner} -g {group} -m {mode} {kept}/{} {path}", name(path));
            keep += &format!("; cp {path} {kept}.new/{}", name(path));
        }
        // A power cut leaves all of it or nothing.
        keep += &format!("; sync; mv {kept}.new {kept}; sync");
        let mut lines = shell("ExecStartPre=+", &put_back);
        lines += &shell("ExecStart=", &format!("test -e {} && exit; {}", self.made, self.command));
        lines += &shell("ExecStartPost=+", &keep);
        if let Some(then) = self.then {
            lines += &shell("ExecStartPost=+", then);
        }
        lines
    }
}

impl Maker {
    /// Name of the unit.
    pub fn unit_name(&self) -> String {
        format!("fruit-make-{}.service", self.name)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::process::Command;

    use super::*;

    #[test]
    fn what_every_node_needs_of_its_own_is_made_there() {
        for path in [
            "etc/ssl/private/ssl-cert-snakeoil.key",
            "etc/munge/munge.key",
            "etc/aliases.db",
            "var/lib/mysql/ibdata1",
            "var/lib/rabbitmq/.erlang.cookie",
        ] {
            assert!(maker(path).is_some(), "{path}");
        }
        let cluster = maker("var/lib/postgresql/17/main/base/1/112").unwrap();
        assert_eq!(cluster.unit_name(), "fruit-make-postgresql-17-main.service");
        assert_eq!(cluster.program, "usr/lib/postgresql/17/bin/initdb");
        assert!(
            cluster.unit.contains("ConditionPathExists=!/var/lib/postgresql/17/main/PG_VERSION\n"),
            "{}",
            cluster.unit
        );
        assert!(cluster.unit.contains("Before=postgresql@17-main.service postgresql.service shutdown.target\n"));
        // Whose loss would be felt after a reboot.
        let state = |path: &str| maker(path).unwrap().state;
        assert_eq!(state("var/lib/mysql/ibdata1").as_deref(), Some("/var/lib/mysql"));
        assert_eq!(state("etc/bind/rndc.key"), None);
        for path in ["etc/ssl/certs/ca-certificates.crt", "var/lib/postgresql/17/main", "var/lib/postgresql/1 7/$x/y"] {
            assert!(maker(path).is_none(), "{path}");
        }
    }

    /// What systemd would give the shell of a unit's line, with the places and the accounts of this test.
    fn scripts<'u>(unit: &'u str, folder: &Path) -> impl Iterator<Item = String> + 'u {
        let folder = folder.display().to_string();
        let lines = unit.lines().filter_map(|line| line.split_once("/bin/sh -ec '")?.1.strip_suffix('\''));
        lines.map(move |line| {
            let line = line
                .replace("$$", "$")
                .replace("/var/lib/", &format!("{folder}/var/"))
                .replace("/etc/", &format!("{folder}/etc/"));
            line.replace("/usr/sbin/mungekey --create", "dd if=/dev/urandom of=$KEY bs=32 count=1 status=none")
                .replace("-o munge -g munge", "")
        })
    }

    #[test]
    fn what_is_made_in_etc_is_the_same_after_a_reboot_until_somebody_takes_it_away() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("etc/munge/munge.key");
        let unit = maker("etc/munge/munge.key").unwrap().unit;
        assert_eq!(scripts(&unit, folder.path()).count(), 3, "{unit}");
        let boot = || {
            // /etc is in RAM.
            let _ = fs::remove_dir_all(folder.path().join("etc"));
            fs::create_dir_all(key.parent().unwrap()).unwrap();
            for script in scripts(&unit, folder.path()) {
                let done = Command::new("sh").args(["-ec", &script]).env("KEY", &key).status().unwrap();
                assert!(done.success(), "{script}");
            }
            fs::read(&key).unwrap()
        };
        let first = boot();
        assert_eq!(first.len(), 32);
        assert_eq!(boot(), first);
        let kept = folder.path().join("var/fruit/made/munge");
        // A power cut while it was kept left half of it beside its place.
        fs::rename(&kept, kept.with_extension("new")).unwrap();
        fs::write(kept.with_extension("new").join("munge.key"), "half").unwrap();
        let second = boot();
        assert_ne!(second, first);
        assert_eq!(boot(), second);
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o077, 0);
    }
}
