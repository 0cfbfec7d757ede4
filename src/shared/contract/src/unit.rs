//! Names of systemd's units.

use crate::text::{checked_text, is_made_of, shown};

/// Kinds of units (systemd.unit(5)).
pub const UNIT_TYPES: [&str; 11] =
    ["service", "socket", "target", "timer", "mount", "automount", "path", "slice", "scope", "swap", "device"];
/// `UNIT_NAME_MAX` (systemd, src/basic/unit-def.h), in bytes.
const MAX_UNIT: usize = 255;

checked_text! {
    /// Name of a unit with its type: `ssh.service`, `getty@tty1.service`.
    UnitName, check_unit,
    "^[A-Za-z0-9:_.\\\\@-]+\\.(service|socket|target|timer|mount|automount|path|slice|scope|swap|device)$"
}

fn check_unit(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > MAX_UNIT || !is_made_of(text, ":-_.\\@") {
        return Err(format!("`{}` is not the name of a unit", shown(text)));
    }
    match text.rsplit_once('.') {
        Some((name, kind)) if !name.is_empty() && UNIT_TYPES.contains(&kind) => Ok(text.into()),
        Some(("", _)) => Err(format!("`{}` is not the name of a unit", shown(text))),
        _ => Err(format!("`{0}` does not say what kind of unit it is; did you mean {0}.service?", shown(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_carry_their_suffix() {
        for good in ["getty@tty1.service", "user.slice", "a\\x2db.automount"] {
            assert!(good.parse::<UnitName>().is_ok(), "{good}");
        }
        assert!("ssh".parse::<UnitName>().unwrap_err().contains("ssh.service"));
        for bad in [".service", "a b.service", "../x.service", "", "a.servce", &format!("{}.slice", "a".repeat(250))] {
            assert!(bad.parse::<UnitName>().is_err(), "{bad}");
        }
    }
}
