//! Every fuzz target on its seeds and on what follows from them by blind changes, for a second. The programs under test are
//! those that all tests have, so nothing more is compiled. Fuzzing that is led by what has been reached, for as long as one
//! likes, is `tests/fuzz/run`; see `tests/fuzz/README.md`. For longer here, or with other changes:
//!
//! ```sh
//! FRUIT_FUZZ_SECONDS=60 FRUIT_FUZZ_SEED=2 FRUIT_FUZZ_TARGETS="tar deb" cargo test --workspace --test fuzz
//! ```

// What targets are as programs of their own is said in their files.
#![allow(unused_attributes)]

// What the targets ask of libFuzzer and of their library is here.
extern crate self as fruit_fuzz;
extern crate self as libfuzzer_sys;

#[path = "fuzz/blind.rs"]
mod blind;
#[allow(dead_code, clippy::expect_used)]
#[path = "fuzz/src/lib.rs"]
mod library;
#[path = "fuzz/targets.rs"]
mod targets;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use blind::Changer;
pub use library::*;
use targets::{ALL, Target};

/// As libFuzzer's: what is done with an input.
#[macro_export]
macro_rules! fuzz_target {
    (|$input:ident: &[u8]| $body:expr) => {
        #[allow(clippy::redundant_closure_call)]
        pub fn run($input: &[u8]) {
            (|| $body)()
        }
    };
    (|$input:ident: &str| $body:expr) => {
        #[allow(clippy::redundant_closure_call)]
        pub fn run(bytes: &[u8]) {
            let Ok($input) = std::str::from_utf8(bytes) else { return };
            (|| $body)()
        }
    };
}

/// Longest input, and the longest that it may take in a program without optimization on a busy machine.
const INPUT_MAX: usize = 64 << 10;
const RUN_MAX: Duration = Duration::from_secs(30);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/fuzz")
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Files of a folder, in the order of their names.
fn files(folder: &Path) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let paths: BTreeSet<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// What is wrong with what a target makes of an input, which is then left as a file.
fn fault(name: &str, target: Target, input: &[u8]) -> Option<String> {
    let began = Instant::now();
    let ended = catch_unwind(AssertUnwindSafe(|| target(input)));
    let took = began.elapsed();
    let what = match ended {
        Err(_) => "panics".to_owned(),
        Ok(()) if took > RUN_MAX => format!("takes {took:.0?}"),
        Ok(()) => return None,
    };
    let left = folder().join(format!("artifacts/{name}-{:016x}", blind::hash(input)));
    std::fs::create_dir_all(folder().join("artifacts")).unwrap();
    std::fs::write(&left, input).unwrap();
    Some(format!("{name} {what} with the input that is now in {}", left.display()))
}

/// Runs, and the first fault.
fn fuzz(name: &str, target: Target, seeds: &[Vec<u8>], time: Duration, seed: u64) -> (u64, Option<String>) {
    let began = Instant::now();
    let mut runs = 0;
    for input in seeds.iter().map(Vec::as_slice).chain([&b""[..]]) {
        runs += 1;
        if let Some(fault) = fault(name, target, input) {
            return (runs, Some(fault));
        }
    }
    let mut changer = Changer::new(seed ^ blind::hash(name.as_bytes()), seeds, INPUT_MAX);
    while began.elapsed() < time {
        runs += 1;
        if let Some(fault) = fault(name, target, changer.next()) {
            return (runs, Some(fault));
        }
    }
    (runs, None)
}

#[test]
#[allow(clippy::print_stdout)] // how much was tried, for whoever reads along
fn no_parser_panics_or_hangs_on_seeds_and_what_follows_from_them() {
    let number = |name: &str, otherwise: u64| {
        variable(name).map_or(otherwise, |value| value.parse().unwrap_or_else(|_| panic!("{name}: {value:?}")))
    };
    let (time, seed) = (Duration::from_secs(number("FRUIT_FUZZ_SECONDS", 1)), number("FRUIT_FUZZ_SEED", 1));
    let wanted: Option<Vec<String>> =
        variable("FRUIT_FUZZ_TARGETS").map(|names| names.split_whitespace().map(str::to_owned).collect());
    let wanted = |name: &str| wanted.as_ref().is_none_or(|names| names.iter().any(|wanted| wanted == name));
    let chosen: Vec<_> = ALL.iter().filter(|(name, _)| wanted(name)).collect();
    assert!(!chosen.is_empty(), "FRUIT_FUZZ_TARGETS names none of tests/fuzz/fuzz_targets");

    let seeds = tempfile::tempdir().unwrap();
    seeds::write(seeds.path(), &folder().join("../.."));
    let (next, faults) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((name, target)) = chosen.get(next.fetch_add(1, Relaxed)) {
                    let (runs, fault) = fuzz(name, *target, &files(&seeds.path().join(name)), time, seed);
                    println!("{name}: {runs} runs");
                    faults.lock().unwrap().extend(fault);
                }
            });
        }
    });
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_target_is_run() {
    let entries = std::fs::read_dir(folder().join("fuzz_targets")).unwrap();
    let there: BTreeSet<String> =
        entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned()).collect();
    let run: BTreeSet<String> = ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(there, run, "tests/fuzz/targets.rs lists other targets than tests/fuzz/fuzz_targets has");
}
