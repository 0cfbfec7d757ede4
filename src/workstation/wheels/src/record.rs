//! RECORD, the list of a wheel's files (packaging.python.org, "Recording installed projects").

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fruit_base::Sha256;

/// Paths with their SHA-256; none for the files that cannot have one.
///
/// # Errors
/// In words: a line that is none, another hash than SHA-256.
pub fn read(text: &str) -> Result<BTreeMap<String, Option<Sha256>>, String> {
    let mut all = BTreeMap::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let wrong = || format!("RECORD: {line:?} is not of the form PATH,sha256=HASH,SIZE");
        let (rest, _size) = line.rsplit_once(',').ok_or_else(wrong)?;
        let (path, hash) = rest.rsplit_once(',').ok_or_else(wrong)?;
        let path = match path.strip_prefix('"').and_then(|path| path.strip_suffix('"')) {
            Some(quoted) => quoted.replace("\"\"", "\""),
            None => path.to_owned(),
        };
        let hash = match hash {
            "" => None,
            hash => {
                let text = hash.strip_prefix("sha256=").ok_or_else(wrong)?;
                let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| wrong())?;
                Some(Sha256(bytes.try_into().map_err(|_| wrong())?))
            }
        };
        all.insert(path, hash);
    }
    Ok(all)
}

/// A line for a file; `path` is relative to the folder of installed packages, or absolute.
#[must_use]
pub fn line(path: &str, of: Option<(&Sha256, u64)>) -> String {
    let path = match path.contains([',', '"']) {
        true => format!("\"{}\"", path.replace('"', "\"\"")),
        false => path.to_owned(),
    };
    match of {
        Some((sha256, size)) => format!("{path},sha256={},{size}\n", URL_SAFE_NO_PAD.encode(sha256.0)),
        None => format!("{path},,\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_back_whatever_is_in_its_path() {
        let sum = Sha256::of(b"x");
        for path in ["a/b.py", "a, b.py", "a\"b.py"] {
            let text = line(path, Some((&sum, 1))) + &line("x.dist-info/RECORD", None);
            let read = read(&text).unwrap();
            assert_eq!(read[path], Some(sum), "{text}");
            assert_eq!(read["x.dist-info/RECORD"], None);
        }
        for bad in ["a.py", "a.py,md5=1,2", "a.py,sha256=!,2", "a.py,sha256=AAAA,2"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
