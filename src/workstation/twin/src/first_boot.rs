//! What is made on the node instead of in the image, because every node needs its own: by the packages' own means.

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
    /// Lines of `ExecStart=`.
    commands: &'k [&'k str],
    /// Units that wait for it; none: all that belong to the running system.
    before: &'k [&'k str],
}

/// As make-ssl-cert(8) does it, which asks debconf, and that is not on a node.
const SNAKEOIL: Kind<'static> = Kind {
    name: "snakeoil",
    what: "the self-signed certificate of ssl-cert",
    program: "usr/bin/openssl",
    made: "/etc/ssl/certs/ssl-cert-snakeoil.pem",
    state: None,
    user: None,
    commands: &[
        "/bin/sh -ec 'umask 077; cd /etc/ssl; key=private/ssl-cert-snakeoil.key; pem=certs/ssl-cert-snakeoil.pem; \
        host=$$(cat /proc/sys/kernel/hostname); openssl req -x509 -newkey rsa:2048 -nodes -sha256 -days 3650 -subj \"/CN=$$host\" \
        -addext \"subjectAltName=DNS:$$host\" -keyout $$key -out $$pem; \
        chmod 644 $$pem; chown root:ssl-cert $$key; chmod 640 $$key; \
        ln -sf ssl-cert-snakeoil.pem certs/$$(openssl x509 -noout -hash -in $$pem).0'",
    ],
    before: &[],
};

const ALIASES: Kind<'static> = Kind {
    name: "aliases",
    what: "the database of mail aliases",
    program: "usr/bin/newaliases",
    made: "/etc/aliases.db",
    state: None,
    user: None,
    commands: &["/usr/bin/newaliases"],
    before: &["postfix.service", "postfix@-.service"],
};

const MUNGE: Kind<'static> = Kind {
    name: "munge",
    what: "the key of munge",
    program: "usr/sbin/mungekey",
    made: "/etc/munge/munge.key",
    // What it signed before a reboot is refused after it by another key.
    state: Some("/etc/munge"),
    user: Some("munge"),
    commands: &["/usr/sbin/mungekey --create"],
    before: &["munge.service"],
};

const RNDC: Kind<'static> = Kind {
    name: "rndc",
    what: "the control key of the name server",
    program: "usr/sbin/rndc-confgen",
    made: "/etc/bind/rndc.key",
    state: None,
    user: None,
    commands: &["/usr/sbin/rndc-confgen -a -u bind"],
    before: &["named.service"],
};

/// As its postinst makes it: Erlang itself would, of less randomness.
const RABBITMQ: Kind<'static> = Kind {
    name: "rabbitmq",
    what: "the cookie of RabbitMQ",
    program: "usr/bin/openssl",
    made: "/var/lib/rabbitmq/.erlang.cookie",
    state: Some("/var/lib/rabbitmq"),
    user: Some("rabbitmq"),
    commands: &["/bin/sh -ec 'umask 077; cd /var/lib/rabbitmq; openssl rand -base64 -out .erlang.cookie.new 42; \
        chmod 400 .erlang.cookie.new; mv .erlang.cookie.new .erlang.cookie'"],
    before: &["rabbitmq-server.service"],
};

const MARIADB: Kind<'static> = Kind {
    name: "mariadb",
    what: "MariaDB's system tables",
    program: "usr/bin/mariadb-install-db",
    made: "/var/lib/mysql/mysql",
    state: Some("/var/lib/mysql"),
    user: None,
    commands: &[
        "/usr/bin/mariadb-install-db --auth-root-authentication-method=socket --rpm --cross-bootstrap --user=mysql --disable-log-bin --skip-test-db",
    ],
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
        commands: &[&format!(
            "{initdb} -D {data} --auth-local peer --auth-host scram-sha-256 --no-instructions --encoding UTF8 --locale C.UTF-8"
        )],
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
        for command in self.commands {
            unit += &format!("ExecStart={command}\n");
        }
        Maker {
            name: self.name.to_owned(),
            what: self.what.to_owned(),
            program: self.program.to_owned(),
            state: self.state.map(str::to_owned),
            unit,
        }
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
        assert_eq!(state("etc/munge/munge.key").as_deref(), Some("/etc/munge"));
        assert_eq!(state("etc/bind/rndc.key"), None);
        for path in ["etc/ssl/certs/ca-certificates.crt", "var/lib/postgresql/17/main", "var/lib/postgresql/1 7/$x/y"] {
            assert!(maker(path).is_none(), "{path}");
        }
    }
}
