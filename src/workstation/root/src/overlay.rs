//! Overlays: folders of files that a project lays over the root, with rules for owner and mode, since neither survives
//! a version control system or another person's umask.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fruit_image::tree::{Content, Inode, Kind, Source, Tree};
use serde::Deserialize;

use crate::Error;
use crate::edit::Root;
use crate::finish::accounts::Accounts;
use crate::finish::capability;
use crate::glob::Glob;

/// Rules of an overlay, beside its files; not copied into the root.
pub const RULES_FILE: &str = "overlay.yaml";

/// A larger file stays a reference to the workstation's file instead of being read into memory.
const MAX_IN_MEMORY: u64 = 1 << 20;

/// The content of `overlay.yaml`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// What the overlay is for, for people.
    #[serde(default)]
    pub description: String,
    /// Owner, mode and attributes by path; of several rules for a path, the last that sets a field wins.
    #[serde(default)]
    pub files: Vec<FileRule>,
    /// Units to enable (a recipe's `disable` wins).
    #[serde(default)]
    pub enable: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRule {
    /// A path pattern ([`crate::glob`]), relative to the overlay.
    pub path: String,
    /// `user:group`, `user` or `:group`, by name or number. Default `root:root`.
    #[serde(default)]
    pub owner: Option<String>,
    /// Octal digits. Default 0755 for directories and files with an `x` bit, else 0644.
    #[serde(default)]
    pub mode: Option<String>,
    /// As setcap(8) takes them: `cap_net_raw+ep`.
    #[serde(default)]
    pub capabilities: Option<String>,
    /// Extended attributes by full name (`user.note`).
    #[serde(default)]
    pub xattrs: BTreeMap<String, String>,
}

/// What an overlay did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Files and links laid over the root.
    pub files: u64,
    pub bytes: u64,
    /// Of [`Rules::enable`].
    pub enable: Vec<String>,
}

/// Files that editors, version control and desktops leave behind; never copied. Other hidden files are.
fn left_behind(name: &str) -> bool {
    matches!(name, ".git" | ".gitignore" | ".gitkeep" | ".gitattributes" | ".DS_Store" | "Thumbs.db" | ".svn" | ".hg")
        || name.ends_with('~')
        || name.ends_with(".swp")
        || name.ends_with(".swo")
        || name.ends_with(".rej")
        || (name.starts_with('#') && name.ends_with('#'))
        || name.starts_with(".#")
}

/// Lays the folder `dir` over the root. Later overlays win over earlier ones; directories that exist keep their owner
/// and mode unless a rule names them. Owners are looked up in the root's own accounts.
///
/// # Errors
/// An unreadable folder or rules file, unknown owners, a rule that matches nothing, special files, names that are not
/// UTF-8, and files that would replace a directory.
pub fn apply(tree: &mut Tree, dir: &Path, epoch: i64) -> Result<Applied, Error> {
    let rules_path = dir.join(RULES_FILE);
    // Opening a FIFO waits for a writer that never comes.
    if fs::metadata(&rules_path).is_ok_and(|meta| !meta.is_file()) {
        let what = "is not a regular file; remove it".to_owned();
        return Err(Error::Invalid { path: rules_path.display().to_string(), what });
    }
    let rules = match fs::read_to_string(&rules_path) {
        Ok(text) => parse_rules(&rules_path.display().to_string(), &text)?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Rules::default(),
        Err(source) => return Err(Error::Read { path: rules_path.display().to_string(), source }),
    };
    let mut root = Root::new(tree, epoch);
    let accounts = Accounts::load(&root)?;
    let place = rules_path.display().to_string();
    let mut chooser = Chooser::new(&place, &rules.files, &accounts)?;
    let mut applied = Applied { enable: rules.enable.clone(), ..Applied::default() };
    lay(&mut root, dir, "", &mut chooser, &mut applied)?;
    chooser.all_used()?;
    Ok(applied)
}

/// Reads the text of an `overlay.yaml`; `place` names it in errors.
///
/// # Errors
/// Text that is not such a file, with its line.
pub fn parse_rules(place: &str, text: &str) -> Result<Rules, Error> {
    if text.trim().is_empty() {
        return Ok(Rules::default());
    }
    serde_saphyr::from_str(text).map_err(|e| Error::Invalid { path: place.to_owned(), what: e.to_string() })
}

fn lay(root: &mut Root, base: &Path, below: &str, chooser: &mut Chooser, applied: &mut Applied) -> Result<(), Error> {
    let dir = base.join(below);
    let read_error = |path: &Path, source| Error::Read { path: path.display().to_string(), source };
    let mut entries = BTreeMap::new();
    for entry in fs::read_dir(&dir).map_err(|e| read_error(&dir, e))? {
        let entry = entry.map_err(|e| read_error(&dir, e))?;
        let name = entry.file_name().into_string().map_err(|name| Error::Invalid {
            path: dir.join(name).display().to_string(),
            what: "the name is not UTF-8".to_owned(),
        })?;
        entries.insert(name, entry.path());
    }
    for (name, file) in entries {
        if left_behind(&name) || (below.is_empty() && name == RULES_FILE) {
            continue;
        }
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        let meta = fs::symlink_metadata(&file).map_err(|e| read_error(&file, e))?;
        let executable = meta.permissions().mode() & 0o111 != 0;
        if meta.is_dir() {
            let inode = chooser.finish(&path, Inode::dir(0o755, root.epoch));
            if !root.exists(&path) || chooser.named(&path) {
                let real = root.tree.resolve(&path).ok().filter(|real| root.tree.contains(real));
                root.put(real.as_deref().unwrap_or(&path), inode)?;
            }
            lay(root, base, &path, chooser, applied)?;
            continue;
        }
        let inode = if meta.is_symlink() {
            let target = fs::read_link(&file).map_err(|e| read_error(&file, e))?;
            let target = target.into_os_string().into_string().map_err(|_| Error::Invalid {
                path: file.display().to_string(),
                what: "the link's target is not UTF-8".to_owned(),
            })?;
            chooser.finish(&path, Inode::symlink(target, root.epoch))
        } else if meta.is_file() {
            let content = if meta.len() > MAX_IN_MEMORY {
                let source = Source::open(&file).map_err(|e| read_error(&file, e))?;
                Content::Range { source, offset: 0, len: meta.len() }
            } else {
                fs::read(&file).map_err(|e| read_error(&file, e))?.into()
            };
            applied.bytes += content.len();
            chooser.finish(&path, Inode::file(content, if executable { 0o755 } else { 0o644 }, root.epoch))
        } else {
            let what = "an overlay holds files, folders and symbolic links only".to_owned();
            return Err(Error::Invalid { path: file.display().to_string(), what });
        };
        applied.files += 1;
        root.put(&path, inode)?;
    }
    Ok(())
}

/// A rule with its names looked up.
struct Ready<'a> {
    text: &'a str,
    glob: Glob,
    uid: Option<u32>,
    gid: Option<u32>,
    mode: Option<u16>,
    xattrs: BTreeMap<String, Vec<u8>>,
    used: bool,
}

struct Chooser<'a> {
    place: &'a str,
    rules: Vec<Ready<'a>>,
}

impl<'a> Chooser<'a> {
    fn new(place: &'a str, rules: &'a [FileRule], accounts: &Accounts) -> Result<Chooser<'a>, Error> {
        let mut ready = Vec::new();
        for rule in rules {
            let invalid =
                |what: String| Error::Invalid { path: place.to_owned(), what: format!("{}: {what}", rule.path) };
            let glob = Glob::new(&rule.path).map_err(invalid)?;
            let (user, group) = rule.owner.as_deref().map_or(("", ""), |o| o.split_once(':').unwrap_or((o, "")));
            let uid = (!user.is_empty()).then(|| accounts.uid_of(place, user)).transpose()?;
            let gid = (!group.is_empty()).then(|| accounts.gid_of(place, group)).transpose()?;
            let mode = rule.mode.as_deref().map(|text| {
                let mode = u16::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
                mode.ok_or_else(|| invalid(format!("mode {text:?} is not octal digits up to 7777")))
            });
            let mut xattrs: BTreeMap<String, Vec<u8>> =
                rule.xattrs.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes())).collect();
            if let Some(text) = &rule.capabilities {
                let value = capability::encode(text)
                    .ok_or_else(|| invalid(format!("capabilities {text:?} are not like \"cap_net_raw+ep\"")))?;
                xattrs.insert(capability::XATTR.to_owned(), value);
            }
            ready.push(Ready { text: &rule.path, glob, uid, gid, mode: mode.transpose()?, xattrs, used: false });
        }
        Ok(Chooser { place, rules: ready })
    }

    fn named(&self, path: &str) -> bool {
        self.rules.iter().any(|rule| rule.glob.matches(path))
    }

    fn finish(&mut self, path: &str, mut inode: Inode) -> Inode {
        for rule in self.rules.iter_mut().filter(|rule| rule.glob.matches(path)) {
            rule.used = true;
            inode.meta.uid = rule.uid.unwrap_or(inode.meta.uid);
            inode.meta.gid = rule.gid.unwrap_or(inode.meta.gid);
            if !matches!(inode.kind, Kind::Symlink(_)) {
                inode.meta.mode = rule.mode.unwrap_or(inode.meta.mode);
                inode.meta.xattrs.extend(rule.xattrs.clone());
            }
        }
        inode
    }

    /// A rule for nothing is a misspelt one: the file would get the wrong owner without a word.
    fn all_used(&self) -> Result<(), Error> {
        match self.rules.iter().find(|rule| !rule.used) {
            None => Ok(()),
            Some(rule) => Err(Error::Invalid {
                path: self.place.to_owned(),
                what: format!("the rule for {:?} matches no file of this overlay", rule.text),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str, u32)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text, mode) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
        }
        dir
    }

    fn root() -> Tree {
        let mut tree = Tree::new(0);
        let mut root = Root::new(&mut tree, 0);
        root.write("etc/passwd", "root:x:0:0::/root:/bin/sh\n", 0o644).unwrap();
        root.write("etc/group", "root:x:0:\nshadow:x:42:\n", 0o644).unwrap();
        root.dir("usr/lib", 0o755, 0, 0).unwrap();
        root.symlink("usr/lib", "lib").unwrap();
        tree
    }

    #[test]
    fn owner_and_mode_come_from_rules_and_never_from_the_umask() {
        let dir = folder(&[
            (
                "overlay.yaml",
                "files:\n- path: etc/secret\n  owner: root:shadow\n  mode: \"0640\"\nenable: [a.service]\n",
                0o600,
            ),
            ("etc/secret", "s", 0o600),
            ("usr/bin/tool", "#!/bin/sh\n", 0o700),
            ("usr/bin/tool~", "old", 0o700),
            ("etc/.hidden", "kept", 0o600),
            ("srv/.gitkeep", "", 0o600),
        ]);
        let mut tree = root();
        let applied = apply(&mut tree, dir.path(), 7).unwrap();
        let meta = |path: &str| tree.get(path).unwrap().meta.clone();
        assert_eq!((meta("etc/secret").mode, meta("etc/secret").gid), (0o640, 42));
        assert_eq!(meta("usr/bin/tool").mode, 0o755);
        assert_eq!(meta("etc/.hidden").mode, 0o644);
        assert_eq!(meta("srv").mode, 0o755);
        assert!(!tree.contains("usr/bin/tool~") && !tree.contains("overlay.yaml") && !tree.contains("srv/.gitkeep"));
        assert_eq!((applied.files, applied.enable), (3, vec!["a.service".to_owned()]));
    }

    #[test]
    fn files_below_a_linked_directory_land_where_the_link_leads() {
        let dir = folder(&[("lib/systemd/system/x.service", "", 0o644)]);
        let mut tree = root();
        apply(&mut tree, dir.path(), 7).unwrap();
        assert!(tree.contains("usr/lib/systemd/system/x.service"));
    }

    #[test]
    fn mistakes_in_rules_are_errors_that_say_what_is_wrong() {
        for (rules, expected) in [
            ("files:\n- path: etc/nothing\n  mode: \"0600\"\n", "matches no file"),
            ("files:\n- path: etc/x\n  owner: rot\n", "did you mean root"),
            ("files:\n- path: etc/x\n  mode: \"0888\"\n", "not octal"),
            ("files:\n- path: etc/x\n  capabilities: cap_fly+ep\n", "cap_net_raw+ep"),
            ("file: []\n", "file"),
        ] {
            let dir = folder(&[("overlay.yaml", rules, 0o644), ("etc/x", "", 0o644)]);
            let error = apply(&mut root(), dir.path(), 7).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("overlay.yaml"), "{error}");
        }
    }
}
