//! Updates of real images in an emulator: taken from files, servers, pipes and sticks, tried, committed, given up, and
//! cut short.

use std::time::{Duration, Instant};

use fruit_contract::Slot;
use fruit_contract::bootctl::Stored;
use fruit_contract::peer::status as peer;
use serde_json::Value;

use crate::laptop::Laptop;
use crate::node::{Node, PATIENCE};
use crate::releases::{Releases, Version, releases_of_minimal, releases_of_pistack};
use crate::server::Server;

/// Where the host is, seen from a guest of the emulator.
const HOST: &str = "10.0.2.2";
/// Health that needs no time.
const QUICK: &str = "{soak: 1s}";

const ONE: Version = Version { version: "1.0", files: &[], health: QUICK };
const TWO: Version = Version { version: "2.0", files: &[("etc/two", 0o644, "second release\n")], health: QUICK };
const THREE: Version = Version { version: "3.0", files: &[("etc/three", 0o644, "third release\n")], health: QUICK };
const FOUR: Version = Version { version: "4.0", files: &[("etc/four", 0o644, "fourth release\n")], health: QUICK };
/// Its first process ends at once, which the kernel answers with a panic.
const CRASHING: Version =
    Version { version: "5.0", files: &[("usr/sbin/init", 0o755, "#!/bin/sh\nexit 1\n")], health: QUICK };
const SICK: Version = Version {
    version: "6.0",
    files: &[("etc/six", 0o644, "sixth release\n")],
    health: "{within: 15s, soak: 1s, commands: [{run: [/usr/bin/test, -e, /never/there], timeout: 5s}]}",
};

fn node_of(releases: &Releases, version: &Version, machine: &str) -> Node {
    Node::of_image(&releases.image(version), &releases.recipe(version), machine, "hostname: node\n")
}

fn status(node: &Node) -> Value {
    let text = node.run("fruit-update status --json");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn version(node: &Node) -> String {
    node.boot_report()["image"]["version"].as_str().unwrap_or_default().to_owned()
}

fn stored(node: &Node) -> Stored {
    let start = node.partition("state").start();
    Stored::read(&std::fs::File::open(node.disk()).unwrap(), start).unwrap()
}

/// Restarts into what was installed, and waits until it has been committed.
fn restart_and_commit(node: &mut Node, wanted: &Version) {
    node.reboot();
    committed(node, wanted);
}

fn committed(node: &Node, wanted: &Version) {
    let start = Instant::now();
    while stored(node).state().trial.is_some() {
        assert!(start.elapsed() < PATIENCE, "not committed: {:#}", status(node));
        std::thread::sleep(Duration::from_secs(1));
    }
    assert_eq!(version(node), wanted.version);
    assert_eq!(stored(node).state().failed, None);
}

#[test]
fn a_pi_3_takes_deltas_from_a_file_from_a_server_and_from_a_stick() {
    let releases = releases_of_minimal();
    let from_file = releases.delta(&ONE, &TWO);
    releases.delta(&TWO, &THREE);
    let mut node = node_of(releases, &ONE, "raspi3b");
    releases.delta(&THREE, &FOUR);
    releases.at_rest(|repository| node.plug_in_stick(repository));
    node.start();
    node.wait_for_ssh();

    node.pipe(&from_file, "cat > /tmp/update.fruit").unwrap();
    node.run("fruit-update install /tmp/update.fruit");
    restart_and_commit(&mut node, &TWO);
    assert_eq!(node.run("cat /etc/two"), "second release");
    assert_eq!(stored(&node).state().active, Slot::B);

    // A server that breaks off each answer once in a while, and a whole repository behind it.
    let server = Server::start(&releases.repository());
    server.cut_after(300_000);
    node.run(&format!("fruit-update install http://{HOST}:{}/ --release {}", server.port(), THREE.version));
    assert!(server.sent() < 3 << 20, "{} bytes for a delta", server.sent());
    restart_and_commit(&mut node, &THREE);
    assert_eq!(stored(&node).state().active, Slot::A);

    // On a busy machine the emulated bus finds its devices late.
    node.run(
        "for i in $(seq 120); do [ -b /dev/sda1 ] && break; sleep 1; done; \
         mkdir -p /tmp/stick && mount -t vfat -o ro /dev/sda1 /tmp/stick || { dmesg | tail -30 >&2; exit 1; }",
    );
    // Other tests have published what comes after it.
    node.run(&format!("fruit-update install /tmp/stick --release {}", FOUR.version));
    restart_and_commit(&mut node, &FOUR);
    assert_eq!(node.run("cat /etc/four /etc/three 2>/dev/null | head -1"), "fourth release");
    println!("{}", node.run("fruit-update history"));
}

#[test]
fn a_release_that_crashes_is_given_up_by_the_loader_and_one_whose_health_check_fails_goes_back_and_says_why() {
    let releases = releases_of_minimal();
    let crashing = releases.delta(&ONE, &CRASHING);
    let sick = releases.delta(&ONE, &SICK);
    let mut node = node_of(releases, &ONE, "virt");
    node.start();
    node.wait_for_ssh();

    node.pipe(&crashing, "fruit-update install -").unwrap();
    node.leave("reboot");
    let console = node.console();
    for _ in 0..3 {
        console.expect("fruitbuild: starting slot b", PATIENCE).unwrap();
        console.expect("Kernel panic", PATIENCE).unwrap();
    }
    console.expect("falling back to slot a", PATIENCE).unwrap();
    node.wait_for_ssh();
    assert_eq!(version(&node), ONE.version);
    let explained = node.run("fruit-update status");
    assert!(explained.contains("5.0") && explained.contains("did not come up"), "{explained}");
    let again = node.pipe(&crashing, "fruit-update install -").unwrap_err();
    assert!(again.contains("failed") && again.contains("--force"), "{again}");

    node.pipe(&sick, "fruit-update install -").unwrap();
    node.leave("reboot");
    let console = node.console();
    console.expect("fruitbuild: starting slot b", PATIENCE).unwrap();
    console.expect("fruitbuild: starting slot a", PATIENCE).unwrap();
    node.wait_for_ssh();
    assert_eq!(version(&node), ONE.version);
    let explained = node.run("fruit-update status");
    let said = node.console().text();
    assert!(explained.contains("6.0") && explained.contains("/usr/bin/test"), "{explained}\n{said}");
    assert_eq!(stored(&node).state().failed, Some(Slot::B));
}

/// Most that an install may have in memory, KiB.
const RESIDENT_MAX: u64 = 24 << 10;

/// Installs a bundle that lies on the node, and looks all the while at how much memory that takes.
#[allow(clippy::print_stdout)] // the figure, for whoever reads along
fn install_watched(node: &Node, file: &str) {
    let said = node.run(&format!(
        "fruit-update install {file} > /run/said 2>&1 & \
         while grep VmHWM /proc/$!/status >> /run/resident 2> /dev/null; do sleep 0.1; done; \
         wait $!; result=$?; cat /run/said; exit $result"
    ));
    println!("{said}");
    let most = node.run("sed -n '$s/[^0-9]//gp' /run/resident");
    println!("fruit-update: at most {most} KiB resident during an install");
    assert!(most.parse::<u64>().unwrap() <= RESIDENT_MAX, "{most} KiB");
}

/// What the daemon says that it waits for, once that is as wanted.
fn daemon_says(node: &Node, wanted: &str) {
    let start = Instant::now();
    loop {
        let status = status(node);
        if status["daemon"]["doing"].as_str().is_some_and(|doing| doing.contains(wanted)) {
            return;
        }
        assert!(
            start.elapsed() < PATIENCE,
            "not `{wanted}`: {status:#}\n{}",
            node.run("journalctl -b -u fruit-update")
        );
        std::thread::sleep(Duration::from_secs(2));
    }
}

/// Changes the daemon's configuration until the next boot. A key without a value is taken out.
fn configure(node: &Node, changes: &[&str]) {
    const CONFIG: &str = "/etc/fruit/update.yaml";
    let mut text = String::new();
    let mut kept = true;
    for line in node.run(&format!("cat {CONFIG}")).lines() {
        // What belongs to a key is indented, or the entry of a list.
        if !line.starts_with([' ', '-']) {
            kept = !changes.iter().any(|change| change.split(':').next() == line.split(':').next());
        }
        if kept {
            text += &format!("{line}\n");
        }
    }
    for change in changes.iter().filter(|change| !change.ends_with(':')) {
        text += &format!("{change}\n");
    }
    node.run(&format!("cat > {CONFIG} << 'END'\n{text}END\nsystemctl restart fruit-update"));
}

fn peer_status(node: &Node) -> peer::Status {
    let text = node.run("fruit-peer status --json");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn peer_is(node: &Node, what: &str, holds: impl Fn(&peer::Status) -> bool) -> peer::Status {
    let start = Instant::now();
    loop {
        let status = peer_status(node);
        if holds(&status) {
            return status;
        }
        assert!(start.elapsed() < PATIENCE, "not {what}: {status}\n{}", node.run("journalctl -b -u fruit-peer"));
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Most that the fleet's program may have in memory while it waits, KiB.
const PEER_RESIDENT_MAX: u64 = 20 << 10;

/// By the invite in its `fruit.yaml`. The id of the node.
#[allow(clippy::print_stdout)] // the figure, for whoever reads along
fn joins_the_fleet(node: &Node, laptop: &Laptop) -> String {
    node.run("systemctl is-system-running --wait");
    let show = node.run("systemctl show fruit-peer -p ActiveState -p SubState -p NRestarts");
    for line in ["ActiveState=active", "SubState=running", "NRestarts=0"] {
        assert!(show.lines().any(|shown| shown == line), "{line}: {show}");
    }
    assert_eq!(node.run("stat -c %U /proc/$(pidof -s fruit-peer)"), "fruit-peer");
    let capabilities = node.run("grep Cap /proc/$(pidof -s fruit-peer)/status");
    assert!(capabilities.lines().all(|line| line.ends_with("\t0000000000000000")), "{capabilities}");
    assert_eq!(node.run("stat -c '%a %U' /etc/fruit/invite"), "600 root");
    node.run("test -S /run/fruit-peer/pieces.sock && test -S /run/fruit-peer/peer.sock");

    let asks = peer_is(node, "in touch with the laptop", |status| status.fleet_name.is_some());
    assert_eq!((asks.state.as_str(), asks.fleet_name.as_deref()), ("pending", Some("orchard")), "{asks}");
    assert_eq!(asks.state_error, None);
    assert!(node.run("fruit-peer status").contains(&asks.words));
    laptop.approve(&asks.words);
    peer_is(node, "a member", |status| status.state == "member");
    let resident = node.run("sed -n 's/^VmRSS:[^0-9]*\\([0-9]*\\) kB$/\\1/p' /proc/$(pidof -s fruit-peer)/status");
    println!("fruit-peer: {resident} KiB resident");
    assert!(resident.parse::<u64>().unwrap() <= PEER_RESIDENT_MAX);
    asks.id
}

/// A boot of systemd in an emulator costs a minute of a processor, so one node goes through it all.
#[test]
fn a_node_with_systemd_commits_by_its_units_and_keeps_its_state_and_then_updates_by_itself_from_its_fleet() {
    const HEALTH: &str = "{soak: 5s, units: [ssh.service, fruit-agent.service], failed_units: none, reach: [gateway]}";
    const OLD: Version = Version { version: "1.0", files: &[], health: HEALTH };
    const NEW: Version = Version { version: "1.1", files: &[("etc/news", 0o644, "there is news\n")], health: HEALTH };
    const NEXT: Version = Version { version: "1.2", files: &[("etc/news", 0o644, "more of it\n")], health: HEALTH };
    let releases = releases_of_pistack();
    let bundle = releases.delta(&OLD, &NEW);
    let laptop = Laptop::start(HOST, "node", &releases.repository());
    let more = format!("hostname: node\ninvite: {}\n", laptop.invite());
    let mut node = Node::of_image(&releases.image(&OLD), &releases.recipe(&OLD), "virt", &more);
    node.start();
    node.wait_for_ssh();
    node.run("echo kept > /var/lib/fruit/kept; sync");
    let id = joins_the_fleet(&node, &laptop);
    node.pipe(&bundle, "cat > /run/update.fruit").unwrap();
    install_watched(&node, "/run/update.fruit");
    restart_and_commit(&mut node, &NEW);
    assert_eq!(node.run("cat /etc/news /var/lib/fruit/kept"), "there is news\nkept");
    let failed = node.run("systemctl --failed --no-legend --plain --no-pager");
    assert!(failed.is_empty(), "{failed}");
    println!("{}", node.run("systemctl show fruit-update -p MemoryPeak; fruit-update status; fruit-update history"));

    // Nobody asks for the next one, and no server has it: the fleet's charter says whose releases are taken, and the daemon gets it
    // from a neighbour. It minds the windows, and who does not want to be disturbed.
    releases.delta(&NEW, &NEXT);
    let same = peer_is(&node, "a member", |status| status.state == "member");
    assert_eq!(same.id, id, "another node after a restart");
    let check = "check: {every: 1min, jitter: 0s}";
    let windows = format!("windows: [\"{} 01:00-04:00\"]", node.run("LC_ALL=C date -d '+3 days' +%a"));
    let fleet = ["root:", "sources: [peers]", check];
    configure(&node, &[&fleet[..], &["install: window", &windows, "without_clock: wait"]].concat());
    daemon_says(&node, "1.2 is to be installed; waits for");
    assert_eq!(status(&node)["obeys"], "fleet orchard, charter 1");
    let answer = node.run("fruit-update check");
    assert!(answer.contains("1.2"), "{answer}");
    node.run("systemd-run --quiet --unit=results systemd-inhibit --what=shutdown --who=ada --why='writes results' sleep 9999");
    configure(&node, &[&fleet[..], &["install: auto", "reboot: auto"]].concat());
    daemon_says(&node, "waits for: ada (writes results)");
    assert_eq!(stored(&node).state().trial, None);
    let pieces = peer_status(&node).pieces;
    println!("fruit-peer: {} pieces, {} bytes from the fleet", pieces.fetched, pieces.fetched_bytes);
    assert!(pieces.fetched > 0 && pieces.garbage == 0, "{pieces:?}");
    let before = node.run("cat /proc/sys/kernel/random/boot_id");
    node.run("systemctl stop results");
    node.comes_back(&before);
    committed(&node, &NEXT);
    assert_eq!(node.run("cat /etc/news /var/lib/fruit/kept"), "more of it\nkept");
    println!("{}", node.run("fruit-update history"));
}

#[test]
fn power_cuts_at_random_moments_of_an_update_never_make_a_dead_node() {
    power_cuts(20);
}

#[test]
fn other_power_cuts_at_random_moments_of_an_update_never_make_a_dead_node() {
    power_cuts(21);
}

/// Two tests share the cuts, so that two emulators run side by side. Each makes four, or as many as FRUIT_POWER_CUTS says: a boot
/// after each takes most of the time, and the replay of all writes (tests of fruit-update) cuts after every one of them.
fn power_cuts(seed: u64) {
    let cuts = std::env::var("FRUIT_POWER_CUTS").map_or(4, |number| number.parse().expect("FRUIT_POWER_CUTS"));
    let releases = releases_of_minimal();
    let bundle = releases.full(&TWO);
    let mut node = node_of(releases, &ONE, "virt");
    node.start();
    node.wait_for_ssh();
    node.pipe(&bundle, "cat > /data/update.fruit && sync").unwrap();
    // How long an install takes here, so that the cuts fall all over it and over the first boot of what it wrote.
    let start = Instant::now();
    node.run("fruit-update install /data/update.fruit");
    let whole = start.elapsed();
    let mut random = fastrand::Rng::with_seed(seed);
    for cut in 0..cuts {
        // Every other time the new slot is spoilt first, so that there is something to write again.
        if cut % 2 == 1 && version(&node) == ONE.version {
            node.run("dd if=/dev/zero of=/dev/disk/by-partlabel/root-b bs=1M count=8 conv=fsync 2>/dev/null || true");
        }
        let _ = node.ssh("(fruit-update install /data/update.fruit && reboot) > /dev/null 2>&1 &");
        std::thread::sleep(whole.mul_f64(random.f64() * 1.5));
        node.cut_power();
        node.start();
        node.wait_for_ssh();
        let state = status(&node);
        let running = version(&node);
        assert!([ONE.version, TWO.version].contains(&running.as_str()), "cut {cut}: {running}: {state:#}");
    }
    if version(&node) != TWO.version {
        node.run("fruit-update install --force /data/update.fruit");
        restart_and_commit(&mut node, &TWO);
    }
    assert_eq!(node.run("cat /etc/two"), "second release");
}
