//! Host names and the templates that they are made from.

use crate::text::{checked_text, is_made_of, shown};

/// `HOST_NAME_MAX` of Linux.
const MAX_HOST_NAME: usize = 64;
/// RFC 1035, section 2.3.4.
const MAX_LABEL: usize = 63;
/// Longest template; far above any that gives a valid name.
const MAX_TEMPLATE: usize = 128;

/// What may stand in braces in a template.
pub const PLACEHOLDERS: [&str; 3] = ["serial", "mac", "name"];

checked_text! {
    /// A valid host name: at most 64 characters, dot-separated labels of letters, digits and inner hyphens.
    HostName, check_host_name
}

checked_text! {
    /// A host name with placeholders: `{serial}` (of the board), `{mac}` (of the first Ethernet port, 12 hex digits),
    /// `{name}` (of the recipe); `{serial:8}` is the last 8 characters.
    HostNameTemplate, check_template, "^([A-Za-z0-9.-]|\\{(serial|mac|name)(:[0-9]+)?\\})+$"
}

fn check_host_name(text: &str) -> Result<String, String> {
    let rule = "expected letters, digits and inner hyphens, at most 64, labels at most 63 and separated by dots";
    let label_ok = |label: &str| {
        !label.is_empty()
            && label.len() <= MAX_LABEL
            && is_made_of(label, "-")
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() <= MAX_HOST_NAME && text.split('.').all(label_ok) {
        Ok(text.into())
    } else {
        Err(format!("'{}' is not a host name: {rule}", shown(text)))
    }
}

fn check_template(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > MAX_TEMPLATE {
        return Err(format!("a host name has 1 to {MAX_TEMPLATE} characters, not {}", text.len()));
    }
    let parts = parse(text)?;
    let literals_ok = parts.iter().all(|p| !matches!(p, Part::Literal(l) if !is_made_of(l, "-.")));
    if !literals_ok {
        return Err(format!(
            "'{}' is not a host name: expected letters, digits, hyphens and placeholders",
            shown(text)
        ));
    }
    if parts.iter().all(|p| matches!(p, Part::Literal(_))) {
        return check_host_name(text);
    }
    // Any serial number of letters and digits must give a valid name, so try two.
    for serial in ["0", "10000000f00dcafe"] {
        let facts = HostFacts { serial: Some(serial.into()), mac: Some("020000000001".into()), name: "a".into() };
        check_host_name(&fill(&parts, &facts))
            .map_err(|_| format!("'{}' does not give a valid host name", shown(text)))?;
    }
    Ok(text.into())
}

/// What the placeholders of a template stand for on one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// Serial number of the board.
    pub serial: Option<String>,
    /// Hardware address of the first Ethernet port.
    pub mac: Option<String>,
    /// Name of the recipe.
    pub name: String,
}

impl HostNameTemplate {
    /// The host name of the node with these facts: unknown ones and characters that no host name has are left out. If
    /// nothing valid remains, the recipe's name, or `fruit`.
    pub fn expand(&self, facts: &HostFacts) -> HostName {
        let filled = parse(&self.0).map(|parts| fill(&parts, facts)).unwrap_or_default();
        [filled, sanitize(&facts.name)]
            .iter()
            .find_map(|name| tidy(name).parse().ok())
            .unwrap_or_else(|| HostName("fruit".into()))
    }
}

impl Default for HostNameTemplate {
    /// A name that differs from node to node and says what the node is.
    fn default() -> HostNameTemplate {
        HostNameTemplate("{name}-{serial:6}".into())
    }
}

enum Part<'a> {
    Literal(&'a str),
    Fact { name: &'a str, last: Option<usize> },
}

fn parse(text: &str) -> Result<Vec<Part<'_>>, String> {
    let known = "known placeholders are {serial}, {mac}, {name}, and {serial:8} for the last 8 characters";
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (inside, behind) =
            after.split_once('}').ok_or_else(|| format!("'{}': '{{' without '}}'; {known}", shown(text)))?;
        let (name, last) = match inside.split_once(':') {
            Some((name, count)) => {
                let count = count.parse::<u8>().ok().filter(|&n| n > 0);
                (name, Some(count.ok_or_else(|| format!("'{{{}}}': {known}", shown(inside)))?.into()))
            }
            None => (inside, None),
        };
        if !PLACEHOLDERS.contains(&name) {
            return Err(format!("unknown placeholder '{{{}}}'; {known}", shown(inside)));
        }
        parts.extend([Part::Literal(before), Part::Fact { name, last }]);
        rest = behind;
    }
    parts.push(Part::Literal(rest));
    Ok(parts)
}

fn fill(parts: &[Part<'_>], facts: &HostFacts) -> String {
    parts
        .iter()
        .map(|part| match part {
            Part::Literal(text) => (*text).to_owned(),
            Part::Fact { name, last } => {
                let value = match *name {
                    "serial" => facts.serial.as_deref(),
                    "mac" => facts.mac.as_deref(),
                    _ => Some(facts.name.as_str()),
                };
                let value = sanitize(value.unwrap_or_default());
                let from = last.map_or(0, |n| value.len().saturating_sub(n));
                // ASCII since sanitized, so any index is a character boundary.
                value[from..].to_owned()
            }
        })
        .collect()
}

/// Keeps what a label may hold; lower case, since facts come from hardware in any case.
fn sanitize(value: &str) -> String {
    value.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').map(|c| c.to_ascii_lowercase()).collect()
}

/// Removes the hyphens that missing facts leave at the ends of labels, empty labels, and what is too long.
fn tidy(name: &str) -> String {
    let labels: Vec<&str> = name
        .split('.')
        .map(|label| label.trim_matches('-'))
        .map(|label| label[..label.len().min(MAX_LABEL)].trim_end_matches('-'))
        .filter(|label| !label.is_empty())
        .collect();
    let joined = labels.join(".");
    joined[..joined.len().min(MAX_HOST_NAME)].trim_end_matches(['-', '.']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn expand(template: &str, serial: Option<&str>) -> String {
        let facts =
            HostFacts { serial: serial.map(Into::into), mac: Some("b827eb010203".into()), name: "pistack".into() };
        template.parse::<HostNameTemplate>().unwrap().expand(&facts).to_string()
    }

    #[test]
    fn placeholders_are_filled_from_the_board() {
        let serial = Some("00000000F00DCAFE");
        assert_eq!(expand("node-{serial:8}", serial), "node-f00dcafe");
        assert_eq!(expand("{name}-{serial:4}.example.org", serial), "pistack-cafe.example.org");
        assert_eq!(expand("n{mac}", serial), "nb827eb010203");
        assert_eq!(expand("{serial:99}", serial), "00000000f00dcafe");
        assert_eq!(expand("fixed", serial), "fixed");
    }

    #[test]
    fn the_default_is_a_valid_template() {
        let template = HostNameTemplate::default();
        assert_eq!(template.as_str().parse(), Ok(template));
    }

    #[test]
    fn a_board_without_serial_still_gets_a_valid_name() {
        assert_eq!(expand("node-{serial:8}", None), "node");
        assert_eq!(expand("{serial}", None), "pistack");
        assert_eq!(expand("{serial}.lan", None), "lan");
    }

    #[test]
    fn a_serial_full_of_rubbish_gives_a_valid_name() {
        assert_eq!(expand("n-{serial}", Some("../é\n$(x) A-")), "n-xa");
        assert_eq!(expand("{name}-{serial}", Some(&"7".repeat(500))).len(), 63);
    }

    #[test]
    fn what_gives_no_host_name_is_refused() {
        for bad in [
            "",
            "-a",
            "a_b",
            "a b",
            "a\nb",
            "{serial",
            "{board}",
            "{serial:0}",
            "{serial:x}",
            "é",
            "a..b",
            "-{serial}",
            "{serial}\n",
            &"a".repeat(65),
        ] {
            assert!(bad.parse::<HostNameTemplate>().is_err(), "{bad:?}");
        }
        assert!("a".repeat(63).parse::<HostName>().is_ok());
        assert!("a".repeat(64).parse::<HostName>().is_err(), "one label of 64");
        assert!("".parse::<HostName>().is_err());
    }

    proptest! {
        #[test]
        fn any_accepted_template_gives_a_valid_name(
            template in "([a-z0-9.-]|\\{serial\\}|\\{mac:[1-9]\\}|\\{name\\}){1,8}",
            serial in proptest::option::of("\\PC{0,100}"), mac in proptest::option::of("\\PC{0,20}"), name in "\\PC{0,90}",
        ) {
            if let Ok(template) = template.parse::<HostNameTemplate>() {
                let name = template.expand(&HostFacts { serial, mac, name });
                prop_assert!(name.as_str().parse::<HostName>().is_ok(), "{}", name);
            }
        }
    }
}
