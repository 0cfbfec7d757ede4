use crate::{BlockDevice, FlashError, Source, System, Transport, inspect};
use fruit_base::{AtPath, PathError};
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
    /// None for a file that is not there yet: it is made when the image has been checked.
    file: Option<File>,
    device: Option<BlockDevice>,
}

impl Target {
    /// Opens `path` for an image: a block device exclusively, if [`inspect`] has no objection; anything else is a file, whose
    /// content stays until [`crate::write()`], which makes it if it is missing.
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
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                Ok(Target { path: path.to_owned(), file: None, device: None })
            }
            // Present as a file, or not reachable: opening says what is wrong.
            _ => {
                let file = File::options().read(true).write(true).open(path).at(path)?;
                Ok(Target { path: path.to_owned(), file: Some(file), device: None })
            }
        }
    }

    fn open_device(system: &System, path: &Path, rdev: u64) -> Result<Target, FlashError> {
        let number = format!("{}:{}", rustix::fs::major(rdev), rustix::fs::minor(rdev));
        let folder = system.sys.join("dev/block").join(number);
        let folder = fs::canonicalize(&folder).at(&folder)?;
        if let Ok(partition) = fs::read_to_string(folder.join("partition")) {
            return Err(FlashError::Partition { path: path.to_owned(), partition: partition.trim().to_owned() });
        }
        let name = folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let device = inspect(system, &name)?;
        if let Some(why) = device.objection {
            return Err(FlashError::Refused { path: path.to_owned(), why });
        }
        // O_EXCL on a block device: the kernel refuses when it is mounted anywhere, other namespaces included, and keeps
        // others from mounting it while it is written.
        let flags = OFlags::EXCL.bits() as i32;
        let file = File::options().read(true).write(true).custom_flags(flags).open(path);
        Ok(Target { path: path.to_owned(), file: Some(file.at(path)?), device: Some(device) })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The disk, unless the target is a file.
    pub fn device(&self) -> Option<&BlockDevice> {
        self.device.as_ref()
    }

    /// Length in bytes of a regular file that is there already and would be overwritten.
    pub fn existing_file(&self) -> Option<u64> {
        let file = self.file.as_ref().filter(|_| self.device.is_none())?;
        file.metadata().ok().map(|meta| meta.len())
    }

    /// Looks whether the image can go here at all; touches nothing.
    ///
    /// # Errors
    /// The target is the image itself; a disk that is smaller than the image.
    pub fn fits(&self, source: &Source) -> Result<(), FlashError> {
        if self.is_same_file(source.path()) {
            return Err(FlashError::SameFile(source.path().to_owned()));
        }
        if self.device.is_some() {
            let (needed, available) = (source.size(), self.length()?);
            if available < needed {
                return Err(FlashError::TooSmall { path: self.path.clone(), needed, available });
            }
        }
        Ok(())
    }

    pub(super) fn file(&self) -> io::Result<&File> {
        self.file.as_ref().ok_or_else(|| PathError::new(&self.path, io::ErrorKind::NotFound).into())
    }

    fn is_same_file(&self, other: &Path) -> bool {
        let id = |meta: fs::Metadata| (meta.dev(), meta.ino());
        let own = self.file.as_ref().and_then(|file| file.metadata().ok()).map(id);
        own.is_some() && own == fs::metadata(other).ok().map(id)
    }

    fn length(&self) -> io::Result<u64> {
        // Not metadata(): a block device says 0 there.
        let mut file = self.file()?;
        Ok(file.seek(SeekFrom::End(0)).at(&self.path)?)
    }

    /// Makes a file as long as the image, and empty. Says how long the target is.
    pub(super) fn make_room(&mut self, needed: u64) -> io::Result<u64> {
        if self.device.is_some() {
            return self.length();
        }
        if self.file.is_none() {
            // Not one that somebody else has made in the meantime.
            let file = File::options().read(true).write(true).create_new(true).open(&self.path);
            self.file = Some(file.at(&self.path)?);
        }
        let file = self.file()?;
        file.set_len(0).and_then(|()| file.set_len(needed)).at(&self.path)?;
        Ok(needed)
    }

    /// Forgets what the page cache has of the target, so that reading asks the card.
    pub(super) fn forget(&self) -> io::Result<()> {
        fadvise(self.file()?, 0, None, Advice::DontNeed).at(&self.path)?;
        if self.device.is_some() {
            request::<BLKFLSBUF>(self.file()?).at(&self.path)?;
        }
        Ok(())
    }

    /// Lets the kernel see the new partitions, then asks the reader to let go of the card. Says whether it did; whoever
    /// takes the card out loses nothing either way, as everything is written.
    pub fn release(&self) -> bool {
        let (Some(device), Some(file)) = (&self.device, &self.file) else { return false };
        // Fails when the driver has no partitions; the next insertion of the card reads them anyway.
        let _ = request::<BLKRRPART>(file);
        device.transport == Transport::Usb && request::<CDROMEJECT>(file).is_ok()
    }
}

fn request<const REQUEST: Opcode>(file: &File) -> io::Result<()> {
    // SAFETY: the requests above take no argument and hand back no data, so no memory of ours is touched; on a file that
    // is not a block device the kernel answers ENOTTY.
    unsafe { ioctl(file, NoArg::<REQUEST>::new()) }.map_err(io::Error::from)
}
