//! The systemd unit by which `fruitctl serve` runs for a person.

use super::contact::Contact;
use crate::failure::{Code, Failure};
use crate::fleet::{Options, at, usage};
use crate::output::print;
use fruit_base::replace;
use std::path::{Path, PathBuf};

/// A word of a unit's command line.
pub fn word(text: &str) -> Result<String, Failure> {
    if text.chars().any(|c| c.is_control() || c == '"' || c == '\\') {
        return Err(usage(format!("{text:?} cannot stand in a unit: it has quotes or control characters in it")));
    }
    // systemd puts variables and specifiers in otherwise.
    Ok(format!("\"{}\"", text.replace('%', "%%").replace('$', "$$")))
}

/// A path, as a word.
pub fn shown(path: &Path) -> Result<String, Failure> {
    let absolute = std::path::absolute(path).map_err(at(path))?;
    let text = absolute.to_str().ok_or_else(|| usage(format!("{}: it is not UTF-8", path.display())))?;
    word(text)
}

fn text(options: &Options, contact: &Contact) -> Result<String, Failure> {
    let program = std::env::current_exe()?;
    let folder = options.folder()?;
    let mut command = format!("{} serve --fleet {}", shown(&program)?, shown(&folder)?);
    if let Some(file) = options.passphrase_file() {
        command += &format!(" --passphrase-file {}", shown(&file)?);
    }
    for name in options.named() {
        command += &format!(" --as {}", word(name)?);
    }
    for (id, address) in &contact.peers {
        command += &format!(" --peer {}", word(&format!("{id}@{address}"))?);
    }
    if let Some(listen) = contact.listen {
        command += &format!(" --listen {listen}");
    }
    if contact.no_mdns {
        command += " --no-mdns";
    }
    Ok(format!(
        "[Unit]\nDescription=This machine's part of the network of a fleet\n\n\
         [Service]\nExecStart={command}\nRestart=on-failure\nRestartSec=10\nNoNewPrivileges=yes\nMemoryMax=512M\n\n\
         [Install]\nWantedBy=default.target\n"
    ))
}

/// Where units of a person are.
pub fn units() -> Result<PathBuf, Failure> {
    let home =
        || std::env::var_os("HOME").filter(|home| !home.is_empty()).map(|home| PathBuf::from(home).join(".config"));
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute()).or_else(home);
    Ok(config.ok_or_else(|| usage("HOME is not set: use --print-unit"))?.join("systemd/user"))
}

/// Prints the unit, or writes it where systemd looks for it.
pub fn write(options: &Options, contact: &Contact, install: bool) -> Result<(), Failure> {
    let text = text(options, contact)?;
    if !install {
        print(format_args!("{}", text.trim_end()));
        return Ok(());
    }
    let folder = options.folder()?;
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if !fruit_record::wire::is_name(&name) {
        return Err(Failure::new(Code::Usage, format!("{name:?} makes no name of a unit: use --print-unit")));
    }
    let units = units()?;
    let (unit, path) = (format!("fruitctl-{name}.service"), units.join(format!("fruitctl-{name}.service")));
    std::fs::create_dir_all(&units).map_err(at(&units))?;
    replace(&path, text.as_bytes()).map_err(at(&path))?;
    print(format_args!("{}", path.display()));
    options.say(format_args!(
        "start it, now and with each session: systemctl --user daemon-reload && systemctl --user enable --now {unit}\n\
         without a session too: loginctl enable-linger"
    ));
    Ok(())
}
