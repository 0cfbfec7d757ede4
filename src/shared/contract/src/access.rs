//! Who may log in to a node, and whom it obeys.

use crate::cmdline::{hex, parse_hex};
use crate::text::{checked_text, is_made_of, shown};

checked_text! {
    /// One line of `authorized_keys`: type, key, comment; no options, since those can run commands.
    AuthorizedKey, check_authorized_key,
    "^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\\.com) +[A-Za-z0-9+/]+=*( .*)?$"
}

checked_text! {
    /// A hash as in crypt(5), never a password: `$y$…`, `$6$…`, `$5$…`, `$2b$…`, `$2y$…` (htpasswd's name of
    /// the same method), `$gy$…`, `$7$…`.
    PasswordHash, check_password_hash, "^\\$(y|gy|7|6|5|2b|2y)\\$[./0-9A-Za-z$=,_-]+$"
}

checked_text! {
    /// An ed25519 public key; read as 64 hexadecimal digits or as OpenSSH writes it (`ssh-ed25519 AAAA…`), kept as hex.
    OperatorKey, check_operator_key
}

/// Types of ssh public keys that sshd of Debian 13 accepts.
pub const KEY_TYPES: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];
/// An RSA key of 16384 bits, the most that OpenSSH takes, is 2800 characters.
const MAX_KEY: usize = 4096;
const MAX_COMMENT: usize = 256;

/// Least modulus of an RSA key, in bytes: sshd demands 1024 bits (`RequiredRSASize`), ssh-keygen of Debian 13 warns below 2048.
const MIN_RSA: usize = 256;

/// The line of a public key, taken apart.
struct KeyLine<'a> {
    kind: &'a str,
    encoded: &'a str,
    blob: Vec<u8>,
    comment: &'a str,
}

fn split_key(text: &str) -> Result<KeyLine<'_>, String> {
    let text = text.trim();
    if text.contains("PRIVATE KEY") {
        // Not shown.
        return Err(
            "this is a private key: put the public one here (the line of the .pub file), and make a new pair".into()
        );
    }
    let word = |text: &str| text.find(' ').unwrap_or(text.len());
    let (kind, rest) = text.split_at(word(text));
    if kind == "ssh-dss" {
        return Err("OpenSSH refuses DSA keys since version 9.8; make a new one: ssh-keygen -t ed25519".into());
    }
    if !KEY_TYPES.contains(&kind) {
        let kinds = KEY_TYPES.join(", ");
        return Err(format!("'{}' is not an ssh public key: expected it to start with one of {kinds}", shown(text)));
    }
    let rest = rest.trim_start_matches(' ');
    let (encoded, comment) = rest.split_at(word(rest));
    if encoded.len() > MAX_KEY {
        return Err(format!("an ssh public key of {} characters, at most {MAX_KEY} are possible", encoded.len()));
    }
    let blob = decode_base64(encoded).ok_or_else(|| format!("the {kind} key is not base64: was it cut off?"))?;
    Ok(KeyLine { kind, encoded, blob, comment: comment.trim() })
}

fn check_authorized_key(text: &str) -> Result<String, String> {
    let KeyLine { kind, encoded, blob, comment } = split_key(text)?;
    // RFC 4253 section 6.6: the blob starts with its own type.
    let mut rest = blob.as_slice();
    let inside = take_string(&mut rest).unwrap_or_default();
    if inside != kind.as_bytes() {
        return Err(match KEY_TYPES.iter().find(|known| known.as_bytes() == inside) {
            Some(inside) => format!("the key says {kind}, its content {inside}"),
            None => format!("the {kind} key holds a key of another type: was it cut off?"),
        });
    }
    let fields = strings(rest).unwrap_or_default();
    // The point (ed25519, RFC 8709); exponent and modulus (RSA, RFC 4253); curve and point (ECDSA, RFC 5656); security keys
    // add the application (OpenSSH's PROTOCOL.u2f).
    let whole = match (kind, fields.as_slice()) {
        ("ssh-ed25519", [point]) | ("sk-ssh-ed25519@openssh.com", [point, _]) => point.len() == 32,
        ("ssh-rsa", [_, modulus]) if modulus.len() < MIN_RSA => {
            let weak = "an RSA key of less than 2048 bits is too weak";
            return Err(format!("{weak}; make a new one: ssh-keygen -t ed25519"));
        }
        ("ssh-rsa", [_, _]) | ("sk-ecdsa-sha2-nistp256@openssh.com", [_, _, _]) => true,
        (_, [_, _]) => kind.starts_with("ecdsa-"),
        _ => false,
    };
    if !whole {
        return Err(format!("the {kind} key is damaged or cut off: copy the whole line of the .pub file"));
    }
    if comment.len() > MAX_COMMENT || comment.chars().any(char::is_control) {
        return Err(format!("the comment of an ssh key is at most {MAX_COMMENT} bytes on one line, without tabs"));
    }
    Ok(format!("{kind} {encoded} {comment}").trim_end().to_owned())
}

/// The strings that fill `blob`, each with a 32-bit length in front (RFC 4251 section 5).
fn strings(mut blob: &[u8]) -> Option<Vec<&[u8]>> {
    let mut all = Vec::new();
    while !blob.is_empty() {
        all.push(take_string(&mut blob)?);
    }
    Some(all)
}

fn take_string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, behind) = rest.split_first_chunk::<4>()?;
    let (string, behind) = behind.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *rest = behind;
    Some(string)
}

/// RFC 4648 section 4, with its padding.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if digits.is_empty() || !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0u32, 0);
    for c in digits.bytes() {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(value)) & 0xffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    Some(bytes)
}

fn check_password_hash(text: &str) -> Result<String, String> {
    let advice = "make one with: openssl passwd -6";
    let method = text.strip_prefix('$').and_then(|t| t.split_once('$'));
    let Some((method, rest)) = method else {
        // Not shown: it may be a password.
        return Err(format!("this is not a password hash (a plain password is never taken); {advice}"));
    };
    // crypt(5): how long the hash behind the last `$` is; that of bcrypt begins with the salt.
    let length = match method {
        "y" | "gy" | "7" | "5" => 43,
        "6" => 86,
        "2b" | "2y" => 53,
        _ => return Err(format!("password hash method '{}' is unknown or too weak; {advice}", shown(method))),
    };
    let hash = rest.rsplit('$').next().unwrap_or_default();
    if !is_made_of(rest, "./$=,_-") || hash.len() != length || text.len() > 256 {
        return Err(format!("the password hash is cut off or has characters that no hash has; {advice}"));
    }
    Ok(text.into())
}

fn check_operator_key(text: &str) -> Result<String, String> {
    let text = text.trim();
    let key = if text.starts_with("ssh-") {
        let KeyLine { kind, blob, .. } = split_key(text)?;
        let mut rest = blob.as_slice();
        let inner = take_string(&mut rest);
        take_string(&mut rest)
            .filter(|_| kind == "ssh-ed25519" && inner == Some(b"ssh-ed25519") && rest.is_empty())
            .map(<[u8]>::to_vec)
    } else {
        parse_hex(text)
    };
    match key {
        Some(key) if key.len() == 32 && key.iter().any(|&b| b != 0) => Ok(hex(&key)),
        _ => {
            Err("not an ed25519 public key: expected 64 hexadecimal digits, or a line that starts with ssh-ed25519"
                .into())
        }
    }
}

impl OperatorKey {
    /// The 32 bytes of the key (RFC 8032); whether they are a point on the curve is for the verifier to see.
    pub fn bytes(&self) -> [u8; 32] {
        parse_hex(self.as_str()).and_then(|b| b.try_into().ok()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

    #[test]
    fn ssh_keys_are_kept_as_they_are() {
        for key in [KEY.to_owned(), format!("{KEY} ann@desk two words")] {
            assert_eq!(key.parse::<AuthorizedKey>().unwrap().as_str(), key);
        }
        assert_eq!(format!(" {KEY}\n").parse::<AuthorizedKey>().unwrap().as_str(), KEY);
    }

    #[test]
    fn ssh_keys_that_would_inject_or_not_work_are_refused() {
        let cut = &KEY[..KEY.len() - 4];
        let injected = format!("{KEY} x\nssh-ed25519 AAAA");
        let command = format!("command=\"reboot\" {KEY}");
        let other = KEY.replace("ssh-ed25519 ", "ssh-rsa ");
        for bad in [
            "",
            "ssh-ed25519",
            "ssh-dss AAAA",
            cut,
            &injected,
            &command,
            &other,
            "ssh-ed25519 !!!!",
            "-----BEGIN OPENSSH PRIVATE KEY-----",
        ] {
            assert!(bad.parse::<AuthorizedKey>().is_err(), "{bad}");
        }
    }

    #[test]
    fn base64_is_decoded() {
        assert_eq!(decode_base64("Zm9vYmFy").unwrap(), b"foobar");
        assert_eq!(decode_base64("Zm9vYg==").unwrap(), b"foob");
        assert_eq!(decode_base64("Zm9vYmE=").unwrap(), b"fooba");
        for bad in ["", "=", "====", "Zg", "Zg=", "Z===", "Zm9*"] {
            assert_eq!(decode_base64(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_plain_password_is_refused_and_never_repeated_in_the_message() {
        let error = "hunter2".parse::<PasswordHash>().unwrap_err();
        assert!(!error.contains("hunter2") && error.contains("openssl passwd"));
    }

    #[test]
    fn hashes_of_strong_methods_are_accepted() {
        let sha512 = format!("$6$saltsalt${}", "x".repeat(86));
        let yescrypt = format!("$y$j9T$F5Jx5fExrKuPp53xLKQ..1${}", "y".repeat(43));
        for good in [&sha512, &yescrypt, &format!("$2b$12${}", "z".repeat(53)), &format!("$2y$05${}", "z".repeat(53))] {
            assert!(good.parse::<PasswordHash>().is_ok(), "{good}");
        }
        let md5 = format!("$1$salt${}", "x".repeat(31));
        let with_newline = format!("{sha512}\n");
        let with_field = format!("{sha512}:0:0");
        for bad in [&md5, &with_newline, &with_field, "$6$salt$short", "*", "!"] {
            assert!(bad.parse::<PasswordHash>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_operator_key_is_read_in_both_forms() {
        let digits: String = (0..32).map(|b| format!("{b:02x}")).collect();
        for text in [KEY.to_owned(), format!("{KEY} me"), digits.clone(), digits.to_uppercase()] {
            assert_eq!(text.parse::<OperatorKey>().unwrap().as_str(), digits);
        }
        assert_eq!(digits.parse::<OperatorKey>().unwrap().bytes()[31], 31);
        for bad in ["", "00", &"0".repeat(64), &"g".repeat(64), "ssh-rsa AAAA"] {
            assert!(bad.parse::<OperatorKey>().is_err(), "{bad}");
        }
    }
}
