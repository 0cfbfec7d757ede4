//! What a program is given, and how its end is told.

use fruit_sandbox::{Cause, Command, Error, Limits};

use crate::Test;
use crate::fixture::{Fixture, limits};

pub const TESTS: &[Test] = &[
    ("a_program_gets_what_it_is_given_and_nothing_else", a_program_gets_what_it_is_given_and_nothing_else),
    ("who_asks_reads_the_end_of_the_input", who_asks_reads_the_end_of_the_input),
    ("how_a_program_ended_is_told", how_a_program_ended_is_told),
    ("all_output_comes_in_order", all_output_comes_in_order),
    (
        "folders_of_a_running_system_are_there_and_new_each_time",
        folders_of_a_running_system_are_there_and_new_each_time,
    ),
    ("scripts_become_other_users_and_give_files_away", scripts_become_other_users_and_give_files_away),
    ("what_cannot_be_started_is_an_error_that_names_it", what_cannot_be_started_is_an_error_that_names_it),
];

fn a_program_gets_what_it_is_given_and_nothing_else() {
    let fixture = Fixture::new();
    let env = vec![("NAME".to_owned(), "a b".to_owned()), ("PATH".to_owned(), "/bin".to_owned())];
    let command = Command { argv: vec!["env".into()], env: env.clone(), cwd: "/var".into(), stdin: Vec::new() };
    assert_eq!(fixture.run(&command, &limits()).1, "NAME=a b\nPATH=/bin\n");
    let argv = ["sh", "-c", "pwd; umask; cat; ls /proc/self/fd | wc -l"];
    let command =
        Command { argv: argv.map(str::to_owned).to_vec(), env, cwd: "/var".into(), stdin: b"text\n".to_vec() };
    // Input, output, errors, and the folder that `ls` reads.
    assert_eq!(fixture.run(&command, &limits()).1, "/var\n0022\ntext\n4\n");
    // What this machine's shell ignores is not ignored; two signals of the C library, 32 and 33, nobody can change.
    let argv = ["/bin/grep", "SigIgn", "/proc/self/status"].map(str::to_owned).to_vec();
    let ignored = fixture.run(&Command { argv, cwd: "/".into(), ..Command::default() }, &limits()).1;
    let ignored = u64::from_str_radix(ignored.trim_start_matches("SigIgn:").trim(), 16).unwrap();
    assert_eq!(ignored & 0x7fff_ffff, 0, "{ignored:x}");
}

fn who_asks_reads_the_end_of_the_input() {
    let fixture = Fixture::new();
    let (ended, output) = fixture.sh("read answer; echo $?; cat; read x < /dev/tty; echo $?", &limits());
    assert!(ended.well() && ended.time.as_secs() < 5, "{ended:?}");
    assert!(output.starts_with("1\n") && output.contains("/dev/tty: No such device or address"), "{output}");
}

fn how_a_program_ended_is_told() {
    let fixture = Fixture::new();
    assert_eq!(fixture.sh("exit 3", &limits()).0.cause, Cause::Exit(3));
    assert_eq!(fixture.sh("kill -SEGV $$", &limits()).0.cause, Cause::Signal(11));
    let (ended, _) = fixture.sh("i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done", &limits());
    assert!(ended.well() && ended.cpu.as_millis() > 30 && ended.cpu <= ended.time * 2, "{ended:?}");
    assert_eq!(Cause::Exit(2).to_string(), "ended with exit code 2");
    assert!(Cause::Silence.to_string().contains("waits for an answer"));
}

fn all_output_comes_in_order() {
    let fixture = Fixture::new();
    let (ended, output) = fixture.sh("seq 1 300000; echo error >&2", &limits());
    let expected: String = (1..=300_000).map(|number| format!("{number}\n")).collect();
    assert!(ended.well() && output == expected + "error\n", "{} bytes", output.len());
}

fn folders_of_a_running_system_are_there_and_new_each_time() {
    let fixture = Fixture::new();
    let devices = "fd\nfull\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n";
    assert_eq!(fixture.says("ls /dev"), devices);
    assert_eq!(
        fixture.says("stat -c %a /tmp /run /run/lock /dev /dev/shm /sys; ls /sys"),
        "1777\n755\n1777\n755\n1777\n555\n"
    );
    let write =
        "echo x > /dev/null; head -c 5 /dev/urandom | wc -c; head -c 2 /dev/zero | od -An -c; echo y > /dev/full";
    let written = fixture.sh(write, &limits()).1;
    assert!(
        written.starts_with("5\n") && written.contains("\\0  \\0") && written.contains("No space left"),
        "{written}"
    );
    assert_eq!(fixture.says("echo state > /run/x; echo tmp > /tmp/x; ls /run /tmp | wc -l; mkfifo /dev/f"), "6\n");
    assert_eq!(fixture.says("ls -A /tmp; ls /run"), "lock\n");
    assert_eq!(
        fixture.says("hostname; cat /proc/sys/kernel/domainname; ip -o addr | awk '{print $2, $4}'"),
        "localhost\n(none)\nlo 127.0.0.1/8\nlo ::1/128\n"
    );
    // Nothing of it is in the tree.
    let tree = fixture.tree();
    for folder in ["dev/", "proc/", "run/", "sys/", "tmp/"] {
        assert!(tree.iter().filter(|line| line.contains(&format!(" {folder}"))).count() == 1, "{folder}: {tree:?}");
    }
}

fn scripts_become_other_users_and_give_files_away() {
    let fixture = Fixture::new();
    fixture.says("cd /var; : > a; chown 33:44 a; chmod 2640 a; mkdir d; chown 65534 d; attack as 33 /bin/sh -c 'id -u' | grep 33");
    let tree = fixture.tree();
    for line in ["0 2640 33:44 0 var/a", "5 755 65534:0 0 var/d/"] {
        assert!(tree.iter().any(|found| found == line), "{line} in {tree:#?}");
    }
}

fn what_cannot_be_started_is_an_error_that_names_it() {
    let fixture = Fixture::new();
    let run = |argv: &[&str], cwd: &str| {
        let argv = argv.iter().map(|word| (*word).to_owned()).collect();
        let command = Command { argv, env: Vec::new(), cwd: cwd.into(), stdin: Vec::new() };
        fixture.root.run(&command, &Limits::default(), &mut |_| ()).unwrap_err()
    };
    let error = run(&["/bin/nothing"], "/");
    assert!(matches!(error, Error::Start(_)) && error.to_string().contains("/bin/nothing"), "{error}");
    assert!(run(&["/bin/true"], "/not/there").to_string().contains("/not/there"));
    assert!(matches!(run(&[], "/"), Error::NoProgram));
    assert!(matches!(run(&["/bin/true"], "var"), Error::BadPath { .. }));
}
