//! Loads kernel modules in the order that the image says.

use std::ffi::CString;
use std::fs::File;
use std::io;

use fruit_contract::init::Module;
use rustix::io::Errno;
use rustix::system::finit_module;

/// Loads each module; those that the kernel did not take are returned as `name: reason`.
///
/// # Errors
/// The first required module that did not load, as a sentence.
pub fn load(modules: &[Module]) -> Result<Vec<String>, String> {
    let mut missing = Vec::new();
    for module in modules {
        match load_one(module) {
            Ok(()) => {}
            Err(e) if module.required => return Err(format!("can't load module {}: {e}", module.path)),
            Err(e) => missing.push(format!("{}: {e}", name(&module.path))),
        }
    }
    Ok(missing)
}

fn load_one(module: &Module) -> io::Result<()> {
    let file = File::open(&module.path)?;
    let options = CString::new(module.options.as_str()).map_err(io::Error::other)?;
    match finit_module(&file, &options, 0) {
        // Already there: built in, or a second entry.
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// `dm-verity` of `/lib/modules/6.12/kernel/drivers/md/dm-verity.ko`.
fn name(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.strip_suffix(".ko").unwrap_or(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(required: bool) -> Module {
        Module { path: "/nowhere/kernel/no-such.ko".into(), options: String::new(), required }
    }

    #[test]
    fn a_missing_driver_is_noted_and_a_missing_requirement_is_an_error() {
        let missing = load(&[module(false)]).unwrap();
        assert_eq!(missing.len(), 1);
        assert!(missing[0].starts_with("no-such: "), "{missing:?}");
        assert!(load(&[module(true)]).unwrap_err().contains("/nowhere/kernel/no-such.ko"));
    }
}
