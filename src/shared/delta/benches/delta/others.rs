//! What others would send.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;

const BLOCK: usize = 4096;

/// Runs a tool; if it is missing, says which Debian package has it.
fn run(tool: &str, package: &str, args: &[&std::ffi::OsStr]) {
    let output = Command::new(tool).args(args).output();
    let output = output.unwrap_or_else(|e| panic!("{tool}: {e}: install the package {package}"));
    assert!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr));
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).expect("a tool's output").len()
}

/// `xdelta3` with all of the old file as its window.
pub fn xdelta3(old: &Path, new: &Path) -> u64 {
    let out = new.with_extension("xdelta3");
    let flags = ["-9", "-S", "lzma", "-B", "1073741824", "-e", "-f", "-s"];
    let mut args: Vec<&std::ffi::OsStr> = flags.iter().map(|f| f.as_ref()).collect();
    args.extend([old.as_os_str(), new.as_os_str(), out.as_os_str()]);
    run("xdelta3", "xdelta3", &args);
    size(&out)
}

pub fn zstd_patch(old: &Path, new: &Path) -> u64 {
    let out = new.with_extension("zst");
    let mut from = std::ffi::OsString::from("--patch-from=");
    from.push(old);
    let args = ["-q", "-f", "-19", "--long=31"].map(std::ffi::OsStr::new);
    run("zstd", "zstd", &[&args[..], &[&from, new.as_os_str(), "-o".as_ref(), out.as_os_str()]].concat());
    size(&out)
}

/// A squashfs image of a tree, as a compressed root is usually shipped: zstd at mksquashfs' own level.
pub fn squashfs(tree: &Path) -> std::path::PathBuf {
    let out = tree.with_extension("squashfs");
    let flags = ["-comp", "zstd", "-noappend", "-all-root", "-all-time", "0"];
    let flags = flags.iter().chain(&["-mkfs-time", "0", "-quiet", "-no-progress"]).map(std::ffi::OsStr::new);
    let args: Vec<_> = [tree.as_os_str(), out.as_os_str()].into_iter().chain(flags).collect();
    run("mksquashfs", "squashfs-tools", &args);
    out
}

fn packed(bytes: &[u8]) -> u64 {
    zstd::bulk::compress(bytes, 19).expect("zstd").len() as u64
}

/// Chunks that end where their content says so: 64 KiB on average.
fn chunks(bytes: &[u8]) -> Vec<&[u8]> {
    const LEAST: usize = 16 << 10;
    const MOST: usize = 256 << 10;
    let gear: Vec<u64> =
        (0..256u64).map(|i| (i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(i as u32)).collect();
    let (mut found, mut start, mut hash) = (Vec::new(), 0, 0u64);
    for (i, byte) in bytes.iter().enumerate() {
        hash = (hash << 1).wrapping_add(gear[usize::from(*byte)]);
        let len = i + 1 - start;
        if len >= MOST || (len >= LEAST && hash >> 48 == 0) {
            found.push(&bytes[start..=i]);
            (start, hash) = (i + 1, 0);
        }
    }
    found.push(&bytes[start..]);
    found
}

/// Content-defined chunks that the old volumes lack, each compressed.
pub fn casync(old: &[Vec<u8>], new: &[Vec<u8>]) -> u64 {
    let mut seen: HashSet<&[u8]> = old.iter().flat_map(|v| chunks(v)).collect();
    new.iter().flat_map(|v| chunks(v)).filter(|c| seen.insert(c)).map(packed).sum()
}

/// Blocks of 4 KiB that the old volumes lack, compressed together.
pub fn blocks(old: &[Vec<u8>], new: &[Vec<u8>]) -> u64 {
    let mut seen: HashSet<&[u8]> = old.iter().flat_map(|v| v.chunks(BLOCK)).collect();
    packed(&new.iter().flat_map(|v| v.chunks(BLOCK)).filter(|b| seen.insert(b)).collect::<Vec<_>>().concat())
}
