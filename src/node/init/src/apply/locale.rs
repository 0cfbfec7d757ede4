//! Time zone and keyboard.

use fruit_contract::NodeConfig;
use fruit_contract::locale::Keyboard;

use super::{Target, WORLD_READABLE};

pub fn apply(target: &mut Target<'_>, config: &NodeConfig) {
    if let Some(zone) = &config.timezone {
        let file = format!("/usr/share/zoneinfo/{zone}");
        if target.root.exists(&file) {
            let linked = target.root.link("/etc/localtime", &format!("..{file}"));
            target.check("timezone", linked);
            target.write("timezone", "/etc/timezone", &format!("{zone}\n"), WORLD_READABLE);
        } else if !matches!(zone.as_str(), "UTC" | "Etc/UTC") {
            target.problem("timezone", format!("this image has no time zone '{zone}' (is 'tzdata' in its recipe?)"));
        }
    }
    if let Some(keyboard) = &config.keyboard {
        target.write("keyboard", "/etc/default/keyboard", &debian_keyboard(keyboard), WORLD_READABLE);
        target.write("keyboard", "/etc/vconsole.conf", &vconsole(keyboard), WORLD_READABLE);
    }
}

/// keyboard(5) of Debian's console-setup.
fn debian_keyboard(keyboard: &Keyboard) -> String {
    let variant = keyboard.variant().unwrap_or_default();
    format!(
        "XKBMODEL=\"pc105\"\nXKBLAYOUT=\"{}\"\nXKBVARIANT=\"{variant}\"\nXKBOPTIONS=\"\"\nBACKSPACE=\"guess\"\n",
        keyboard.layout()
    )
}

/// vconsole.conf(5).
fn vconsole(keyboard: &Keyboard) -> String {
    let keymap = match keyboard.variant() {
        Some(variant) => format!("{}-{variant}", keyboard.layout()),
        None => keyboard.layout().to_owned(),
    };
    let variant = keyboard.variant().unwrap_or_default();
    format!("KEYMAP={keymap}\nXKBMODEL=pc105\nXKBLAYOUT={}\nXKBVARIANT={variant}\n", keyboard.layout())
}
