//! All packages that a set of repositories offers for one architecture.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufReader, Read};
use std::sync::Arc;

use crate::date;
use crate::deb::{Compression, decoder};
use crate::digest::Sha256;
use crate::error::{Error, Result};
use crate::index::{Index, LeftOut, Offer, read_packages};
use crate::keyring::{Clock, Keyring};
use crate::locked::LockedRepository;
use crate::mirror::Mirrors;
use crate::progress::{Progress, Step};
use crate::relation::{Operator, Relations};
use crate::release::{Release, Vouched, suite_folder};
use crate::store::Store;
use crate::version::Version;

/// Largest index accepted, decompressed, in bytes; Debian's has 56 MB.
const MAX_INDEX: u64 = 512 << 20;

/// A suite of an archive, and who may sign it.
#[derive(Clone, Debug)]
pub struct Repository {
    /// Name that mirrors are found by: `debian`, `debian-security`, or what the recipe calls its own.
    pub archive: String,
    /// `trixie`, `trixie-updates`, `trixie-security`, …; or the path of a flat repository, which ends with `/`.
    pub suite: String,
    /// Of no meaning for a flat repository.
    pub components: Vec<String>,
    pub keyring: Arc<Keyring>,
    /// Its metadata may be past its date, as that of a snapshot mirror; keys that expired after they signed count, too.
    pub allow_expired: bool,
}

/// Index of an offer in its universe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OfferId(u32);

/// A name that a package provides.
pub(crate) struct Provided {
    pub(crate) name: String,
    version: Option<Version>,
}

impl Provided {
    pub(crate) fn version(&self) -> Option<&Version> {
        self.version.as_ref()
    }
}

#[derive(Debug)]
pub struct Universe {
    architecture: String,
    repositories: Vec<LockedRepository>,
    /// Entries that cannot be used, each with the index it is in.
    left_out: Vec<(String, LeftOut)>,
    offers: Vec<Offer>,
    /// By falling version; of equal versions the first repository's comes first.
    by_name: BTreeMap<Box<str>, Vec<OfferId>>,
    providers: HashMap<Box<str>, Vec<(OfferId, Option<Version>)>>,
}

impl Universe {
    /// Fetches what changed of the repositories' metadata, checks all of it, and reads it. `now` is in seconds since
    /// 1970-01-01 UTC.
    ///
    /// # Errors
    /// Whatever cannot be fetched, is not signed as it should be, or differs from what was signed.
    pub fn load(
        repositories: &[Repository],
        architecture: &str,
        store: &Store,
        mirrors: &Mirrors,
        now: i64,
        progress: &dyn Progress,
    ) -> Result<Universe> {
        let mut states = Vec::new();
        let mut wanted = Vec::new();
        for (number, repository) in repositories.iter().enumerate() {
            let (release, signed) = load_release(repository, store, mirrors, now, progress)?;
            let state = LockedRepository {
                archive: repository.archive.clone(),
                suite: repository.suite.clone(),
                components: if is_flat(repository) { Vec::new() } else { repository.components.clone() },
                date: date::format(release.date),
                in_release: signed,
                indices: BTreeMap::new(),
            };
            let indices = choose_indices(&release, repository, architecture, progress)?;
            wanted.extend(indices.into_iter().map(|index| (number, index)));
            states.push(state);
        }
        let indices: Vec<(usize, &IndexFile)> = wanted.iter().map(|(number, index)| (*number, index)).collect();
        fetch_indices(&indices, repositories, store, mirrors, progress)?;
        let mut offers = Vec::new();
        let mut left_out = Vec::new();
        for (number, index) in &wanted {
            let (file, sha256) = store.open_blob(index.vouched, index.extension, &index.shown)?;
            if let Some(state) = states.get_mut(*number) {
                state.indices.insert(index.path.clone(), sha256);
            }
            let wrong = |why: String| Error::format(&index.shown, why);
            let text = decoder(BufReader::new(file), index.compression).map_err(wrong)?.take(MAX_INDEX);
            let mut text = BufReader::with_capacity(256 << 10, text);
            let found = read_packages(&mut text, architecture, *number, &index.shown)?;
            if let Some(note) = note_left_out(&found, &index.shown) {
                progress.note(&note);
            }
            offers.extend(found.offers);
            left_out.extend(found.left_out.into_iter().map(|entry| (index.shown.clone(), entry)));
            if text.get_ref().limit() == 0 {
                return Err(wrong(format!("is larger than {MAX_INDEX} bytes")));
            }
        }
        Ok(Universe { left_out, ..Universe::of(architecture, states, offers) })
    }

    /// A universe of offers that were read already; `repository` of each offer counts in `repositories`.
    pub fn of(architecture: &str, repositories: Vec<LockedRepository>, offers: Vec<Offer>) -> Universe {
        let mut by_name: BTreeMap<Box<str>, Vec<OfferId>> = BTreeMap::new();
        let mut providers: HashMap<Box<str>, Vec<(OfferId, Option<Version>)>> = HashMap::new();
        for (number, offer) in (0..).zip(&offers) {
            let id = OfferId(number);
            by_name.entry(offer.name.clone()).or_default().push(id);
            for provided in parse_provides(&offer.provides) {
                providers.entry(provided.name.into()).or_default().push((id, provided.version));
            }
        }
        let at = |id: &OfferId| &offers[id.0 as usize];
        for ids in by_name.values_mut() {
            ids.sort_by(|a, b| at(b).version.cmp(&at(a).version).then(at(a).repository.cmp(&at(b).repository)));
        }
        Universe {
            architecture: architecture.to_owned(),
            repositories,
            left_out: Vec::new(),
            offers,
            by_name,
            providers,
        }
    }

    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// The state of each repository, as it goes into the lock.
    pub fn repositories(&self) -> &[LockedRepository] {
        &self.repositories
    }

    pub fn offer(&self, id: OfferId) -> &Offer {
        &self.offers[id.0 as usize]
    }

    /// Packages of this name, the newest first.
    pub fn offers_of(&self, name: &str) -> &[OfferId] {
        self.by_name.get(name).map_or(&[], Vec::as_slice)
    }

    /// Why entries of this name are not on offer: `case stable main/binary-arm64/Packages: has no SHA256`.
    pub fn left_out(&self, name: &str) -> impl Iterator<Item = String> {
        let of_name = self.left_out.iter().filter(move |(_, entry)| entry.name == name);
        of_name.map(|(index, entry)| format!("{index}: {}", entry.why))
    }

    /// Every name with its packages, in order of the name.
    pub fn names(&self) -> impl Iterator<Item = (&str, &[OfferId])> {
        self.by_name.iter().map(|(name, ids)| (&**name, ids.as_slice()))
    }

    /// Who provides the virtual package `name`, in which version.
    pub fn providers_of(&self, name: &str) -> impl Iterator<Item = (OfferId, Option<&Version>)> {
        self.providers.get(name).into_iter().flatten().map(|(id, version)| (*id, version.as_ref()))
    }

    /// Whether no newer package of the same name is on offer.
    pub fn is_newest(&self, id: OfferId) -> bool {
        self.offers_of(&self.offer(id).name).first() == Some(&id)
    }

    pub(crate) fn provides(&self, offer: &Offer) -> Vec<Provided> {
        parse_provides(&offer.provides)
    }

    /// A name on offer that is spelled much like `name`.
    pub fn similar_name(&self, name: &str) -> Option<&str> {
        let near = |other: &&str| {
            let length = name.chars().count();
            other.len().abs_diff(length) <= 1 + length / 3
        };
        let names = self.by_name.keys().map(|n| &**n).filter(near);
        let scored = names.map(|other| (strsim::damerau_levenshtein(name, other), other));
        scored.min().filter(|(distance, _)| *distance <= 1 + name.len() / 4).map(|(_, other)| other)
    }
}

impl Offer {
    /// `name version`, for messages.
    pub(crate) fn label(&self) -> String {
        format!("{} {}", self.name, self.version)
    }
}

/// A text that cannot be parsed provides nothing.
fn parse_provides(text: &str) -> Vec<Provided> {
    if text.is_empty() {
        return Vec::new();
    }
    let relations = Relations::parse(text).unwrap_or_default().0.into_iter().flat_map(|clause| clause.0);
    relations
        .map(|r| Provided {
            name: r.name,
            version: r.version.filter(|(operator, _)| *operator == Operator::Equal).map(|(_, version)| version),
        })
        .collect()
}

struct IndexFile {
    /// Below the suite's folder.
    path: String,
    vouched: Vouched,
    compression: Compression,
    extension: &'static str,
    by_hash: bool,
    /// What messages call it.
    shown: String,
}

/// Unusable entries that a note names.
const NAMED: usize = 5;

/// What a person should know of an index's unusable entries.
fn note_left_out(index: &Index, shown: &str) -> Option<String> {
    let named: Vec<String> = index.left_out.iter().take(NAMED).map(|e| format!("{:?} ({})", e.name, e.why)).collect();
    let more = index.left_out_count.checked_sub(named.len()).filter(|more| *more > 0);
    let more = more.map(|more| format!(", and {more} more")).unwrap_or_default();
    let count = match index.left_out_count {
        0 => return None,
        1 => "one entry is".to_owned(),
        many => format!("{many} entries are"),
    };
    Some(format!("note: {shown}: {count} left out: {}{more}", named.join(", ")))
}

fn is_flat(repository: &Repository) -> bool {
    repository.suite.ends_with('/')
}

/// The table of contents, and the hash of the file that it was read from.
fn load_release(
    repository: &Repository,
    store: &Store,
    mirrors: &Mirrors,
    now: i64,
    progress: &dyn Progress,
) -> Result<(Release, Sha256)> {
    let Repository { archive, suite, keyring, .. } = repository;
    let signed = store.fetch_release(archive, suite, mirrors, progress)?;
    let clock = Clock { now, allow_expired: repository.allow_expired };
    let release = match &signed.signature {
        None => Release::verify(&signed.message, keyring, clock, &format!("{archive} {suite} InRelease"))?,
        Some(signature) => {
            let shown = format!("{archive} {suite} Release");
            Release::verify_detached(&signed.message, signature, keyring, clock, &shown)?
        }
    };
    if let Err(other) = release.check_suite(suite) {
        progress.note(&format!("warning: {other}"));
    }
    for warning in &release.warnings {
        progress.note(&format!("warning: {warning}"));
    }
    // Only what was found good may be used again when offline.
    store.keep_release(archive, suite, &signed)?;
    Ok((release, Sha256::of(&signed.message)))
}

/// The Packages files to read: of each component that of the architecture, and that of `all` where it is separate. What
/// counts is which files are listed, not which architectures and components the file says it has.
fn choose_indices(
    release: &Release,
    repository: &Repository,
    architecture: &str,
    progress: &dyn Progress,
) -> Result<Vec<IndexFile>> {
    let listed = |base: &str| listed_index(release, repository, base);
    let missing = |wanted: String, offered: &str| Error::NotOffered {
        file: release.file_name().to_owned(),
        wanted,
        offered: offered.to_owned(),
    };
    if is_flat(repository) {
        let index = listed("Packages")
            .ok_or_else(|| missing("Packages (.xz, .gz, .zst, .bz2, .lzma or plain)".to_owned(), "none"))?;
        return Ok(vec![index]);
    }
    let mut chosen = Vec::new();
    for component in &repository.components {
        let own = listed(&format!("{component}/binary-{architecture}/Packages"));
        let separate_all = !release.all_in_every_index || release.architectures.is_empty() || own.is_none();
        let all = listed(&format!("{component}/binary-all/Packages")).filter(|_| separate_all);
        if own.is_none() && all.is_none() {
            if !release.components.is_empty() && !release.components.contains(component) {
                return Err(missing(format!("component {component}"), &release.components.join(" ")));
            }
            // As with apt the repository may be there for other machines.
            progress.note(&format!(
                "warning: {}: component {component} has no packages for {architecture}; it has them for: {}",
                release.file_name(),
                release.architectures.join(" ")
            ));
        }
        chosen.extend(own.into_iter().chain(all));
    }
    Ok(chosen)
}

/// The smallest form of an index that the table of contents lists.
fn listed_index(release: &Release, repository: &Repository, base: &str) -> Option<IndexFile> {
    let kinds = [
        (".xz", Compression::Xz, "xz"),
        (".zst", Compression::Zstd, "zst"),
        (".lzma", Compression::Lzma, "lzma"),
        (".bz2", Compression::Bzip2, "bz2"),
        (".gz", Compression::Gzip, "gz"),
        ("", Compression::None, "txt"),
    ];
    kinds.iter().find_map(|(suffix, compression, extension)| {
        let path = format!("{base}{suffix}");
        let vouched = release.file(&path)?;
        let shown = format!("{} {} {path}", repository.archive, repository.suite);
        Some(IndexFile { path, vouched, compression: *compression, extension, by_hash: release.by_hash, shown })
    })
}

fn fetch_indices(
    indices: &[(usize, &IndexFile)],
    repositories: &[Repository],
    store: &Store,
    mirrors: &Mirrors,
    progress: &dyn Progress,
) -> Result<()> {
    let wanted = indices.iter().map(|(number, index)| {
        let repository = &repositories[*number];
        let plain = format!("{}{}", suite_folder(&repository.suite), index.path);
        let folder = plain.rfind('/').map_or("", |slash| &plain[..=slash]);
        let digest = index.vouched.digest;
        let by_hash = format!("{folder}by-hash/{}/{digest}", digest.kind().replace('-', ""));
        crate::store::Wanted {
            shown: index.shown.clone(),
            archive: repository.archive.clone(),
            paths: if index.by_hash { vec![by_hash, plain] } else { vec![plain] },
            vouched: index.vouched,
            extension: index.extension,
        }
    });
    store.fetch_all(&wanted.collect::<Vec<_>>(), mirrors, Step::Indices, progress)
}
