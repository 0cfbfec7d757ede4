use super::{BlockDevice, FlashError, System, Transport, look};
use crate::disk::at_path;
use rustix::fs::{Advice, OFlags, fadvise};
use rustix::ioctl::{NoArg, Opcode, ioctl};
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

// Requests without argument, from linux/fs.h and linux/cdrom.h.
const BLKRRPART: Opcode = 0x125F;
const BLKFLSBUF: Opcode = 0x1261;
const CDROMEJECT: Opcode = 0x5309;

/// What an image is written to: a whole disk that nothing else uses, or a file.
#[derive(Debug)]
pub struct Target {
    path: PathBuf,
    file: File,
    device: Option<BlockDevice>,
}

impl Target {
    /// Opens `path` for an image: a block device exclusively, if [`look`] has no objection; anything else is a file, whose
    /// content stays until [`super::write`].
    ///
    /// # Errors
    /// A disk that must not be written to; a partition; a device that is not there; what `open(2)` says.
    pub fn open(system: &System, path: &Path) -> Result<Target, FlashError> {
        match fs::metadata(path) {
            Ok(meta) if meta.file_type().is_block_device() => Target::open_device(system, path, meta.rdev()),
            Ok(meta) if !meta.is_file() => Err(FlashError::NotADisk(path.to_owned())),
            Err(e) if e.kind() == io::ErrorKind::NotFound && path.starts_with(&system.dev) => {
                Err(FlashError::NoDevice(path.to_owned()))
            }
            // Present as a file, or not present: opening says what is wrong.
            _ => {
                let file = File::options().read(true).write(true).create(true).truncate(false).open(path);
                Ok(Target { path: path.to_owned(), file: file.map_err(|e| at_path(path, &e))?, device: None })
            }
        }
    }

    fn open_device(system: &System, path: &Path, rdev: u64) -> Result<Target, FlashError> {
        let number = format!("{}:{}", rustix::fs::major(rdev), rustix::fs::minor(rdev));
        let folder = system.sys.join("dev/block").join(number);
        let folder = fs::canonicalize(&folder).map_err(|e| at_path(&folder, &e))?;
        if let Ok(partition) = fs::read_to_string(folder.join("partition")) {
            return Err(FlashError::Partition { path: path.to_owned(), partition: partition.trim().to_owned() });
        }
        let name = folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let device = look(system, &name)?;
        if let Some(why) = device.objection {
            return Err(FlashError::Refused { path: path.to_owned(), why });
        }
        // O_EXCL on a block device: the kernel refuses when it is mounted anywhere, other namespaces included, and keeps
        // others from mounting it while it is written.
        let flags = OFlags::EXCL.bits() as i32;
        let file = File::options().read(true).write(true).custom_flags(flags).open(path);
        Ok(Target { path: path.to_owned(), file: file.map_err(|e| at_path(path, &e))?, device: Some(device) })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The disk, unless the target is a file.
    pub fn device(&self) -> Option<&BlockDevice> {
        self.device.as_ref()
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn is_same_file(&self, other: &Path) -> bool {
        let id = |meta: fs::Metadata| (meta.dev(), meta.ino());
        self.file.metadata().ok().map(id) == fs::metadata(other).ok().map(id)
    }

    /// Makes a file as long as the image, and empty; a disk must be as large.
    pub(super) fn make_room(&mut self, needed: u64) -> Result<u64, FlashError> {
        if self.device.is_none() {
            self.file.set_len(0).and_then(|()| self.file.set_len(needed)).map_err(|e| at_path(&self.path, &e))?;
            return Ok(needed);
        }
        let available = self.file.seek(SeekFrom::End(0)).map_err(|e| at_path(&self.path, &e))?;
        if available < needed {
            return Err(FlashError::TooSmall { path: self.path.clone(), needed, available });
        }
        Ok(available)
    }

    /// Forgets what the page cache has of the target, so that reading asks the card.
    pub(super) fn forget(&self) -> io::Result<()> {
        fadvise(&self.file, 0, None, Advice::DontNeed).map_err(|e| at_path(&self.path, &e.into()))?;
        if self.device.is_some() {
            request::<BLKFLSBUF>(&self.file).map_err(|e| at_path(&self.path, &e))?;
        }
        Ok(())
    }

    /// Lets the kernel see the new partitions, then asks the reader to let go of the card. Says whether it did; whoever
    /// takes the card out loses nothing either way, as everything is written.
    pub(super) fn release(&self) -> bool {
        let Some(device) = &self.device else { return false };
        // Fails when the driver has no partitions; the next insertion of the card reads them anyway.
        let _ = request::<BLKRRPART>(&self.file);
        device.transport == Transport::Usb && request::<CDROMEJECT>(&self.file).is_ok()
    }
}

fn request<const REQUEST: Opcode>(file: &File) -> io::Result<()> {
    // SAFETY: the requests above take no argument and hand back no data, so no memory of ours is touched; on a file that
    // is not a block device the kernel answers ENOTTY.
    unsafe { ioctl(file, NoArg::<REQUEST>::new()) }.map_err(io::Error::from)
}
