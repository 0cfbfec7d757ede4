//! The sandbox's host name in settings: the node has a name of its own, which it learns at boot.

/// What the host is called where scripts run.
const SANDBOX: &str = "localhost";

/// Postfix's settings (postconf(5)) without what its script took for the node's name; `None` when they have nothing of that.
///
/// Without `myhostname`, Postfix takes the name that the node has, and its `mydestination` names that as `$myhostname`.
pub(crate) fn postfix(bytes: &[u8]) -> Option<Vec<u8>> {
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    let kept: Vec<&[u8]> = lines.iter().copied().filter(|line| !is_of_sandbox(line)).collect();
    (kept.len() < lines.len()).then(|| kept.concat())
}

/// Whether a line gives Postfix the sandbox's name, to which its script appends `.UNKNOWN` for want of a domain.
fn is_of_sandbox(line: &[u8]) -> bool {
    let Ok(line) = std::str::from_utf8(line) else { return false };
    let Some((key, value)) = line.split_once('=') else { return false };
    // A line that begins with a blank goes on with the one before (postconf(5)).
    key.trim_end() == "myhostname" && value.trim().split('.').next() == Some(SANDBOX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postfix_has_the_nodes_name_and_not_the_sandboxs() {
        let settled = |text: &str| postfix(text.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap());
        let script = "biff = no\nmyhostname = localhost.UNKNOWN\nmydestination = $myhostname, localhost\n";
        assert_eq!(settled(script).unwrap(), "biff = no\nmydestination = $myhostname, localhost\n");
        for text in ["myhostname = mail.example.org\n", "#myhostname = localhost.UNKNOWN\n", "mydomain = localhost\n"] {
            assert!(settled(text).is_none(), "{text}");
        }
    }
}
