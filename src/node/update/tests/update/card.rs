//! Cards made of plain files, and nodes that run from them.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use fruit_contract::bootctl::{BLOCK_SIZE, Stored, fresh_block};
use fruit_contract::init::ImageInfo;
use fruit_contract::{BootControl, Slot};
use fruit_release::Source;
use fruit_release::manifest::VolumeKind;
use fruit_release::tuf::{Clock, Time};
use fruit_update::card::{Card, ControlBlock, FileVolume, Volume};
use fruit_update::facts::{self, Facts};
use fruit_update::install::{self, Hooks, InstallError, Outcome, Request};
use fruit_update::store::Folder;
use fruit_update::updater::Updater;

use crate::kit::{COMPATIBLE, Image, PRODUCT, TIME, anchor, root_partition};

/// A node on a workstation.
pub struct Bench {
    pub folder: tempfile::TempDir,
    /// What runs, and from where.
    pub image: Image,
    pub running: Slot,
    pub trial: bool,
    pub loader: u64,
    pub clock: Clock,
}

/// What an image knows of itself.
pub fn facts(image: &Image, loader: u64, clock: Clock) -> Facts {
    Facts {
        image: ImageInfo {
            name: PRODUCT.into(),
            version: image.version.clone(),
            board: image.board.clone(),
            build_id: image.build_id(),
            build_time: TIME,
        },
        verity: Some(image.params.clone()),
        compatible: vec![COMPATIBLE.into()],
        architecture: facts::architecture().into(),
        loader,
        epoch: image.epoch,
        clock,
    }
}

pub fn stop_never() -> &'static AtomicBool {
    static NEVER: AtomicBool = AtomicBool::new(false);
    &NEVER
}

fn file(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

/// The card whose partitions are files of `folder`.
pub fn open(folder: &Path, running: Slot, trial: bool) -> Card {
    let volume = |slot, kind| -> Box<dyn Volume> {
        let path = folder.join(Card::volume_name(slot, kind));
        let len = fs::metadata(&path).unwrap().len();
        Box::new(FileVolume::new(file(&path), len))
    };
    let volumes = Slot::ALL.map(|slot| VolumeKind::ALL.map(|kind| volume(slot, kind)));
    Card::new(running, trial, volumes, Box::new(ControlBlock::new(file(&folder.join("state")))))
}

impl Bench {
    /// A card with `image` in slot a; slot b holds what flash holds that nobody wrote.
    pub fn new(image: &Image) -> Bench {
        let clock = Clock::Unset { built: Time::from_seconds(TIME as i64), saved: None };
        let folder = tempfile::tempdir().unwrap();
        let bench = Bench { folder, image: image.clone(), running: Slot::A, trial: false, loader: 1, clock };
        bench.format(image);
        bench
    }

    /// Makes the card anew.
    pub fn format(&self, image: &Image) {
        let (root, boot) = (root_partition(image.root.len().max(4 << 20)), image.boot.len() + (1 << 20));
        let padded = |mut bytes: Vec<u8>, len: usize| {
            bytes.resize(len, 0xff);
            bytes
        };
        let write = |name: &str, bytes: Vec<u8>| fs::write(self.path(name), bytes).unwrap();
        write("root-a", padded(image.root_with_tree(), root));
        write("boot-a", padded(image.boot.clone(), boot));
        write("root-b", vec![0xff; root]);
        write("boot-b", vec![0xff; boot]);
        write("state", padded(fresh_block(), 64 << 10));
        let _ = fs::remove_dir_all(self.path("update"));
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn volume(&self, slot: Slot, kind: VolumeKind) -> PathBuf {
        self.path(&Card::volume_name(slot, kind))
    }

    pub fn updater(&self) -> Updater {
        let card = open(self.folder.path(), self.running, self.trial);
        let store = Folder::new(self.path("update")).unwrap();
        Updater::new(card, Box::new(store), facts(&self.image, self.loader, self.clock)).unwrap()
    }

    pub fn control(&self) -> BootControl {
        let mut block = fs::read(self.path("state")).unwrap();
        block.truncate(BLOCK_SIZE);
        Stored::from_block(&block).state()
    }

    /// What the boot loader does: counts a try, starts a slot. `images`: what may be in it.
    pub fn restart(&mut self, images: &[&Image]) {
        let state = file(&self.path("state"));
        let stored = Stored::read(&state, 0).unwrap();
        let (choice, next) = stored.state().boot();
        if let Some(next) = next {
            stored.write(&state, 0, &next).unwrap();
        }
        (self.running, self.trial) = (choice.slot, choice.trial);
        let found = images.iter().find(|image| self.holds(choice.slot, image));
        self.image = (*found.expect("the slot that boots holds one of the releases, whole")).clone();
    }

    /// Whether a slot holds all of a release, with a tree that the kernel accepts.
    pub fn holds(&self, slot: Slot, image: &Image) -> bool {
        let root = file(&self.volume(slot, VolumeKind::Root));
        let boot = fs::read(self.volume(slot, VolumeKind::Boot)).unwrap();
        boot.starts_with(&image.boot) && fruit_verity::verify(&root, &image.params).unwrap().is_none()
    }

    pub fn install(&self, source: &mut dyn Source) -> Result<Outcome, InstallError> {
        self.install_with(source, &Request::default())
    }

    pub fn install_with(&self, source: &mut dyn Source, request: &Request) -> Result<Outcome, InstallError> {
        let mut hooks = Hooks { stop: stop_never(), progress: &mut |_| {}, pace: &mut |_| {} };
        install::install(&mut self.updater(), &anchor(), source, request, &mut hooks)
    }
}
