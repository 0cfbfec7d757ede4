//! Who may log in: ssh keys, password hashes, host names.

use fruit_contract::HostNameTemplate;
use fruit_contract::access::{AuthorizedKey, KEY_TYPES, PasswordHash};
use fruit_contract::hostname::PLACEHOLDERS;

use crate::declare::text;
use crate::words::told;

text! {
    /// An OpenSSH public key on one line, as in `id_ed25519.pub`.
    "an ssh public key such as `ssh-ed25519 AAAA… me@desk`"
    pub struct SshKey = |text| {
        let Err(why) = text.parse::<AuthorizedKey>() else { return Ok(()) };
        let flaw = told(&why);
        let kind = text.split_whitespace().next().unwrap_or_default();
        Err(if text.contains("PRIVATE KEY") {
            flaw.secret()
        } else if KEY_TYPES.contains(&kind) || kind == "ssh-dss" {
            flaw
        } else {
            match crate::diagnostic::similar(kind, KEY_TYPES) {
                Some(best) => flaw.did_you_mean(best),
                None => flaw.help("write the whole line of the `.pub` file, without options in front"),
            }
        })
    }, pattern AuthorizedKey::PATTERN;
}

text! {
    /// `locked`, or a password hash by yescrypt, bcrypt, SHA-512 or SHA-256 (crypt(5)). Never a password.
    "`locked` or a password hash"
    pub struct Password = |text| {
        if text == "locked" {
            return Ok(());
        }
        let Err(why) = text.parse::<PasswordHash>() else { return Ok(()) };
        let flaw = told(&why);
        if text.starts_with('$') {
            return Err(flaw);
        }
        // The text is not shown: it may be someone's password.
        Err(flaw.help("make a hash with `openssl passwd -6`, or write `locked` for an account without a password").secret())
    }, pattern r"^(locked|\$(y|gy|7|6|5|2b|2y)\$[./0-9A-Za-z$=,_-]+)$";
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

text! {
    /// A host name with placeholders, filled in on the device at each boot: `{serial}` the board's serial number, `{mac}` the
    /// hardware address of its first network interface, `{name}` the image's name. `{serial:8}` and `{mac:6}` take the last
    /// characters only.
    "a host name such as `node-{serial:8}`"
    pub struct HostName = |text| {
        let Err(why) = text.parse::<HostNameTemplate>() else { return Ok(()) };
        let flaw = told(&why);
        let inside = text.split_once('{').and_then(|(_, rest)| rest.split_once([':', '}'])).map(|(name, _)| name);
        if let Some(name) = inside.filter(|name| !PLACEHOLDERS.contains(name))
            && let Some(best) = crate::diagnostic::similar(name, PLACEHOLDERS)
        {
            return Err(flaw.did_you_mean(text.replacen(&format!("{{{name}"), &format!("{{{best}"), 1)));
        }
        let meant = text.replace(['_', ' '], "-");
        let fits = meant != text && meant.parse::<HostNameTemplate>().is_ok();
        Err(if fits { flaw.did_you_mean(meant) } else { flaw })
    }, pattern HostNameTemplate::PATTERN;
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0uTQ6NVMmvZaZtSY0aZ2cLbTi/f2bBlTy8AuBT1Dh2 me@desk";

    #[test]
    fn a_public_key_is_accepted_and_a_spoilt_one_refused() {
        SshKey::new(KEY).unwrap();
        assert!(SshKey::new(&KEY[..40]).is_err());
        assert!(SshKey::new(&KEY.replace("ssh-ed25519", "ssh-rsa")).unwrap_err().contains("its content ssh-ed25519"));
        assert!(SshKey::new("-----BEGIN OPENSSH PRIVATE KEY-----").unwrap_err().contains("private"));
        assert!(SshKey::new("").is_err());
    }

    #[test]
    fn a_password_in_clear_is_refused_and_not_repeated() {
        let message = Password::new("hunter2").unwrap_err();
        assert!(!message.contains("hunter2"));
        assert!(Password::new("$1$abc$0123456789012345678901").is_err());
        assert!(Password::new("$6$short").is_err());
        Password::new("$5$rounds=5000$usesomesillystri$KqJWpanXZHKq2BOB43TSaYhEWsQ1Lr5QNyPCDH/Tp.6").unwrap();
        Password::new("locked").unwrap();
        assert_eq!(Password::locked().shadow(), "!*");
    }

    #[test]
    fn host_names_are_checked_as_they_will_be_filled_in() {
        for good in ["node", "node.example.org", "node-{serial:8}", "{name}", "{mac}", "a-{serial}-{mac}"] {
            HostName::new(good).unwrap();
        }
        for bad in ["", "a..b", "-a", "a-", "a_b", "{seral}", "{serial", "{serial:0}", "{serial:x}", &"a".repeat(64)] {
            assert!(HostName::new(bad).is_err(), "{bad}");
        }
        assert_eq!(HostName::checked("n-{seral:8}").unwrap_err().suggestion.as_deref(), Some("n-{serial:8}"));
    }
}
