//! The recipe's `downloads`: pinned in the lock, fetched into the store, and laid into the root.

use std::collections::{BTreeMap, BTreeSet};

use fruit_contract::image_manifest;
use fruit_debian::{Archive, Digest, Lock, LockedDownload, Member, MemberKind, PackageContents, Sha512, Store};
use fruit_image::tree::Tree;
use fruit_progress::Progress;
use fruit_recipe::{At, Diagnostic, Download, DownloadName, Pick, Recipe};
use fruit_root::files::What;
use fruit_root::glob::Glob;

use crate::error::{Error, diagnostic};
use crate::files::{Laid, Laying};
use crate::sources::Bars;

/// Names of an archive that a message shows.
const SHOWN: usize = 8;

/// What a recipe says of one file, for its board.
struct Wanted<'r> {
    name: &'r At<DownloadName>,
    /// The address first, then its mirrors.
    urls: Vec<&'r str>,
    digest: Option<Digest>,
}

fn wanted(recipe: &Recipe) -> Vec<Wanted<'_>> {
    let architecture = recipe.board.architecture.value;
    let mut all: Vec<Wanted<'_>> = recipe
        .downloads
        .iter()
        .filter_map(|(name, download)| {
            let url = download.url.of(architecture)?;
            let urls = [url].into_iter().chain(&download.mirrors).map(|url| url.as_str()).collect();
            let sha256 = download.sha256.as_ref().and_then(|all| all.of(architecture)).map(|sum| sum.value());
            let sha512 = download.sha512.as_ref().and_then(|all| all.of(architecture));
            Some(Wanted { name, urls, digest: Digest::of(sha256, sha512.and_then(|sum| Sha512::parse(sum.as_str()))) })
        })
        .collect();
    all.sort_by(|a, b| a.name.as_str().cmp(b.name.as_str()));
    all
}

/// Whether a lock has exactly the files that the recipe names.
pub fn answered(recipe: &Recipe, lock: &Lock) -> bool {
    let wanted = wanted(recipe);
    let same = |(wanted, locked): (&Wanted, &LockedDownload)| answers(wanted, locked);
    wanted.len() == lock.downloads.len() && wanted.iter().zip(&lock.downloads).all(same)
}

fn answers(wanted: &Wanted, locked: &LockedDownload) -> bool {
    wanted.name.as_str() == locked.name
        && wanted.urls.first() == Some(&locked.url.as_str())
        && wanted.digest.and_then(|digest| digest.sha256()).is_none_or(|sha256| sha256 == locked.sha256)
        && wanted.digest.and_then(|digest| digest.sha512()).is_none_or(|sha512| Some(sha512) == locked.sha512)
}

/// Pins the files that the recipe names. Those that `kept` answers stay as they are; the others are fetched.
///
/// # Errors
/// A transfer that failed for good, a file that is not the one that the recipe names.
pub fn pin(
    recipe: &Recipe,
    kept: &[LockedDownload],
    store: &Store,
    progress: &dyn Progress,
) -> Result<Vec<LockedDownload>, Error> {
    let bars = Bars::new(progress);
    let pin = |one: &Wanted| {
        if let Some(old) = kept.iter().find(|old| answers(one, old)) {
            return Ok(old.clone());
        }
        let (size, sha256) = store.pin(&one.urls, one.digest, &bars)?;
        if one.digest.is_none() {
            progress.say(&format!("{}: pinned, {size} bytes, SHA-256 {sha256}", one.name));
        }
        let url = one.urls.first().copied().unwrap_or_default().to_owned();
        let sha512 = one.digest.and_then(|digest| digest.sha512());
        Ok(LockedDownload { name: one.name.as_str().to_owned(), url, size, sha256, sha512 })
    };
    wanted(recipe).iter().map(pin).collect()
}

/// Fetches what the store lacks.
///
/// # Errors
/// A transfer that failed for good; offline, a file that is not in the store.
pub fn ensure(recipe: &Recipe, lock: &Lock, store: &Store, progress: &dyn Progress) -> Result<(), Error> {
    let bars = Bars::new(progress);
    for (wanted, locked) in wanted(recipe).iter().zip(&lock.downloads) {
        store.ensure_download(locked, &wanted.urls, &bars)?;
    }
    Ok(())
}

/// Where each file of the downloads lies.
pub struct Placed<'r> {
    pub files: Vec<Laid<'r>>,
    pub report: Vec<image_manifest::Download>,
}

/// Lays the files over the packages'. The store has them.
///
/// # Errors
/// An archive that is damaged, hostile or has not what the recipe asks for; a file that would take the place of another one.
pub fn lay<'r>(
    recipe: &'r Recipe,
    lock: &Lock,
    store: &Store,
    tree: &mut Tree,
    packages: &[PackageContents],
    epoch: i64,
) -> Result<Placed<'r>, Error> {
    let mut placed = Placed { files: Vec::new(), report: Vec::new() };
    for locked in &lock.downloads {
        let Some((name, download)) = recipe.downloads.iter().find(|(name, _)| name.as_str() == locked.name) else {
            continue;
        };
        let before = placed.files.len();
        let mut laying = Laying { tree, packages, epoch, done: &mut placed.files };
        match &download.to {
            Some(_) => single(name, download, locked, store, &mut laying)?,
            None => {
                let Archive::Many(members) = store.open_archive(locked)? else {
                    let made = Diagnostic::error(format!("`{name}` is no archive: neither tar nor zip"));
                    return Err(diagnostic(made.maybe_place(name.place.clone()).help("write `to` for a single file")));
                };
                for pick in &download.files {
                    many(name, pick, &members, &mut laying)?;
                }
            }
        }
        placed.report.push(image_manifest::Download {
            name: locked.name.clone(),
            url: locked.url.clone(),
            size: locked.size,
            sha256: locked.sha256.to_string(),
            files: placed.files[before..].iter().map(|file| format!("/{}", file.real)).collect(),
        });
    }
    Ok(placed)
}

/// A download that is one file.
fn single<'r>(
    name: &At<DownloadName>,
    download: &'r Download,
    locked: &LockedDownload,
    store: &Store,
    laying: &mut Laying<'_, 'r>,
) -> Result<(), Error> {
    let Some(to) = &download.to else { return Ok(()) };
    let content = if download.unpack {
        match store.open_archive(locked)? {
            Archive::Single(content) => content,
            Archive::Many(_) => {
                let made = Diagnostic::error(format!("`{name}` is an archive")).maybe_place(to.place.clone());
                let made = made.help("write `files: [{from: PATH, to: PATH}]` for what goes where");
                return Err(diagnostic(made.help("or `unpack: false` to have the archive itself in the image")));
            }
        }
    } else {
        store.open_as_is(locked)?
    };
    let path = match to.is_folder() {
        false => to.below_root().to_owned(),
        true => format!(
            "{}/{}",
            to.below_root(),
            own_name(&locked.url, download.unpack).ok_or_else(|| {
                let made = Diagnostic::error(format!("the address of `{name}` has no file name"));
                diagnostic(made.maybe_place(to.place.clone()).help("write the whole path of the file"))
            })?
        ),
    };
    let what = What::File { content, mode: download.mode.bits() };
    laying.put(&path, what, &download.owner, download.replace, to)
}

/// The name that an address ends with, without what says how it is compressed.
fn own_name(url: &str, unpacked: bool) -> Option<&str> {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    let endings: &[&str] = if unpacked { &[".gz", ".xz", ".zst", ".bz2"] } else { &[] };
    let name = endings.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name);
    let good =
        !name.is_empty() && !matches!(name, "." | "..") && !name.contains('%') && !name.chars().any(char::is_control);
    good.then_some(name)
}

/// Files of an archive by one pattern.
fn many<'r>(
    name: &At<DownloadName>,
    pick: &'r Pick,
    members: &[Member],
    laying: &mut Laying<'_, 'r>,
) -> Result<(), Error> {
    let wrong = |message: String| Diagnostic::error(message).maybe_place(pick.from.place.clone());
    let glob = Glob::new(&pick.from).map_err(|why| diagnostic(wrong(why)))?;
    let is_pattern = pick.from.contains(['*', '?', '[', '{']);
    let matched: Vec<&Member> = members.iter().filter(|member| glob.matches(&member.path)).collect();
    // Folders come by what is in them.
    let files: Vec<&Member> = matched.iter().copied().filter(|m| !matches!(m.kind, MemberKind::Folder)).collect();
    if files.is_empty() {
        let below = format!("{}/", pick.from.as_str());
        if !matched.is_empty() || members.iter().any(|member| member.path.starts_with(&below)) {
            let made = wrong(format!("`{}` is a folder of {name}", pick.from));
            return Err(diagnostic(made.did_you_mean(format!("{}/**", pick.from))));
        }
        return Err(diagnostic(missing(name, pick, members)));
    }
    if !pick.to.is_folder() && (is_pattern && files.len() > 1) {
        let made = Diagnostic::error(format!("`{}` matches {} files of {name}", pick.from, files.len()));
        let made = made.maybe_place(pick.to.place.clone()).label("the path of one file");
        return Err(diagnostic(made.did_you_mean(format!("{}/", pick.to))));
    }
    let links: BTreeSet<&str> =
        files.iter().filter(|m| matches!(m.kind, MemberKind::Link(_))).map(|m| m.path.as_str()).collect();
    for member in files {
        // A file below a link would land where the link leads.
        let above = member.path.match_indices('/').map(|(at, _)| &member.path[..at]);
        if let Some(link) = above.into_iter().find(|above| links.contains(above)) {
            return Err(diagnostic(wrong(format!("{name}: `{}` lies below the symbolic link `{link}`", member.path))));
        }
        let what = match &member.kind {
            MemberKind::File(content) => {
                let by_archive = if member.executable { 0o755 } else { 0o644 };
                What::File { content: content.clone(), mode: pick.mode.as_ref().map_or(by_archive, |mode| mode.bits()) }
            }
            MemberKind::Link(target) => What::Link(target.clone()),
            MemberKind::Folder => continue,
            MemberKind::Other => {
                let made = wrong(format!("{name}: `{}` is neither a file nor a symbolic link", member.path));
                return Err(diagnostic(made));
            }
        };
        let path = match pick.to.is_folder() {
            true => format!("{}/{}", pick.to.below_root(), below_folder(&pick.from, &member.path)),
            false => pick.to.below_root().to_owned(),
        };
        laying.put(&path, what, &pick.owner, pick.replace, &pick.to)?;
    }
    Ok(())
}

/// What remains of a path in the folder that it goes to: its name, or from what `**` stands for on.
fn below_folder<'p>(pattern: &str, path: &'p str) -> &'p str {
    match pattern.split('/').position(|part| part == "**") {
        Some(0) => path,
        Some(depth) => path.match_indices('/').nth(depth - 1).map_or(path, |(at, _)| &path[at + 1..]),
        None => path.rsplit('/').next().unwrap_or(path),
    }
}

fn missing(name: &At<DownloadName>, pick: &Pick, members: &[Member]) -> Diagnostic {
    let paths = members.iter().map(|member| member.path.as_str()).filter(|path| !path.is_empty());
    let made = Diagnostic::at(&pick.from, format!("{name} has no `{}`", pick.from), paths.clone());
    let mut tops: BTreeMap<&str, usize> = BTreeMap::new();
    for path in paths {
        *tops.entry(path.split('/').next().unwrap_or(path)).or_default() += 1;
    }
    let shown: Vec<String> = tops.iter().take(SHOWN).map(|(top, count)| format!("{top} ({count})")).collect();
    let more = if tops.len() > SHOWN { ", …" } else { "" };
    made.note(format!("at its top it has: {}{more}", shown.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_a_folder_keeps_its_name_or_what_two_stars_stand_for() {
        for (pattern, path, expected) in [
            ("*/bin/*", "k3s-1/bin/k3s", "k3s"),
            ("k3s-1/bin/k3s", "k3s-1/bin/k3s", "k3s"),
            ("*/share/**", "k3s-1/share/doc/a/b", "doc/a/b"),
            ("**", "a/b", "a/b"),
            ("a/**/c", "a/b/b/c", "b/b/c"),
        ] {
            assert!(Glob::new(pattern).unwrap().matches(path), "{pattern}");
            assert_eq!(below_folder(pattern, path), expected, "{pattern}");
        }
    }

    #[test]
    fn an_address_names_its_file() {
        assert_eq!(own_name("https://x.test/a/k3s-arm64?token=1#x", true), Some("k3s-arm64"));
        assert_eq!(own_name("https://x.test/a/b.json.xz", true), Some("b.json"));
        assert_eq!(own_name("https://x.test/a/b.json.xz", false), Some("b.json.xz"));
        for bad in ["https://x.test/a/", "https://x.test/a/..", "https://x.test/a%2Fb", "https://x.test/.gz"] {
            assert_eq!(own_name(bad, true), None, "{bad}");
        }
    }
}
