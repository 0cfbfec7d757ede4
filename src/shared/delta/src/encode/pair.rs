//! Which old file a new one is made from.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::layout::{FileExtents, Layout};

/// An old file: number of its volume, and its ranges there.
pub type Old<'l> = (usize, &'l FileExtents);

/// Old files by path, by path without its numbers, and by name.
pub struct Pairs<'l> {
    paths: BTreeMap<(usize, &'l str), &'l FileExtents>,
    versions: HashMap<String, Vec<(usize, &'l str, &'l FileExtents)>>,
    names: HashMap<String, Vec<(usize, &'l str, &'l FileExtents)>>,
    /// Paths of the new volumes: an old file of the same path is likelier to be the pair of that one.
    taken: HashSet<(usize, &'l str)>,
}

/// `path` with every number in it as 0: `lib/modules/0.0.0+deb0`, `libssl.so.0`.
fn without_numbers(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for c in path.chars() {
        let c = if c.is_ascii_digit() { '0' } else { c };
        if c != '0' || !out.ends_with('0') {
            out.push(c);
        }
    }
    out
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

impl<'l> Pairs<'l> {
    pub fn new(old: &'l [Layout], new: &'l [Layout]) -> Pairs<'l> {
        let mut pairs =
            Pairs { paths: BTreeMap::new(), versions: HashMap::new(), names: HashMap::new(), taken: HashSet::new() };
        for (volume, layout) in old.iter().enumerate() {
            for (path, extents) in &layout.files {
                pairs.paths.insert((volume, path), extents);
                pairs.versions.entry(without_numbers(path)).or_default().push((volume, path, extents));
                pairs.names.entry(without_numbers(name(path))).or_default().push((volume, path, extents));
            }
        }
        for (volume, layout) in new.iter().enumerate() {
            pairs.taken.extend(layout.files.keys().map(|path| (volume, path.as_str())));
        }
        pairs
    }

    /// Likely pairs of the file at `path` of `volume`, the likeliest first.
    pub fn of(&self, volume: usize, path: &str, len: u64) -> Option<Old<'l>> {
        if let Some(extents) = self.paths.get(&(volume, path)) {
            return Some((volume, extents));
        }
        let nearest = |candidates: Option<&Vec<(usize, &'l str, &'l FileExtents)>>| {
            let ranked = candidates?.iter().min_by_key(|(v, p, extents)| {
                let common = p.bytes().zip(path.bytes()).take_while(|(a, b)| a == b).count();
                (*v != volume, self.taken.contains(&(*v, *p)), extents.len().abs_diff(len), usize::MAX - common, *p)
            })?;
            Some((ranked.0, ranked.2))
        };
        nearest(self.versions.get(&without_numbers(path)))
            .or_else(|| nearest(self.names.get(&without_numbers(name(path)))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(paths: &[&str]) -> Layout {
        let extents =
            |i: usize| FileExtents { ranges: std::iter::once(i as u64 * 4096..(i as u64 + 1) * 4096).collect() };
        Layout {
            files: paths.iter().enumerate().map(|(i, path)| ((*path).to_owned(), extents(i))).collect(),
            rest: FileExtents::default(),
        }
    }

    fn start(found: Option<Old<'_>>) -> Option<u64> {
        found.map(|(_, extents)| extents.ranges[0].start / 4096)
    }

    #[test]
    fn a_file_is_paired_by_path_then_by_version_then_by_name() {
        let old = [layout(&["a/libz.so.1.2.3", "b/same", "lib/modules/6.12.57+deb13/x.ko", "moved/there"])];
        let new = [layout(&["a/libz.so.1.2.11", "b/same", "lib/modules/6.12.63+deb13/x.ko", "other/there", "new"])];
        let pairs = Pairs::new(&old, &new);
        assert_eq!(start(pairs.of(0, "b/same", 4096)), Some(1));
        assert_eq!(start(pairs.of(0, "a/libz.so.1.2.11", 4096)), Some(0));
        assert_eq!(start(pairs.of(0, "lib/modules/6.12.63+deb13/x.ko", 4096)), Some(2));
        assert_eq!(start(pairs.of(0, "other/there", 4096)), Some(3));
        assert_eq!(start(pairs.of(0, "new", 4096)), None);
    }

    #[test]
    fn numbers_of_any_length_are_the_same() {
        assert_eq!(without_numbers("lib/modules/6.12.107+deb13-arm64"), "lib/modules/0.0.0+deb0-arm0");
    }
}
