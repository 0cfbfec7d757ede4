//! Images that were really built, booted in QEMU by the distribution's real U-Boot and kernel. Most run on the generic
//! machine, where the image for the Pi boots as well and several times faster; `raspi3b` is the proof.

use fruit_contract::Slot;
use fruit_contract::bootctl::{COPY_OFFSETS, COPY_SIZE, Stored};
use fruit_image::erofs;
use fruit_image::storage::{Extent, Region};
use fruit_image::tree::Source;

use crate::harness;
use crate::node::{self, Node, PATIENCE};

const LOGIN: &str = "login: ";

fn no_unit_failed(node: &Node) {
    // `--wait` returns when all start-up jobs are done.
    let state = node.ssh("systemctl is-system-running --wait").unwrap_or_else(|error| error);
    let failed = node.run("systemctl --failed --no-legend --plain --no-pager");
    assert!(state.starts_with("running") && failed.is_empty(), "{state}\n{failed}");
}

#[test]
fn a_pi_3_boots_through_u_boot_to_a_login_prompt_and_takes_ssh() {
    let mut node = Node::new("pistack", "raspi3b", "hostname: proof\n");
    let console = node.start();
    // Of the loader: its banner goes to the other serial port, before it knows the console.
    console.expect("Hit any key", PATIENCE).unwrap();
    console.expect("fruitbuild: starting slot a", PATIENCE).unwrap();
    console.expect("Starting kernel", PATIENCE).unwrap();
    console.expect("proof login: ", PATIENCE).unwrap();
    node.wait_for_ssh();
    no_unit_failed(&node);
    assert_eq!(node.run("hostname"), "proof");
    let report = node.boot_report();
    assert_eq!((&report["slot"], &report["verity"]), (&"a".into(), &true.into()), "{report:#}");
    assert_eq!(report["data"]["state"], "persistent", "{report:#}");
    println!("{}", node.run("systemd-analyze time; systemd-analyze critical-chain --no-pager"));
    for mark in ["fruitbuild: starting slot a", "Starting kernel", "proof login: "] {
        println!("{:>7.1} s  {mark}", node.console().second_of(mark).unwrap_or_default());
    }
    for step in report["timeline"].as_array().unwrap() {
        println!("{:>7.1} s  fruit-init: {} (kernel's clock)", step["at_ms"].as_f64().unwrap() / 1e3, step["name"]);
    }
}

/// Several promises in one node, as a boot of systemd in an emulator costs a minute of a processor.
#[test]
fn first_boots_may_be_cut_short_and_the_root_is_checked_and_the_overlay_forgets_while_state_persists() {
    let mut node = Node::new("pistack", "virt", "hostname: keeper\nlabels: {rack: \"3\"}\n");
    flip_a_byte_of_the_root(&node);

    // The power goes while the first boots are on their way.
    for mark in ["Starting kernel", LOGIN] {
        node.start().expect(mark, PATIENCE).unwrap();
        // Somewhere in the growth of the data partition, or while state is written for the first time.
        std::thread::sleep(std::time::Duration::from_millis(2500));
        node.cut_power();
    }
    node.start();
    node.wait_for_ssh();
    no_unit_failed(&node);
    assert_eq!(node.boot_report()["data"]["state"], "persistent");

    assert_eq!(node.run("hostname"), "keeper");
    assert_eq!(node.run("cat /sys/block/dm-0/dm/name").lines().count(), 1, "no device-mapper target");
    assert_eq!(node.run("cat /sys/block/dm-0/ro"), "1");
    let image_len = std::fs::metadata(node::image("pistack")).unwrap().len();
    let grown: u64 = node.run("df -B1 --output=size /data | tail -1").trim().parse().unwrap();
    let card = std::fs::metadata(node.disk()).unwrap().len();
    assert!(grown > (card - image_len) * 9 / 10, "data has {grown} bytes of a card of {card}");

    // The flipped byte is an error for its file, and for nothing else.
    let error = node.ssh(&format!("cat /{SPOILT} > /dev/null")).unwrap_err();
    assert!(error.contains("Input/output error"), "{error}");
    node.run("cat /usr/bin/ssh > /dev/null");

    let host_key = node.run("cat /var/lib/fruit/ssh/ssh_host_ed25519_key.pub");
    let machine_id = node.run("cat /etc/machine-id");
    assert_eq!(machine_id.len(), 32, "{machine_id}");
    node.run("echo forgotten > /etc/forgotten; echo kept > /var/lib/fruit/kept; sync");
    node.reboot();
    assert!(node.ssh("cat /etc/forgotten").is_err());
    assert_eq!(node.run("cat /var/lib/fruit/kept"), "kept");
    assert_eq!(node.run("cat /var/lib/fruit/ssh/ssh_host_ed25519_key.pub"), host_key);
    assert_eq!(node.run("cat /etc/machine-id"), machine_id);
    no_unit_failed(&node);
    assert!(node.ssh("sshd -T | grep -qx 'passwordauthentication no'").is_ok());
}

/// A file that nothing reads while the node boots.
const SPOILT: &str = "usr/bin/ssh-add";

fn flip_a_byte_of_the_root(node: &Node) {
    let root = node.partition("root-a");
    let source = Source::open(node.disk()).unwrap();
    let region = Region::new(source, Extent { offset: root.start(), len: root.size() });
    let reader = erofs::Reader::open(region, root.size()).unwrap();
    let inode = reader.find(SPOILT).unwrap().expect(SPOILT);
    let at = root.start() + reader.extents(&inode).unwrap()[0].offset + 5000;
    let byte = node.read(at, 1)[0];
    node.write(at, &[byte ^ 1]);
}

fn arm_slot_b(node: &Node, tries: u32) {
    let start = node.partition("state").start();
    let disk = std::fs::File::options().read(true).write(true).open(node.disk()).unwrap();
    let stored = Stored::read(&disk, start).unwrap();
    assert!(stored.is_valid());
    stored.write(&disk, start, &stored.state().arm(Slot::B, tries).unwrap()).unwrap();
}

fn stored(node: &Node) -> Stored {
    let start = node.partition("state").start();
    Stored::read(&std::fs::File::open(node.disk()).unwrap(), start).unwrap()
}

#[test]
fn a_slot_on_trial_boots_and_says_so_and_one_that_is_broken_falls_back() {
    let mut node = Node::new("minimal", "virt", "");
    node.copy_partition("boot-a", "boot-b");
    node.copy_partition("root-a", "root-b");
    arm_slot_b(&node, 2);
    node.start();
    node.wait_for_ssh();
    let report = node.boot_report();
    assert_eq!((&report["slot"], &report["trial"]), (&"b".into(), &true.into()), "{report:#}");
    node.cut_power();
    assert_eq!(stored(&node).state().trial.unwrap().tries_left, 1);

    // Broken: the root's superblock and the start of its verity tree are gone.
    let root_b = node.partition("root-b");
    node.write(root_b.start(), &[0; 8192]);
    node.start();
    let console = node.console();
    console.expect("fruitbuild: starting slot b", PATIENCE).unwrap();
    console.expect("fruit-init: ", PATIENCE).unwrap();
    console.expect("falling back to slot a", PATIENCE).unwrap();
    node.wait_for_ssh();
    let report = node.boot_report();
    assert_eq!((&report["slot"], &report["trial"]), (&"a".into(), &false.into()), "{report:#}");
    node.cut_power();
    let state = stored(&node).state();
    assert_eq!((state.active, state.trial, state.failed), (Slot::A, None, Some(Slot::B)));
}

#[test]
fn a_torn_write_of_the_boot_control_block_changes_nothing() {
    let mut node = Node::new("minimal", "virt", "");
    arm_slot_b(&node, 3);
    let (start, before) = (node.partition("state").start(), stored(&node));
    // The power went while the loader or the updater wrote the next state: half of a sector is new.
    let write = before.plan(&before.state().fall_back());
    node.write(start + write.offset, &write.sector[..COPY_SIZE / 2]);
    node.write(start + write.offset + (COPY_SIZE / 2) as u64, &[0xff; COPY_SIZE / 2]);
    assert_eq!(stored(&node).state(), before.state());
    // Slot b is empty, so its three tries end in slot a: the count was taken from the copy that is whole.
    node.start();
    let console = node.console();
    for _ in 0..3 {
        console.expect("fruitbuild: slot b does not start", PATIENCE).unwrap();
    }
    console.expect("falling back to slot a", PATIENCE).unwrap();
    console.expect(LOGIN, PATIENCE).unwrap();
    node.cut_power();
    assert_eq!(stored(&node).state().failed, Some(Slot::B));

    // Both copies gone: slot a, all the same.
    for offset in COPY_OFFSETS {
        node.write(start + offset, &[0x55; COPY_SIZE]);
    }
    node.start();
    node.console().expect("no valid boot-control block, starting slot a", PATIENCE).unwrap();
    node.console().expect(LOGIN, PATIENCE).unwrap();
}

#[test]
fn without_a_usable_data_partition_the_node_runs_from_ram_and_mistakes_in_fruit_yaml_do_not_stop_it() {
    let mut node = Node::new("pistack", "virt", "");
    let data = node.partition("data");
    // Something else than ext4 is there: it is not ours to format.
    node.write(data.start(), &[0xaa; 65536]);
    let firmware = node.partition("firmware");
    let mistakes = node.disk().with_file_name("mistakes.yaml");
    let key = std::fs::read_to_string(node.disk().with_file_name("key.pub")).unwrap();
    std::fs::write(&mistakes, format!("hostname: -bad-\ntimezon: Mars\nssh_authorized_keys:\n- {}\n", key.trim()))
        .unwrap();
    harness::succeed(
        harness::tool("mcopy", "mtools")
            .arg("-o")
            .arg("-i")
            .arg(format!("{}@@{}", node.disk().display(), firmware.start()))
            .arg(&mistakes)
            .arg("::fruit.yaml"),
    );
    node.start();
    node.wait_for_ssh();
    let report = node.boot_report();
    assert_eq!(report["data"]["state"], "ram", "{report:#}");
    assert_eq!(report["config_problems"].as_array().unwrap().len(), 2, "{report:#}");
    let journal = node.run("journalctl -b --no-pager -k | grep fruit-init");
    assert!(journal.contains("fruit.yaml") && journal.contains("timezon"), "{journal}");
    let console = node.console().text();
    assert!(console.contains("timezon"), "the console must name the mistake:\n{console}");
}

#[test]
fn minimal_boots_with_busybox_and_takes_ssh_by_dropbear() {
    let mut node = Node::new("minimal", "virt", "hostname: small\n");
    node.start();
    node.wait_for_ssh();
    assert_eq!(node.run("hostname"), "small");
    assert_eq!(node.run("readlink -f /proc/1/exe"), "/usr/bin/busybox");
    let report = node.boot_report();
    assert_eq!((&report["verity"], &report["data"]["state"]), (&true.into(), &"persistent".into()), "{report:#}");
    let key = node.run("ls -l /var/lib/fruit/ssh; sha256sum /var/lib/fruit/ssh/*");
    node.run("echo forgotten > /etc/forgotten; echo kept > /var/lib/fruit/kept; sync");
    node.reboot();
    assert_eq!(node.run("ls -l /var/lib/fruit/ssh; sha256sum /var/lib/fruit/ssh/*"), key);
    assert_eq!(node.run("cat /var/lib/fruit/kept"), "kept");
    assert!(node.ssh("cat /etc/forgotten").is_err());
}

#[test]
fn the_qemu_arm64_image_boots_to_login() {
    boots_to_login("qemu-arm64", "virt");
}

#[test]
fn the_qemu_x86_64_image_boots_to_login() {
    boots_to_login("qemu-x86_64", "pc");
}

fn boots_to_login(recipe: &str, machine: &str) {
    let mut node = Node::new(recipe, machine, "hostname: other\n");
    node.start().expect("other login: ", PATIENCE).unwrap();
    node.wait_for_ssh();
    no_unit_failed(&node);
    assert_eq!(node.boot_report()["verity"], true);
}

#[test]
fn the_32_bit_image_boots_to_login() {
    let mut node = Node::new("armhf", "virt", "hostname: older\n");
    node.start().expect("older login: ", PATIENCE).unwrap();
}
