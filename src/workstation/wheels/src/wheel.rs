//! From the members of a wheel to files of a root.

use std::collections::BTreeMap;

use fruit_base::Sha256;
use fruit_debian::{Member, MemberKind};
use fruit_image::tree::Content;

use crate::{Target, normalized, record};

/// Longest text of a wheel that is read, in bytes.
const TEXT_MAX: u64 = 16 << 20;
/// Bytes of a program's first line that are looked at.
const FIRST_LINE: u64 = 256;
const PROGRAMS: &str = "usr/local/bin";
const INTERPRETER: &str = "/usr/bin/python3";

/// A file as it is to lie in the root.
#[derive(Clone, Debug)]
pub struct LaidFile {
    /// Without leading slash.
    pub path: String,
    pub content: Content,
    pub mode: u16,
}

/// Why a wheel is not laid out.
#[derive(Debug, thiserror::Error)]
#[error("{wheel}: {why}")]
pub struct Unfit {
    pub wheel: String,
    pub why: String,
}

/// Where the files of the wheel of `name` and `version` lie, with programs for its entry points and with what Python's own tools read of an
/// installation. `requested`: somebody asked for it by name.
///
/// # Errors
/// A wheel that is none, of a newer format, or whose files are not those of its own list.
pub fn lay_out(
    name: &str,
    version: &str,
    requested: bool,
    members: &[Member],
    target: &Target,
) -> Result<Vec<LaidFile>, Unfit> {
    let unfit = |why: String| Unfit { wheel: format!("{name} {version}"), why };
    let wheel = Wheel::of(members).map_err(unfit)?;
    wheel.is(name, version).map_err(unfit)?;
    let listed = wheel.compare().map_err(unfit)?;
    wheel.files(&listed, requested, target).map_err(unfit)
}

/// Paths with their hashes; none for the files that cannot have one.
type Listed = BTreeMap<String, Option<Sha256>>;

struct Wheel<'m> {
    /// Files by their path.
    files: BTreeMap<&'m str, &'m Member>,
    /// `NAME-VERSION.dist-info`.
    info: &'m str,
}

impl<'m> Wheel<'m> {
    fn of(members: &'m [Member]) -> Result<Wheel<'m>, String> {
        let mut files = BTreeMap::new();
        for member in members {
            match member.kind {
                MemberKind::File(_) => _ = files.insert(member.path.as_str(), member),
                MemberKind::Folder => {}
                MemberKind::Link(_) | MemberKind::Other => {
                    return Err(format!("`{}` is no file, as all of a wheel are", member.path));
                }
            }
        }
        let mut infos = files.keys().filter_map(|path| path.strip_suffix("/WHEEL"));
        let infos = infos.by_ref().filter(|folder| folder.ends_with(".dist-info") && !folder.contains('/'));
        let infos: Vec<&str> = infos.collect();
        match infos[..] {
            [info] => Ok(Wheel { files, info }),
            _ => Err("it has not one folder .dist-info: it is no wheel".to_owned()),
        }
    }

    fn content(&self, path: &str) -> Option<&'m Content> {
        match &self.files.get(path)?.kind {
            MemberKind::File(content) => Some(content),
            _ => None,
        }
    }

    /// A text of the folder `.dist-info`.
    fn text(&self, name: &str) -> Result<Option<String>, String> {
        let path = format!("{}/{name}", self.info);
        let Some(content) = self.content(&path) else { return Ok(None) };
        if content.len() > TEXT_MAX {
            return Err(format!("{path} has {} bytes; at most {TEXT_MAX} are read", content.len()));
        }
        let bytes = content.to_vec().map_err(|error| format!("{path}: {error}"))?;
        String::from_utf8(bytes).map(Some).map_err(|_| format!("{path} is not UTF-8"))
    }

    /// Whether it is the wheel that the lock names, of a format that is known.
    fn is(&self, name: &str, version: &str) -> Result<(), String> {
        let field = |text: &str, key: &str| {
            let head = text.lines().take_while(|line| !line.is_empty());
            head.filter_map(|line| line.split_once(':'))
                .find(|(k, _)| *k == key)
                .map(|(_, value)| value.trim().to_owned())
        };
        let about = self.text("WHEEL")?.unwrap_or_default();
        let format = field(&about, "Wheel-Version").unwrap_or_default();
        if format.split('.').next() != Some("1") {
            return Err(format!("its format is {format:?}; 1.x is known"));
        }
        let metadata = self.text("METADATA")?.ok_or("it has no METADATA")?;
        let (its_name, its_version) = (field(&metadata, "Name"), field(&metadata, "Version"));
        let same = its_name.as_deref().map(normalized).as_deref() == Some(&normalized(name));
        if !same || its_version.as_deref() != Some(version) {
            let shown = |text: Option<String>| text.unwrap_or_else(|| "nothing".to_owned());
            return Err(format!("it says that it is {} {}", shown(its_name), shown(its_version)));
        }
        Ok(())
    }

    /// Whether its files are those of its list, bit by bit; the list.
    fn compare(&self) -> Result<Listed, String> {
        let listed = record::read(&self.text("RECORD")?.ok_or("it has no RECORD")?)?;
        // The list itself, and what signed it.
        let unlisted = |path: &str| {
            let name = path.strip_prefix(self.info).and_then(|rest| rest.strip_prefix('/'));
            matches!(name, Some("RECORD" | "RECORD.jws" | "RECORD.p7s"))
        };
        for (path, member) in &self.files {
            let MemberKind::File(content) = &member.kind else { continue };
            match listed.get(*path) {
                _ if unlisted(path) => {}
                Some(Some(sum)) => {
                    if content.sha256().map_err(|error| format!("{path}: {error}"))? != *sum {
                        return Err(format!("`{path}` is not the file of its RECORD"));
                    }
                }
                Some(None) => return Err(format!("its RECORD has no hash of `{path}`")),
                None => return Err(format!("`{path}` is not in its RECORD")),
            }
        }
        match listed.keys().find(|path| !unlisted(path) && !self.files.contains_key(path.as_str())) {
            Some(path) => Err(format!("`{path}` of its RECORD is missing")),
            None => Ok(listed),
        }
    }

    fn files(&self, listed: &Listed, requested: bool, target: &Target) -> Result<Vec<LaidFile>, String> {
        let site = target.site();
        let data = format!("{}.data/", self.info.trim_end_matches(".dist-info"));
        let mut all = Vec::new();
        // Of files that are laid as they are: each is hashed once.
        let mut sums: BTreeMap<String, Sha256> = BTreeMap::new();
        for (path, member) in &self.files {
            let MemberKind::File(content) = &member.kind else { continue };
            let mode = if member.executable { 0o755 } else { 0o644 };
            let (path, content, mode) = match path.strip_prefix(&data) {
                None if *path == format!("{}/RECORD", self.info) => continue,
                None => {
                    let laid = format!("{site}/{path}");
                    sums.extend(listed.get(*path).copied().flatten().map(|sum| (laid.clone(), sum)));
                    (laid, content.clone(), mode)
                }
                Some(rest) => self.data(rest, content, mode, target)?,
            };
            all.push(LaidFile { path, content, mode });
        }
        if let Some(text) = self.text("entry_points.txt")? {
            all.extend(entry_points(&text)?);
        }
        let mut note = |name: &str, text: &str| {
            let path = format!("{site}/{}/{name}", self.info);
            all.retain(|file| file.path != path);
            sums.remove(&path);
            all.push(LaidFile { path, content: text.into(), mode: 0o644 });
        };
        note("INSTALLER", "fruitbuild\n");
        if requested {
            note("REQUESTED", "");
        }
        let path = format!("{site}/{}/RECORD", self.info);
        let mut text = String::new();
        for file in &all {
            let sum = match sums.get(&file.path) {
                Some(sum) => *sum,
                None => file.content.sha256().map_err(|error| format!("{}: {error}", file.path))?,
            };
            text += &record::line(&seen_from(&site, &file.path), Some((&sum, file.content.len())));
        }
        text += &record::line(&seen_from(&site, &path), None);
        all.push(LaidFile { path, content: text.as_str().into(), mode: 0o644 });
        Ok(all)
    }

    /// A file of the folder `.data`: its first part names where it belongs.
    fn data(
        &self,
        rest: &str,
        content: &Content,
        mode: u16,
        target: &Target,
    ) -> Result<(String, Content, u16), String> {
        let (scheme, path) =
            rest.split_once('/').ok_or_else(|| format!("`{rest}` lies beside the folders of .data"))?;
        let project = self.info.split('-').next().unwrap_or_default();
        let below = match scheme {
            "purelib" | "platlib" => target.site(),
            "data" => "usr/local".to_owned(),
            "headers" => format!("usr/local/include/python{}/{project}", target.python_version()),
            "scripts" => {
                let content = with_interpreter(content).map_err(|error| format!("{path}: {error}"))?;
                return Ok((format!("{PROGRAMS}/{path}"), content, 0o755));
            }
            other => return Err(format!("nothing is known of `{other}` in the folder .data")),
        };
        Ok((format!("{below}/{path}"), content.clone(), mode))
    }
}

/// A path of RECORD: relative to the folder of installed packages where it lies in it.
fn seen_from(site: &str, path: &str) -> String {
    path.strip_prefix(site).and_then(|rest| rest.strip_prefix('/')).map_or_else(|| format!("/{path}"), str::to_owned)
}

/// A program with the node's interpreter: in a wheel its first line is `#!python`.
fn with_interpreter(content: &Content) -> std::io::Result<Content> {
    let mut head = vec![0; content.len().min(FIRST_LINE) as usize];
    content.read_at(&mut head, 0)?;
    let Some(rest) = head.strip_prefix(b"#!python") else { return Ok(content.clone()) };
    // `#!pythonw`, for windows without a console, is the same here.
    let rest = rest.strip_prefix(b"w").unwrap_or(rest);
    let skipped = (head.len() - rest.len()) as u64;
    let mut whole = format!("#!{INTERPRETER}").into_bytes();
    let mut tail = vec![0; (content.len() - skipped) as usize];
    content.read_at(&mut tail, skipped)?;
    whole.extend(tail);
    Ok(whole.into())
}

/// Programs for what `entry_points.txt` names as such.
fn entry_points(text: &str) -> Result<Vec<LaidFile>, String> {
    let mut programs = BTreeMap::new();
    let mut counts = false;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';'])) {
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            counts = matches!(section.trim(), "console_scripts" | "gui_scripts");
            continue;
        }
        if !counts {
            continue;
        }
        let wrong = || format!("entry_points.txt: {line:?} is not of the form NAME = MODULE:FUNCTION");
        let (name, object) = line.split_once('=').ok_or_else(wrong)?;
        let (name, object) = (name.trim(), object.split('[').next().unwrap_or_default().trim());
        let (module, function) = object.split_once(':').ok_or_else(wrong)?;
        let (module, function) = (module.trim(), function.trim());
        let dotted = |text: &str| {
            let part = |part: &str| {
                !part.starts_with(|c: char| c.is_ascii_digit())
                    && !part.is_empty()
                    && part.chars().all(|c| c.is_alphanumeric() || c == '_')
            };
            text.split('.').all(part)
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "_.-+".contains(c);
        let named = !name.is_empty() && !name.starts_with('.') && name.chars().all(plain);
        if !named || !dotted(module) || !dotted(function) {
            return Err(wrong());
        }
        let first = function.split('.').next().unwrap_or_default();
        let program = format!("#!{INTERPRETER}\nimport sys\nfrom {module} import {first}\nsys.exit({function}())\n");
        programs.insert(name.to_owned(), program);
    }
    let file = |(name, text): (String, String)| LaidFile {
        path: format!("{PROGRAMS}/{name}"),
        content: text.as_str().into(),
        mode: 0o755,
    };
    Ok(programs.into_iter().map(file).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAW: [(&str, &str); 5] = [
        ("demo/__init__.py", "x = 1\n"),
        ("demo-1.0.data/scripts/old", "#!python -s\nprint(1)\n"),
        ("demo-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: Demo\nVersion: 1.0\n\nName: other\n"),
        ("demo-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n"),
        (
            "demo-1.0.dist-info/entry_points.txt",
            "[console_scripts]\ndemo = demo.cli:App.main [extra]\n[other]\nx = /../y\n",
        ),
    ];

    fn target() -> Target {
        Target::new("arm64", "3.13.5-1", "2.41-12").unwrap()
    }

    fn member(path: &str, text: &str) -> Member {
        Member { path: path.to_owned(), kind: MemberKind::File(text.into()), executable: false }
    }

    fn members(change: impl Fn(&str, &str) -> Option<String>) -> Vec<Member> {
        let mut list = String::new();
        let mut all = Vec::new();
        for (path, text) in RAW {
            list += &record::line(path, Some((&Sha256::of(text.as_bytes()), text.len() as u64)));
            if let Some(text) = change(path, text) {
                all.push(member(path, &text));
            }
        }
        all.push(member("demo-1.0.dist-info/RECORD", &list));
        all
    }

    fn refused(members: &[Member]) -> String {
        lay_out("demo", "1.0", true, members, &target()).unwrap_err().to_string()
    }

    #[test]
    fn files_lie_where_debian_s_python_looks_and_programs_name_its_interpreter() {
        let laid = lay_out("demo", "1.0", true, &members(|_, text| Some(text.into())), &target()).unwrap();
        let text = |path: &str| {
            let file = laid.iter().find(|file| file.path == path).unwrap_or_else(|| panic!("{path}"));
            (String::from_utf8(file.content.to_vec().unwrap()).unwrap(), file.mode)
        };
        let site = "usr/local/lib/python3.13/dist-packages";
        assert_eq!(text(&format!("{site}/demo/__init__.py")), ("x = 1\n".into(), 0o644));
        assert_eq!(text("usr/local/bin/old"), ("#!/usr/bin/python3 -s\nprint(1)\n".into(), 0o755));
        let (program, mode) = text("usr/local/bin/demo");
        assert!(program.ends_with("from demo.cli import App\nsys.exit(App.main())\n"), "{program}");
        assert_eq!(mode, 0o755);
        let (list, _) = text(&format!("{site}/demo-1.0.dist-info/RECORD"));
        let listed = record::read(&list).unwrap();
        assert_eq!(listed.len(), laid.len());
        for file in &laid {
            let sum = &listed[&seen_from(site, &file.path)];
            let own = file.path.ends_with("/RECORD");
            assert_eq!(*sum, (!own).then(|| file.content.sha256().unwrap()), "{}", file.path);
        }
        assert_eq!(text(&format!("{site}/demo-1.0.dist-info/INSTALLER")).0, "fruitbuild\n");
    }

    #[test]
    fn a_wheel_that_is_not_what_it_lists_is_refused() {
        let other =
            members(|path, text| Some(if path.ends_with("__init__.py") { "x = 2\n".into() } else { text.into() }));
        assert!(refused(&other).contains("`demo/__init__.py` is not the file of its RECORD"));
        let less = members(|path, text| (!path.ends_with("__init__.py")).then(|| text.into()));
        assert!(refused(&less).contains("`demo/__init__.py` of its RECORD is missing"));
        let mut more = members(|_, text| Some(text.into()));
        more.push(member("demo/more.py", ""));
        assert!(refused(&more).contains("`demo/more.py` is not in its RECORD"));
        let mut link = members(|_, text| Some(text.into()));
        link.push(Member { path: "demo/l".into(), kind: MemberKind::Link("/etc/shadow".into()), executable: false });
        assert!(refused(&link).contains("`demo/l` is no file"));
    }

    #[test]
    fn a_wheel_of_another_project_or_format_is_refused() {
        let whole = members(|_, text| Some(text.into()));
        let error = lay_out("demo", "1.1", true, &whole, &target()).unwrap_err().to_string();
        assert_eq!(error, "demo 1.1: it says that it is Demo 1.0");
        assert!(refused(&[member("demo/__init__.py", "")]).contains("it is no wheel"));
        let newer = members(|path, text| {
            Some(if path.ends_with("WHEEL") { "Wheel-Version: 2.0\n".into() } else { text.into() })
        });
        assert!(refused(&newer).contains("its format is \"2.0\""));
    }

    #[test]
    fn entry_points_cannot_leave_the_folder_of_programs_or_write_code() {
        for bad in ["../x = a:b", "x = a:b; import os", "x = a", ".x = a:b", "x/y = a:b", "x = a b:c"] {
            assert!(entry_points(&format!("[console_scripts]\n{bad}\n")).is_err(), "{bad}");
        }
    }
}
