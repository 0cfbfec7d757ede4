//! Time zone and keyboard.

use crate::text::{checked_text, is_made_of, shown};

checked_text! {
    /// Name of a time zone of the tz database; whether the image has it is known on the node only.
    TimeZone, check_time_zone, "^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z][A-Za-z0-9_+-]*){0,2}$"
}

checked_text! {
    /// XKB layout with an optional variant, as `setxkbmap` writes it: `us`, `de(nodeadkeys)`.
    Keyboard, check_keyboard, "^[a-z0-9_-]{2,32}(\\([A-Za-z0-9_-]{1,32}\\))?$"
}

/// Layouts of xkeyboard-config (its `evdev.lst`; the same set since 2.30, Debian 11, but for additions).
const LAYOUTS: &str = "\
    af al am ara at au az ba bd be bg br brai bt bw by ca cd ch cm cn custom cz de dk dz ee eg epo es et eu fi \
    fo fr gb ge gh gn gr hr hu id ie il in iq ir is it jp jv ke kg kh kr kz la latam lk lt lv ma mao md me mk \
    ml mm mn mt mv my ng nl no np nz ph pk pl pt ro rs ru se si sk sn sy tg th tj tm tr tw tz ua us uz vn za";

fn check_time_zone(text: &str) -> Result<String, String> {
    let part_ok =
        |part: &str| part.starts_with(|c: char| c.is_ascii_alphabetic()) && part.len() <= 32 && is_made_of(part, "_+-");
    if text.split('/').count() <= 3 && text.split('/').all(part_ok) {
        Ok(text.into())
    } else {
        Err(format!(
            "'{}' is not a time zone: expected UTC or Area/City of the tz database, such as Europe/Berlin; an offset is not enough to know summer time",
            shown(text)
        ))
    }
}

fn check_keyboard(text: &str) -> Result<String, String> {
    let (layout, variant) = split_keyboard(text);
    let layout_ok =
        (2..=32).contains(&layout.len()) && is_made_of(layout, "_-") && layout == layout.to_ascii_lowercase();
    let variant_ok = variant.is_none_or(|v| (1..=32).contains(&v.len()) && is_made_of(v, "_-"));
    if layout_ok && variant_ok {
        if LAYOUTS.split_ascii_whitespace().any(|known| known == layout) {
            return Ok(text.into());
        }
        let meant = match layout {
            "uk" => Some("gb"),
            "en" => Some("us"),
            "jp106" | "ja" => Some("jp"),
            "sv" => Some("se"),
            "da" => Some("dk"),
            "cs" => Some("cz"),
            "el" => Some("gr"),
            _ => None,
        };
        let all: Vec<&str> = LAYOUTS.split_ascii_whitespace().collect();
        let meant = meant.map(str::to_owned).or_else(|| fruit_base::suggest::nearest(layout, &all));
        let hint = meant.map_or(String::new(), |meant| format!("; did you mean {meant}?"));
        Err(format!(
            "there is no keyboard layout '{}'{hint} (XKB's names are those of countries: us, gb, de, fr, …)",
            shown(layout)
        ))
    } else {
        Err(format!("'{}' is not a keyboard: expected a layout such as us, or de(nodeadkeys)", shown(text)))
    }
}

fn split_keyboard(text: &str) -> (&str, Option<&str>) {
    match text.strip_suffix(')').and_then(|t| t.split_once('(')) {
        Some((layout, variant)) => (layout, Some(variant)),
        None => (text, None),
    }
}

impl Keyboard {
    pub fn layout(&self) -> &str {
        split_keyboard(self.as_str()).0
    }

    pub fn variant(&self) -> Option<&str> {
        split_keyboard(self.as_str()).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_zones_never_leave_their_folder() {
        for good in ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+12"] {
            assert!(good.parse::<TimeZone>().is_ok(), "{good}");
        }
        for bad in ["", "/etc/shadow", "../shadow", "Europe/..", "a/b/c/d", "Europe/Ber lin", "UTC\n", "Europe//Berlin"]
        {
            assert!(bad.parse::<TimeZone>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_keyboard_is_a_layout_and_maybe_a_variant() {
        let keyboard: Keyboard = "de(nodeadkeys)".parse().unwrap();
        assert_eq!((keyboard.layout(), keyboard.variant()), ("de", Some("nodeadkeys")));
        assert_eq!("us".parse::<Keyboard>().unwrap().variant(), None);
        for (unknown, meant) in [("uk", "gb"), ("en", "us"), ("germany", ""), ("zz(x)", "")] {
            let error = unknown.parse::<Keyboard>().unwrap_err();
            assert!(error.contains("no keyboard layout") && error.contains(meant), "{error}");
        }
        for bad in ["", "DE", "de()", "de(x", "de)x", "us\"", "us;reboot", "de(a)(b)"] {
            assert!(bad.parse::<Keyboard>().is_err(), "{bad}");
        }
    }
}
