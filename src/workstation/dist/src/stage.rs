//! What is in a release, as paths below `/usr` or below the folder of an archive. fruitbuild finds boards, recipes,
//! overlays and the programs for nodes relative to itself, so both work alike.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fruit_base::AtPath;
use fruitbuild::failure::Failure;

use crate::compile::{WORKSTATION_PROGRAMS, printed};
use crate::source::Source;

/// A file of a release.
#[derive(Clone)]
pub struct File {
    pub bytes: Vec<u8>,
    pub executable: bool,
}

impl File {
    /// A file that is not run.
    pub fn plain(bytes: Vec<u8>) -> File {
        File { bytes, executable: false }
    }
}

/// By path, without `/` at the start.
pub type Files = BTreeMap<String, File>;

/// Folders of the repository that `share/fruitbuild` holds.
const SHARED: [&str; 3] = ["boards", "overlays", "recipes"];
/// What `share/doc/fruitbuild` holds, in the places that the links between the documents expect.
const DOCUMENTS: [&str; 8] =
    ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "LICENSE", "LICENSE-APACHE", "LICENSE-MIT", "docs", "examples"];
/// Completions: the shell, and the file of a program's.
const COMPLETIONS: [(&str, &str, &str); 3] = [
    ("bash", "share/bash-completion/completions/", ""),
    ("zsh", "share/zsh/vendor-completions/_", ""),
    ("fish", "share/fish/vendor_completions.d/", ".fish"),
];

/// What does not depend on the architecture of the workstation. `runnable` are the programs for this machine, which say
/// themselves how they are used.
///
/// # Errors
/// Files that cannot be read, a program that does not start.
pub fn common(
    source: &Source,
    runnable: &BTreeMap<String, PathBuf>,
    nodes: &BTreeMap<String, PathBuf>,
) -> Result<Files, Failure> {
    let mut files = Files::new();
    for (name, path) in nodes {
        files.insert(format!("lib/fruitbuild/{name}"), read(path, true)?);
    }
    for (folder, paths) in [("share/fruitbuild", &SHARED[..]), ("share/doc/fruitbuild", &DOCUMENTS)] {
        for path in source.tracked(paths)? {
            let file = source.top.join(&path);
            files.insert(format!("{folder}/{path}"), read(&file, is_executable(&file)?)?);
        }
    }
    for (name, program) in runnable {
        usage(&mut files, name, program)?;
    }
    Ok(files)
}

/// Adds the programs for one architecture of workstations.
///
/// # Errors
/// Files that cannot be read.
pub fn add_programs(files: &mut Files, programs: &BTreeMap<String, PathBuf>) -> Result<(), Failure> {
    for (name, path) in programs {
        files.insert(format!("bin/{name}"), read(path, true)?);
    }
    Ok(())
}

fn read(path: &Path, executable: bool) -> Result<File, Failure> {
    Ok(File { bytes: std::fs::read(path).at(path)?, executable })
}

fn is_executable(path: &Path) -> Result<bool, Failure> {
    use std::os::unix::fs::PermissionsExt;
    Ok(std::fs::metadata(path).at(path)?.permissions().mode() & 0o111 != 0)
}

/// Man pages and completions of a program.
fn usage(files: &mut Files, name: &str, program: &Path) -> Result<(), Failure> {
    let verb = if name == WORKSTATION_PROGRAMS[0] { "shell-completions" } else { "completions" };
    for (shell, start, end) in COMPLETIONS {
        files.insert(format!("{start}{name}{end}"), File::plain(printed(program, &[verb, shell])?));
    }
    let folder = tempfile::tempdir().map_err(|error| Failure::general(format!("no temporary folder: {error}")))?;
    let path = folder.path();
    let text = path.to_str().ok_or_else(|| Failure::general(format!("{} is not UTF-8", path.display())))?;
    printed(program, &["man", text])?;
    for entry in std::fs::read_dir(path).at(path)? {
        let page = entry.at(path)?.path();
        let page_name = page.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.insert(format!("share/man/man1/{page_name}"), read(&page, false)?);
    }
    Ok(())
}
