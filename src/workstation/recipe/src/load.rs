//! From a file name to a valid recipe.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use crate::board::{Architecture, Board};
use crate::decode::{Decode, Named};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::merge::merge;
use crate::node::{self, Kind, Node};
use crate::recipe::{Extends, RecipeFile};
use crate::source::{At, Place, Source};
use crate::variables::{RecipeVariable, Values, VariableName};
use crate::words::OverlayName;

/// Longest chain of `extends`.
const MAX_CHAIN: usize = 16;
/// Most files that one recipe may be made of.
const MAX_FILES: usize = 64;

/// Folders in which boards, overlays and base recipes are looked for, the first hit counts.
///
/// `../boards` and `../overlays` beside the recipe's folder are looked at before these, so a recipe can bring its own; a file
/// named in `extends` is looked for beside the recipe that names it.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// Folders of recipes that `extends` may name without a path.
    pub recipes: Vec<PathBuf>,
    /// Folders of board files.
    pub boards: Vec<PathBuf>,
    /// Folders of overlays.
    pub overlays: Vec<PathBuf>,
}

impl Search {
    fn with_neighbours(&self, recipe: &Path) -> Self {
        let folder = recipe.parent().unwrap_or(Path::new(""));
        let beside = |name: &str, more: &[PathBuf]| {
            let mut all = vec![if folder.as_os_str().is_empty() {
                Path::new("..").join(name)
            } else {
                folder.join("..").join(name)
            }];
            all.extend(more.iter().cloned());
            all
        };
        Self {
            recipes: self.recipes.clone(),
            boards: beside("boards", &self.boards),
            overlays: beside("overlays", &self.overlays),
        }
    }
}

/// A valid recipe: every file it names exists, every value obeys its rule.
///
/// The keys of the merged files are fields of `file` and reached directly: `recipe.packages`.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// Path of the recipe that was asked for.
    pub path: PathBuf,
    /// The board that it is for.
    pub board: Board,
    /// Name of the board.
    pub board_name: String,
    /// Folders of its overlays, in the order in which they are laid on.
    pub overlays: Vec<OverlayFolder>,
    /// What the merged recipe files say.
    pub file: RecipeFile,
    /// Values of its variables, by name.
    pub variables: BTreeMap<String, String>,
    /// All files it was read from, the recipe itself first, the board last.
    pub sources: Vec<Arc<Source>>,
}

/// An overlay and where it was found.
#[derive(Debug, Clone)]
pub struct OverlayFolder {
    /// Name, and the place of the line that asks for it.
    pub name: At<OverlayName>,
    /// Its folder.
    pub path: PathBuf,
}

impl Deref for Recipe {
    type Target = RecipeFile;
    fn deref(&self) -> &RecipeFile {
        &self.file
    }
}

impl Recipe {
    /// Bytes that are equal exactly if two recipes say the same: the merged recipe and its board with all defaults, without comments,
    /// spelling and paths. The content of key files and overlays is not in it; hash those besides.
    pub fn fingerprint(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Fingerprint<'a> {
            format: u32,
            recipe: &'a RecipeFile,
            board_name: &'a str,
            board: &'a Board,
            #[serde(skip_serializing_if = "BTreeMap::is_empty")]
            variables: &'a BTreeMap<String, String>,
        }
        // Struct fields keep their order and serde_json's maps are sorted, so the bytes are canonical.
        let Self { file, board_name, board, variables, .. } = self;
        let all = Fingerprint { format: 1, recipe: file, board_name, board, variables };
        serde_json::to_vec(&all).unwrap_or_else(|_| unreachable!("keys of all maps are texts"))
    }

    /// The most that the RAM overlay may hold: the recipe's, or else the board's.
    pub fn overlay_cap(&self) -> crate::size::OverlayCap {
        self.file.root.overlay.as_ref().map_or(self.board.overlay.value, |cap| cap.value)
    }
}

/// Reads the recipe at `path` with all it extends, its board and the names of its overlays.
///
/// All mistakes of all files are reported together where one does not hide another.
///
/// # Errors
/// All that is wrong with the recipe and the files that it names, each with its place.
pub fn load(path: &Path, search: &Search) -> Result<Recipe, Diagnostics> {
    load_set(path, search, &[])
}

/// As [`load`], with values for the recipe's variables, each `NAME=VALUE`.
///
/// # Errors
/// As [`load`]; a variable that the recipe does not have or use, a value that it may not have.
pub fn load_set(path: &Path, search: &Search, settings: &[String]) -> Result<Recipe, Diagnostics> {
    let search = search.with_neighbours(path);
    let mut reading = Reading::new(&search);
    let merged = reading.recipe(path, None);
    let Some(mut merged) = merged else { return reading.outcome(None) };
    let mut values = Values::new(&merged, settings, &mut reading.found);
    if let Some(board) = merged.get_mut("board") {
        values.put_in(board, &mut reading.found);
    }

    // The board and the named files are looked at even if another key is wrong.
    let board = match merged.get("board") {
        Some(Node { kind: Kind::Scalar { text, .. }, place }) => {
            let name = At::new(text.clone(), place.clone());
            let board = reading.board(&name, &search.boards);
            board.map(|board| (name.value, board))
        }
        _ => None,
    };
    match &board {
        Some((name, board)) => values.of_board(name, board.architecture.value),
        // So that what the board would say is not told as missing, too.
        None => values.of_board("", Architecture::Arm64),
    }
    values.put_in(&mut merged, &mut reading.found);
    if values.failed {
        // Whatever else is found may be an effect of it; what is wrong with a declaration itself is told here.
        if let Some(node) = merged.get("variables") {
            drop(Named::<VariableName, RecipeVariable>::decode(node, &mut reading.found));
        }
        return reading.outcome(None);
    }
    let variables = values.finish(&mut reading.found);
    let file = RecipeFile::decode(&merged, &mut reading.found);

    let mut overlays = Vec::new();
    if let Some(file) = &file {
        for name in &file.overlays {
            overlays.extend(reading.overlay(name, &search.overlays));
        }
        let keys = file.repositories.iter().map(|(_, repository)| &repository.key);
        for key in keys.chain(file.distribution.keyring.as_ref()) {
            reading.key_file(key);
        }
        crate::rules::check(file, board.as_ref().map(|(_, b)| b), &mut reading.found);
    }
    let sources = reading.sources.clone();
    let (file, (board_name, board)) = reading.outcome(file.zip(board))?;
    Ok(Recipe { path: path.to_owned(), board, board_name, overlays, file, variables, sources })
}

/// Reads one board file by itself.
///
/// # Errors
/// All that is wrong with the file, each with its place.
pub fn load_board(path: &Path) -> Result<Board, Diagnostics> {
    let search = Search::default();
    let mut reading = Reading::new(&search);
    let board = reading.file(path, None).and_then(|node| Board::decode(&node, &mut reading.found));
    if let Some(board) = &board {
        crate::rules::check_board(board, &mut reading.found);
    }
    reading.outcome(board)
}

/// Reads the text of one recipe file by itself, without looking at any other file: what an editor, or a fuzzer, has at hand. Keys
/// that a base would bring are missing here.
///
/// # Errors
/// All that is wrong with the bytes, each with its place.
pub fn check_recipe(path: &Path, bytes: &[u8]) -> Result<RecipeFile, Diagnostics> {
    let search = Search::default();
    let mut reading = Reading::new(&search);
    let file = reading.parse(path, bytes).and_then(|mut node| {
        let mut values = Values::new(&node, &[], &mut reading.found);
        values.of_board("", Architecture::Arm64);
        values.put_in(&mut node, &mut reading.found);
        RecipeFile::decode(&node, &mut reading.found)
    });
    if let Some(file) = &file {
        crate::rules::check(file, None, &mut reading.found);
    }
    reading.outcome(file)
}

/// Reads the text of a board file.
///
/// # Errors
/// All that is wrong with the bytes, each with its place.
pub fn check_board(path: &Path, bytes: &[u8]) -> Result<Board, Diagnostics> {
    let search = Search::default();
    let mut reading = Reading::new(&search);
    let board = reading.parse(path, bytes).and_then(|node| Board::decode(&node, &mut reading.found));
    if let Some(board) = &board {
        crate::rules::check_board(board, &mut reading.found);
    }
    reading.outcome(board)
}

/// What has been read so far.
struct Reading<'s> {
    search: &'s Search,
    found: Diagnostics,
    sources: Vec<Arc<Source>>,
    /// Files whose `extends` is being followed.
    chain: Vec<PathBuf>,
}

impl<'s> Reading<'s> {
    fn new(search: &'s Search) -> Self {
        Self { search, found: Diagnostics::new(), sources: Vec::new(), chain: Vec::new() }
    }

    /// The value if nothing stands against it.
    fn outcome<T>(mut self, value: Option<T>) -> Result<T, Diagnostics> {
        self.found.sort();
        match value {
            Some(value) if !self.found.has_errors() => Ok(value),
            _ => Err(self.found),
        }
    }

    /// The tree of one file; `asked` is the line that names it.
    fn file(&mut self, path: &Path, asked: Option<&At<String>>) -> Option<Node> {
        // What a person names on the command line may be a pipe; what a file names is a file.
        let regular = if asked.is_some() { regular(path) } else { Ok(()) };
        let bytes = match regular.and_then(|()| read_bounded(path)) {
            Ok(bytes) => bytes,
            Err(error) => {
                let made = match asked {
                    Some(name) => Diagnostic::at(name, unreadable(path, &error), neighbours(path, name)),
                    None => Diagnostic::error(unreadable(path, &error)),
                };
                self.found.push(made);
                return None;
            }
        };
        self.parse(path, &bytes)
    }

    /// The tree of a file's bytes.
    fn parse(&mut self, path: &Path, bytes: &[u8]) -> Option<Node> {
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let at = error.valid_up_to();
                let source = Source::new(path, &String::from_utf8_lossy(bytes));
                self.found.push(
                    Diagnostic::error(format!("{} is not UTF-8 text", path.display()))
                        .place(Place::new(&source, at..at.saturating_add(1)))
                        .label("not UTF-8"),
                );
                return None;
            }
        };
        let source = Source::new(path, text);
        self.sources.push(Arc::clone(&source));
        match node::parse(&source) {
            Ok(node) => Some(node),
            Err(found) => {
                self.found.extend(found);
                None
            }
        }
    }

    /// A recipe file laid over those that it extends.
    fn recipe(&mut self, path: &Path, asked: Option<&At<String>>) -> Option<Node> {
        let identity = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if self.chain.contains(&identity) {
            self.found.push(
                Diagnostic::error(format!("{} extends itself", path.display()))
                    .maybe_place(asked.and_then(|a| a.place.clone()))
                    .label("closes the circle"),
            );
            return None;
        }
        if self.chain.len() >= MAX_CHAIN || self.sources.len() >= MAX_FILES {
            self.found.push(
                Diagnostic::error(format!("more than {MAX_CHAIN} recipes on top of each other, or {MAX_FILES} in all"))
                    .maybe_place(asked.and_then(|a| a.place.clone())),
            );
            return None;
        }
        let mut node = self.file(path, asked)?;
        self.chain.push(identity);
        let bases = node
            .remove("extends")
            .map_or(Some(Extends::default()), |extends| Extends::decode(&extends, &mut self.found));
        let read: Option<Vec<Node>> = bases.and_then(|bases| {
            let each: Vec<_> = bases.0.iter().map(|base| self.recipe(&self.base(base), Some(base))).collect();
            each.into_iter().collect()
        });
        self.chain.pop();
        let mut below: Option<Node> = None;
        for base in read? {
            below = Some(match below {
                None => base,
                Some(below) => merge(below, base, &mut self.found),
            });
        }
        match below {
            None => Some(node),
            Some(base) if matches!(node.kind, Kind::Map(_)) => Some(merge(base, node, &mut self.found)),
            // Not a mapping at all: let the reader of types say so.
            Some(_) => Some(node),
        }
    }

    /// The file that an entry of `extends` means.
    fn base(&self, name: &At<String>) -> PathBuf {
        let beside = tidy(&name.resolve(&name.value));
        if beside.exists() || name.contains('/') {
            return beside;
        }
        self.search.recipes.iter().map(|folder| folder.join(&name.value)).find(|path| path.is_file()).unwrap_or(beside)
    }

    fn board(&mut self, name: &At<String>, folders: &[PathBuf]) -> Option<Board> {
        // A name that is no plain name has been refused already, and must not reach the file system.
        crate::words::BoardName::new(name).ok()?;
        let Some(path) = folders.iter().map(|f| f.join(format!("{}.yaml", name.value))).find(|p| p.is_file()) else {
            // The same folder may be reached by two ways.
            let known: BTreeSet<String> = folders.iter().flat_map(|f| stems(f)).collect();
            let mut made =
                Diagnostic::at(name, format!("there is no board `{}`", name.value), &known).label("unknown board");
            if !known.is_empty() {
                made = made
                    .note(format!("known boards: {}", known.iter().map(String::as_str).collect::<Vec<_>>().join(", ")));
            }
            self.found.push(made.note(format!("looked in {}", shown(folders))));
            return None;
        };
        let node = self.file(&path, None)?;
        let board = Board::decode(&node, &mut self.found)?;
        crate::rules::check_board(&board, &mut self.found);
        Some(board)
    }

    fn overlay(&mut self, name: &At<OverlayName>, folders: &[PathBuf]) -> Option<OverlayFolder> {
        if let Some(path) = folders.iter().map(|f| f.join(name.as_str())).find(|p| p.is_dir()) {
            return Some(OverlayFolder { name: name.clone(), path });
        }
        let known: BTreeSet<String> = folders.iter().flat_map(|f| names(f, Path::is_dir)).collect();
        let made =
            Diagnostic::at(name, format!("there is no overlay `{}`", name.value), &known).label("unknown overlay");
        self.found.push(made.note(format!("looked in {}", shown(folders))));
        None
    }

    fn key_file(&mut self, key: &At<String>) {
        let path = key.resolve(&key.value);
        if let Err(error) = regular(&path).and_then(|()| std::fs::File::open(&path).map(drop)) {
            self.found.push(
                Diagnostic::at(key, unreadable(&path, &error), neighbours(&path, key))
                    .label("no key here")
                    .note("the path is relative to the file that this line stands in"),
            );
        }
    }
}

/// Asked before a file is opened: opening a FIFO waits for a writer that never comes.
fn regular(path: &Path) -> std::io::Result<()> {
    match std::fs::metadata(path)? {
        meta if meta.is_file() => Ok(()),
        meta if meta.is_dir() => Err(std::io::Error::other("it is a folder")),
        _ => Err(std::io::Error::other("it is a FIFO, socket or device, not a regular file")),
    }
}

/// Why a file could not be read.
fn unreadable(path: &Path, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => format!("there is no file {}", path.display()),
        _ => format!("cannot read {}: {error}", path.display()),
    }
}

/// The path without `folder/..`, where that is the same file.
fn tidy(path: &Path) -> PathBuf {
    let mut short = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir if short.file_name().is_some() => {
                short.pop();
            }
            std::path::Component::CurDir => {}
            part => short.push(part),
        }
    }
    match (path.canonicalize(), short.canonicalize()) {
        (Ok(a), Ok(b)) if a == b => short,
        _ => path.to_owned(),
    }
}

/// Reads a file, but never more than one byte over the limit: the parser then refuses it.
fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(node::MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Names in `folder` that `wanted` holds for, sorted; none if it cannot be read.
fn names(folder: &Path, wanted: impl Fn(&Path) -> bool) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut all: Vec<String> =
        entries.flatten().filter(|e| wanted(&e.path())).filter_map(|e| e.file_name().into_string().ok()).collect();
    all.sort();
    all
}

/// Names of the YAML files in `folder`, without `.yaml`.
fn stems(folder: &Path) -> Vec<String> {
    names(folder, Path::is_file).into_iter().filter_map(|n| n.strip_suffix(".yaml").map(str::to_owned)).collect()
}

/// What could have been meant by a path that does not exist: the files beside it, written the way the path is.
fn neighbours(path: &Path, written: &str) -> Vec<String> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let prefix = written.rfind('/').map_or("", |at| &written[..=at]);
    names(folder, Path::is_file).into_iter().map(|name| format!("{prefix}{name}")).collect()
}

fn shown(folders: &[PathBuf]) -> String {
    folders.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(", ")
}
