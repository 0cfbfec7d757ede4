//! What a kernel module's ELF file says about it: `.modinfo` (include/linux/moduleinfo), exported and needed symbols.

use object::{Object, ObjectSection, ObjectSymbol};

use crate::Error;

/// The facts that selection and depmod need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModuleInfo {
    pub aliases: Vec<String>,
    /// Modules this one needs, from `depends=`.
    pub depends: Vec<String>,
    /// `softdep=` values: `pre: a b post: c`.
    pub softdeps: Vec<String>,
    pub weakdeps: Vec<String>,
    /// Firmware files it may ask for, relative to /lib/firmware; may hold `*`.
    pub firmware: Vec<String>,
    /// Symbols that it exports, in file order.
    pub exports: Vec<String>,
    /// Symbols that it leaves undefined, in file order.
    pub needs: Vec<String>,
}

/// Reads a module.
///
/// # Errors
/// A file that is no ELF file, or whose sections lie outside of it. `path` is for the message.
pub fn parse(path: &str, bytes: &[u8]) -> Result<ModuleInfo, Error> {
    let invalid = |what: String| Error::Invalid { path: path.to_owned(), what };
    let file = object::File::parse(bytes).map_err(|e| invalid(format!("is not a kernel module: {e}")))?;
    let section = |name: &str| match file.section_by_name(name) {
        Some(section) => section.data().map_err(|e| invalid(format!("section {name}: {e}"))),
        None => Ok(&[][..]),
    };
    let mut info = ModuleInfo::default();
    for field in strings(section(".modinfo")?) {
        let Some((key, value)) = field.split_once('=') else { continue };
        match key {
            "alias" => info.aliases.push(value.to_owned()),
            "depends" => info.depends.extend(value.split(',').filter(|d| !d.is_empty()).map(module_name)),
            "softdep" => info.softdeps.push(value.to_owned()),
            "weakdep" => info.weakdeps.push(value.to_owned()),
            "firmware" => info.firmware.push(value.to_owned()),
            _ => continue,
        }
    }
    for symbol in file.symbols() {
        let Ok(name) = symbol.name() else { continue };
        if let Some(exported) = name.strip_prefix("__crc_") {
            info.exports.push(exported.to_owned());
        } else if symbol.is_undefined() && !name.is_empty() {
            info.needs.push(name.to_owned());
        }
    }
    if info.exports.is_empty() {
        // A kernel without symbol versions has no __crc_ symbols.
        info.exports = strings(section("__ksymtab_strings")?).collect();
    }
    Ok(info)
}

fn strings(bytes: &[u8]) -> impl Iterator<Item = String> + '_ {
    bytes.split(|b| *b == 0).filter(|s| !s.is_empty()).map(|s| String::from_utf8_lossy(s).into_owned())
}

/// `nf-conntrack.ko.xz` and `nf_conntrack` are the same module; the kernel's name has underscores.
pub fn module_name(file: &str) -> String {
    let base = file.rsplit('/').next().unwrap_or(file);
    let stem = base.split(".ko").next().unwrap_or(base);
    stem.replace('-', "_")
}
