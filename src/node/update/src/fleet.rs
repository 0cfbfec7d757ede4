//! Whose releases a node of a fleet takes: what the fleet's charter says, which is verified here, from the invite on.
//!
//! The charters are in a folder of `fruit-peer`, the process that faces the network. It can leave out, never put in: each follows
//! from the one before by the signatures of root keys, and the row must have the charter that the invite names. What the newest
//! charter says is kept, so that an older row takes nothing back.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use fruit_base::Sha256;
use fruit_contract::invite::INVITE_PATH;
use fruit_contract::peer::config::{CHARTERS, STATE_PATH};
use fruit_record::{FleetId, KeyId, RecordHash, Trust, invite, limits};

use crate::store::Store;

/// What is kept of the newest charter.
const KEPT: &str = "fleet";
/// Most bytes of that.
const KEPT_MAX: u64 = 256 << 10;

/// What the fleet says of releases of one product.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fleet {
    /// For people.
    pub name: String,
    pub id: String,
    /// Version of the charter that says so.
    pub charter: u64,
    /// SHA-256 of the first root metadata of each repository that is accepted.
    pub roots: Vec<Sha256>,
}

/// Whether the node is one of a fleet's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Membership {
    /// It has no invite, or one that is of no use; why.
    None(String),
    /// It has an invite, and no charter has come yet; why.
    Waiting(String),
    Fleet(Fleet),
}

/// The newest charter that was verified here, as far as it counts for releases.
#[derive(Clone, PartialEq, Eq)]
struct Kept {
    fleet: String,
    /// The charter that the invite names. Another invite wants the row verified anew.
    pin: String,
    name: String,
    version: u64,
    hash: String,
    root: Vec<String>,
    threshold: u64,
    /// Product, and SHA-256 of its repository's first root metadata.
    releases: Vec<(String, Sha256)>,
}

/// What the node whose files are below `root` knows of its fleet.
///
/// # Errors
/// What is remembered can't be read.
pub fn membership(root: &Path, store: &dyn Store, product: &str) -> io::Result<Membership> {
    let text = match read_file(&root.join(INVITE_PATH.trim_start_matches('/')), limits::INVITE) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Membership::None("it has no invite (`invite:` in fruit.yaml)".into()));
        }
        Err(error) => return Ok(Membership::None(format!("{INVITE_PATH}: {error}"))),
    };
    let (id, pin) = match invite::pins(&String::from_utf8_lossy(&text)) {
        Ok(pins) => pins,
        Err(why) => return Ok(Membership::None(format!("the invite is of no use: {why}"))),
    };
    let (fleet, named) = (id.to_string(), pin.to_string());
    let kept = store.read(KEPT, KEPT_MAX)?.and_then(|bytes| Kept::read(&bytes));
    let kept = kept.filter(|kept| kept.fleet == fleet && kept.pin == named);
    let charters = root.join(STATE_PATH.trim_start_matches('/')).join(CHARTERS);
    let (row, trouble) = read_row(&charters, id);
    let row = row.filter(|row| row.has(&pin));
    let newest = match (row, kept) {
        (Some(row), kept) if kept.as_ref().is_none_or(|kept| goes_on(kept, &row)) => {
            let newest = Kept::of(&row, named);
            if kept.as_ref() != Some(&newest) {
                // A full disk must not keep the node from its fleet.
                let _ = store.replace(KEPT, newest.write().as_bytes());
            }
            newest
        }
        (_, Some(kept)) => kept,
        (_, None) => {
            let why = trouble.map(|why| format!(" ({why})")).unwrap_or_default();
            let short: String = fleet.chars().take(12).collect();
            return Ok(Membership::Waiting(format!("no charter of fleet {short} has come yet{why}")));
        }
    };
    let roots = newest.releases.iter().filter(|(of, _)| of == product).map(|(_, root)| *root).collect();
    Ok(Membership::Fleet(Fleet { name: newest.name, id: newest.fleet, charter: newest.version, roots }))
}

impl Kept {
    /// Lines of words, of which names come last: the program stays smaller than by JSON.
    fn read(bytes: &[u8]) -> Option<Kept> {
        let mut lines = std::str::from_utf8(bytes).ok()?.lines();
        let mut words = lines.next()?.splitn(6, ' ');
        let mut word = || words.next().map(str::to_owned);
        let (fleet, pin, hash) = (word()?, word()?, word()?);
        let (version, threshold, name) = (word()?.parse().ok()?, word()?.parse().ok()?, word()?);
        let mut kept = Kept { fleet, pin, name, version, hash, root: Vec::new(), threshold, releases: Vec::new() };
        for line in lines {
            match line.split_once(' ') {
                Some((root, product)) => kept.releases.push((product.to_owned(), root.parse().ok()?)),
                None => kept.root.push(line.to_owned()),
            }
        }
        Some(kept)
    }

    fn write(&self) -> String {
        let Kept { fleet, pin, hash, version, threshold, name, .. } = self;
        let mut text = format!("{fleet} {pin} {hash} {version} {threshold} {name}\n");
        for key in &self.root {
            text.push_str(&format!("{key}\n"));
        }
        for (product, root) in &self.releases {
            text.push_str(&format!("{root} {product}\n"));
        }
        text
    }

    fn of(row: &Trust, pin: String) -> Kept {
        let charter = row.charter();
        Kept {
            fleet: row.fleet().to_string(),
            pin,
            name: charter.name.clone(),
            version: row.version(),
            hash: row.last_hash().to_string(),
            root: charter.root.iter().map(KeyId::to_string).collect(),
            threshold: charter.threshold,
            releases: charter.releases.iter().map(|release| (release.product.clone(), release.root)).collect(),
        }
    }
}

/// Whether a row may follow on what is kept: it has that charter, or its end is signed by those whom that charter trusts. Of two
/// ends of one version the lower hash counts, as in the whole fleet.
fn goes_on(kept: &Kept, row: &Trust) -> bool {
    if RecordHash::parse(&kept.hash).is_some_and(|hash| row.has(&hash)) {
        return true;
    }
    let end = row.charters().last().map_or(&[][..], |end| end.signatures());
    let signed = end.iter().filter(|signature| kept.root.contains(&signature.key.to_string())).count() as u64;
    let later = (row.version(), std::cmp::Reverse(row.last_hash().to_string()))
        > (kept.version, std::cmp::Reverse(kept.hash.clone()));
    later && signed >= kept.threshold
}

/// The row of charters as far as it can be verified, and what is wrong with the next one.
fn read_row(folder: &Path, fleet: FleetId) -> (Option<Trust>, Option<String>) {
    let mut row: Option<Trust> = None;
    for version in 1..=limits::CHARTERS {
        let path = folder.join(format!("{version}.record"));
        let bytes = match read_file(&path, limits::RECORD) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return (row, None),
            Err(error) => return (row, Some(format!("{}: {error}", path.display()))),
        };
        let taken = match &mut row {
            Some(row) => row.advance(&bytes).map(drop),
            None => Trust::new(fleet, &bytes).map(|first| row = Some(first)),
        };
        if let Err(why) = taken {
            return (row, Some(format!("{}: {why}", path.display())));
        }
    }
    (row, None)
}

/// The bytes of a plain file whose owner is not trusted: neither a link nor a pipe, and no longer than allowed.
fn read_file(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a plain file"));
    }
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("more than {limit} bytes")));
    }
    Ok(bytes)
}
