//! What a delta between two card images costs, against what others would send for the same two images:
//!
//!     cargo bench -p fruit-delta -- OLD.img NEW.img [OLD.img NEW.img …]
//!
//! With `--alone` in front, without the others. Two states of a recipe are two images: its lock before and after
//! `fruitbuild lock`. Without images, or with a word of its name, inputs are measured that this program makes: a large
//! change, and what an encoder could be slow at. Figures of time are processor time, so that a busy machine changes
//! little.

#![allow(clippy::print_stdout, clippy::print_stderr)] // a benchmark tells what it measured

mod images;
mod others;
mod synthetic;

use std::fs;
use std::path::Path;
use std::process::Command;

use fruit_delta::{CHUNK, OldVolume, Options, Source, apply, encode};
use images::Stored;

const MIB: f64 = 1048576.0;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if let [flag, folder] = &args[..]
        && flag == "--apply"
    {
        return apply_all(folder.as_ref());
    }
    if let [] | [_] = &args[..] {
        return synthetic::measure(args.first().map(String::as_str));
    }
    let alone = args.first().is_some_and(|a| a == "--alone");
    let args = &args[usize::from(alone)..];
    if args.is_empty() || !args.len().is_multiple_of(2) {
        eprintln!("usage: cargo bench -p fruit-delta [-- OLD.img NEW.img …]");
        std::process::exit(2);
    }
    for pair in args.chunks_exact(2) {
        println!("\n{} -> {}", pair[0], pair[1]);
        let folder = tempfile::tempdir().expect("a temporary folder");
        measure(pair[0].as_ref(), pair[1].as_ref(), folder.path(), alone);
    }
}

fn measure(old_image: &Path, new_image: &Path, folder: &Path, alone: bool) {
    let old = images::open(old_image, folder, "old");
    let new = images::open(new_image, folder, "new");
    let delta = make(&old, &new, folder);
    let child = Command::new(std::env::current_exe().expect("this program")).arg("--apply").arg(folder).status();
    assert!(child.expect("this program again").success());
    println!("{:44} {delta:>11} bytes", "this delta");
    if alone {
        return;
    }
    let sum = |f: fn(&Path, &Path) -> u64| old.iter().zip(&new).map(|(o, n)| f(&o.path, &n.path)).sum::<u64>();
    let xdelta3 = sum(others::xdelta3);
    let squashed = [&old[0], &new[0]].map(|v| others::squashfs(&v.path.with_file_name(tree(v))));
    let squashed = others::xdelta3(&squashed[0], &squashed[1]);
    let zstd = sum(others::zstd_patch);
    let [old_bytes, new_bytes] = [&old, &new].map(|v| v.iter().map(Stored::bytes).collect::<Vec<_>>());
    let casync = others::casync(&old_bytes, &new_bytes);
    let blocks = others::blocks(&old_bytes, &new_bytes);
    for (name, bytes) in [
        ("xdelta3 -9 -S lzma, the same images", xdelta3),
        ("xdelta3 -9 -S lzma, squashfs-zstd images", squashed),
        ("zstd -19 --long=31 --patch-from, the same", zstd),
        ("chunks of 64 KiB as casync, zstd -19", casync),
        ("blocks of 4 KiB as RAUC, zstd -19", blocks),
    ] {
        println!("{name:44} {bytes:>11} bytes; this delta is {:.3} of it", delta as f64 / bytes as f64);
    }
}

fn tree(volume: &Stored) -> String {
    volume.path.file_name().expect("a name").to_string_lossy().replace("-boot", "-tree")
}

/// Makes the delta, stores its patches below `folder`, and returns its size.
fn make(old: &[Stored; 2], new: &[Stored; 2], folder: &Path) -> u64 {
    let (from, to) = (old.each_ref().map(Stored::volume), new.each_ref().map(Stored::volume));
    forget_peak();
    let (before, resident) = (processor_seconds(), memory("VmRSS"));
    let sources = encode(&from, &to, &Options::default(), &|_, _| {}).expect("a delta");
    let seconds = processor_seconds() - before;
    let peak = memory("VmHWM");
    let (mut size, mut changed, mut kinds) = (0, 0, [0; 3]);
    for (volume, sources) in sources.iter().enumerate() {
        let bytes = new[volume].bytes();
        let old_bytes = old[volume].bytes();
        for (n, (source, chunk)) in sources.iter().zip(bytes.chunks(CHUNK)).enumerate() {
            let name = format!("{volume}-{n:05}");
            match source {
                Source::Copy { .. } => kinds[0] += 1,
                Source::Patch(patch) => {
                    kinds[1] += 1;
                    size += patch.len() as u64;
                    fs::write(folder.join(format!("{name}.patch")), patch).expect("room for a patch");
                    fs::write(folder.join(format!("{name}.chunk")), chunk).expect("room for a chunk");
                }
                Source::Full => {
                    kinds[2] += 1;
                    size += zstd::bulk::compress(chunk, 19).expect("zstd").len() as u64;
                }
            }
            if !matches!(source, Source::Copy { .. })
                || old_bytes.get(n * CHUNK..n * CHUNK + chunk.len()) != Some(chunk)
            {
                changed += chunk.len();
            }
        }
    }
    println!(
        "{} chunks copied, {} patched, {} full; {:.1} MiB other than before",
        kinds[0],
        kinds[1],
        kinds[2],
        changed as f64 / MIB
    );
    println!(
        "making it: {seconds:.1} s of one processor, {:.1} s per 100 MB changed; {:.0} MiB of memory, {:.0} before",
        seconds / changed as f64 * 1e8,
        peak as f64 / 1024.0,
        resident as f64 / 1024.0
    );
    size
}

/// Applies all patches of `folder`, in a process that has done nothing else.
fn apply_all(folder: &Path) {
    let open = |name: &str| fs::File::open(folder.join(name)).expect("an old volume");
    let disks = [open("old-boot"), open("old-root")];
    let old: Vec<OldVolume<'_>> =
        disks.iter().map(|d| OldVolume { data: d, len: d.metadata().expect("a size").len() }).collect();
    let mut patches: Vec<_> = fs::read_dir(folder)
        .expect("a folder")
        .map(|e| e.expect("an entry").path())
        .filter(|p| p.extension().is_some_and(|e| e == "patch"))
        .collect();
    patches.sort();
    forget_peak();
    let (mut out, mut made, mut seconds, mut slowest) = (vec![0; CHUNK], 0, 0.0, 0f64);
    let resident = memory("VmRSS");
    for path in &patches {
        let patch = fs::read(path).expect("a patch");
        let expected = fs::read(path.with_extension("chunk")).expect("a chunk");
        let out = &mut out[..expected.len()];
        let before = processor_seconds();
        apply(&patch, &old, out).expect("a patch that applies");
        let took = processor_seconds() - before;
        assert!(*out == expected[..], "{}: wrong bytes", path.display());
        (made, seconds, slowest) = (made + out.len(), seconds + took, slowest.max(took));
    }
    println!(
        "applying it: {:.1} MiB per processor second, slowest chunk {:.0} ms; {:.1} MiB of memory, {:.1} before",
        made as f64 / seconds / MIB,
        slowest * 1e3,
        memory("VmHWM") as f64 / 1024.0,
        resident as f64 / 1024.0
    );
}

/// Of this process, all its threads.
fn processor_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// A line of `/proc/self/status`, in KiB.
fn memory(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':')).expect("a line of memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Lets `VmHWM` start anew (proc(5), clear_refs).
fn forget_peak() {
    fs::write("/proc/self/clear_refs", "5").expect("/proc/self/clear_refs");
}
