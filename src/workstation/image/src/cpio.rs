//! The initramfs: a cpio archive in the "newc" form that the kernel unpacks, zstd-compressed.
//!
//! Format: Linux `Documentation/driver-api/early-userspace/buffer-format.rst` and `init/initramfs.c`.

use std::collections::HashMap;
use std::io::{self, Write};

use crate::tree::{Content, Inode, InodeId, Kind, Meta, Tree, TreeError};

const MAGIC: &[u8] = b"070701";
/// Magic and 13 numbers of 8 hexadecimal digits.
const HEADER_LEN: usize = 110;
const TRAILER: &str = "TRAILER!!!";
/// `PATH_MAX` of Linux: the kernel skips longer names, their NUL included.
const PATH_MAX: usize = 4096;
/// Names begin behind the header, data behind the name, headers behind the data: each padded to this.
const ALIGN: u64 = 4;
const BUFFER: usize = 1 << 18;

const S_IFMT: u32 = 0o170_000;

#[derive(thiserror::Error, Debug)]
pub enum CpioError {
    #[error("initramfs: {path}: {what}")]
    Unfit { path: String, what: String },
    #[error("initramfs: {path}: cannot read the content: {source}")]
    Read { path: String, source: io::Error },
    #[error("cannot write the initramfs: {0}")]
    Write(#[from] io::Error),
    #[error("cpio: byte {at}: {what}")]
    Damaged { at: usize, what: &'static str },
    #[error("cpio: {0}")]
    Tree(#[from] TreeError),
}

/// The numbers of a header, in their order on disk, with names where this crate needs them.
#[derive(Clone, Copy, Default)]
struct Header {
    ino: u32,
    mode: u32,
    uid: u32,
    gid: u32,
    nlink: u32,
    mtime: u32,
    size: u32,
    device: (u32, u32),
    /// With the NUL.
    name_len: u32,
}

impl Header {
    fn encode(&self) -> String {
        let Header { ino, mode, uid, gid, nlink, mtime, size, device: (major, minor), name_len } = *self;
        // Device of the archive's own file system and check sum are 0.
        [ino, mode, uid, gid, nlink, mtime, size, 0, 0, major, minor, name_len, 0]
            .iter()
            .fold("070701".to_owned(), |text, number| text + &format!("{number:08x}"))
    }

    fn decode(bytes: &[u8]) -> Option<Header> {
        let digits = bytes.strip_prefix(MAGIC).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
        let number = |i: usize| {
            let text = std::str::from_utf8(digits.get(i * 8..i * 8 + 8)?).ok()?;
            u32::from_str_radix(text, 16).ok()
        };
        Some(Header {
            ino: number(0)?,
            mode: number(1)?,
            uid: number(2)?,
            gid: number(3)?,
            nlink: number(4)?,
            mtime: number(5)?,
            size: number(6)?,
            device: (number(9)?, number(10)?),
            name_len: number(11)?,
        })
    }
}

/// Writes `tree` as the kernel wants it: parents before children, numbers of inodes by order of paths, the content of
/// a file with several names behind the last of them. The root directory itself is left out.
///
/// # Errors
/// What the format cannot hold (xattrs, files of 4 GiB, times outside of 1970–2106), contents that cannot be read,
/// write errors.
pub fn write(tree: &Tree, out: &mut impl Write) -> Result<(), CpioError> {
    let links = tree.link_counts();
    let mut inos: HashMap<InodeId, (u32, u32)> = HashMap::new();
    let mut out = Padded { out, written: 0 };
    let mut buffer = Vec::new();
    for (path, id, inode) in tree.iter().filter(|(path, ..)| !path.is_empty()) {
        let fresh = inos.len() as u32 + 1;
        let (ino, seen) = inos.entry(id).or_insert((fresh, 0));
        *seen += 1;
        let count = links.get(&id).copied().unwrap_or(1);
        let mut header = header(path, inode)?;
        header.ino = *ino;
        if !inode.is_dir() {
            header.nlink = count;
        }
        // The kernel links names of one inode, and fills it with the data that it meets.
        if *seen < count {
            header.size = 0;
        }
        out.all(header.encode().as_bytes())?;
        out.all(path.as_bytes())?;
        out.all(&[0])?;
        out.pad()?;
        match &inode.kind {
            Kind::File(content) => {
                let (mut at, len) = (0, u64::from(header.size));
                while at < len {
                    buffer.resize((len - at).min(BUFFER as u64) as usize, 0);
                    let read = content.read_at(&mut buffer, at);
                    read.map_err(|source| CpioError::Read { path: path.to_owned(), source })?;
                    out.all(&buffer)?;
                    at += buffer.len() as u64;
                }
            }
            Kind::Symlink(target) => out.all(&target.as_bytes()[..header.size as usize])?,
            _ => {}
        }
        out.pad()?;
    }
    let trailer = Header { nlink: 1, name_len: TRAILER.len() as u32 + 1, ..Header::default() };
    out.all(trailer.encode().as_bytes())?;
    out.all(TRAILER.as_bytes())?;
    out.all(&[0])?;
    out.pad()
}

/// As [`write()`], compressed by zstd at `level` (1 to 19; the kernel's decoder has no window for more).
///
/// # Errors
/// As [`write()`].
pub fn write_zstd(tree: &Tree, level: i32, out: &mut impl Write) -> Result<(), CpioError> {
    let mut encoder = zstd::Encoder::new(out, level)?;
    encoder.include_checksum(true)?;
    write(tree, &mut encoder)?;
    encoder.finish()?;
    Ok(())
}

fn header(path: &str, inode: &Inode) -> Result<Header, CpioError> {
    let unfit = |what: String| CpioError::Unfit { path: path.to_owned(), what };
    let Meta { mode, uid, gid, mtime, ref xattrs } = inode.meta;
    if let Some(name) = xattrs.keys().next() {
        return Err(unfit(format!("a cpio archive cannot hold the extended attribute {name}")));
    }
    if path.len() >= PATH_MAX {
        return Err(unfit(format!("the path has {} bytes, the kernel takes at most 4095", path.len())));
    }
    let (file_type, len, device) = match &inode.kind {
        Kind::Dir => (0o040_000, 0, (0, 0)),
        Kind::File(content) => (0o100_000, content.len(), (0, 0)),
        Kind::Symlink(target) if target.is_empty() || target.len() >= PATH_MAX || target.contains('\0') => {
            return Err(unfit("the target of a symbolic link needs 1 to 4095 bytes without NUL".to_owned()));
        }
        Kind::Symlink(target) => (0o120_000, target.len() as u64, (0, 0)),
        Kind::CharDevice { major, minor } => (0o020_000, 0, (*major, *minor)),
        Kind::BlockDevice { major, minor } => (0o060_000, 0, (*major, *minor)),
        Kind::Fifo => (0o010_000, 0, (0, 0)),
        Kind::Socket => (0o140_000, 0, (0, 0)),
    };
    Ok(Header {
        ino: 0,
        mode: file_type | u32::from(mode & 0o7777),
        uid,
        gid,
        nlink: if inode.is_dir() { 2 } else { 1 },
        mtime: u32::try_from(mtime).map_err(|_| unfit(format!("the time {mtime} is outside of 1970 to 2106")))?,
        size: u32::try_from(len).map_err(|_| unfit(format!("{len} bytes; a cpio archive holds less than 4 GiB")))?,
        device,
        name_len: path.len() as u32 + 1,
    })
}

struct Padded<'w, W> {
    out: &'w mut W,
    written: u64,
}

impl<W: Write> Padded<'_, W> {
    fn all(&mut self, bytes: &[u8]) -> Result<(), CpioError> {
        self.out.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn pad(&mut self) -> Result<(), CpioError> {
        let zeros = self.written.next_multiple_of(ALIGN) - self.written;
        self.all(&[0; ALIGN as usize][..zeros as usize])
    }
}

/// The files of an uncompressed archive. Leading `./` of names is dropped, missing parents are made; what stands
/// behind the trailer is not looked at.
///
/// # Errors
/// Anything that is not such an archive.
pub fn read(archive: &[u8]) -> Result<Tree, CpioError> {
    let mut tree = Tree::new(0);
    let mut linked: HashMap<u32, String> = HashMap::new();
    let mut at = 0;
    loop {
        let damaged = |what| CpioError::Damaged { at, what };
        let header = archive.get(at..at + HEADER_LEN).and_then(Header::decode);
        let header = header.ok_or_else(|| damaged("no newc header"))?;
        let name_end = at + HEADER_LEN + header.name_len as usize;
        let name = archive.get(at + HEADER_LEN..name_end).and_then(|name| name.strip_suffix(&[0]));
        let name = name.and_then(|name| std::str::from_utf8(name).ok()).ok_or_else(|| damaged("no name in UTF-8"))?;
        if name == TRAILER {
            return Ok(tree);
        }
        let data_at = name_end.next_multiple_of(ALIGN as usize);
        let data_end = data_at + header.size as usize;
        let data = archive.get(data_at..data_end).ok_or_else(|| damaged("the data is cut off"))?;
        let path = name.trim_start_matches("./").trim_matches('/');
        let inode = inode(&header, data).ok_or_else(|| damaged("a file type or link target that is none"))?;
        put(&mut tree, path, inode, &header, &mut linked)?;
        at = data_end.next_multiple_of(ALIGN as usize);
    }
}

fn inode(header: &Header, data: &[u8]) -> Option<Inode> {
    let (major, minor) = header.device;
    let kind = match header.mode & S_IFMT {
        0o040_000 => Kind::Dir,
        0o100_000 => Kind::File(Content::Bytes(data.into())),
        0o120_000 => Kind::Symlink(std::str::from_utf8(data).ok()?.to_owned()),
        0o020_000 => Kind::CharDevice { major, minor },
        0o060_000 => Kind::BlockDevice { major, minor },
        0o010_000 => Kind::Fifo,
        0o140_000 => Kind::Socket,
        _ => return None,
    };
    let mut meta = Meta::root((header.mode & 0o7777) as u16, header.mtime.into());
    (meta.uid, meta.gid) = (header.uid, header.gid);
    Some(Inode { meta, kind })
}

/// Names with one number and more than one link are one file, as the kernel takes it.
fn put(
    tree: &mut Tree,
    path: &str,
    inode: Inode,
    header: &Header,
    linked: &mut HashMap<u32, String>,
) -> Result<(), CpioError> {
    if path.is_empty() || path == "." {
        if let Some(root) = tree.get_mut("") {
            root.meta = inode.meta;
        }
        return Ok(());
    }
    if let Some((parent, _)) = path.rsplit_once('/') {
        tree.make_dirs(parent, 0o755, 0)?;
    }
    if header.nlink > 1 && !inode.is_dir() {
        if let Some(first) = linked.get(&header.ino) {
            tree.link(path, first)?;
            if header.size > 0
                && let Some(node) = tree.get_mut(path)
            {
                node.kind = inode.kind;
            }
            return Ok(());
        }
        linked.insert(header.ino, path.to_owned());
    }
    tree.insert(path, inode)?;
    Ok(())
}
