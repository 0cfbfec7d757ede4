//! What a root's programs are promised, and what hostile ones must not get: tried with a real root, as root and as an ordinary user.

#![allow(clippy::print_stdout)] // it is a program, which tells how the tests went

mod archive;
mod bounds;
mod fixture;
mod isolation;
mod lifetime;
mod obstacles;
mod runs;

use std::panic::catch_unwind;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use fixture::tool;

/// What a test promises, and the test.
type Test = (&'static str, fn());

/// Uid of an ordinary user who is nobody else.
const USER: u32 = 54_321;

fn main() {
    fruit_sandbox::entry();
    obstacles::probe();
    lifetime::victim();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut tests: Vec<Test> =
        [archive::TESTS, bounds::TESTS, isolation::TESTS, lifetime::TESTS, obstacles::TESTS, runs::TESTS].concat();
    let wanted: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
    tests.retain(|(name, _)| wanted.is_empty() || wanted.iter().any(|word| name.contains(word.as_str())));
    if words.iter().any(|word| word == "--list") {
        tests.iter().for_each(|(name, _)| println!("{name}: test"));
        return;
    }
    let root = rustix::process::geteuid().is_root();
    let mut well = run(&tests, if root { "root" } else { "user" });
    if root {
        well &= as_user(&words);
    }
    std::process::exit(if well { 0 } else { 101 });
}

/// Runs tests, some at a time: most of them wait.
fn run(tests: &[Test], who: &str) -> bool {
    let next = Mutex::new(tests.iter());
    let well = AtomicBool::new(true);
    let started = Instant::now();
    let work = || {
        while let Some((name, test)) = { next.lock().unwrap().next() } {
            let started = Instant::now();
            let passed = catch_unwind(test).is_ok();
            well.fetch_and(passed, Ordering::Relaxed);
            let result = if passed { "ok" } else { "FAILED" };
            println!("test {who}::{name} ... {result} <{:.2}s>", started.elapsed().as_secs_f32());
        }
    };
    std::thread::scope(|scope| (0..4).for_each(|_| _ = scope.spawn(work)));
    println!("{} tests as {who} in {:.1} s", tests.len(), started.elapsed().as_secs_f32());
    well.into_inner()
}

/// Runs the tests again as a user whom `/etc/subuid` gives ids: one who is there for these processes only.
fn as_user(words: &[String]) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str, more: &str| {
        let text = std::fs::read_to_string(format!("/etc/{name}")).unwrap_or_default();
        let path = folder.path().join(name);
        std::fs::write(&path, format!("{text}{more}\n")).unwrap();
        path
    };
    place("passwd", &format!("sandboxed:x:{USER}:{USER}::/tmp:/bin/sh"));
    place("group", &format!("sandboxed:x:{USER}:"));
    for name in ["subuid", "subgid"] {
        place(name, "sandboxed:1900000000:65536");
        // It must be there to be covered.
        std::fs::OpenOptions::new().create(true).append(true).open(format!("/etc/{name}")).unwrap();
    }
    let script = r#"
        folder=$1 uid=$2; shift 2
        for name in passwd group subuid subgid; do mount --bind "$folder/$name" "/etc/$name" || exit; done
        exec setpriv --reuid "$uid" --regid "$uid" --clear-groups "$@"
    "#;
    let mut command = Command::new(tool("unshare", "util-linux"));
    command.args(["--mount", "--propagation", "private", "sh", "-ec", script, "sh"]);
    command.arg(folder.path()).arg(USER.to_string()).arg(std::env::current_exe().unwrap()).args(words);
    command.env_remove("TMPDIR").current_dir("/");
    command.status().unwrap().success()
}
