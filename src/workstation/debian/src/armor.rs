//! OpenPGP's text forms (RFC 9580 sections 6 and 7): armoured blocks, and cleartext-signed messages such as `InRelease`.
//! Read as GnuPG reads them: lines may end in CRLF and be indented, armour headers and checksums say nothing.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Some writers leave the padding away.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

const BEGIN: &str = "-----BEGIN PGP ";
const END: &str = "-----END PGP ";
const RULE: &str = "-----";
const SIGNED_MESSAGE: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----";

/// A block between its `BEGIN` and `END` lines, decoded.
pub(crate) struct Block {
    /// `PUBLIC KEY BLOCK`, `SIGNATURE`, …
    pub(crate) label: String,
    pub(crate) bytes: Vec<u8>,
}

/// All armoured blocks of a text, whatever stands around them.
///
/// # Errors
/// In words: a block that does not end, or holds something else than base64.
pub(crate) fn blocks(text: &[u8]) -> Result<Vec<Block>, String> {
    let mut all = Vec::new();
    let mut open: Option<(String, Vec<u8>)> = None;
    for line in text.split(|b| *b == b'\n') {
        let line = String::from_utf8_lossy(line);
        let line = line.trim_start_matches('\u{feff}').trim();
        if let Some(label) = line.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(RULE)) {
            if let Some((label, _)) = open {
                return Err(format!("has a {label} without an END line"));
            }
            open = Some((label.to_owned(), Vec::new()));
        } else if line.starts_with(END) {
            let Some((label, digits)) = open.take() else { continue };
            let bytes = BASE64.decode(&digits).map_err(|e| format!("has a {label} that is damaged: {e}"))?;
            all.push(Block { label, bytes });
        } else if let Some((_, digits)) = &mut open {
            // `Version: …` is a header, `=aBcD` the checksum, which says less than any signature.
            if !line.contains(':') && !line.starts_with('=') {
                digits.extend(line.bytes().filter(|b| !b.is_ascii_whitespace()));
            }
        }
    }
    match open {
        None => Ok(all),
        Some((label, _)) => Err(format!("has a {label} without an END line")),
    }
}

/// A cleartext-signed message, taken apart.
pub(crate) struct Clearsigned {
    /// What was signed: without escapes and without blanks at the ends of lines, lines ended by `\n` but for the last.
    pub(crate) text: Vec<u8>,
    /// The signature packets.
    pub(crate) signatures: Vec<u8>,
}

/// Takes a cleartext-signed message apart.
///
/// # Errors
/// In words: anything before or after the message, or a text that does not follow the format.
pub(crate) fn clearsigned(message: &[u8]) -> Result<Clearsigned, String> {
    let mut lines = message.split(|b| *b == b'\n').map(|line| line.trim_ascii_end()).peekable();
    while lines.next_if(|line| line.is_empty()).is_some() {}
    if lines.next() != Some(SIGNED_MESSAGE.as_bytes()) {
        return Err(format!("it does not start with {SIGNED_MESSAGE}"));
    }
    // `Hash: SHA512`: a hint for reading in one pass, which the signatures repeat.
    while lines.next_if(|line| !line.is_empty() && line.contains(&b':')).is_some() {}
    if lines.next() != Some(b"") {
        return Err("the text is not separated from its header by an empty line".to_owned());
    }
    let mut text = Vec::with_capacity(message.len());
    let mut first = true;
    let mut signature = Vec::new();
    loop {
        let Some(line) = lines.next() else { return Err("it has no signature".to_owned()) };
        if line == SIGNATURE.as_bytes() {
            signature.extend(line);
            break;
        }
        if !std::mem::take(&mut first) {
            text.push(b'\n');
        }
        text.extend(match line.strip_prefix(b"- ") {
            Some(escaped) => escaped,
            None if line == b"-" => b"",
            None if line.starts_with(b"-") => return Err("a line begins with a dash that is not escaped".to_owned()),
            None => line,
        });
    }
    for line in lines.by_ref() {
        signature.push(b'\n');
        signature.extend(line);
        if line.starts_with(END.as_bytes()) {
            break;
        }
    }
    if lines.any(|line| !line.is_empty()) {
        return Err("something follows its signature".to_owned());
    }
    let signatures = blocks(&signature)?.into_iter().flat_map(|block| block.bytes).collect();
    Ok(Clearsigned { text, signatures })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_in_any_text() {
        let text = "\u{feff}pub ed25519\r\n\r\n  -----BEGIN PGP PUBLIC KEY BLOCK-----\r\n  Version: 1\r\n\r\n  aGVs\r\n  bG8=\r\n  =abcd\r\n  \
            -----END PGP PUBLIC KEY BLOCK-----\r\nand\n-----BEGIN PGP PUBLIC KEY BLOCK-----\naGVsbG8\n-----END PGP PUBLIC KEY BLOCK-----";
        let found = blocks(text.as_bytes()).unwrap();
        assert_eq!(found.iter().map(|b| &b.bytes[..]).collect::<Vec<_>>(), [b"hello", b"hello"]);
        assert_eq!(found[0].label, "PUBLIC KEY BLOCK");
        assert!(blocks(b"none at all").unwrap().is_empty());
        for bad in ["-----BEGIN PGP X-----\n\naGVs\n", "-----BEGIN PGP X-----\n\na*\n-----END PGP X-----\n"] {
            assert!(blocks(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_signed_text_is_taken_apart() {
        let end = "-----BEGIN PGP SIGNATURE-----\n\naGVsbG8=\n-----END PGP SIGNATURE-----\n";
        let message = format!("{SIGNED_MESSAGE}\nHash: SHA512\n\nA: b \t\r\n- - dash\n\n c\n{end}\n");
        let read = clearsigned(message.as_bytes()).unwrap();
        assert_eq!((&read.text[..], &read.signatures[..]), (&b"A: b\n- dash\n\n c"[..], &b"hello"[..]));
        for bad in [
            format!("x\n{message}"),
            format!("{message}x"),
            format!("{message}{message}"),
            message.replace("- - dash", "-dash"),
            message.replace("\n\nA", "\nA"),
            message.replace(end, ""),
        ] {
            assert!(clearsigned(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
