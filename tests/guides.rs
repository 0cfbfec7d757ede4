//! The guides, followed by a reader who types every command: each guide in an empty folder, from its first line to its last.
//!
//! Of the fenced blocks, `sh` is run by bash, `sh background` runs until the guide ends, `sh no-test: REASON` is for the
//! reader alone, and `yaml file=PATH` is a file that the reader makes. Passphrases that a person would type are in a file.

mod harness;
#[path = "harness/project.rs"]
mod project;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use harness::top;
use project::shared_cache;

struct Block {
    /// What follows the back-ticks.
    info: String,
    text: String,
    line: usize,
}

fn blocks(markdown: &str) -> Vec<Block> {
    let (mut blocks, mut open) = (Vec::new(), None::<Block>);
    for (at, line) in markdown.lines().enumerate() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(info), None) => {
                open = Some(Block { info: info.trim().to_owned(), text: String::new(), line: at + 2 })
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

struct Reader {
    folder: tempfile::TempDir,
    /// Home is the folder: for guides that put something there.
    at_home: bool,
    background: Vec<Child>,
}

impl Reader {
    fn new() -> Reader {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".passphrase"), "a passphrase of the test\n").unwrap();
        Reader { folder, at_home: false, background: Vec::new() }
    }

    fn bash(&self, script: &str) -> Command {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_fruitbuild"));
        let programs = program.parent().unwrap();
        assert!(programs.join("fruitctl").is_file(), "fruitctl is not built; run: cargo build --workspace");
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new("bash");
        command
            .args(["-euo", "pipefail", "-c", script])
            .current_dir(self.folder.path())
            .env("PATH", format!("{}:{path}", programs.display()))
            .env("FRUITBUILD_CACHE", shared_cache())
            .env("FRUITBUILD_PASSPHRASE_FILE", self.folder.path().join(".passphrase"))
            .env("FRUITCTL_PASSPHRASE_FILE", self.folder.path().join(".passphrase"))
            .env("NO_COLOR", "1")
            .env_remove("SOURCE_DATE_EPOCH")
            .stdin(Stdio::null());
        if self.at_home {
            command.env("HOME", self.folder.path()).env_remove("XDG_CONFIG_HOME");
        }
        command
    }

    #[allow(clippy::print_stdout)] // how far it has come, for whoever reads along
    fn follow(&mut self, guide: &Path) -> usize {
        let text = std::fs::read_to_string(guide).unwrap();
        let mut ran = 0;
        for block in blocks(&text) {
            let place = format!("{}:{}", guide.display(), block.line);
            let (language, rest) = block.info.split_once(' ').unwrap_or((&block.info, ""));
            match (language, rest) {
                ("sh", "") => {
                    let output = self.bash(&block.text).output().unwrap();
                    let said = format!(
                        "{}{}",
                        String::from_utf8_lossy(&output.stdout),
                        String::from_utf8_lossy(&output.stderr)
                    );
                    assert!(output.status.success(), "{place}: {}\n{}\n{said}", output.status, block.text);
                    println!("{place}: ran");
                    ran += 1;
                }
                ("sh", "background") => {
                    let child = self.bash(&format!("exec {}", block.text)).stdout(Stdio::null()).spawn().unwrap();
                    self.background.push(child);
                    std::thread::sleep(std::time::Duration::from_secs(1));
                }
                ("sh", reason) if reason.starts_with("no-test: ") => println!("{place}: {reason}"),
                ("yaml", file) if file.starts_with("file=") => {
                    let path = self.folder.path().join(&file["file=".len()..]);
                    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                    std::fs::write(path, &block.text).unwrap();
                }
                ("sh", other) => panic!("{place}: `{other}` says nothing about the block"),
                _ => {}
            }
        }
        ran
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        for child in &mut self.background {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn follow(guide: &str) {
    let guide = top().join("docs/guides").join(guide);
    let ran = Reader::new().follow(&guide);
    assert!(ran > 0, "{}: no command was run", guide.display());
}

#[test]
fn the_first_card() {
    follow("first-card.md");
}

#[test]
fn a_recipe() {
    follow("recipe.md");
}

#[test]
fn publish_and_update() {
    follow("publish-and-update.md");
}

#[test]
fn the_pi_stack() {
    follow("pi-stack.md");
}

#[test]
fn founding_a_fleet() {
    let mut reader = Reader::new();
    reader.at_home = true;
    assert!(reader.follow(&top().join("docs/guides/fleet.md")) > 0);
}

#[test]
fn kubernetes() {
    follow("kubernetes.md");
}

#[test]
fn ci() {
    follow("ci.md");
}

#[test]
fn installing() {
    follow("install.md");
}

#[test]
fn every_guide_is_followed_or_has_nothing_to_run() {
    let followed = [
        "first-card.md",
        "recipe.md",
        "publish-and-update.md",
        "pi-stack.md",
        "ci.md",
        "install.md",
        "fleet.md",
        "kubernetes.md",
    ];
    for entry in std::fs::read_dir(top().join("docs/guides")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let runs = blocks(&std::fs::read_to_string(&path).unwrap()).iter().any(|block| block.info == "sh");
        assert!(!runs || followed.contains(&name), "{name} has commands that no test runs");
    }
}

#[test]
fn links_between_the_documents_lead_somewhere() {
    let mut pages = vec![top().join("README.md"), top().join("ARCHITECTURE.md")];
    for folder in ["guides", "concepts", "reference"] {
        pages.extend(std::fs::read_dir(top().join("docs").join(folder)).unwrap().map(|entry| entry.unwrap().path()));
    }
    pages.push(top().join("docs/benchmarks.md"));
    let mut seen = 0;
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap();
            if file.is_empty() || target.contains("://") {
                continue;
            }
            assert!(page.parent().unwrap().join(file).exists(), "{}: {target} leads nowhere", page.display());
            seen += 1;
        }
    }
    assert!(seen > 20, "only {seen} links were found");
}
