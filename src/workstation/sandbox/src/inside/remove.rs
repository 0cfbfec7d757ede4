//! Removing a root, however deep it is nested.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Dir, Mode, openat, renameat, unlinkat};
use rustix::io::Errno;

use super::usage::{READ, is_dot};
use crate::protocol::{During, Outcome, Step};

/// Removes all that is in `held`: each folder's folders are brought up to `held` before it goes, so that nothing is ever walked into.
pub fn remove(held: &OwnedFd) -> Outcome<()> {
    let held = openat(held, ".", READ, Mode::empty()).during(Step::Tree, "opening what is to be removed")?;
    let mut next = 0;
    loop {
        let mut folders = Vec::new();
        each(&held, |name| match unlinkat(&held, name, AtFlags::empty()) {
            Err(Errno::ISDIR | Errno::PERM) => {
                folders.push(name.to_owned());
                Ok(())
            }
            other => other,
        })
        .during(Step::Tree, "removing files")?;
        if folders.is_empty() {
            return Ok(());
        }
        for folder in folders {
            empty(&held, &folder, &mut next).during(Step::Tree, "removing folders")?;
        }
    }
}

/// Empties a folder of `held`, and removes it.
fn empty(held: &OwnedFd, name: &std::ffi::CStr, next: &mut u64) -> rustix::io::Result<()> {
    let folder = openat(held, name, READ, Mode::empty())?;
    each(&folder, |name| match unlinkat(&folder, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => loop {
            *next += 1;
            // A name that is taken is that of a folder with something in it: never replaced.
            match renameat(&folder, name, held, format!("removed.{next}")) {
                Err(Errno::EXIST | Errno::NOTDIR | Errno::NOTEMPTY) => {}
                done => break done,
            }
        },
        other => other,
    })?;
    unlinkat(held, name, AtFlags::REMOVEDIR)
}

/// Does something with each name of a folder; all of them are read before.
fn each(folder: &OwnedFd, mut work: impl FnMut(&std::ffi::CStr) -> rustix::io::Result<()>) -> rustix::io::Result<()> {
    let names: Vec<_> = Dir::read_from(folder)?.map(|entry| entry.map(|entry| entry.file_name().to_owned())).collect();
    for name in names {
        let name = name?;
        if !is_dot(&name) {
            work(&name)?;
        }
    }
    Ok(())
}
