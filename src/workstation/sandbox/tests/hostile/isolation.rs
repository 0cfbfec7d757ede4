//! Nothing of the workstation is to be seen, reached or changed.

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener};

use fruit_sandbox::Error;
use tar::EntryType;

use crate::Test;
use crate::fixture::{Fixture, entry, limits};

pub const TESTS: &[Test] = &[
    ("calls_that_reach_out_are_refused", calls_that_reach_out_are_refused),
    ("a_chroot_is_no_way_out", a_chroot_is_no_way_out),
    (
        "no_file_and_no_process_of_the_workstation_is_to_be_seen",
        no_file_and_no_process_of_the_workstation_is_to_be_seen,
    ),
    ("settings_of_the_kernel_cannot_be_written", settings_of_the_kernel_cannot_be_written),
    ("no_socket_of_the_workstation_is_to_be_reached", no_socket_of_the_workstation_is_to_be_reached),
    ("set_user_id_gives_nothing", set_user_id_gives_nothing),
    ("files_of_a_root_belong_to_nobody_outside", files_of_a_root_belong_to_nobody_outside),
    ("a_root_whose_proc_leads_elsewhere_is_refused", a_root_whose_proc_leads_elsewhere_is_refused),
    ("few_capabilities_are_left", few_capabilities_are_left),
];

/// Calls that harm nobody and may be done.
const HARMLESS: [&str; 1] = ["kill 1"];

fn calls_that_reach_out_are_refused() {
    let fixture = Fixture::new();
    let (ended, output) = fixture.sh("exec attack calls", &limits());
    assert!(ended.well(), "{}: {output}", ended.cause);
    let results: Vec<(&str, &str)> = output.lines().filter_map(|line| line.rsplit_once(": ")).collect();
    assert!(results.len() > 45, "{output}");
    for (call, result) in results {
        assert!(result != "DONE" || HARMLESS.contains(&call), "{call} is allowed");
        let expected: &[&str] = match call {
            "clone3" | "io_uring_setup" | "x32" => &["ENOSYS"],
            "32 bits" => &["SIGSYS"],
            "/dev/tty" => &["ENXIO"],
            "/proc/sys" | "/sys" => &["EACCES", "EROFS"],
            "/proc/sysrq-trigger" => &["EACCES", "ENOENT", "EROFS"],
            "/proc/1/root" | "/proc/1/mem" | "/proc/1/exe" | "/proc/1/cwd" | "/proc/1/fd" | "/proc/1/environ"
            | "oom_score_adj" => &["EACCES", "EPERM"],
            "kill 1" => continue,
            _ => &["EPERM"],
        };
        assert!(expected.contains(&result), "{call}: {result}, not {expected:?}");
    }
}

fn a_chroot_is_no_way_out() {
    let fixture = Fixture::new();
    let (_, output) = fixture.sh("exec attack escape", &limits());
    assert_eq!(output, "chroot: DONE\nmarker of the root: DONE\nworkstation: EACCES\n");
}

fn no_file_and_no_process_of_the_workstation_is_to_be_seen() {
    let secret = tempfile::Builder::new().prefix("secret-of-the-workstation").tempfile().unwrap();
    std::fs::set_permissions(secret.path(), std::fs::Permissions::from_mode(0o666)).unwrap();
    let fixture = Fixture::new();
    let path = secret.path().display();
    let script = format!(
        "cat {path}; cat /proc/*/root{path}; cat /proc/*/cwd{path}; find / -name 'secret-of*' 2>/dev/null; true"
    );
    let output = fixture.says(&script);
    assert_eq!(
        output.lines().filter(|line| !line.contains("No such file") && !line.contains("Permission denied")).count(),
        0,
        "{output}"
    );
    // The first process, the shell, and what it starts.
    let processes = fixture.says("ls -d /proc/[0-9]* | wc -l; cat /proc/1/cmdline | tr '\\0' ' '");
    let number: u32 = processes.lines().next().unwrap().parse().unwrap();
    assert!(number <= 5, "{processes}");
    assert_eq!(fixture.says("cat /proc/keys /proc/kallsyms /proc/timer_list 2>/dev/null | wc -c"), "0\n");
    assert_eq!(fixture.says("ls -A /"), "bin\ndev\netc\nmarker\nproc\nroot\nrun\nsys\ntmp\nvar\n");
}

fn settings_of_the_kernel_cannot_be_written() {
    let before = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let fixture = Fixture::new();
    let script = "find /proc/sys -type f | head -200 | while read f; do (cat $f > $f) 2>/dev/null && echo $f; done; \
                  for f in /proc/sysrq-trigger /proc/1/oom_score_adj; do (echo 1 > $f) 2>/dev/null && echo $f; done; \
                  hostname evil 2>/dev/null && echo hostname; true";
    assert_eq!(fixture.says(script), "");
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), before);
}

fn no_socket_of_the_workstation_is_to_be_reached() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let name = format!("fruit-sandbox-test-{}", std::process::id());
    let _abstract = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let fixture = Fixture::new();
    let number = port.local_addr().unwrap().port();
    let script = format!(
        "nc -w 2 127.0.0.1 {number} </dev/null; echo $?; nc -w 2 192.0.2.1 80; echo $?; attack abstract {name}; ip route | wc -l"
    );
    let (_, output) = fixture.sh(&script, &limits());
    assert!(output.contains("Connection refused") && output.contains("Network is unreachable"), "{output}");
    assert!(output.ends_with("abstract: ECONNREFUSED\n0\n"), "{output}");
    // Its own loopback works.
    let talk = "(echo hello | nc -l -p 4000 > /tmp/got) & sleep 0.5; echo there | nc -w 2 127.0.0.1 4000; true";
    assert!(fixture.says(talk).contains("hello"));
}

fn set_user_id_gives_nothing() {
    let fixture = Fixture::new();
    assert_eq!(fixture.says("setuid identity"), "uid 0 0 0, no new privileges 1\n");
    assert_eq!(fixture.says("attack as 33 /bin/setuid identity"), "uid 33 33 33, no new privileges 1\n");
}

fn files_of_a_root_belong_to_nobody_outside() {
    let fixture = Fixture::new();
    fixture.says(": > /var/mine; chmod 4777 /var/mine");
    let work = fixture.folder.path().join("work");
    // Who is no owner of the work folder does not even get to the files.
    let folder = work.metadata().unwrap();
    assert_eq!((folder.mode() & 0o777, folder.uid()), (0o700, rustix::process::geteuid().as_raw()));
    let file = work.join("held/root/var/mine").metadata().unwrap();
    assert!(![0, rustix::process::geteuid().as_raw()].contains(&file.uid()) && file.gid() > 65_535, "{}", file.uid());
}

fn a_root_whose_proc_leads_elsewhere_is_refused() {
    for (name, target) in [("proc", "/etc"), ("dev", "var"), ("run", "../../.."), ("tmp", "/")] {
        let fixture = Fixture::empty();
        fixture.root.unpack(&entry(EntryType::Symlink, name, target, b"")[..]).unwrap();
        let command = fruit_sandbox::Command { argv: vec!["/bin/true".into()], cwd: "/".into(), ..Default::default() };
        let error = fixture.root.run(&command, &limits(), &mut |_| ()).unwrap_err();
        assert!(matches!(error, Error::Inside(_)) && error.to_string().contains(&format!("/{name}")), "{error}");
    }
}

fn few_capabilities_are_left() {
    let fixture = Fixture::new();
    let output = fixture.says("grep -E 'Cap|NoNewPrivs|Seccomp:' /proc/self/status");
    // CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, NET_BIND_SERVICE, SYS_CHROOT, SETFCAP
    for line in [
        "CapInh:\t0000000000000000",
        "CapPrm:\t00000000800404fb",
        "CapBnd:\t00000000800404fb",
        "CapAmb:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
    ] {
        assert!(output.contains(line), "{line} in {output}");
    }
}
