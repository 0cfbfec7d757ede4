//! The mirrors that the machine's own apt uses (sources.list(5)): one-line `.list` and deb822 `.sources` files, and the
//! lists of mirrors that they name (apt-transport-mirror(1)).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::address::Mirror;

/// Bytes of a file that are read.
const LIMIT: u64 = 1 << 20;

/// What the machine's sources come to.
#[derive(Clone, Debug, Default)]
pub(crate) struct AptSources {
    /// Archive name (last component of the address) to its mirrors, the best first.
    pub(crate) mirrors: BTreeMap<String, Vec<Mirror>>,
    /// Addresses of lists of mirrors, which have to be fetched; and where they are named.
    pub(crate) lists: Vec<(String, String)>,
    /// Sources that cannot be used: `ADDRESS (FILE: reason)`.
    pub(crate) unusable: Vec<String>,
}

/// One address of a source, with what tells what it serves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Entry {
    uri: String,
    suites: Vec<String>,
    components: Vec<String>,
    signed_by: Option<String>,
    /// File and line.
    place: String,
}

/// Reads all sources below `etc_apt`. Files that cannot be read or do not follow the format are passed over: they are
/// apt's to complain about, not ours.
pub(crate) fn read(etc_apt: &Path) -> AptSources {
    let mut found = AptSources::default();
    let mut ranked: BTreeMap<String, Vec<(u8, Mirror)>> = BTreeMap::new();
    for file in source_files(etc_apt) {
        let Some(text) = text_of(&file) else { continue };
        let place = file.display().to_string();
        let entries = match file.extension() {
            Some(end) if end == "sources" => deb822(&text, &place),
            _ => one_line(&text, &place),
        };
        for entry in entries {
            take(&entry, &mut found, &mut ranked);
        }
    }
    for (archive, mut mirrors) in ranked {
        mirrors.sort_by_key(|(rank, _)| *rank);
        let mut list: Vec<Mirror> = Vec::new();
        for (_, mirror) in mirrors {
            if !list.contains(&mirror) {
                list.push(mirror);
            }
        }
        found.mirrors.insert(archive, list);
    }
    found
}

/// The mirrors of a list that was fetched, by archive name.
pub(crate) fn of_list(text: &str, origin: &str) -> BTreeMap<String, Vec<Mirror>> {
    let mut found: BTreeMap<String, Vec<Mirror>> = BTreeMap::new();
    for mirror in mirror_list(text).iter().filter_map(|uri| Mirror::parse(uri, origin).ok()) {
        if let Some(archive) = archive_name(mirror.as_str()) {
            found.entry(archive).or_default().push(mirror);
        }
    }
    found
}

fn source_files(etc_apt: &Path) -> Vec<PathBuf> {
    let parts = fs::read_dir(etc_apt.join("sources.list.d")).into_iter().flatten().filter_map(|e| Some(e.ok()?.path()));
    let hidden = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    let mut parts: Vec<PathBuf> = parts
        .filter(|path| !hidden(path) && path.extension().is_some_and(|end| end == "sources" || end == "list"))
        .collect();
    parts.sort();
    parts.insert(0, etc_apt.join("sources.list"));
    parts
}

fn text_of(file: &Path) -> Option<String> {
    use std::io::Read;
    let mut bytes = Vec::new();
    fs::File::open(file).ok()?.take(LIMIT).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn take(entry: &Entry, found: &mut AptSources, ranked: &mut BTreeMap<String, Vec<(u8, Mirror)>>) {
    let (scheme, rest) = entry.uri.split_once(':').unwrap_or(("", ""));
    let scheme = scheme.to_ascii_lowercase();
    let unusable = |why: &str| format!("{} ({}: {why})", entry.uri, entry.place);
    match scheme.as_str() {
        "http" | "https" | "file" | "copy" => match Mirror::parse(&entry.uri, &entry.place) {
            Ok(mirror) => add(entry, mirror, ranked),
            Err(error) => found.unusable.push(unusable(&error.to_string())),
        },
        "mirror+file" | "mirror+copy" => {
            let path = Path::new("/").join(rest.trim_start_matches('/'));
            let Some(text) = text_of(&path) else {
                return found.unusable.push(unusable("its list of mirrors cannot be read"));
            };
            for uri in mirror_list(&text) {
                if uri.starts_with("mirror") {
                    found.unusable.push(unusable("its list of mirrors names another list"));
                } else {
                    let place = format!("{}, by {}", path.display(), entry.place);
                    take(&Entry { uri, place, ..entry.clone() }, found, ranked);
                }
            }
        }
        "mirror" => found.lists.push((format!("http:{rest}"), entry.place.clone())),
        "mirror+http" | "mirror+https" => {
            found.lists.push((format!("{}:{rest}", &scheme["mirror+".len()..]), entry.place.clone()));
        }
        "cdrom" => found.unusable.push(unusable("discs are not read")),
        tor if tor.starts_with("tor") => found.unusable.push(unusable("Tor is not spoken")),
        _ => found.unusable.push(unusable("only http, https, file, copy and lists of mirrors are known")),
    }
}

/// Addresses of a list of mirrors, the most wanted first: `ADDRESS [priority:N …]` on each line.
fn mirror_list(text: &str) -> Vec<String> {
    let mut found: Vec<(u64, String)> = Vec::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(uri) = words.next() else { continue };
        let priority = words.find_map(|word| word.strip_prefix("priority:")?.parse().ok());
        found.push((priority.unwrap_or(u64::MAX), uri.to_owned()));
    }
    found.sort_by_key(|(priority, _)| *priority);
    found.into_iter().map(|(_, uri)| uri).collect()
}

/// Suites of Debian's own archives.
const SUITES: [&str; 13] = [
    "stable",
    "oldstable",
    "oldoldstable",
    "testing",
    "unstable",
    "sid",
    "experimental",
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "duke",
    "buster",
];
const MAIN: &str = "debian";
const SECURITY: &str = "debian-security";

/// Notes what a mirror serves. Debian's archives are told by the last component of the address, as its mirrors name them,
/// or else by suite and component; repositories of others are often called `debian` as well, so they come last.
fn add(entry: &Entry, mirror: Mirror, ranked: &mut BTreeMap<String, Vec<(u8, Mirror)>>) {
    let main = entry.components.is_empty() || entry.components.iter().any(|c| c == "main");
    let foreign = entry.signed_by.as_ref().is_some_and(|key| !key.contains("debian-archive"));
    let named = archive_name(mirror.as_str());
    let guessed = entry.suites.iter().find_map(|suite| {
        let (base, end) = suite.split_once(['-', '/']).unwrap_or((suite, ""));
        let archive = if ["security", "updates"].contains(&end) && (end == "security" || suite.contains('/')) {
            SECURITY
        } else {
            MAIN
        };
        SUITES.contains(&base).then_some(archive)
    });
    let guessed = guessed.filter(|_| !entry.components.is_empty() && main && !foreign);
    if let Some(archive) = guessed.filter(|archive| named.as_deref() != Some(archive)) {
        ranked.entry(archive.to_owned()).or_default().push((1, mirror.clone()));
    }
    if let Some(archive) = named {
        let rank = if main && !foreign { 0 } else { 2 };
        ranked.entry(archive).or_default().push((rank, mirror));
    }
}

/// `deb [options] ADDRESS SUITE COMPONENT…`
fn one_line(text: &str, file: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = without_comment(line).trim();
        let Some(rest) = line.strip_prefix("deb").filter(|rest| rest.starts_with([' ', '\t', '['])) else { continue };
        let rest = rest.trim_start();
        let (options, rest) = match rest.strip_prefix('[') {
            Some(options) => options.split_once(']').unwrap_or((options, "")),
            None => ("", rest),
        };
        let rest = rest.trim_start();
        // The name of a disc stands in brackets and has blanks.
        let disc = rest.strip_prefix("cdrom:[").and_then(|name| name.find(']')).map_or(0, |end| "cdrom:[".len() + end);
        let end = rest[disc..].find([' ', '\t']).map_or(rest.len(), |end| disc + end);
        let (uri, rest) = rest.split_at(end);
        let mut words = rest.split_whitespace().map(|word| word.trim_matches('"').to_owned());
        let Some(suite) = words.next().filter(|_| !uri.is_empty()) else { continue };
        let signed_by = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
        entries.push(Entry {
            uri: uri.trim_matches('"').to_owned(),
            suites: vec![suite],
            components: words.collect(),
            signed_by: signed_by.map(str::to_owned),
            place: format!("{file}:{number}"),
        });
    }
    entries
}

/// A `#` in brackets is none.
fn without_comment(line: &str) -> &str {
    let mut inside = false;
    for (at, c) in line.char_indices() {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            '#' if !inside => return &line[..at],
            _ => {}
        }
    }
    line
}

/// Stanzas of fields; names have no case, lines that begin with a blank go on, lines that begin with `#` are none.
fn deb822(text: &str, file: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut stanza = Stanza::default();
    for (number, line) in (1..).zip(text.lines().chain([""])) {
        let line = line.trim_end();
        if line.starts_with('#') {
            continue;
        }
        if line.is_empty() {
            entries.extend(std::mem::take(&mut stanza).entries(file));
        } else if line.starts_with([' ', '\t']) {
            if let Some(value) = stanza.last.as_ref().and_then(|name| stanza.fields.get_mut(name)) {
                value.push('\n');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            let name = name.trim().to_ascii_lowercase();
            stanza.line.get_or_insert(number);
            stanza.fields.insert(name.clone(), value.trim().to_owned());
            stanza.last = Some(name);
        }
    }
    entries
}

#[derive(Default)]
struct Stanza {
    fields: BTreeMap<String, String>,
    last: Option<String>,
    line: Option<usize>,
}

impl Stanza {
    fn entries(&self, file: &str) -> Vec<Entry> {
        let words = |name: &str| -> Vec<String> {
            self.fields.get(name).map(|v| v.split_whitespace().map(str::to_owned).collect()).unwrap_or_default()
        };
        let off = self.fields.get("enabled").is_some_and(|value| {
            ["no", "false", "without", "off", "disable", "0"].contains(&value.to_ascii_lowercase().as_str())
        });
        if off || !words("types").iter().any(|kind| kind == "deb") {
            return Vec::new();
        }
        let entry = |uri| Entry {
            uri,
            suites: words("suites"),
            components: words("components"),
            signed_by: self.fields.get("signed-by").cloned().filter(|key| !key.is_empty()),
            place: format!("{file}:{}", self.line.unwrap_or(1)),
        };
        words("uris").into_iter().map(entry).collect()
    }
}

/// What an address serves, told by its last component, as every Debian mirror names its folders.
fn archive_name(url: &str) -> Option<String> {
    let (_, path) = url.split_once("://")?;
    let last = path.rsplit_once('/')?.1;
    Some(last.to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine's apt with these files below `/etc/apt`.
    fn apt(files: &[(&str, &str)]) -> (tempfile::TempDir, AptSources) {
        let etc = tempfile::tempdir().unwrap();
        fs::create_dir(etc.path().join("sources.list.d")).unwrap();
        for (name, text) in files {
            fs::write(etc.path().join(name), text).unwrap();
        }
        let found = read(etc.path());
        (etc, found)
    }

    fn of<'s>(sources: &'s AptSources, archive: &str) -> Vec<&'s str> {
        sources.mirrors.get(archive).into_iter().flatten().map(Mirror::as_str).collect()
    }

    #[test]
    fn both_formats_are_read_and_disabled_sources_are_not() {
        let (_etc, found) = apt(&[
            (
                "sources.list",
                "# deb http://off.test/debian x main\ndeb-src http://s.test/debian x main\ndeb [arch=amd64 signed-by=/k] http://one.test/extra/ x main # note\n  deb\t[ trusted=yes ]\thttp://tab.test/more x\tmain\n",
            ),
            (
                "sources.list.d/debian.sources",
                "Types: deb deb-src\n# comment\nURIs: http://two.test/debian\nSuites: x\nComponents: main\n\ntypes: deb\nuris: http://two.test/debian-security\n# within\n http://spare.test/debian-security\nSuites: y\n z\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n debian-archive URIs: http://no.test/no\n\nEnabled: no\nTypes: deb\nURIs: http://off.test/off\nSuites: x\n\nTypes: deb-src\nURIs: http://off.test/src\nSuites: x\n",
            ),
            ("sources.list.d/z.list.save", "deb http://off.test/saved x main\n"),
            ("sources.list.d/.hidden.list", "deb http://off.test/hidden x main\n"),
        ]);
        assert_eq!(found.mirrors.keys().collect::<Vec<_>>(), ["debian", "debian-security", "extra", "more"]);
        assert_eq!(of(&found, "debian"), ["http://two.test/debian"]);
        assert_eq!(
            of(&found, "debian-security"),
            ["http://two.test/debian-security", "http://spare.test/debian-security"]
        );
        assert_eq!(
            (of(&found, "extra"), of(&found, "more")),
            (vec!["http://one.test/extra"], vec!["http://tab.test/more"])
        );
        assert!(found.unusable.is_empty() && found.lists.is_empty(), "{found:?}");
    }

    #[test]
    fn repositories_of_others_do_not_pass_for_debian() {
        let (_etc, found) = apt(&[
            (
                "sources.list",
                "deb [signed-by=/k/docker.asc] https://docker.test/linux/debian bookworm stable\ndeb http://v6.test:8080/mirror trixie main\n",
            ),
            (
                "sources.list.d/a.sources",
                "Types: deb\nURIs: http://[2001:db8::1]/debian\nSuites: trixie\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.pgp\n\nTypes: deb\nURIs: http://security.test\nSuites: trixie-security\nComponents: main\n",
            ),
        ]);
        let expected =
            ["http://[2001:db8::1]/debian", "http://v6.test:8080/mirror", "https://docker.test/linux/debian"];
        assert_eq!(of(&found, "debian"), expected);
        assert_eq!(of(&found, "debian-security"), ["http://security.test"]);
    }

    #[test]
    fn lists_of_mirrors_are_read_and_what_cannot_be_used_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("mirrors.txt");
        fs::write(
            &list,
            "# ours\nhttp://far.test/debian\nhttp://near.test/debian\tpriority:1 type:index\ncdrom:[x]/\n",
        )
        .unwrap();
        let (_etc, found) = apt(&[(
            "sources.list",
            &format!(
                "deb cdrom:[Debian GNU/Linux 12 # 1 amd64]/ trixie main\ndeb mirror+file:{0} trixie main\ndeb mirror+file:///none trixie main\ndeb tor+http://x.onion/debian trixie main\ndeb mirror://lists.test/debian.txt trixie main\ndeb mirror+https://lists.test/s trixie-security main\ndeb copy:/srv/own trixie main\ndeb file:/srv/two/ x main\n",
                list.display()
            ),
        )]);
        assert_eq!(of(&found, "debian"), ["http://near.test/debian", "http://far.test/debian", "file:///srv/own"]);
        assert_eq!(of(&found, "two"), ["file:///srv/two"]);
        let lists: Vec<&str> = found.lists.iter().map(|(url, _)| url.as_str()).collect();
        assert_eq!(lists, ["http://lists.test/debian.txt", "https://lists.test/s"]);
        let unusable = found.unusable.join("\n");
        for words in
            ["Linux 12 # 1 amd64]/ (", "sources.list:1: discs", "cdrom:[x]/ (", "/none (", ":4: Tor is not spoken"]
        {
            assert!(unusable.contains(words), "{words}: {unusable}");
        }
        assert_eq!(found.unusable.len(), 4, "{unusable}");
        let fetched = of_list("http://a.test/debian\nbad\nhttp://b.test/debian priority:2\n", "x");
        let expected = ["http://b.test/debian", "http://a.test/debian"];
        assert_eq!(fetched["debian"].iter().map(Mirror::as_str).collect::<Vec<_>>(), expected);
    }
}
