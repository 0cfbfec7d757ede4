//! Nothing outlives what it belongs to.

use std::path::{Path, PathBuf};
use std::process::{Command as Program, Stdio};
use std::time::{Duration, Instant};

use fruit_sandbox::{Command, Error, Limits};

use crate::Test;
use crate::fixture::{Fixture, busybox, limits, processes_with, sandbox};

pub const TESTS: &[Test] = &[
    ("nothing_outlives_a_program_that_is_killed", nothing_outlives_a_program_that_is_killed),
    ("a_service_in_the_background_ends_with_the_program", a_service_in_the_background_ends_with_the_program),
    ("a_root_belongs_to_one_program_at_a_time", a_root_belongs_to_one_program_at_a_time),
    ("other_folders_are_left_alone", other_folders_are_left_alone),
    ("a_root_goes_with_its_value", a_root_goes_with_its_value),
];

const VICTIM: &str = "FRUIT_SANDBOX_VICTIM";
/// What the victim runs.
const MARK: &str = "65.4321";

/// Where this program has been started to be killed: makes a root, and runs something for long.
pub fn victim() {
    let Some(folder) = std::env::var_os(VICTIM).map(PathBuf::from) else { return };
    let root = sandbox().root(&folder).unwrap();
    root.unpack(std::fs::File::open(folder.with_extension("tar")).unwrap()).unwrap();
    let argv = ["/bin/sh", "-c", "setsid sleep 65.4321 & sleep 65.4321"].map(str::to_owned).to_vec();
    let command = Command { argv, env: vec![("PATH".into(), "/bin".into())], cwd: "/".into(), stdin: Vec::new() };
    let ended = root.run(&command, &Limits::default(), &mut |_| ());
    panic!("nobody has killed the victim: {ended:?}");
}

fn within(time: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + time;
    while Instant::now() < end {
        if holds() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

fn start_victim(folder: &Path) -> std::process::Child {
    let mut command = Program::new(std::env::current_exe().unwrap());
    command.env(VICTIM, folder).stdin(Stdio::null()).spawn().unwrap()
}

fn nothing_outlives_a_program_that_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let work = folder.path().join("one");
    std::fs::write(work.with_extension("tar"), busybox()).unwrap();
    for again in [false, true] {
        let mut victim = start_victim(&work);
        assert!(within(Duration::from_secs(60), || processes_with(MARK) >= 2), "the victim has started");
        victim.kill().unwrap();
        victim.wait().unwrap();
        assert!(within(Duration::from_secs(2), || processes_with(MARK) == 0), "{} are left", processes_with(MARK));
        assert!(work.join("held/root/marker").exists());
        // The next one cleans up, either for itself or for all.
        if again {
            sandbox().sweep(folder.path()).unwrap();
            assert!(!work.exists());
        } else {
            let root = sandbox().root(&work).unwrap();
            assert!(!work.join("held/root/marker").exists());
            drop(root);
        }
    }
}

fn a_service_in_the_background_ends_with_the_program() {
    let fixture = Fixture::new();
    let (ended, output) =
        fixture.sh("setsid sleep 54.321 & (trap '' HUP TERM; sleep 54.321) & echo started; exit 4", &limits());
    assert_eq!((ended.cause, output.as_str()), (fruit_sandbox::Cause::Exit(4), "started\n"));
    assert!(ended.time < Duration::from_secs(5), "{ended:?}");
    assert_eq!(processes_with("54.321"), 0);
}

fn a_root_belongs_to_one_program_at_a_time() {
    let fixture = Fixture::new();
    let error = sandbox().root(&fixture.folder.path().join("work")).unwrap_err();
    assert!(matches!(error, Error::InUse(_)), "{error}");
    sandbox().sweep(fixture.folder.path()).unwrap();
    assert!(fixture.says("cat /marker").contains("the root"));
}

fn other_folders_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "mine").unwrap();
    let error = sandbox().root(folder.path()).unwrap_err();
    assert!(matches!(error, Error::NotOurs(_)), "{error}");
    sandbox().sweep(folder.path().parent().unwrap()).unwrap();
    assert_eq!(std::fs::read_to_string(folder.path().join("file")).unwrap(), "mine");
}

fn a_root_goes_with_its_value() {
    let Fixture { root, folder } = Fixture::new();
    assert!(folder.path().join("work/held/root/marker").exists());
    drop(root);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
