//! pam-auth-update: writes `/etc/pam.d/common-*` from the profiles in `/usr/share/pam-configs` and the templates in
//! `/usr/share/pam`, by the rules of Debian's libpam-runtime (pam-auth-update(8) and its source).

use std::collections::BTreeMap;

use crate::Error;
use crate::edit::{TreeEditor, names};

/// A profile's fields; multi-line ones with their lines trimmed.
type Profile = BTreeMap<String, String>;

const TYPES: [&str; 5] = ["auth", "account", "password", "session", "session-noninteractive"];
const PRIMARY: &str = "# here are the per-package modules (the \"Primary\" block)";
const FALLBACK: &str = "# here's the fallback if no module succeeds";
const ADDITIONAL: &str = "# and here are more per-package modules (the \"Additional\" block)";
const END: &str = "# end of pam-auth-update config";

pub(crate) fn apply(root: &mut TreeEditor) -> Result<(), Error> {
    let mut profiles = Vec::new();
    for name in names(root.tree, "usr/share/pam-configs") {
        let text = root.text(&format!("usr/share/pam-configs/{name}"))?.unwrap_or_default();
        let profile = parse(&text);
        if profile.get("Default").is_some_and(|d| d == "yes") {
            profiles.push((name, profile));
        }
    }
    // Highest priority first; equal ones in descending order of name.
    let priority = |p: &Profile| p.get("Priority").and_then(|v| v.parse::<i64>().ok()).unwrap_or(0);
    profiles.sort_by(|a, b| priority(&b.1).cmp(&priority(&a.1)).then(b.0.cmp(&a.0)));
    drop_conflicting(&mut profiles);
    for kind in TYPES {
        let Some(template) = root.text(&format!("usr/share/pam/common-{kind}"))? else { continue };
        let path = format!("usr/share/pam/common-{kind}");
        let config = fill(&template, kind, &profiles).ok_or_else(|| Error::Invalid {
            path,
            what: format!("lacks the marker lines {PRIMARY:?} … {END:?} that pam-auth-update fills"),
        })?;
        root.write(&format!("etc/pam.d/common-{kind}"), config, 0o644)?;
    }
    Ok(())
}

fn parse(text: &str) -> Profile {
    let mut profile = Profile::new();
    let mut field = String::new();
    for line in text.lines() {
        let start = line.split_once(':').filter(|(name, value)| {
            !name.is_empty() && !name.contains(char::is_whitespace) && value.starts_with([' ', '\t'])
        });
        if let Some((name, value)) = start {
            field = name.strip_suffix("-Final").unwrap_or(name).to_owned();
            profile.insert(field.clone(), value.trim().to_owned());
            continue;
        }
        // A name with an empty value starts a field whose lines follow.
        if let Some(name) = line.strip_suffix(':').filter(|name| !name.contains(char::is_whitespace)) {
            field = name.strip_suffix("-Final").unwrap_or(name).to_owned();
            profile.insert(field.clone(), String::new());
            continue;
        }
        let line = line.trim();
        if !line.is_empty() {
            let value = profile.entry(field.clone()).or_default();
            if !value.is_empty() {
                value.push('\n');
            }
            value.push_str(line);
        }
    }
    if profile.get("Session-Interactive-Only").is_none_or(|v| v != "yes") {
        for suffix in ["-Type", "", "-Initial"] {
            if let Some(value) = profile.get(&format!("Session{suffix}")).cloned() {
                profile.insert(format!("Session-noninteractive{suffix}"), value);
            }
        }
    }
    profile
}

/// Of two profiles that conflict, the one of lower priority goes.
fn drop_conflicting(profiles: &mut Vec<(String, Profile)>) {
    let mut kept: Vec<(String, Profile)> = Vec::new();
    let conflicts = |a: &(String, Profile), name: &str| {
        a.1.get("Conflicts").is_some_and(|list| list.split(", ").any(|c| c == name))
    };
    for profile in profiles.drain(..) {
        if !kept.iter().any(|k| conflicts(k, &profile.0) || conflicts(&profile, &k.0)) {
            kept.push(profile);
        }
    }
    *profiles = kept;
}

/// The template with the profiles' modules in its two blocks.
fn fill(template: &str, kind: &str, profiles: &[(String, Profile)]) -> Option<String> {
    let mut out = String::new();
    let mut blocks = 0;
    let mut skipping_to: Option<&str> = None;
    for line in template.lines() {
        if let Some(marker) = skipping_to {
            if !line.starts_with(marker) {
                continue;
            }
            skipping_to = None;
            blocks += 1;
        }
        out.push_str(line);
        out.push('\n');
        if line.starts_with(PRIMARY) {
            block(&mut out, kind, "Primary", profiles);
            skipping_to = Some(FALLBACK);
        } else if line.starts_with(ADDITIONAL) {
            block(&mut out, kind, "Additional", profiles);
            skipping_to = Some(END);
        }
    }
    (blocks == 2).then_some(out)
}

fn block(out: &mut String, kind: &str, position: &str, profiles: &[(String, Profile)]) {
    let mut field = kind.to_owned();
    field[..1].make_ascii_uppercase();
    let of_this_block = profiles.iter().filter(|(_, p)| p.get(&format!("{field}-Type")).is_some_and(|t| t == position));
    let mut lines = Vec::new();
    for (i, (_, profile)) in of_this_block.enumerate() {
        let initial = profile.get(&format!("{field}-Initial")).filter(|value| i == 0 && !value.is_empty());
        let modules = initial.or_else(|| profile.get(&field)).map_or("", String::as_str);
        lines.extend(modules.lines().map(str::to_owned));
    }
    let kind = kind.trim_end_matches("-noninteractive");
    if lines.is_empty() && position == "Primary" {
        // Keeps the stack whole: the jumps of the fallback count on a module before it.
        out.push_str(&format!("{kind}\t[default=1]\t\t\tpam_permit.so\n"));
    }
    // `end` is a jump over the rest of the block; the additional block must not jump off the stack.
    let mut left = lines.len() - usize::from(position == "Additional" && !lines.is_empty());
    for line in &lines {
        out.push_str(&format!("{kind}\t{}\n", jump(line, left)));
        left = left.saturating_sub(1);
    }
}

/// Replaces `end` in the control field and module by the jump's length; the module's options are joined by one blank.
fn jump(line: &str, left: usize) -> String {
    let control_end =
        if line.starts_with('[') { line.find(']').map(|i| i + 1) } else { line.find(char::is_whitespace) };
    let Some(control_end) = control_end else { return line.to_owned() };
    let blanks = line[control_end..].len() - line[control_end..].trim_start().len();
    let module_start = control_end + blanks;
    let module_end = line[module_start..].find(char::is_whitespace).map_or(line.len(), |i| module_start + i);
    let head = line[..module_end].replace("end", &left.to_string());
    let options: Vec<&str> = line[module_end..].split_whitespace().collect();
    format!("{head} {}", options.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_becomes_the_number_of_modules_left_in_the_block() {
        assert_eq!(
            jump("[success=end default=ignore]\tpam_unix.so nullok  x", 2),
            "[success=2 default=ignore]\tpam_unix.so nullok x"
        );
        assert_eq!(jump("optional\t\t\tpam_systemd.so", 0), "optional\t\t\tpam_systemd.so ");
    }

    #[test]
    fn profiles_are_read_with_their_blocks() {
        let profile = parse(
            "Name: X y\nDefault: yes\nPriority: 256\nAuth-Type: Primary\nAuth:\n\t[success=end]\tpam_a.so\n\trequired pam_b.so\nSession-Type: Additional\nSession:\n\trequired\tpam_c.so\n",
        );
        assert_eq!(profile["Auth"], "[success=end]\tpam_a.so\nrequired pam_b.so");
        assert_eq!(profile["Session-noninteractive"], "required\tpam_c.so");
    }
}
