//! `downloads`: files that come by their address, and what of them goes where.

use fruit_base::{Sha256, hex};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::board::Architecture;
use crate::declare::{mapping, text};
use crate::decode::{Decode, Flaw};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::files::{FileMode, FileOwner, file_path};
use crate::node::{Kind, Node, shorten};
use crate::source::{At, Place};
use crate::words::{SLUG, Url, slug};

text! {
    /// A name for a download: lower-case letters, digits, `-` and `_`.
    "a name for a download"
    pub struct DownloadName = slug, pattern SLUG;
}

text! {
    /// A SHA-256 of 64 hexadecimal digits.
    "a SHA-256 of 64 hexadecimal digits"
    pub struct Checksum = |text| {
        if Sha256::parse(text).is_some() {
            return Ok(());
        }
        Err(Flaw::new(format!("`{}` is not a SHA-256", shorten(text))).help("write the 64 digits that `sha256sum FILE` prints"))
    }, pattern r"^[0-9A-Fa-f]{64}$";
}

impl Checksum {
    /// The value; digits of either case are the same one.
    pub fn value(&self) -> Sha256 {
        // Checked when it was read. Should it not have been, no file has this one.
        Sha256::parse(&self.0).unwrap_or(Sha256([0; 32]))
    }
}

text! {
    /// A SHA-512 of 128 hexadecimal digits.
    "a SHA-512 of 128 hexadecimal digits"
    pub struct Checksum512 = |text| {
        if hex::decode_array::<64>(text).is_some() {
            return Ok(());
        }
        Err(Flaw::new(format!("`{}` is not a SHA-512", shorten(text))).help("write the 128 digits that `sha512sum FILE` prints"))
    }, pattern r"^[0-9A-Fa-f]{128}$";
}

text! {
    /// Files inside an archive, relative to its top: a path, or a pattern with `*`, `?`, `[a-z]` and `**`.
    "a path or pattern inside the archive"
    pub struct ArchivePath = |text| {
        if text.is_empty() || text.len() > 1024 || text.chars().any(char::is_control) {
            return Err(Flaw::new("a path inside an archive has 1 to 1024 characters"));
        }
        if text.starts_with('/') {
            return Err(Flaw::new(format!("`{}` is absolute", shorten(text))).did_you_mean(text.trim_start_matches('/')));
        }
        if text.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(Flaw::new(format!("`{}` is not a plain path", shorten(text))).help("no `.`, `..`, doubled or trailing `/`"));
        }
        if text.matches('[').count() != text.matches(']').count() || text.matches('{').count() != text.matches('}').count() {
            return Err(Flaw::new(format!("`{}` opens a bracket that it does not close", shorten(text))));
        }
        Ok(())
    }, pattern r"^[^/]";
}

text! {
    /// Where something goes in the image: the path of a file, or a folder with `/` at its end.
    "an absolute path, with `/` at the end for a folder"
    pub struct Destination = |text| {
        let folder = text.ends_with('/');
        file_path(text.strip_suffix('/').unwrap_or(text)).map_err(|mut flaw| {
            // What is suggested for a folder is a folder.
            flaw.suggestion = flaw.suggestion.map(|path| if folder { path + "/" } else { path });
            flaw
        })
    }, pattern r"^/.+";
}

impl Destination {
    /// Whether it is a folder, into which files go under their own names.
    pub fn is_folder(&self) -> bool {
        self.0.ends_with('/')
    }

    /// Without the slashes at either end.
    pub fn below_root(&self) -> &str {
        self.0.trim_matches('/')
    }
}

/// One value, or one for each Debian architecture.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(untagged)]
pub enum PerArchitecture<T> {
    /// For all.
    One(At<T>),
    /// Architecture and value.
    Each(Vec<(Architecture, At<T>)>),
}

impl<T> PerArchitecture<T> {
    /// The value for `architecture`.
    pub fn of(&self, architecture: Architecture) -> Option<&At<T>> {
        match self {
            Self::One(value) => Some(value),
            Self::Each(all) => all.iter().find(|(one, _)| *one == architecture).map(|(_, value)| value),
        }
    }

    /// Where the first value stands.
    pub fn place(&self) -> Option<Place> {
        match self {
            Self::One(value) => value.place.clone(),
            Self::Each(all) => all.first().and_then(|(_, value)| value.place.clone()),
        }
    }
}

impl<T: Decode> Decode for PerArchitecture<T> {
    fn what() -> String {
        format!("{}, or a mapping of them by architecture", T::what())
    }
    fn decode(node: &Node, found: &mut Diagnostics) -> Option<Self> {
        let Kind::Map(entries) = &node.kind else { return At::<T>::decode(node, found).map(Self::One) };
        if entries.is_empty() {
            crate::decode::wrong_type::<Self>(node, found);
            return None;
        }
        let one = |(key, value): &(At<String>, Node), found: &mut Diagnostics| {
            let place = key.place.clone().unwrap_or_else(|| value.place.clone());
            let key = Node { kind: Kind::Scalar { text: key.value.clone(), plain: false }, place };
            let (key, value) = (Architecture::decode(&key, found), At::<T>::decode(value, found));
            key.zip(value)
        };
        let read: Vec<_> = entries.iter().map(|entry| one(entry, found)).collect();
        read.into_iter().collect::<Option<_>>().map(Self::Each)
    }
}

impl<T: JsonSchema> JsonSchema for PerArchitecture<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("PerArchitecture_{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (one, key) = (generator.subschema_for::<T>(), generator.subschema_for::<Architecture>());
        json_schema!({"anyOf": [
            one.clone(),
            {"type": "object", "propertyNames": key, "additionalProperties": one, "minProperties": 1},
        ]})
    }
}

mapping! {
    /// Files of an archive and where they go.
    "what goes where"
    pub struct Pick {
        /// Files inside the archive: `kubernetes/server/bin/kubelet`, `*/bin/*`, `share/**`.
        from: At<ArchivePath>,
        /// The file's path in the image, or a folder with `/` at its end. Into a folder, files go under their names; those that
        /// `**` matches keep the folders that it stands for.
        to: At<Destination>,
        /// Their owner.
        owner: At<FileOwner> = At::default_value(FileOwner::root()),
        /// Their mode. Default: 0755 for files that the archive marks as executable, else 0644.
        mode: Option<At<FileMode>>,
        /// Whether they take the place of files that packages or overlays put there.
        replace: bool = false,
    }
}

mapping! {
    /// A file that comes by its address.
    "the settings of a download"
    pub struct Download {
        /// Its address, or one for each architecture: `{arm64: …, armhf: …}`. `${arch}` and `${machine}` help as well.
        url: PerArchitecture<Url>,
        /// SHA-256 of the file, or one for each architecture. Default: that of the file as it is when `fruitbuild lock`, or the first
        /// build, fetches it; the lock keeps it.
        sha256: Option<PerArchitecture<Checksum>>,
        /// SHA-512 of the file, or one for each architecture: for files whose makers publish that. With `sha256`, both must be right.
        #[serde(skip_serializing_if = "Option::is_none")]
        sha512: Option<PerArchitecture<Checksum512>>,
        /// Other addresses of the same file, asked in turn when the first cannot give it.
        mirrors: Vec<At<Url>>,
        /// Where the file goes: its path in the image, or a folder with `/` at its end. A file compressed by gzip, xz, zstd or bzip2 is
        /// decompressed.
        to: Option<At<Destination>>,
        /// Its owner, with `to`.
        owner: At<FileOwner> = At::default_value(FileOwner::root()),
        /// Its mode, with `to`.
        mode: At<FileMode> = At::default_value(FileMode::plain()),
        /// Whether it takes the place of a file that a package or an overlay puts there, with `to`.
        replace: bool = false,
        /// Whether a file with `to` is decompressed.
        unpack: bool = true,
        /// What goes where of an archive: tar, compressed or not, or zip.
        files: Vec<Pick>,
    }
}

/// Rules of a download that bind its keys together.
pub(crate) fn check(
    name: &At<DownloadName>,
    download: &Download,
    architecture: Option<Architecture>,
    found: &mut Diagnostics,
) {
    match (&download.to, download.files.first()) {
        (None, None) => found.push(
            Diagnostic::error(format!("nothing says where `{name}` goes")).maybe_place(name.place.clone()).help(
                "write `to: /usr/local/bin/NAME` for a file, or `files: [{from: PATH, to: PATH}]` for an archive",
            ),
        ),
        (Some(to), Some(pick)) => {
            let made = Diagnostic::error("a download has `to` or `files`, not both").maybe_place(to.place.clone());
            found.push(match &pick.from.place {
                Some(place) => made.related(place.clone(), "what goes where of an archive"),
                None => made,
            });
        }
        _ => {}
    }
    let Some(architecture) = architecture else { return };
    let Some(url) = download.url.of(architecture) else {
        found.push(
            Diagnostic::error(format!("`{name}` has no address for {architecture}"))
                .maybe_place(download.url.place())
                .help(format!("add `{architecture}: URL`")),
        );
        return;
    };
    let sha256 = download.sha256.as_ref().map(|sums| ("SHA-256", sums.of(architecture).is_some(), sums.place()));
    let sha512 = download.sha512.as_ref().map(|sums| ("SHA-512", sums.of(architecture).is_some(), sums.place()));
    for (kind, _, place) in [&sha256, &sha512].into_iter().flatten().filter(|(_, has, _)| !has) {
        found.push(
            Diagnostic::error(format!("`{name}` has no {kind} for {architecture}"))
                .maybe_place(place.clone())
                .help(format!("add `{architecture}: {}`", kind.replace('-', ""))),
        );
    }
    if sha256.is_none()
        && sha512.is_none()
        && let Some(plain) = [url].into_iter().chain(&download.mirrors).find(|url| url.starts_with("http://"))
    {
        found.push(
            Diagnostic::error("nobody vouches for what comes over http")
                .maybe_place(plain.place.clone())
                .help("write the file's `sha256` or `sha512`, or an https address"),
        );
    }
}
