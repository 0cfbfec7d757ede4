//! A bundle out of a repository: metadata first, then blobs in the order of use.

use std::collections::HashSet;
use std::io::BufWriter;
use std::path::Path;

use fruit_base::AtPath;
use fruit_image::draft::Draft;
use fruit_progress::{Progress, Unit};
use fruit_release::bundle::Writer;
use fruit_release::manifest::ChunkSource;
use fruit_release::{Folder, Name, Sink, Source};

use super::trusted::{Published, PublishedDelta, Trusted};
use crate::error::{Error, told};

/// What goes into a bundle besides the metadata.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extent {
    /// All chunks: installs on any node.
    Full,
    /// The deltas, and what they fetch whole: installs on nodes that run what the deltas start from.
    Deltas,
}

/// What a bundle came to.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Bundle {
    /// Bytes of the file.
    pub size: u64,
    pub pieces: usize,
}

/// Writes a bundle of `release` to `target`, which appears when it is whole; of deltas those from the builds that `only`
/// says.
///
/// # Errors
/// A piece that is missing; write errors.
pub fn write(
    folder: &Folder,
    trusted: &Trusted,
    release: &Published,
    extent: Extent,
    only: &dyn Fn(&str) -> bool,
    target: &Path,
    progress: &dyn Progress,
) -> Result<Bundle, Error> {
    let names = names(trusted, release, extent, only);
    let step = progress.step("writing the bundle", names.len() as u64, Unit::Pieces);
    let draft = Draft::create(target).map_err(told)?;
    let mut writer = Writer::new(BufWriter::new(draft.file()), release.manifest.build_time);
    for name in &names {
        let bytes = super::check::piece(folder, name)?;
        writer.put(name, &bytes).map_err(told)?;
        step.add(1);
    }
    drop(writer.finish().map_err(told)?);
    let size = draft.file().metadata().map_err(told)?.len();
    draft.commit().map_err(told)?;
    Ok(Bundle { size, pieces: names.len() })
}

/// Every piece, each once, where it is used first. All deltas of one release go forward together, so that any node finds
/// its own pieces in order.
fn names(trusted: &Trusted, release: &Published, extent: Extent, only: &dyn Fn(&str) -> bool) -> Vec<Name> {
    let mut names = trusted.metadata.clone();
    names.push(release.name.clone());
    let wanted = |delta: &&PublishedDelta| extent == Extent::Deltas && only(&delta.delta.from.build_id);
    let deltas: Vec<&PublishedDelta> = release.deltas.iter().filter(wanted).collect();
    names.extend(deltas.iter().map(|delta| delta.name.clone()));
    let mut seen = HashSet::new();
    for (v, volume) in release.manifest.volumes.iter().enumerate() {
        for (i, chunk) in volume.chunks.iter().enumerate() {
            let mut put = |name: Name| {
                if seen.insert(name.clone()) {
                    names.push(name);
                }
            };
            if extent == Extent::Full {
                put(Name::Chunk(*chunk));
            }
            for delta in &deltas {
                match &delta.delta.volumes[v][i] {
                    ChunkSource::Copy { .. } => {}
                    ChunkSource::Patch { patch, .. } => put(Name::Patch(*patch)),
                    ChunkSource::Full {} => put(Name::Chunk(*chunk)),
                }
            }
        }
    }
    names
}

/// Puts a release's volumes together again from their chunks, each in a file.
///
/// # Errors
/// A chunk that is missing or altered; write errors.
pub fn reassemble(source: &mut dyn Source, release: &Published, files: [&Path; 2]) -> Result<(), Error> {
    use std::os::unix::fs::FileExt;
    for (volume, path) in release.manifest.volumes.iter().zip(files) {
        let file = std::fs::File::create(path).at(path)?;
        file.set_len(volume.len).at(path)?;
        for (i, chunk) in volume.chunks.iter().enumerate() {
            let bytes = super::check::chunk(source, *chunk, volume.chunk_len(i))?;
            let bytes = bytes
                .ok_or_else(|| Error::other(format!("{}: {} is not there", source.place(), Name::Chunk(*chunk))))?;
            let at = i as u64 * fruit_release::manifest::CHUNK;
            if bytes.iter().any(|&byte| byte != 0) {
                file.write_all_at(&bytes, at).at(path)?;
            }
        }
    }
    Ok(())
}
