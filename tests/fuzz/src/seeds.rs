//! Writes what the fuzzers start from into `seeds/TARGET/`: files of this repository, and what our own writers make.

use std::fs;
use std::path::{Path, PathBuf};

use crate::ZeroDisk;
use fruit_delta::{Options, Source, Volume, encode};
use fruit_image::storage::{ReadAt, WriteAt};
use fruit_image::tree::{Inode, Tree};
use fruit_image::{bmap, cpio, erofs, fat, gpt, sums, uboot, verity};
use fruit_release::Sink;
use fruit_stack::command::Command;

const TIME: i64 = 1_760_000_000;

/// Writes them below `folder`; `top` is the repository's.
pub fn write(folder: &Path, top: &Path) {
    let seeds = Seeds { folder: folder.to_owned(), top: top.to_owned() };
    seeds.files_of_the_repository();
    seeds.texts();
    seeds.packages();
    seeds.disks();
    seeds.node();
    seeds.stack();
    seeds.releases();
    seeds.patches();
    seeds.fleet();
    seeds.peer();
}

struct Seeds {
    folder: PathBuf,
    top: PathBuf,
}

impl Seeds {
    fn put(&self, target: &str, name: &str, bytes: impl AsRef<[u8]>) {
        let folder = self.folder.join(target);
        fs::create_dir_all(&folder).expect("a folder for seeds");
        fs::write(folder.join(name), bytes).expect("a seed");
    }

    fn patches(&self) {
        fn volume(bytes: &Vec<u8>) -> Volume<'_> {
            Volume { data: bytes, len: bytes.len() as u64, files: Vec::new() }
        }
        let old = crate::old_volumes();
        let edited = |volume: &[u8]| {
            let mut new = volume[..crate::PATCHED - 700].to_vec();
            new.splice(5000..5000, (0..700u32).map(|i| (i * i % 251) as u8));
            for word in new[9000..].chunks_exact_mut(4).step_by(5) {
                word[0] = word[0].wrapping_add(7);
            }
            new
        };
        for (name, new) in [("code", edited(&old[0])), ("text", edited(&old[1]))] {
            let (from, to) = ([volume(&old[0]), volume(&old[1])], [volume(&new), volume(&new)]);
            let made = encode(&from, &to, &Options::default(), &|_, _| {}).expect("a delta");
            for (n, source) in made.into_iter().flatten().enumerate() {
                if let Source::Patch(patch) = source {
                    self.put("delta_patch", &format!("{name}-{n}"), patch);
                }
            }
        }
    }

    /// A repository of one release, all of its files in one input, and what signers handle.
    fn releases(&self) {
        use fruit_release::keys::{KeyError, Lifetimes, Plan, Repository, Signer};
        use fruit_release::tuf::{Kind, PublicKey, Release, Role, Target, Time};
        struct One;
        impl Signer for One {
            fn sign(&mut self, _: &PublicKey, message: &[u8]) -> Result<Option<[u8; 64]>, KeyError> {
                Ok(Some(crate::metadata_key().sign(message)))
            }
        }
        let (now, lives) = (Time::from_seconds(TIME), Lifetimes::default());
        let plan: Plan = Role::TOP.into_iter().map(|role| (role, (vec![crate::metadata_key().public()], 1))).collect();
        let release = Release {
            kind: Kind::Release,
            product: "a".into(),
            board: "b".into(),
            compatible: vec!["c,d".into()],
            architecture: "arm64".into(),
            version: "1.0".into(),
            epoch: 0,
            min_bootloader: 1,
        };
        let target = Target::new("a.json", 3, [1; 32], &release).expect("a target");
        let mut repository = Repository::new(&plan, now, &lives).expect("a plan");
        repository.add_targets(vec![target], now, &lives).expect("a target");
        for draft in repository.drafts() {
            self.put("draft", &draft.name(), draft.to_bytes());
        }
        let signed = repository.sign(&mut One, &[].into(), now, &lives).expect("a signer");
        let file = |name: &str| signed.files.iter().find(|(n, _)| n.ends_with(name)).map(|(_, bytes)| bytes.clone());
        let parts = ["1.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"].map(file);
        let parts: Vec<Vec<u8>> = parts.into_iter().map(|part| part.expect("a file of a repository")).collect();
        self.put("release_metadata", "repository", parts.join(&0));
        let fixed = self.top.join("src/shared/release/tests/data/python-tuf");
        for entry in fs::read_dir(fixed).into_iter().flatten().flatten() {
            let bytes = fs::read(entry.path()).expect("a file of the repository");
            self.put("release_metadata", &entry.file_name().to_string_lossy(), &bytes);
            self.put("draft", &entry.file_name().to_string_lossy(), &bytes);
        }
        let mut bundle = fruit_release::bundle::Writer::new(Vec::new(), 0);
        for (name, bytes) in signed.files.iter().filter_map(|(name, bytes)| Some((name.parse().ok()?, bytes))) {
            bundle.put(&name, bytes).expect("a piece within its limit");
        }
        let digest = fruit_release::Digest::of(b"");
        bundle.put(&fruit_release::Name::Chunk(digest), b"frame").expect("a small piece");
        self.put("bundle", "small", bundle.finish().expect("bytes in memory"));
        let text = format!(
            r#"{{"format":1,"product":"a","board":"b","version":"1","build_id":"c","build_time":1,"volumes":[
            {{"kind":"root","len":4096,"verity":{{"uuid":"00","parameters":"1:2:00:-"}},"chunks":["{digest}"]}},
            {{"kind":"boot","len":512,"chunks":["{digest}"]}}]}}"#
        );
        self.put("bundle", "manifest-text", &text);
        let frame = fruit_release::frame::encode(text.as_bytes(), 3).expect("a frame");
        self.put("bundle", "manifest", frame);
        let repository = fruit_release::local::repository_id(&parts[0]);
        for (file, request) in [
            ("give", fruit_release::local::Request::Give { repository, name: fruit_release::Name::Chunk(digest) }),
            ("refresh", fruit_release::local::Request::Refresh { repository }),
        ] {
            let (head, bytes) = (fruit_release::local::Answer::Nobody.frame().0, b"more");
            self.put(
                "pieces_socket",
                file,
                [&fruit_release::local::MAGIC[..], &request.encode(), &head, bytes].concat(),
            );
            self.put("pieces_socket", &format!("{file}-alone"), request.encode());
        }
        let answer = fruit_release::local::Answer::Here(b"frame".to_vec());
        self.put("pieces_socket", "answer", [&answer.frame().0[..], answer.frame().1].concat());
        let passphrase = fruit_release::keys::Passphrase::new("x".into());
        let key = crate::metadata_key().to_openssh("seed", &passphrase).expect("a key file");
        self.put("private_key", "encrypted", key.as_bytes());
    }

    fn files_of_the_repository(&self) {
        for (target, folder, ending) in [
            ("recipe", "recipes", ".yaml"),
            ("recipe", "src/workstation/recipe/tests/bad", ".yaml"),
            ("board", "boards", ".yaml"),
            ("lock", "recipes", ".lock"),
            ("keyring", "src/workstation/debian/keys", ".gpg"),
            ("stacks_file", "examples", ".yaml"),
        ] {
            // A fresh clone has no locks.
            for entry in fs::read_dir(self.top.join(folder)).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.ends_with(ending) {
                    self.put(target, &name, fs::read(entry.path()).expect("a file of the repository"));
                }
            }
        }
    }

    fn texts(&self) {
        let paragraph = "Package: a\nVersion: 1:2.0~rc1-3+b1\nArchitecture: arm64\nMulti-Arch: same\nPriority: required\n\
            Essential: yes\nDepends: b (>= 2) | c, d [arm64] <!nocheck>\nProvides: e (= 1)\nFilename: pool/a.deb\nSize: 12\n\
            SHA256: 0000000000000000000000000000000000000000000000000000000000000000\nDescription: short\n long\n .\n end\n";
        self.put("paragraph", "one", paragraph);
        self.put("index", "two", format!("{paragraph}\n{}", paragraph.replace("Package: a", "Package: b")));
        self.put("version", "epochs", "1:2.0~rc1-3+b1 0:2.0.1-1");
        self.put("version", "letters", "1.0a+dfsg-1 1.0~a-1.1");
        self.put("relations", "all", "a (>= 1:2~) | b:any (<< 3), c [arm64 !amd64] <!nocheck !x>, d (= 4)");
        self.put("date", "release", "Sat, 09 Aug 2025 09:35:48 UTC");
        self.put("mirror", "named", "https://user@host.example:8080/debian/");
        self.put("in_release", "form", "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nOrigin: Debian\nSHA256:\n 00 1 a\n- -----x\n-----BEGIN PGP SIGNATURE-----\n\niHUEABYKAB0WIQQ=\n=abcd\n-----END PGP SIGNATURE-----\n");
        self.put("glob", "stars", "usr/**/*.[a-z]o{,.xz}?\nusr/lib/modules/a.ko.xz");
        self.put(
            "overlay_rules",
            "rules",
            "rules:\n  - {path: etc/ssh/*, owner: root, group: root, mode: \"0600\"}\nenable: [a.service]\n",
        );
        self.put("maintainer_script", "postinst", "#!/bin/sh\nset -e\ncase \"$1\" in\n configure)\n  if [ ! -e /etc/a ]; then\n   adduser --system --group a || true\n  fi\n  for f in a b; do chown \"$f\":a /var/lib/$f; done\n  cat <<-'E' >/etc/x\n\ty\n\tE\n  ;;\nesac\n#DEBHELPER#\nexit 0\n");
        self.put("copyright", "dep5", "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nCopyright: 2025 A\nLicense: GPL-2+ and (MIT or BSD-3-clause)\n\nLicense: MIT\n Text\n");
        self.put("sums", "sum", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        self.put("agent_request", "metrics", "GET /metrics HTTP/1.1\r\nHost: node\r\nAccept: */*\r\n\r\n");
        self.put("agent_config", "default", fruit_contract::agent::config::AgentConfig::default().to_yaml());
    }

    fn packages(&self) {
        let mut tar = tar::Builder::new(Vec::new());
        for (kind, path, data) in [
            (tar::EntryType::Directory, "./", ""),
            (
                tar::EntryType::Regular,
                "./control",
                "Package: a\nVersion: 1\nArchitecture: all\nMaintainer: a\nDescription: a\n",
            ),
            (tar::EntryType::Regular, "./conffiles", "/etc/a\n"),
            (tar::EntryType::Regular, "./postinst", "#!/bin/sh\n"),
            (tar::EntryType::Symlink, "./link", ""),
            (tar::EntryType::Link, "./again", ""),
            (tar::EntryType::Char, "./device", ""),
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(0o755);
            header.set_size(data.len() as u64);
            header.set_link_name("control").expect("a short name");
            header.set_cksum();
            tar.append_data(&mut header, path, data.as_bytes()).expect("memory is written");
        }
        let tar = tar.into_inner().expect("memory is written");
        self.put("tar", "all", &tar);
        let mut deb = b"!<arch>\n".to_vec();
        for (name, data) in [("debian-binary", &b"2.0\n"[..]), ("control.tar", &tar), ("data.tar", &tar)] {
            deb.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, "100644", data.len()).bytes());
            deb.extend(data);
        }
        self.put("deb", "plain", deb);
    }

    fn disks(&self) {
        let mut tree = Tree::new(TIME);
        tree.make_dirs("usr/bin", 0o755, TIME).expect("a folder");
        let mut program = Inode::file(vec![7; 5000], 0o755, TIME);
        program.meta.xattrs.insert("security.capability".to_owned(), vec![1; 20]);
        tree.insert("usr/bin/program", program).expect("a file");
        tree.insert("usr/a file with a long name.txt", Inode::file("text", 0o644, TIME)).expect("a file");
        let plain = tree.clone();
        tree.insert("link", Inode::symlink("usr/bin/program", TIME)).expect("a link");

        let options = erofs::Options { uuid: [1; 16], volume_name: "seed".to_owned(), build_time: TIME };
        let mut image = Vec::new();
        erofs::Plan::new(&tree, options).and_then(|plan| plan.write(&mut image)).expect("an EROFS image");
        self.put("erofs", "tree", &image);
        self.put("verity", "tree", [&[1, 2, 0, 0][..], &[0; 32], &image].concat());
        tree.remove("usr/bin/program");
        let mut archive = Vec::new();
        cpio::write(&tree, &mut archive).expect("a cpio archive");
        self.put("cpio", "tree", archive);

        for (name, kind, size) in [("fat16", fat::Kind::Fat16, 8 << 20), ("fat32", fat::Kind::Fat32, 64 << 20)] {
            let disk = Memory::default();
            let options = fat::Options { kind, size, label: "SEED".to_owned(), volume_id: 1, time: TIME };
            fat::write(&plain, &options, &disk).expect("a FAT image");
            self.put("fat", name, disk.start(64 << 10));
        }
        let wanted: Vec<gpt::Wanted> = (1..4u8)
            .map(|n| gpt::Wanted {
                name: format!("part-{n}"),
                type_guid: gpt::LINUX_DATA,
                guid: uuid::Uuid::from_bytes([n; 16]),
                size: 1 << 20,
            })
            .collect();
        let layout =
            gpt::plan(uuid::Uuid::from_bytes([9; 16]), None, 1 << 20, gpt::Mbr::Hybrid { partition: 1 }, &wanted);
        let table = gpt::encode(&layout.expect("a layout")).expect("a table");
        self.put("gpt", "three", &table.head);
        self.put("inspect", "three", &table.head);
        let range = |blocks| bmap::Mapped { blocks, sum: sums::Sum([0; 32]) };
        let map = bmap::Bmap { image_size: 1 << 20, ranges: vec![range(0..1), range(5..9)] };
        self.put("bmap", "two", map.to_xml());
        let script = uboot::script(uboot::Architecture::Arm64, "seed", 1, "echo hello\n").expect("a script");
        self.put("uboot_script", "hello", script);
        let environment = uboot::environment(256, [("a", "b"), ("bootcmd", "run x")]).expect("an environment");
        self.put("uboot_environment", "two", environment);
        let params = verity::Params { data_blocks: 2, hash_start_block: 3, root_hash: [5; 32], salt: vec![6; 16] };
        self.put("verity_params", "salted", params.to_string());
        self.put("seek_table", "two", fruit_image::zst::table([(1, 10), (2, 20)]));
        let mut ext4 = vec![0; 2048];
        ext4[1024 + 0x38..1024 + 0x3a].copy_from_slice(&0xef53u16.to_le_bytes());
        self.put("data_partition", "ext4", ext4);
        let mut index = fruit_root::kernel::index::Index::default();
        index.insert("of:N*T*Cbrcm,bcm2835", "bcm2835", 0);
        index.insert("usb:v1234", "a", 1);
        self.put("module_index", "two", index.to_bytes());
    }

    fn node(&self) {
        self.put("node_config", "template", fruit_contract::fruit_yaml_template());
        self.put(
            "node_config",
            "full",
            "hostname: node-1\ntimezone: Europe/Berlin\nnetwork:\n  eth0: {address: 10.0.0.2/24, gateway: 10.0.0.1}\n\
             wifi:\n  - {ssid: a, psk: \"12345678\"}\nssh_keys: [ssh-ed25519 AAAA a]\nlabels: {rack: a}\n",
        );
        self.put("host_name_template", "serial", "{name}-{serial:8}");
        self.put("boot_control", "fresh", fruit_contract::bootctl::fresh_block());
        let verity = format!("2:3:{}:-", "ab".repeat(32));
        self.put("verity_params", "plain", &verity);
        self.put("command_line", "full", format!("console=ttyS0 fruit.disk=00112233-4455-6677-8899-aabbccddee00 fruit.slot=a fruit.trial=1 fruit.loader=1 fruit.verity={verity} \"a b\""));
        self.put("boot_report", "empty", "{}");
        self.put("init_config", "empty", "{}");
    }

    fn fleet(&self) {
        let mut packed = crate::fleet().pack();
        for (number, (name, bytes)) in crate::golden_records().enumerate() {
            if name == "invite-text" {
                self.put("fleet_invite", name, &bytes);
                continue;
            }
            self.put("fleet_record", &format!("{number}-{name}"), &bytes);
            // Lengths beyond 127 in two bytes.
            let length = [bytes.len() as u8 & 0x7f | 0x80, (bytes.len() >> 7) as u8];
            if name != "request" && name != "charter" && bytes.len() > 127 {
                packed.extend(length);
                packed.extend(bytes);
            }
        }
        self.put("fleet_record", "packed", packed);
        self.put("fleet_invite", "selector", "rack=1,site=berlin;all");
    }

    fn peer(&self) {
        use fruit_peer::wire::{BUCKETS, Frame, Hello, Item, Standing, VERSIONS};
        let trust = crate::fleet().trust();
        let records: Vec<Vec<u8>> = crate::golden_records().map(|(_, bytes)| bytes).collect();
        let hello = |standing| {
            let charter = (trust.version(), trust.last_hash());
            Frame::Hello(Hello { versions: VERSIONS, fleet: trust.fleet(), charter, standing })
        };
        let frames = [
            hello(Standing::Member(records.iter().skip(1).take(2).cloned().collect())),
            hello(Standing::Guest(records[1].clone())),
            hello(Standing::Operator(vec![1; 137])),
            Frame::WantCharters(1),
            Frame::Charters { is_last: true, records: records.iter().take(1).cloned().collect() },
            Frame::Record(records[1].clone()),
            Frame::Digest([1; 32]),
            Frame::Summary(Box::new([1; BUCKETS])),
            Frame::Range { bounds: Item::bucket(1), items: vec![Item([1; 16])] },
            Frame::Wish(vec![Item([1; 16])]),
            Frame::Next,
            Frame::Ask { id: 1, repository: fruit_base::Sha256([1; 32]), names: vec![fruit_release::Name::Timestamp] },
            Frame::Have { id: 1, bits: 1 },
            Frame::Bye("over".into()),
        ];
        let mut talk = Vec::new();
        for (number, frame) in frames.iter().enumerate() {
            let bytes = frame.encode();
            self.put("peer_frame", &number.to_string(), &bytes[4..]);
            talk.extend(bytes);
        }
        self.put("peer_frame", "talk", talk);
    }

    fn stack(&self) {
        for (number, command) in Command::examples().iter().enumerate() {
            let request = fruit_stack::frame::request(3, command);
            self.put("stack_request", &number.to_string(), &request);
            let answer = fruit_stack::frame::answer(&Err(fruit_stack::error_code::ErrorCode(12))).expect("an answer");
            self.put("stack_answer", &number.to_string(), [&[request.len() as u8][..], &request, &answer].concat());
        }
    }
}

/// A disk in memory that grows as it is written.
#[derive(Default)]
struct Memory(std::sync::Mutex<Vec<u8>>);

impl Memory {
    fn start(&self, len: u64) -> Vec<u8> {
        let bytes = self.0.lock().expect("one thread");
        let mut start = vec![0; len as usize];
        ZeroDisk::new(&bytes, u64::MAX).read_exact_at(&mut start, 0).expect("zeros follow");
        start
    }
}

impl WriteAt for Memory {
    fn write_all_at(&self, buf: &[u8], offset: u64) -> std::io::Result<()> {
        let mut bytes = self.0.lock().expect("one thread");
        let end = offset as usize + buf.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[offset as usize..end].copy_from_slice(buf);
        Ok(())
    }
}
