//! `fruitbuild init`: the text of a first recipe.

use std::fmt::Write;

use crate::login::{HostName, SshKey};
use crate::words::{BoardName, ImageName, TimeZone};

/// What a new recipe builds on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// systemd, networkd and OpenSSH.
    Systemd,
    /// busybox and dropbear.
    Minimal,
    /// Another recipe, by its file's name without `.yaml`.
    Recipe(ImageName),
}

/// What `fruitbuild init` asks for.
#[derive(Debug, Clone)]
pub struct Answers {
    /// Name of the image.
    pub name: ImageName,
    /// Board.
    pub board: BoardName,
    /// What it builds on.
    pub base: Base,
    /// Host name, with placeholders.
    pub hostname: HostName,
    /// Time zone.
    pub timezone: TimeZone,
    /// Keys that may log in as root.
    pub ssh_keys: Vec<SshKey>,
}

/// A commented recipe that passes the check as it stands, if `base.yaml` and `base-systemd.yaml` are found.
pub fn starter(answers: &Answers) -> String {
    let mut text = String::new();
    let (base, packages) = match &answers.base {
        Base::Systemd => ("base-systemd.yaml".to_owned(), "packages: []\n  # - nftables\n"),
        Base::Minimal => ("base.yaml".to_owned(), "packages:\n  - busybox-static\n  - dropbear-bin\n"),
        Base::Recipe(name) => (format!("{name}.yaml"), "packages: []\n  # - nftables\n"),
    };
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "# All keys: `fruitbuild schema recipe`. Check this file: `fruitbuild check`.\n\
         extends: {base}\n\
         name: {}\n\
         version: 0.1.0\n\
         board: {}\n\
         \n\
         # Filled in on the device: {{serial}}, {{mac}}, {{name}}; {{serial:8}} takes the last 8 characters.\n\
         hostname: {}\n\
         timezone: {}\n\
         \n\
         # Debian packages to add; what they depend on comes with them.\n\
         {packages}",
        answers.name,
        answers.board,
        quoted(&answers.hostname),
        quoted(&answers.timezone),
    );
    if answers.base == Base::Minimal {
        text.push_str("\ninit: busybox\n# Starts networking and ssh.\noverlays: [busybox]\n");
    }
    text.push_str(
        "\nusers:\n  root:\n    # Hashes only, never a password: `mkpasswd -m yescrypt`.\n    password: locked\n",
    );
    if answers.ssh_keys.is_empty() {
        text.push_str("    # Without a key here, put one into fruit.yaml on the card.\n    ssh_keys: []\n");
    } else {
        text.push_str("    ssh_keys:\n");
        for key in &answers.ssh_keys {
            let _ = writeln!(text, "      - {}", quoted(key));
        }
    }
    text.push_str(
        "\n# What outlasts reboots and updates; everything else is forgotten.\n\
         state: []\n  # - /var/lib/myservice\n\
         \n# Sizes cannot be changed by an update. `auto` leaves room to grow.\n\
         partitions:\n  root: auto\n  data: auto\n",
    );
    text
}

/// A text in YAML's single quotes, in which only the quote itself is special.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
