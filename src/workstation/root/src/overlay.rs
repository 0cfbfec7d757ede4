//! Overlays: folders of files that a project lays over the root, with rules for owner and mode, since neither survives
//! a version control system or another person's umask.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fruit_image::tree::{Content, Inode, Kind, Source, Tree};
use serde::Deserialize;

use crate::Error;
use crate::edit::TreeEditor;
use crate::finish::accounts::Accounts;
use crate::finish::capability;
use crate::glob::Glob;

/// Rules of an overlay, beside its files; not copied into the root.
pub const RULES_FILE: &str = "overlay.yaml";

/// A larger file stays a reference to the workstation's file instead of being read into memory.
const MAX_IN_MEMORY: u64 = 1 << 20;

/// Deepest nesting of folders; no path of a root is that long.
const MAX_DEPTH: usize = 128;

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

/// Why nobody would see a file of an image at `path`.
fn hidden(path: &str) -> Option<&'static str> {
    match path.split('/').next().unwrap_or_default() {
        "dev" | "proc" | "run" | "sys" | "tmp" => Some(
            "its folder is made anew at each boot, and no file of an image is seen there; have it made by a file of /etc/tmpfiles.d (tmpfiles.d(5)) or by a service",
        ),
        "data" => Some(
            "the data partition is mounted over this folder, and no file of an image is seen there; lay it where it belongs and list its folder under `state:`",
        ),
        _ => None,
    }
}

/// An overlay that was looked through, and in which nothing is wrong that can be seen without a root. Its files have been
/// opened but not read.
#[derive(Debug)]
pub struct Overlay {
    /// Its rules file, as errors name it.
    place: String,
    rules: Rules,
    ready: Vec<Ready>,
    /// Parents before what is in them, in the order of their names.
    entries: Vec<Entry>,
}

/// One entry of an overlay, by its path in the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub path: String,
    /// On the workstation.
    pub file: PathBuf,
    pub kind: EntryKind,
}

/// What an overlay may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    Folder,
    /// A symbolic link and where it leads.
    Link(String),
    /// A regular file; neither its owner nor the rest of its mode counts.
    File {
        executable: bool,
        len: u64,
    },
}

impl Overlay {
    /// Looks through the folder `dir`. No FIFO, socket or device is opened.
    ///
    /// # Errors
    /// An unreadable folder, file or rules file, special files, names that are not UTF-8, a rule that matches nothing or
    /// that says what no file can have.
    pub fn read(dir: &Path) -> Result<Overlay, Error> {
        let rules_path = dir.join(RULES_FILE);
        let place = rules_path.display().to_string();
        // Opening a FIFO waits for a writer that never comes.
        if fs::metadata(&rules_path).is_ok_and(|meta| !meta.is_file()) {
            return Err(Error::Invalid { path: place, what: "is not a regular file; remove it".to_owned() });
        }
        let rules = match fs::read_to_string(&rules_path) {
            Ok(text) => parse_rules(&place, &text)?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Rules::default(),
            Err(source) => return Err(Error::Read { path: place, source }),
        };
        let ready = rules.files.iter().map(|rule| Ready::new(&place, rule)).collect::<Result<_, _>>()?;
        let mut overlay = Overlay { place, rules, ready, entries: Vec::new() };
        overlay.scan(dir, "", 0)?;
        overlay.all_used()?;
        Ok(overlay)
    }

    /// What is in it, but for the rules file and what editors leave behind.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Units that it enables.
    pub fn enable(&self) -> &[String] {
        &self.rules.enable
    }

    fn scan(&mut self, base: &Path, below: &str, depth: usize) -> Result<(), Error> {
        let dir = base.join(below);
        let invalid = |path: &Path, what: &str| Error::Invalid { path: path.display().to_string(), what: what.into() };
        let read_error = |path: &Path, source| Error::Read { path: path.display().to_string(), source };
        if depth > MAX_DEPTH {
            return Err(invalid(&dir, &format!("more than {MAX_DEPTH} folders deep")));
        }
        let mut names = BTreeMap::new();
        for entry in fs::read_dir(&dir).map_err(|e| read_error(&dir, e))? {
            let entry = entry.map_err(|e| read_error(&dir, e))?;
            let name = entry.file_name().into_string();
            let name = name.map_err(|name| invalid(&dir.join(name), "the name is not UTF-8; rename it"))?;
            names.insert(name, entry.path());
        }
        for (name, file) in names {
            if left_behind(&name) || (below.is_empty() && name == RULES_FILE) {
                continue;
            }
            let path = if below.is_empty() { name } else { format!("{below}/{name}") };
            let meta = fs::symlink_metadata(&file).map_err(|e| read_error(&file, e))?;
            let kind = if meta.is_dir() {
                EntryKind::Folder
            } else if meta.is_symlink() {
                let target = fs::read_link(&file).map_err(|e| read_error(&file, e))?.into_os_string();
                let target = target.into_string();
                EntryKind::Link(target.map_err(|_| invalid(&file, "the link's target is not UTF-8"))?)
            } else if meta.is_file() {
                // Whether it can be read is found out now, not when everything else is done.
                fs::File::open(&file).map_err(|e| read_error(&file, e))?;
                EntryKind::File { executable: meta.permissions().mode() & 0o111 != 0, len: meta.len() }
            } else {
                let what =
                    "an overlay holds files, folders and symbolic links only; remove this FIFO, socket or device";
                return Err(invalid(&file, what));
            };
            let folder = kind == EntryKind::Folder;
            // Folders alone are places to mount at.
            if !folder && let Some(hidden) = hidden(&path) {
                return Err(invalid(&file, hidden));
            }
            self.entries.push(Entry { path: path.clone(), file, kind });
            if folder {
                self.scan(base, &path, depth + 1)?;
            }
        }
        Ok(())
    }

    /// A rule for nothing is a misspelt one: the file would get the wrong owner without a word.
    fn all_used(&self) -> Result<(), Error> {
        let unused = self.ready.iter().find(|rule| !self.entries.iter().any(|entry| rule.glob.matches(&entry.path)));
        match unused {
            None => Ok(()),
            Some(rule) => Err(Error::Invalid {
                path: self.place.clone(),
                what: format!("the rule for {:?} matches no file of this overlay", rule.text),
            }),
        }
    }

    /// Lays it over the root. Later overlays win over earlier ones; directories that exist keep their owner and mode unless
    /// a rule names them. Owners are looked up in the root's own accounts.
    ///
    /// # Errors
    /// Unknown owners, files that would replace a directory, files that cannot be read any more.
    pub fn apply(&self, tree: &mut Tree, epoch: i64) -> Result<Applied, Error> {
        let root = &mut TreeEditor::new(tree, epoch);
        let accounts = Accounts::load(root)?;
        let chooser = Chooser::new(&self.place, &self.ready, &accounts)?;
        let mut applied = Applied { enable: self.rules.enable.clone(), ..Applied::default() };
        for Entry { path, file, kind } in &self.entries {
            let read_error = |source| Error::Read { path: file.display().to_string(), source };
            let in_the_way =
                |error: Error| Error::Invalid { path: file.display().to_string(), what: error.to_string() };
            let inode = match kind {
                EntryKind::Folder => {
                    let inode = chooser.finish(path, Inode::dir(0o755, epoch));
                    if !root.exists(path) || chooser.named(path) {
                        let real = root.tree.resolve(path).ok().filter(|real| root.tree.contains(real));
                        root.put(real.as_deref().unwrap_or(path), inode).map_err(in_the_way)?;
                    }
                    continue;
                }
                EntryKind::Link(target) => chooser.finish(path, Inode::symlink(target.clone(), epoch)),
                EntryKind::File { executable, len } => {
                    let content = if *len > MAX_IN_MEMORY {
                        Content::Range { source: Source::open(file).map_err(read_error)?, offset: 0, len: *len }
                    } else {
                        fs::read(file).map_err(read_error)?.into()
                    };
                    applied.bytes += content.len();
                    chooser.finish(path, Inode::file(content, if *executable { 0o755 } else { 0o644 }, epoch))
                }
            };
            applied.files += 1;
            root.put(path, inode).map_err(in_the_way)?;
        }
        Ok(applied)
    }
}

/// Reads the overlay `dir` and lays it over the root.
///
/// # Errors
/// As [`Overlay::read`] and [`Overlay::apply`].
pub fn apply(tree: &mut Tree, dir: &Path, epoch: i64) -> Result<Applied, Error> {
    Overlay::read(dir)?.apply(tree, epoch)
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

/// A rule whose values are read; owners wait for the accounts of a root.
#[derive(Debug)]
struct Ready {
    text: String,
    glob: Glob,
    owner: String,
    group: String,
    mode: Option<u16>,
    xattrs: BTreeMap<String, Vec<u8>>,
}

impl Ready {
    fn new(place: &str, rule: &FileRule) -> Result<Ready, Error> {
        let invalid = |what: String| Error::Invalid { path: place.to_owned(), what: format!("{}: {what}", rule.path) };
        let glob = Glob::new(&rule.path).map_err(invalid)?;
        let (user, group) = rule.owner.as_deref().map_or(("", ""), |o| o.split_once(':').unwrap_or((o, "")));
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
        let (owner, group) = (user.to_owned(), group.to_owned());
        Ok(Ready { text: rule.path.clone(), glob, owner, group, mode: mode.transpose()?, xattrs })
    }
}

/// Rules with their owners looked up.
struct Chooser<'a> {
    rules: Vec<(&'a Ready, Option<u32>, Option<u32>)>,
}

impl<'a> Chooser<'a> {
    fn new(place: &str, ready: &'a [Ready], accounts: &Accounts) -> Result<Chooser<'a>, Error> {
        let mut rules = Vec::new();
        for rule in ready {
            let uid = (!rule.owner.is_empty()).then(|| accounts.uid_of(place, &rule.owner)).transpose()?;
            let gid = (!rule.group.is_empty()).then(|| accounts.gid_of(place, &rule.group)).transpose()?;
            rules.push((rule, uid, gid));
        }
        Ok(Chooser { rules })
    }

    fn named(&self, path: &str) -> bool {
        self.rules.iter().any(|(rule, ..)| rule.glob.matches(path))
    }

    fn finish(&self, path: &str, mut inode: Inode) -> Inode {
        for (rule, uid, gid) in self.rules.iter().filter(|(rule, ..)| rule.glob.matches(path)) {
            inode.meta.uid = uid.unwrap_or(inode.meta.uid);
            inode.meta.gid = gid.unwrap_or(inode.meta.gid);
            if !matches!(inode.kind, Kind::Symlink(_)) {
                inode.meta.mode = rule.mode.unwrap_or(inode.meta.mode);
                inode.meta.xattrs.extend(rule.xattrs.clone());
            }
        }
        inode
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
        let mut root = TreeEditor::new(&mut tree, 0);
        root.write("etc/passwd", "root:x:0:0::/root:/bin/sh\n", 0o644).unwrap();
        root.write("etc/group", "root:x:0:\nshadow:x:42:\n", 0o644).unwrap();
        root.dir("usr/lib", 0o755, 0, 0).unwrap();
        root.symlink("usr/lib", "lib").unwrap();
        tree
    }

    #[test]
    fn what_cannot_be_laid_over_the_root_is_named_by_its_file() {
        for (path, what) in [("etc", "etc: a directory cannot be replaced"), ("etc/passwd/extra", "not a directory")] {
            let dir = folder(&[(path, "x", 0o644)]);
            let error = apply(&mut root(), dir.path(), 0).unwrap_err().to_string();
            assert!(error.starts_with(dir.path().to_str().unwrap()) && error.contains(&format!("{path}: ")), "{error}");
            assert!(error.contains(what), "{error}");
        }
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
    fn a_fifo_and_a_socket_are_refused_by_name_and_what_tools_leave_behind_is_not_looked_at() {
        let fifo = |path: &Path| {
            let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
            rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        };
        // A file system monitor of git listens on a socket in `.git`.
        let dir = folder(&[("etc/x", "", 0o644), (".git/config", "", 0o644)]);
        fifo(&dir.path().join(".git/fsmonitor--daemon.ipc"));
        let read = Overlay::read(dir.path()).unwrap();
        assert_eq!(read.entries().iter().map(|e| e.path.as_str()).collect::<Vec<_>>(), ["etc", "etc/x"]);
        for name in ["overlay.yaml", "etc/pipe"] {
            let dir = folder(&[("etc/x", "", 0o644)]);
            fifo(&dir.path().join(name));
            let error = Overlay::read(dir.path()).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("remove"), "{error}");
        }
        let dir = folder(&[("etc/x", "", 0o644)]);
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("etc/listener")).unwrap();
        let error = Overlay::read(dir.path()).unwrap_err().to_string();
        assert!(error.contains("etc/listener") && error.contains("socket"), "{error}");
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
