//! Who may log in: ssh keys, password hashes, host names.

use fruit_contract::access::{KEY_TYPES, key_fields};

use crate::declare::text;
use crate::decode::Flaw;
use crate::node::shorten;

text! {
    /// An OpenSSH public key on one line, as in `id_ed25519.pub`.
    "an ssh public key such as `ssh-ed25519 AAAA… me@desk`"
    pub struct SshKey = |text| {
        if text.contains("PRIVATE KEY") {
            return Err(Flaw::new("this is a private key").help("write the line of the `.pub` file, and make a new key pair: this one is spoilt").secret());
        }
        if text.chars().any(char::is_control) {
            return Err(Flaw::new("an ssh public key is one line without tabs"));
        }
        let mut words = text.split(' ').filter(|w| !w.is_empty());
        let kind = words.next().unwrap_or_default();
        if kind == "ssh-dss" {
            return Err(Flaw::new("DSA keys are refused by OpenSSH since version 9.8").help("make a new one: `ssh-keygen -t ed25519`"));
        }
        if !KEY_TYPES.contains(&kind) {
            let flaw = Flaw::new(format!("`{}` is not a kind of ssh public key", shorten(kind)));
            return Err(match crate::diagnostic::similar(kind, KEY_TYPES) {
                Some(best) => flaw.did_you_mean(best),
                None => flaw.help("write the line of the `.pub` file, without options in front"),
            });
        }
        let fields = words.next().and_then(key_fields).unwrap_or_default();
        let inside = fields.first().map(|f| String::from_utf8_lossy(f).into_owned()).unwrap_or_default();
        if KEY_TYPES.contains(&inside.as_str()) && inside != kind {
            return Err(Flaw::new(format!("the key says `{kind}`, its content `{inside}`")));
        }
        // Kind and then: the point (ed25519, RFC 8709); exponent and modulus (RSA, RFC 4253); curve and point (ECDSA, RFC 5656);
        // security keys add the application (OpenSSH's PROTOCOL.u2f).
        let whole = inside == kind
            && match kind {
                "ssh-ed25519" => fields.len() == 2 && fields[1].len() == 32,
                "sk-ssh-ed25519@openssh.com" => fields.len() == 3 && fields[1].len() == 32,
                "ssh-rsa" if fields.len() == 3 && fields[2].len() < 256 => {
                    return Err(Flaw::new(format!("an RSA key of {} bits is too weak for sshd", fields[2].len() * 8 / 128 * 128))
                        .help("make a new one: `ssh-keygen -t ed25519`"));
                }
                "sk-ecdsa-sha2-nistp256@openssh.com" => fields.len() == 4,
                _ => fields.len() == 3,
            };
        if whole {
            Ok(())
        } else {
            Err(Flaw::new(format!("the `{kind}` key is damaged or cut short")).help("copy the whole line of the `.pub` file"))
        }
    };
}

text! {
    /// `locked`, or a password hash by yescrypt, bcrypt, SHA-512 or SHA-256 (crypt(5)). Never a password.
    "`locked` or a password hash"
    pub struct Password = |text| {
        if text == "locked" {
            return Ok(());
        }
        let advice = "make a hash with `mkpasswd -m yescrypt` (package whois) or `openssl passwd -6`";
        // crypt(5): the prefix names the method; salt and hash are of `./0-9A-Za-z`, with `$` between.
        let strong = ["$y$", "$gy$", "$7$", "$2b$", "$2y$", "$6$", "$5$"].iter().find(|p| text.starts_with(**p));
        let clean = text.chars().all(|c| c.is_ascii_alphanumeric() || "./$=,-".contains(c));
        match strong {
            Some(prefix) if clean && text.len() >= prefix.len() + 40 && text.len() <= 384 => Ok(()),
            Some(prefix) => Err(Flaw::new(format!("the `{prefix}` password hash is damaged or cut short"))
                .help("in double quotes YAML changes backslashes; use single quotes")),
            None if text.starts_with("$1$") || text.starts_with("$md5") => {
                Err(Flaw::new("the hash is by MD5, which is broken in seconds").help(advice))
            }
            None if text.starts_with('$') => Err(Flaw::new("the hash is by a method that Debian does not know").help(advice)),
            // The text is not shown: it may be someone's password.
            None => Err(Flaw::new("a password must not stand in a recipe in clear").help(advice).secret()),
        }
    };
}

impl Password {
    /// The account takes no password.
    pub fn locked() -> Self {
        Self("locked".into())
    }

    /// The field of `/etc/shadow`: the hash, or `!*` for a locked account.
    pub fn shadow(&self) -> &str {
        if self.0 == "locked" { "!*" } else { &self.0 }
    }
}

/// What may stand in braces in a host name.
pub const PLACEHOLDERS: &[&str] = &["serial", "mac", "name"];

text! {
    /// A host name with placeholders, filled in on the device at each boot: `{serial}` the board's serial number, `{mac}` the
    /// hardware address of its first network interface, `{name}` the image's name. `{serial:8}` and `{mac:6}` take the last
    /// characters only.
    "a host name such as `node-{serial:8}`"
    pub struct HostName = |text| {
        let mut sample = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            sample.push_str(before);
            let Some((inside, after)) = after.split_once('}') else {
                return Err(Flaw::new("the host name opens a `{` that it does not close"));
            };
            let (name, count) = inside.split_once(':').map_or((inside, None), |(n, c)| (n, Some(c)));
            if !PLACEHOLDERS.contains(&name) {
                let flaw = Flaw::new(format!("`{{{}}}` is not a placeholder", shorten(inside)))
                    .help("known: `{serial}`, `{mac}`, `{name}`, each with a length as in `{serial:8}`");
                return Err(match crate::diagnostic::similar(name, PLACEHOLDERS) {
                    Some(best) => flaw.did_you_mean(text.replacen(&format!("{{{name}"), &format!("{{{best}"), 1)),
                    None => flaw,
                });
            }
            // What it grows to at most: a serial has 16 digits, a hardware address 12, a name is cut to fit.
            let most = match name { "serial" => 16, "mac" => 12, _ => 1 };
            match count.map(str::parse::<usize>) {
                None => sample.extend(std::iter::repeat_n('0', most)),
                Some(Ok(n)) if (1..=32).contains(&n) => sample.extend(std::iter::repeat_n('0', n.min(most))),
                Some(_) => return Err(Flaw::new(format!("`{}` is not a length from 1 to 32", shorten(count.unwrap_or_default())))),
            }
            rest = after;
        }
        sample.push_str(rest);
        // RFC 1123 section 2.1 and HOST_NAME_MAX: one label of at most 63 characters.
        if sample.contains('.') {
            return Err(Flaw::new("a host name is one label, without a domain").help("the domain comes from the network"));
        }
        if sample.is_empty() || sample.len() > 63 {
            return Err(Flaw::new(format!("the host name would have {} characters", sample.len())).help("from 1 to 63"));
        }
        if let Some(bad) = sample.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '-') {
            let meant = text.replace(['_', ' '], "-");
            let flaw = Flaw::new(format!("a host name cannot hold `{bad}`")).help("letters, digits and `-`");
            return Err(if matches!(bad, '_' | ' ') { flaw.did_you_mean(meant) } else { flaw });
        }
        if sample.starts_with('-') || sample.ends_with('-') {
            return Err(Flaw::new("a host name cannot begin or end with `-`"));
        }
        Ok(())
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0uTQ6NVMmvZaZtSY0aZ2cLbTi/f2bBlTy8AuBT1Dh2 me@desk";

    #[test]
    fn a_public_key_is_accepted_and_a_spoilt_one_refused() {
        SshKey::new(KEY).unwrap();
        assert!(SshKey::new(&KEY[..40]).is_err());
        assert!(SshKey::new(&KEY.replace("ssh-ed25519", "ssh-rsa")).unwrap_err().contains("its content `ssh-ed25519`"));
        assert!(SshKey::new("-----BEGIN OPENSSH PRIVATE KEY-----").unwrap_err().contains("private"));
        assert!(SshKey::new("").is_err());
    }

    #[test]
    fn a_password_in_clear_is_refused_and_not_repeated() {
        let message = Password::new("hunter2").unwrap_err();
        assert!(!message.contains("hunter2"));
        assert!(Password::new("$1$abc$0123456789012345678901").is_err());
        assert!(Password::new("$6$short").is_err());
        Password::new("$6$rounds=5000$usesomesillystri$KqJWpanXZHKq2BOB43TSaYhEWsQ1Lr5QNyPCDH/Tp.6").unwrap();
        Password::new("locked").unwrap();
        assert_eq!(Password::locked().shadow(), "!*");
    }

    #[test]
    fn host_names_keep_to_one_label_even_when_filled_in() {
        for good in ["node", "node-{serial:8}", "{name}", "{mac}", "a-{serial}-{mac}"] {
            HostName::new(good).unwrap();
        }
        for bad in ["", "a.b", "-a", "a-", "a_b", "{seral}", "{serial", "{serial:0}", "{serial:x}", &"a".repeat(64)] {
            assert!(HostName::new(bad).is_err(), "{bad}");
        }
        assert_eq!(HostName::checked("n-{seral:8}").unwrap_err().suggestion.as_deref(), Some("n-{serial:8}"));
    }
}
