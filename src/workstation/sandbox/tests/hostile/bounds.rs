//! What uses too much, or hangs, is stopped, and nothing of it stays.

use std::time::Duration;

use fruit_sandbox::{Cause, Limits};

use crate::Test;
use crate::fixture::{Fixture, limits, processes_with};

pub const TESTS: &[Test] = &[
    ("a_fork_bomb_is_stopped", a_fork_bomb_is_stopped),
    ("memory_of_all_processes_together_is_bounded", memory_of_all_processes_together_is_bounded),
    ("what_is_written_into_memory_counts_as_memory", what_is_written_into_memory_counts_as_memory),
    ("filling_the_disk_is_stopped", filling_the_disk_is_stopped),
    ("filling_it_run_by_run_is_stopped_too", filling_it_run_by_run_is_stopped_too),
    ("a_file_too_large_cannot_be_written", a_file_too_large_cannot_be_written),
    ("making_too_many_files_is_stopped", making_too_many_files_is_stopped),
    ("who_does_nothing_for_long_is_stopped", who_does_nothing_for_long_is_stopped),
    ("who_works_for_too_long_is_stopped", who_works_for_too_long_is_stopped),
    ("endless_output_is_stopped", endless_output_is_stopped),
];

fn a_fork_bomb_is_stopped() {
    let fixture = Fixture::new();
    let bounds = Limits { processes: 60, time: Duration::from_secs(3), ..limits() };
    let (ended, _) = fixture.sh("bomb() { bomb | bomb & }; bomb & exec sleep 87.654321", &bounds);
    // Either it was seen, or the kernel let it have no more, of which it died before anybody looked. The first process
    // makes no other after it: a shell that cannot have one ends.
    assert!(matches!(ended.cause, Cause::Processes | Cause::Time) && ended.processes <= 130, "{ended:?}");
    assert!(ended.time < Duration::from_secs(10), "{ended:?}");
    assert_eq!(processes_with("87.654321"), 0);
    // One that hides behind many users.
    let script = "u=1000; while [ $u -lt 1200 ]; do attack as $u /bin/sleep 87.654321 & u=$((u+1)); done; wait";
    let (ended, _) = fixture.sh(script, &Limits { processes: 60, ..limits() });
    assert_eq!(ended.cause, Cause::Processes);
    assert_eq!(processes_with("87.654321"), 0);
}

fn memory_of_all_processes_together_is_bounded() {
    let fixture = Fixture::new();
    let (ended, _) = fixture.sh("exec attack hog", &Limits { memory: 96 << 20, ..limits() });
    assert_eq!(ended.cause, Cause::Memory);
    assert!(ended.memory > 96 << 20, "{ended:?}");
    // A single process is told so by the kernel.
    let (ended, _) = fixture.sh("tail /dev/zero", &Limits { memory: 96 << 20, ..limits() });
    assert!(!ended.well() && ended.memory < 128 << 20, "{ended:?}");
}

fn what_is_written_into_memory_counts_as_memory() {
    let fixture = Fixture::new();
    let script = "for d in /tmp /run /dev/shm; do dd if=/dev/zero of=$d/x bs=1M count=100 2>&1; done; exec attack hog";
    let (ended, output) = fixture.sh(script, &Limits { memory: 64 << 20, ..limits() });
    assert!(
        ended.cause == Cause::Memory && output.matches("No space left on device").count() == 3,
        "{ended:?}: {output}"
    );
}

fn filling_the_disk_is_stopped() {
    let fixture = Fixture::new();
    let bounds = Limits { disk: 32 << 20, ..limits() };
    let (ended, _) = fixture.sh("cat /dev/zero > /var/x", &bounds);
    assert_eq!(ended.cause, Cause::Disk);
    assert!(ended.cause.to_string().contains("filled the disk") && ended.disk > 32 << 20, "{ended:?}");
    // Many small ones, deleted ones that are still open among them.
    let fixture = Fixture::new();
    let script = "i=0; while :; do head -c 1000000 /dev/zero > /root/$i; i=$((i+1)); done";
    assert_eq!(fixture.sh(script, &bounds).0.cause, Cause::Disk);
}

fn filling_it_run_by_run_is_stopped_too() {
    let fixture = Fixture::new();
    let bounds = Limits { disk: 32 << 20, ..limits() };
    let fill = |number: usize| {
        fixture.sh(&format!("head -c 3000000 /dev/zero > /var/{number}; sync; sleep 0.1"), &bounds).0.cause
    };
    let causes: Vec<Cause> = (0..14).map(fill).collect();
    assert!(causes[..8].iter().all(|cause| *cause == Cause::Exit(0)) && causes.contains(&Cause::Disk), "{causes:?}");
}

fn a_file_too_large_cannot_be_written() {
    let fixture = Fixture::new();
    let (ended, _) =
        fixture.sh("trap '' XFSZ; head -c 9000000 /dev/zero > /var/x", &Limits { file_size: 1 << 20, ..limits() });
    assert_eq!(ended.cause, Cause::Exit(1));
    assert!(fixture.tree().contains(&"0 644 0:0 1048576 var/x".to_owned()));
}

fn making_too_many_files_is_stopped() {
    let fixture = Fixture::new();
    let script = "cd /var; i=0; while :; do : > $i; i=$((i+1)); done";
    let (ended, _) = fixture.sh(script, &Limits { files: 2000, ..limits() });
    assert_eq!(ended.cause, Cause::Files);
}

fn who_does_nothing_for_long_is_stopped() {
    let fixture = Fixture::new();
    let bounds = Limits { silence: Duration::from_secs(1), ..limits() };
    let stubborn = "trap '' TERM INT HUP; sleep 76.54321 & setsid sleep 76.54321 & sleep 76.54321";
    let (ended, _) = fixture.sh(stubborn, &bounds);
    assert_eq!(ended.cause, Cause::Silence);
    assert!(ended.time < Duration::from_secs(4), "{ended:?}");
    assert_eq!(processes_with("76.54321"), 0);
    // Who works, or talks, is not silent.
    let (ended, _) = fixture.sh("for i in 1 2 3 4 5; do sleep 0.4; echo; done", &bounds);
    assert!(ended.well(), "{ended:?}");
    let (ended, _) = fixture.sh("timeout -s KILL 2 sh -c 'while :; do :; done'; exit 0", &bounds);
    assert!(ended.well(), "{ended:?}");
}

fn who_works_for_too_long_is_stopped() {
    let fixture = Fixture::new();
    let (ended, _) = fixture.sh("while :; do :; done", &Limits { time: Duration::from_secs(1), ..limits() });
    assert_eq!(ended.cause, Cause::Time);
    assert!(ended.time < Duration::from_secs(3) && ended.cpu > Duration::from_millis(100), "{ended:?}");
}

fn endless_output_is_stopped() {
    let fixture = Fixture::new();
    let (ended, output) = fixture.sh("yes", &Limits { output: 1 << 20, ..limits() });
    assert_eq!(ended.cause, Cause::Output);
    assert!(output.len() < 2 << 20, "{}", output.len());
}
