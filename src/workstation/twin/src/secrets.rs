//! What must be another thing on every machine: keys and passwords that scripts made.

/// Bytes of a file that is looked at for keys.
const LOOKED_AT: u64 = 1 << 20;
/// A key or a password has at least so many bytes, and a file that is nothing else at most so many.
const KEY: (u64, u64) = (16, 4096);
/// Shortest word that is taken for a random one.
const WORD: usize = 24;

/// Account files are looked at by [`password`].
const ACCOUNTS: [&str; 4] = ["etc/shadow", "etc/gshadow", "etc/passwd", "etc/group"];

/// Whether a file of this size may hold a key, and so should be read.
pub(crate) fn may_hold(size: u64) -> bool {
    size > 0 && size <= LOOKED_AT
}

/// What kind of secret a new file holds. `shipped` is what a package had at that path, if it had something.
pub(crate) fn of(path: &str, mode: u16, bytes: &[u8], shipped: Option<&[u8]>) -> Option<&'static str> {
    if is_private_key(bytes) {
        return Some("a private key");
    }
    let hidden = mode & 0o007 == 0;
    let length = bytes.len() as u64;
    if ACCOUNTS.contains(&path) || !hidden || length < KEY.0 {
        return None;
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return (length <= KEY.1 && shipped.is_none()).then_some("random bytes that only its owner may read");
    };
    // What else PEM holds is public.
    if text.contains("-----BEGIN ") {
        return None;
    }
    let shipped = shipped.map(String::from_utf8_lossy).unwrap_or_default();
    let old: Vec<&str> = shipped.lines().collect();
    let mut new = text.lines().filter(|line| !old.contains(line) && !line.trim_start().starts_with(['#', ';', '*']));
    new.any(|line| line.split(|c: char| !is_of_word(c)).any(is_random)).then_some("a generated password or key")
}

/// An account whose password a script has set.
pub(crate) fn password(shadow: &str) -> Option<&str> {
    let mut accounts = shadow.lines().filter_map(|line| line.split_once(':'));
    accounts.find(|(_, rest)| rest.starts_with('$') || rest.starts_with("!$")).map(|(name, _)| name)
}

/// The first line of every textual form of private keys says so (RFC 7468; OpenSSH's PROTOCOL.key; RFC 9580).
fn is_private_key(bytes: &[u8]) -> bool {
    let begin = b"-----BEGIN ";
    let starts = bytes.windows(begin.len()).enumerate().filter(|(_, window)| window == begin).map(|(at, _)| at);
    let mut lines = starts.map(|at| bytes[at..].split(|b| *b == b'\n').next().unwrap_or_default());
    let putty = bytes.starts_with(b"PuTTY-User-Key-File");
    putty || lines.any(|line| line.windows(11).any(|window| window == b"PRIVATE KEY"))
}

fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || "+/=".contains(c)
}

/// Whether a word looks as no person and no file name writes one: base64 or hexadecimal digits of some length.
fn is_random(word: &str) -> bool {
    let count = |test: &dyn Fn(char) -> bool| word.chars().filter(|c| test(*c)).count();
    if word.len() < WORD || word.starts_with('/') || count(&|c| c == '/') > word.len() / 12 {
        return false;
    }
    let (digits, upper, lower) =
        (count(&|c| c.is_ascii_digit()), count(&|c| c.is_ascii_uppercase()), count(&|c| c.is_ascii_lowercase()));
    let hexadecimal =
        word.len() >= 32 && word.bytes().all(|b| b.is_ascii_hexdigit()) && digits >= 6 && lower + upper >= 4;
    hexadecimal || (digits >= 2 && upper >= 4 && lower >= 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_generated_passwords_are_found() {
        let secret = |mode, text: &str| of("etc/x", mode, text.as_bytes(), None).is_some();
        for kind in ["PRIVATE KEY", "RSA PRIVATE KEY", "OPENSSH PRIVATE KEY", "PGP PRIVATE KEY BLOCK"] {
            assert!(secret(0o644, &format!("# a\n-----BEGIN {kind}-----\nMII\n")), "{kind}");
        }
        assert!(secret(0o640, "key \"rndc-key\" {\n secret \"n8xMtV4mJ5mCk0rB9tWb1jWlE3dQZ7H0gM1kL2pXy8E=\";\n};\n"));
        assert!(secret(0o600, "password = 3f9c1b2a4d5e6f708192a3b4c5d6e7f8\n"));
        assert!(of("etc/munge.key", 0o400, &[0x9f, 0xc1, 0xff, 0xfe].repeat(32), None).is_some());
    }

    #[test]
    fn settings_are_no_secrets() {
        let secret = |mode, text: &str| of("etc/x", mode, text.as_bytes(), None).is_some();
        assert!(!secret(0o640, "-----BEGIN CERTIFICATE-----\nMIIDdzCCAl+gAwIBAgIEAgAAuTAN\n"));
        assert!(!secret(
            0o640,
            "data_directory = '/var/lib/postgresql/17/main'\nssl_ciphers = HIGH:MEDIUM:+3DES:!aNULL\n"
        ));
        assert!(!secret(0o644, "password = 3f9c1b2a4d5e6f708192a3b4c5d6e7f8\n"), "everybody may read it");
        let line = "sum = n8xMtV4mJ5mCk0rB9tWb1jWlE3dQZ7H0\n";
        assert!(of("etc/x", 0o640, line.as_bytes(), Some(line.as_bytes())).is_none(), "the package ships it");
    }

    #[test]
    fn an_account_with_a_password_is_named() {
        assert_eq!(password("root:*:::::::\nadmin:$y$j9T$x:::::::\n"), Some("admin"));
        assert_eq!(password("root:!:::::::\nx:!*:::::::\n"), None);
    }
}
