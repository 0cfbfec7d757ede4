//! The file that gives the stacks their names, and from an address to the boards that it means.

use crate::address::{self, Boards, Target, Targets};
use crate::command::Pi;
use crate::convert::Hardware;
use crate::transport::Port;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One stack: a bus and what is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct StackEntry {
    pub name: String,
    pub port: Port,
    /// The boards that are there; `None` to look for them.
    pub boards: Option<Vec<u8>>,
    /// The boards' revision; `None` to ask them.
    pub hardware: Option<Hardware>,
    /// Amps that the stack may draw from its supply when Pis are switched on.
    pub max_amps: Option<f64>,
}

/// The stacks of an operator, sorted by name. At least one.
#[derive(Clone, Debug, PartialEq)]
pub struct Stacks {
    entries: Vec<StackEntry>,
}

/// What is wrong with the stacks file or with an address.
#[derive(Debug, thiserror::Error)]
pub enum StacksError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}:{line}:{column}: {message}", path.display())]
    Invalid { path: PathBuf, line: u64, column: u64, message: String },
    #[error("no stack is known: name its port with --port, or write a stacks file ({searched})")]
    NoneKnown { searched: String },
    #[error("there is no stack `{name}`; known are {known}")]
    NoSuchStack { name: String, known: String },
    #[error("board {board} could be in any of the stacks {known}: write {first}/{board}")]
    Ambiguous { board: u8, known: String, first: String },
}

/// Text whose place in the file is known.
type Text = serde_saphyr::Spanned<String>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    stacks: serde_saphyr::Spanned<BTreeMap<String, Entry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Entry {
    port: Text,
    boards: Option<Text>,
    hardware: Option<Text>,
    max_amps: Option<serde_saphyr::Spanned<f64>>,
}

/// The largest file that is read, in bytes.
const LARGEST_FILE: u64 = 1 << 20;

impl Stacks {
    /// One stack on a port that was named on the command line.
    pub fn single(port: Port) -> Self {
        let entry = StackEntry { name: "stack".to_owned(), port, boards: None, hardware: None, max_amps: None };
        Self { entries: vec![entry] }
    }

    /// Reads a stacks file.
    ///
    /// # Errors
    /// It cannot be read, or is wrong at a place that the error names.
    pub fn load(path: &Path) -> Result<Self, StacksError> {
        let fail = |source| StacksError::Read { path: path.to_owned(), source };
        let size = std::fs::metadata(path).map_err(fail)?.len();
        if size > LARGEST_FILE {
            return Err(fail(std::io::Error::other(format!(
                "it has {size} bytes, more than any list of stacks needs"
            ))));
        }
        Self::parse(path, &std::fs::read_to_string(path).map_err(fail)?)
    }

    /// Reads the text of a stacks file; `path` is for messages only.
    ///
    /// # Errors
    /// The text is wrong at a place that the error names.
    pub fn parse(path: &Path, text: &str) -> Result<Self, StacksError> {
        let invalid = |at: serde_saphyr::Location, message: String| StacksError::Invalid {
            path: path.to_owned(),
            line: at.line(),
            column: at.column(),
            message,
        };
        let file: File = serde_saphyr::from_str(text).map_err(|error| {
            let at = error.location().unwrap_or(serde_saphyr::Location::UNKNOWN);
            invalid(at, error.without_snippet().to_string())
        })?;
        if file.stacks.value.is_empty() {
            return Err(invalid(file.stacks.referenced, "`stacks` names no stack".to_owned()));
        }
        let mut entries = Vec::new();
        for (name, entry) in file.stacks.value {
            let bad = |at: &Text, message: String| invalid(at.referenced, message);
            if name.is_empty() || name.contains(['/', ',', '.', ' ']) {
                let message = format!("`{name}` cannot name a stack: names have no `/`, `,`, `.` or space");
                return Err(bad(&entry.port, message));
            }
            let port = entry.port.value.parse().map_err(|message| bad(&entry.port, message))?;
            let boards = entry
                .boards
                .map(|text| address::board_list(&text.value).map_err(|message| bad(&text, message)))
                .transpose()?;
            let hardware =
                entry.hardware.map(|text| text.value.parse().map_err(|message| bad(&text, message))).transpose()?;
            let max_amps = match entry.max_amps {
                Some(amps) if !(amps.value > 0.0 && amps.value.is_finite()) => {
                    return Err(invalid(amps.referenced, format!("max-amps is {}, it must be above 0", amps.value)));
                }
                amps => amps.map(|amps| amps.value),
            };
            entries.push(StackEntry { name, port, boards, hardware, max_amps });
        }
        Ok(Self { entries })
    }

    pub fn entries(&self) -> &[StackEntry] {
        &self.entries
    }

    fn known(&self) -> String {
        self.entries.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// The stacks that an address list concerns, each with its part of the list.
    ///
    /// # Errors
    /// The list names a stack that is not known, or a board without saying of which stack.
    pub fn select(&self, targets: &Targets) -> Result<Vec<Selection<'_>>, StacksError> {
        let mut selected: Vec<Selection<'_>> = Vec::new();
        for target in &targets.0 {
            let entries: Vec<&StackEntry> = match (&target.stack, &target.boards) {
                (Some(name), _) => {
                    let missing = || StacksError::NoSuchStack { name: name.clone(), known: self.known() };
                    vec![self.entries.iter().find(|entry| entry.name == *name).ok_or_else(missing)?]
                }
                (None, Boards::All) => self.entries.iter().collect(),
                (None, Boards::Range(board, _)) => match self.entries.as_slice() {
                    [only] => vec![only],
                    [first, ..] => {
                        let first = first.name.clone();
                        return Err(StacksError::Ambiguous { board: *board, known: self.known(), first });
                    }
                    [] => Vec::new(),
                },
            };
            for entry in entries {
                match selected.iter_mut().find(|selection| selection.entry.name == entry.name) {
                    Some(selection) => selection.targets.push(target.clone()),
                    None => selected.push(Selection { entry, targets: vec![target.clone()] }),
                }
            }
        }
        Ok(selected)
    }
}

/// A stack and what of it is meant.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection<'a> {
    pub entry: &'a StackEntry,
    targets: Vec<Target>,
}

impl Selection<'_> {
    /// Whether `all` is meant, for which the boards must be known.
    pub fn needs_boards(&self) -> bool {
        self.targets.iter().any(|target| target.boards == Boards::All)
    }

    /// The Pis that are meant, sorted, each once. `present` are the boards that `all` means.
    pub fn pis(&self, present: &[u8]) -> Vec<(u8, Pi)> {
        let mut pis = Vec::new();
        for target in &self.targets {
            let boards: Vec<u8> = match target.boards {
                Boards::All => present.to_vec(),
                Boards::Range(first, last) => (first..=last).collect(),
            };
            for board in boards {
                pis.extend(
                    Pi::BOTH.into_iter().filter(|pi| target.pi.is_none_or(|only| only == *pi)).map(|pi| (board, pi)),
                );
            }
        }
        pis.sort_unstable();
        pis.dedup();
        pis
    }

    /// The boards that are meant, sorted, each once.
    pub fn boards(&self, present: &[u8]) -> Vec<u8> {
        let mut boards: Vec<u8> = self.pis(present).into_iter().map(|(board, _)| board).collect();
        boards.dedup();
        boards
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "stacks:\n  rack1:\n    port: /dev/ttyUSB0\n    boards: 0-2,0x13\n    max-amps: 4.5\n  rack2:\n    port: tcp://10.0.0.5:4000\n    hardware: v2\n";

    fn parse(text: &str) -> Result<Stacks, StacksError> {
        Stacks::parse(Path::new("stacks.yaml"), text)
    }

    #[test]
    fn a_file_names_stacks_and_what_is_known_of_them() {
        let stacks = parse(TWO).unwrap();
        let [one, two] = stacks.entries() else { panic!("{stacks:?}") };
        assert_eq!((one.name.as_str(), &one.port), ("rack1", &Port::Device("/dev/ttyUSB0".into())));
        assert_eq!((one.boards.as_deref(), one.max_amps), (Some(&[0, 1, 2, 0x13][..]), Some(4.5)));
        assert_eq!((&two.port, two.hardware), (&Port::Tcp("10.0.0.5:4000".into()), Some(Hardware::V2)));
    }

    #[test]
    fn a_mistake_is_shown_where_it_stands() {
        for (text, place, says) in [
            ("stacks:\n  rack1:\n    port: ttyUSB0\n", "stacks.yaml:3:11:", "`ttyUSB0` is no port"),
            ("stacks:\n  rack1:\n    port: tcp://host\n", "stacks.yaml:3:11:", "lacks a port"),
            ("stacks:\n  a:\n    port: /dev/x\n    boards: 0-999\n", "stacks.yaml:4:13:", "no board number"),
            ("stacks:\n  a:\n    port: /dev/x\n    hardware: v9\n", "stacks.yaml:4:15:", "v2 or v3"),
            ("stacks:\n  a:\n    port: /dev/x\n    max-amps: -1\n", "stacks.yaml:4:15:", "above 0"),
            ("stacks:\n  a/b:\n    port: /dev/x\n", "stacks.yaml:3:11:", "cannot name a stack"),
            ("stacks:\n  a:\n    prot: /dev/x\n", "stacks.yaml:3:5:", "prot"),
            ("stacks: {}\n", "stacks.yaml:1:9:", "names no stack"),
            ("stacks:\n  a: [\n", "stacks.yaml:", ""),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with(place) && error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn addresses_find_their_stack() {
        let stacks = parse(TWO).unwrap();
        let select = |text: &str| stacks.select(&text.parse().unwrap());
        let all = select("all").unwrap();
        assert_eq!(all.len(), 2);
        let both = select("rack1/0,all.1,rack2/5").unwrap();
        assert_eq!(both[0].pis(&[0, 2]), [(0, Pi::Zero), (0, Pi::One), (2, Pi::One)]);
        assert_eq!(both[1].boards(&[0, 1]), [5]);
        assert!(!both[1].needs_boards() && both[0].needs_boards());
        let error = select("3").unwrap_err().to_string();
        assert_eq!(error, "board 3 could be in any of the stacks rack1, rack2: write rack1/3");
        let error = select("rack9/3").unwrap_err().to_string();
        assert_eq!(error, "there is no stack `rack9`; known are rack1, rack2");
    }
}
