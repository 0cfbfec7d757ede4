//! Web pages that come in place of files: a network that wants a sign-in answers every address with one.

/// Bytes of an answer that are looked at.
const LOOKED_AT: usize = 4096;
/// Characters of a page's title that are shown.
const SHOWN: usize = 80;

/// What an HTTP status says that is no server's own answer.
pub(crate) fn portal_status(status: u16) -> Option<String> {
    // RFC 6585, section 6
    (status == 511).then(|| format!("the network wants a sign-in (status 511); {REMEDY}"))
}

const REMEDY: &str = "this looks like a captive portal or the login page of a proxy: open a web page in a browser, sign \
                      in, and try again";

/// A sentence, if the beginning of a file is that of a web page: no file of a Debian archive is one.
pub(crate) fn page_instead_of_file(head: &[u8]) -> Option<String> {
    let head = &head[..head.len().min(LOOKED_AT)];
    let text = String::from_utf8_lossy(head);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    // The same length, so that places agree.
    let lower = text.to_ascii_lowercase();
    let marks = ["<!doctype html", "<html", "<head", "<body", "<title", "<meta ", "<script"];
    if !lower.starts_with('<') || !marks.iter().any(|mark| lower.contains(mark)) {
        return None;
    }
    let title = title(text, &lower).map(|title| format!(" titled {title:?}")).unwrap_or_default();
    Some(format!("the answer is a web page{title}, not the file; {REMEDY}"))
}

fn title(text: &str, lower: &str) -> Option<String> {
    let open = lower.find("<title")?;
    let start = open + lower[open..].find('>')? + 1;
    let end = start + lower[start..].find('<')?;
    let words: Vec<&str> = text[start..end].split_whitespace().collect();
    let title: String = words.join(" ").chars().filter(|c| !c.is_control()).take(SHOWN).collect();
    Some(title).filter(|title| !title.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_told_from_files_of_an_archive() {
        let page =
            page_instead_of_file(b"\xef\xbb\xbf\n<!DOCTYPE HTML><head><TITLE lang=en>Hotel\n WiFi</TITLE>").unwrap();
        assert!(page.contains("\"Hotel WiFi\"") && page.contains("captive portal"), "{page}");
        assert!(page_instead_of_file(b"<html>\xff\xff").is_some());
        let cut = page_instead_of_file(b"<html><title>never ends").unwrap();
        assert!(!cut.contains("titled"), "{cut}");
        for file in
            [&b"-----BEGIN PGP SIGNED MESSAGE-----"[..], b"Package: html\nDescription: <html>", b"!<arch>\n", b"", b"<"]
        {
            assert_eq!(page_instead_of_file(file), None);
        }
    }
}
