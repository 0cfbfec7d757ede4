//! Names and other short texts with a rule of their own.

use fruit_contract::{locale, unit, url};

use crate::declare::text;
use crate::decode::Flaw;
use crate::node::shorten;

/// Whether `text` is 1 to `most` characters from `allowed`, the first one from `first`.
fn made_of(text: &str, most: usize, first: fn(char) -> bool, allowed: fn(char) -> bool) -> bool {
    !text.is_empty() && text.len() <= most && text.starts_with(first) && text.chars().all(allowed)
}

fn lower_or_digit(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

/// The text in lower case with everything else turned into `-`: what the person probably meant.
fn as_slug(text: &str) -> String {
    let slug: String =
        text.to_ascii_lowercase().chars().map(|c| if lower_or_digit(c) || c == '-' { c } else { '-' }).collect();
    slug.trim_matches('-').chars().take(40).collect()
}

/// What a rule of the node's says, in the recipe's form: what is wrong, and behind a semicolon what to do.
pub(crate) fn told(why: &str) -> Flaw {
    match why.split_once("; ") {
        Some((wrong, remedy)) => Flaw::new(wrong).help(remedy),
        None => Flaw::new(why),
    }
}

/// Names that files are made from.
pub(crate) const SLUG: &str = r"^[a-z0-9][a-z0-9_-]{0,39}$";

/// Names of accounts.
const USER_NAME: &str = r"^[a-z_][a-z0-9_-]{0,31}$";

pub(crate) fn slug(text: &str) -> Result<(), Flaw> {
    if made_of(text, 40, lower_or_digit, |c| lower_or_digit(c) || c == '-' || c == '_') {
        return Ok(());
    }
    let flaw = Flaw::new(format!("`{}` cannot be used as a name", shorten(text)))
        .help("1 to 40 lower-case letters, digits, `-` and `_`, beginning with a letter or digit");
    let meant = as_slug(text);
    Err(if meant.is_empty() { flaw } else { flaw.did_you_mean(meant) })
}

text! {
    /// The name of an image: 1 to 40 lower-case letters, digits, `-` and `_`. File names and the disk's identity are made from it.
    "a name such as `pistack`"
    pub struct ImageName = slug, pattern SLUG;
}

text! {
    /// The version of an image: letters, digits, `.`, `-`, `+`, `~` and `_`, beginning with a digit or letter.
    "a version such as `1.4.2`"
    pub struct ImageVersion = |text| {
        if made_of(text, 64, |c| c.is_ascii_alphanumeric(), |c| c.is_ascii_alphanumeric() || ".-+~_".contains(c)) {
            Ok(())
        } else {
            Err(Flaw::new(format!("`{}` cannot be used as a version", shorten(text)))
                .help("1 to 64 letters, digits, `.`, `-`, `+`, `~` and `_`"))
        }
    }, pattern r"^[A-Za-z0-9][A-Za-z0-9.+~_-]{0,63}$";
}

text! {
    /// The name of a board file without `.yaml`.
    "the name of a board"
    pub struct BoardName = slug, pattern SLUG;
}

text! {
    /// The name of an overlay, a folder in `overlays/`.
    "the name of an overlay"
    pub struct OverlayName = slug, pattern SLUG;
}

text! {
    /// A Debian package name (Debian Policy 5.6.7): at least two lower-case letters, digits, `+`, `-` and `.`.
    "a package name"
    pub struct PackageName = |text| {
        if text.len() >= 2 && made_of(text, 128, lower_or_digit, |c| lower_or_digit(c) || "+-.".contains(c)) {
            return Ok(());
        }
        let flaw = Flaw::new(format!("`{}` is not a package name", shorten(text)));
        Err(if text.contains(['=', '<', '>', '(']) {
            flaw.help("write the name alone: versions are pinned by the lock file")
        } else if text.contains(':') {
            flaw.help("write the name alone: the board says the architecture")
        } else if text.contains(char::is_whitespace) {
            flaw.help("one package for each entry of the list")
        } else {
            flaw.help("lower-case letters, digits, `+`, `-` and `.`")
        })
    }, pattern r"^[a-z0-9][a-z0-9+.-]{1,127}$";
}

text! {
    /// A suite of a repository: `trixie`, `trixie-backports`, `stable`; a flat repository has its path here, which ends with `/`:
    /// `/`, `./`, `bookworm-cran40/`.
    "a suite such as `trixie`"
    pub struct Suite = |text| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._+:/".contains(c);
        let first = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '/';
        if !made_of(text, 200, first, allowed) || text.split('/').any(|part| part == "..") {
            return Err(Flaw::new(format!("`{}` is not a suite", shorten(text))));
        }
        if text.starts_with('/') && !text.ends_with('/') {
            return Err(Flaw::new(format!("`{}` is not a suite", shorten(text)))
                .help("the path of a flat repository ends with `/`")
                .did_you_mean(format!("{text}/")));
        }
        Ok(())
    }, pattern r"^[A-Za-z0-9./][A-Za-z0-9._+:/-]{0,199}$";
}

text! {
    /// A component of a suite: `main`, `contrib`, `non-free-firmware`.
    "a component such as `main`"
    pub struct Component = |text| {
        if made_of(text, 64, lower_or_digit, |c| lower_or_digit(c) || "-_./".contains(c)) && !text.contains("..") {
            Ok(())
        } else {
            Err(Flaw::new(format!("`{}` is not a component", shorten(text))))
        }
    }, pattern r"^[a-z0-9][a-z0-9._/-]{0,63}$";
}

text! {
    /// An address: `http://`, `https://` or `file:///`, without user name and password.
    "an address"
    pub struct Url = |text| {
        let Err(why) = url::check_url_or_folder(text) else { return Ok(()) };
        let host = text.split('/').nth(2).unwrap_or_default();
        Err(if host.contains('@') {
            Flaw::new(why).help("secrets do not belong in a recipe; use your user configuration").secret()
        } else if ["https://", "http://", "file://"].iter().any(|scheme| text.starts_with(scheme)) {
            Flaw::new(why)
        } else {
            Flaw::new(format!("`{}` is not an address", shorten(text))).help("begin with `https://`, `http://` or `file:///`")
        })
    }, pattern r"^(https?://[^/@ ]+|file:///)[^ ]*$";
}

text! {
    /// A systemd unit with its type: `ssh.service`, `getty@tty1.service`.
    "a unit such as `ssh.service`"
    pub struct UnitName = |text| {
        let Err(why) = text.parse::<unit::UnitName>() else { return Ok(()) };
        let similar = |kind| crate::diagnostic::similar(kind, unit::UNIT_TYPES);
        let typo = text.rsplit_once('.').and_then(|(name, kind)| Some(format!("{name}.{}", similar(kind)?)));
        let meant = typo.unwrap_or_else(|| format!("{text}.service"));
        if meant == text || meant.parse::<unit::UnitName>().is_err() {
            return Err(Flaw::new(why));
        }
        // The suggestion is shown in its own way.
        let why = why.split_once("; did you mean").map_or(why.as_str(), |(why, _)| why);
        Err(Flaw::new(why).did_you_mean(meant))
    }, pattern unit::UnitName::PATTERN;
}

text! {
    /// A user or group name: at most 32 lower-case letters, digits, `-` and `_`, beginning with a letter or `_`.
    "a user name"
    pub struct UserName = user_name, pattern USER_NAME;
}

text! {
    /// A group name, by the rule of user names.
    "a group name"
    pub struct GroupName = user_name, pattern USER_NAME;
}

fn user_name(text: &str) -> Result<(), Flaw> {
    if made_of(text, 32, |c| c.is_ascii_lowercase() || c == '_', |c| lower_or_digit(c) || c == '-' || c == '_') {
        return Ok(());
    }
    let flaw = Flaw::new(format!("`{}` cannot be used as a user or group name", shorten(text)))
        .help("1 to 32 lower-case letters, digits, `-` and `_`, beginning with a letter or `_`");
    let meant = as_slug(text);
    Err(if meant.starts_with(|c: char| c.is_ascii_lowercase()) && meant.len() <= 32 {
        flaw.did_you_mean(meant)
    } else {
        flaw
    })
}

text! {
    /// A time zone of the tz database: `UTC`, `Europe/London`.
    "a time zone such as `Europe/London`"
    pub struct TimeZone = |text| {
        let Err(why) = text.parse::<locale::TimeZone>() else { return Ok(()) };
        let meant = text.replace(' ', "_");
        let fits = meant != text && meant.parse::<locale::TimeZone>().is_ok();
        Err(if fits { told(&why).did_you_mean(meant) } else { told(&why) })
    }, pattern locale::TimeZone::PATTERN;
}

text! {
    /// A locale: `C.UTF-8`, `en_GB.UTF-8`.
    "a locale such as `C.UTF-8`"
    pub struct Locale = |text| {
        let (language, charset) = text.split_once('.').unwrap_or((text, ""));
        let name = language == "C" || language == "POSIX" || {
            let (tongue, country) = language.split_once('_').unwrap_or((language, "XX"));
            matches!(tongue.len(), 2 | 3) && tongue.chars().all(|c| c.is_ascii_lowercase())
                && country.len() == 2 && country.chars().all(|c| c.is_ascii_uppercase())
        };
        match (name, charset) {
            (true, "UTF-8") => Ok(()),
            (true, "") | (true, "utf8" | "utf-8" | "UTF8") => {
                Err(Flaw::new(format!("`{text}` does not name the UTF-8 character set")).did_you_mean(format!("{language}.UTF-8")))
            }
            _ => Err(Flaw::new(format!("`{}` is not a locale", shorten(text))).help("write `C.UTF-8` or, say, `en_GB.UTF-8`")),
        }
    }, pattern r"^(C|POSIX|[a-z]{2,3}(_[A-Z]{2})?)\.UTF-8$";
}

text! {
    /// A language whose translations are kept: `de`, `pt_BR`.
    "a language such as `de`"
    pub struct Language = |text| {
        if made_of(text, 24, |c| c.is_ascii_lowercase(), |c| c.is_ascii_alphanumeric() || "_@.-".contains(c)) {
            Ok(())
        } else {
            Err(Flaw::new(format!("`{}` is not a language", shorten(text))))
        }
    }, pattern r"^[a-z][A-Za-z0-9_@.-]{0,23}$";
}

text! {
    /// A kernel module's name without `.ko`.
    "a kernel module's name"
    pub struct ModuleName = |text| {
        if let Some(name) = text.strip_suffix(".ko") {
            return Err(Flaw::new(format!("`{}` is a file, not a module's name", shorten(text))).did_you_mean(name));
        }
        if made_of(text, 64, |c| c.is_ascii_alphanumeric(), |c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
            Ok(())
        } else {
            Err(Flaw::new(format!("`{}` is not a kernel module's name", shorten(text))))
        }
    }, pattern r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$";
}

text! {
    /// A set of kernel modules.
    "a set of kernel modules"
    pub struct ModuleSet = |text| {
        if made_of(text, 32, |c| c.is_ascii_lowercase(), |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') {
            Ok(())
        } else {
            Err(Flaw::new(format!("`{}` is not the name of a set of kernel modules", shorten(text))))
        }
    }, pattern r"^[a-z][a-z0-9-]{0,31}$";
}

text! {
    /// One word of the kernel's command line, without spaces. Words that decide what is booted are fruitbuild's own.
    "a word of the kernel's command line"
    pub struct KernelWord = |text| {
        let key = text.split('=').next().unwrap_or_default();
        if text.is_empty() || text.len() > 256 || !text.chars().all(|c| c.is_ascii_graphic()) || text.contains(['"', '\'', '$', ';']) {
            Err(Flaw::new(format!("`{}` is not one word of a command line", shorten(text)))
                .help("one word for each entry of the list, without spaces and quotes"))
        } else if matches!(key, "root" | "init" | "rdinit" | "initrd" | "ro" | "rw") || key.starts_with("fruit.") {
            Err(Flaw::new(format!("`{key}` is set by fruitbuild, which boots a verified slot"))
                .help("remove it"))
        } else {
            Ok(())
        }
    }, pattern r#"^[!#%&(-:<-~]([!#%&(-:<-~]|=)*$"#;
}

/// Folders that are made anew at each boot, so nothing in them can be kept or built in.
pub(crate) const VOLATILE: &[&str] = &["/dev", "/proc", "/run", "/sys", "/tmp"];

/// Checks an absolute path without `.`, `..`, doubled or trailing slashes.
pub(crate) fn absolute(text: &str) -> Result<(), Flaw> {
    if !text.starts_with('/') {
        return Err(Flaw::new(format!("`{}` is not an absolute path", shorten(text))).did_you_mean(format!("/{text}")));
    }
    if text.len() > 1024 || text.chars().any(char::is_control) {
        return Err(Flaw::new("the path is too long or holds a control character"));
    }
    if text[1..].split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(
            Flaw::new(format!("`{}` is not a plain path", shorten(text))).help("no `.`, `..`, doubled or trailing `/`")
        );
    }
    Ok(())
}

text! {
    /// An absolute path on the device.
    "an absolute path"
    pub struct DevicePath = absolute, pattern r"^/";
}

text! {
    /// A path on the device that lives on the data partition and so outlasts updates and reboots.
    "an absolute path"
    pub struct StatePath = |text| {
        absolute(text)?;
        let top = text[1..].split('/').next().unwrap_or_default();
        if VOLATILE.iter().any(|v| &v[1..] == top) {
            return Err(Flaw::new(format!("`{}` is made anew at each boot and cannot be kept", shorten(text))));
        }
        if matches!(text, "/usr" | "/bin" | "/sbin" | "/lib" | "/etc" | "/boot") {
            return Err(Flaw::new(format!("`{text}` belongs to the slot: kept on the data partition, it would not be updated"))
                .help("name the folders inside it that hold state"));
        }
        Ok(())
    }, pattern r"^/.+";
}

text! {
    /// Paths on the device with `*`, `?`, `[a-z]` and `**`: `/usr/share/doc/**`.
    "an absolute path or pattern"
    pub struct Glob = |text| {
        absolute(text.strip_suffix('/').filter(|t| !t.is_empty()).unwrap_or(text))?;
        if text.matches('[').count() != text.matches(']').count() {
            return Err(Flaw::new(format!("`{}` opens a `[` that it does not close", shorten(text))));
        }
        Ok(())
    }, pattern r"^/";
}

text! {
    /// Files inside a package, relative to its top, with `*` and `?`: `usr/lib/raspi-firmware/start*.elf`.
    "a path inside the package"
    pub struct PackagePath = |text| {
        if text.starts_with('/') {
            return Err(Flaw::new(format!("`{}` is absolute", shorten(text))).did_you_mean(text.trim_start_matches('/')));
        }
        absolute(&format!("/{text}")).map_err(|flaw| Flaw { suggestion: None, ..flaw })
    };
}

text! {
    /// A file name on a FAT partition: 1 to 64 ASCII letters, digits and `.`, `-`, `_`, `+`; `/` parts folders.
    "a file name"
    pub struct FatPath = |text| {
        let part = |p: &str| made_of(p, 64, |c| c.is_ascii_alphanumeric(), |c| c.is_ascii_alphanumeric() || ".-_+".contains(c)) && !p.ends_with('.');
        if text.split('/').all(part) { Ok(()) } else { Err(Flaw::new(format!("`{}` is not a file name for a FAT partition", shorten(text)))) }
    };
}

text! {
    /// A console as the kernel's `console=` takes it: `ttyS1,115200`.
    "a console such as `ttyS1,115200`"
    pub struct Console = |text| {
        let (device, speed) = text.split_once(',').unwrap_or((text, "9600"));
        let device_good = device.starts_with("tty") && device.len() <= 16 && device.chars().all(|c| c.is_ascii_alphanumeric());
        if device_good && speed.starts_with(|c: char| c.is_ascii_digit()) && speed.chars().all(|c| c.is_ascii_alphanumeric()) {
            Ok(())
        } else {
            Err(Flaw::new(format!("`{}` is not a console", shorten(text))).help("write the device and its speed: `ttyS1,115200`"))
        }
    }, pattern r"^tty[A-Za-z0-9]{1,13}(,[0-9][A-Za-z0-9]*)?$";
}

text! {
    /// A machine of QEMU: `raspi3b`, `virt`, `q35`.
    "the name of a QEMU machine"
    pub struct Machine = |text| {
        if !text.is_empty() && text.len() <= 32 && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)) {
            Ok(())
        } else {
            Err(Flaw::new(format!("`{}` is not the name of a QEMU machine", shorten(text))))
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_words_are_accepted() {
        ImageName::new("pistack").unwrap();
        ImageVersion::new("1.4.2~rc1+git").unwrap();
        PackageName::new("libstdc++6").unwrap();
        UnitName::new("getty@tty1.service").unwrap();
        UnitName::new("systemd-networkd.socket").unwrap();
        TimeZone::new("America/Argentina/Buenos_Aires").unwrap();
        TimeZone::new("Etc/GMT+5").unwrap();
        Locale::new("pt_BR.UTF-8").unwrap();
        StatePath::new("/var/lib/containerd").unwrap();
        Glob::new("/usr/share/doc/**").unwrap();
        Url::new("https://example.org/debian").unwrap();
        Url::new("file:///srv/debian").unwrap();
        KernelWord::new("cgroup_enable=memory").unwrap();
        for suite in ["trixie", "stable/updates", "/", "./", "bookworm-cran40/", "/a/b/"] {
            Suite::new(suite).unwrap();
        }
    }

    #[test]
    fn bad_words_are_refused_with_the_likely_right_one() {
        let meant = |flaw: Flaw| flaw.suggestion;
        assert_eq!(meant(ImageName::checked("Pi Stack").unwrap_err()).as_deref(), Some("pi-stack"));
        assert_eq!(meant(UnitName::checked("ssh").unwrap_err()).as_deref(), Some("ssh.service"));
        assert_eq!(meant(UnitName::checked("ssh.servcie").unwrap_err()).as_deref(), Some("ssh.service"));
        assert_eq!(meant(TimeZone::checked("America/New York").unwrap_err()).as_deref(), Some("America/New_York"));
        assert_eq!(meant(Locale::checked("en_GB").unwrap_err()).as_deref(), Some("en_GB.UTF-8"));
        assert_eq!(meant(StatePath::checked("var/lib/x").unwrap_err()).as_deref(), Some("/var/lib/x"));
        assert_eq!(meant(ModuleName::checked("i2c-dev.ko").unwrap_err()).as_deref(), Some("i2c-dev"));
        for bad in ["", "Foo", "x", "bash=5.2", "libc6:arm64", "a b"] {
            assert!(PackageName::new(bad).is_err(), "{bad}");
        }
        for bad in ["root=/dev/sda", "fruit.slot=b", "a b", "", "x='y'"] {
            assert!(KernelWord::new(bad).is_err(), "{bad}");
        }
        for bad in ["/", "/etc", "/proc/x", "/var//lib", "/var/../etc", "/var/lib/"] {
            assert!(StatePath::new(bad).is_err(), "{bad}");
        }
        for bad in ["", "../", "a/../b", "a b", "/trixie", "-x"] {
            assert!(Suite::new(bad).is_err(), "{bad}");
        }
        for bad in ["ftp://x", "https://", "https://me:pw@host/x", "http://a b", "+02:00"] {
            assert!(Url::new(bad).is_err(), "{bad}");
        }
        for bad in ["+02:00", "GMT+2:00", "", "Europe/", "A/B/C/D"] {
            assert!(TimeZone::new(bad).is_err(), "{bad}");
        }
    }
}
