//! dm-verity: a tree of SHA-256 hashes over the blocks of an image, whose root vouches for every block.
//!
//! Format: Linux `Documentation/admin-guide/device-mapper/verity.rst` and cryptsetup `lib/verity/verity.c`; hash type
//! 1, data and hash blocks of 4096 bytes. What `veritysetup format --hash-offset` writes behind an image:
//!
//! ```text
//! data blocks │ superblock, one block │ top of the tree, one block │ next level │ … │ hashes of the data blocks
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use sha2::{Digest, Sha256};

use crate::storage::{ReadAt, WriteAt};

/// Bytes of a data block and of a hash block.
pub const BLOCK: u64 = 4096;
const HASH_LEN: usize = 32;
/// Hashes in one hash block.
const FANOUT: u64 = BLOCK / HASH_LEN as u64;
/// `salt` of `struct verity_sb`.
const SALT_MAX: usize = 256;
/// Bytes that one thread writes and hashes at a time.
const BATCH: usize = 1 << 20;

type Hash = [u8; HASH_LEN];

/// What the kernel needs to open an image with its hash tree behind it: the value of `fruit.verity=`, as text
/// `<data blocks>:<first block of the tree>:<root hash>:<salt, or ->`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Params {
    pub data_blocks: u64,
    /// First block of the tree, counted from the start of the data; the superblock is the one before it.
    pub hash_start_block: u64,
    pub root_hash: [u8; 32],
    /// At most 256 bytes, hashed before each block.
    pub salt: Vec<u8>,
}

impl Params {
    /// Bytes of data, superblock and tree together.
    ///
    /// # Errors
    /// More blocks than a number holds, or a tree that would lie within the data.
    pub fn total_len(&self) -> Result<u64, VerityError> {
        if self.hash_start_block < self.data_blocks {
            return Err(VerityError::Text(self.to_string()));
        }
        let levels = Levels::new(self.data_blocks, self.hash_start_block)?;
        levels.end.checked_mul(BLOCK).ok_or(VerityError::TooBig)
    }
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let salt = if self.salt.is_empty() { "-".to_owned() } else { hex(&self.salt) };
        write!(f, "{}:{}:{}:{salt}", self.data_blocks, self.hash_start_block, hex(&self.root_hash))
    }
}

impl FromStr for Params {
    type Err = VerityError;

    fn from_str(text: &str) -> Result<Params, VerityError> {
        let bad = || VerityError::Text(text.to_owned());
        let parts: Vec<&str> = text.split(':').collect();
        let [data_blocks, hash_start, root, salt] = parts.as_slice() else { return Err(bad()) };
        let salt = if *salt == "-" { Vec::new() } else { unhex(salt).filter(|s| !s.is_empty()).ok_or_else(bad)? };
        if salt.len() > SALT_MAX {
            return Err(VerityError::Salt(salt.len()));
        }
        Ok(Params {
            data_blocks: data_blocks.parse().map_err(|_| bad())?,
            hash_start_block: hash_start.parse().map_err(|_| bad())?,
            root_hash: unhex(root).and_then(|hash| hash.try_into().ok()).ok_or_else(bad)?,
            salt,
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).ok()).collect()
}

#[derive(thiserror::Error, Debug)]
pub enum VerityError {
    #[error("verity: {0}")]
    Io(#[from] io::Error),
    #[error("verity: the salt has {0} bytes, at most 256 fit")]
    Salt(usize),
    #[error("verity: the data has {0} bytes; it must be one or more whole blocks of 4096")]
    DataLen(u64),
    #[error("verity: {written} bytes of data were written, {expected} were announced")]
    Incomplete { written: u64, expected: u64 },
    #[error("verity: the tree would go beyond what numbers of blocks can say")]
    TooBig,
    #[error("verity: {0:?} is not <data blocks>:<first hash block>:<root hash>:<salt or ->")]
    Text(String),
    #[error("verity: a thread that hashes ended early")]
    Worker,
}

/// How a tree is made.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// Of the superblock. The kernel does not read it.
    pub uuid: [u8; 16],
    /// At most 256 bytes.
    pub salt: Vec<u8>,
}

/// Blocks next to each other.
#[derive(Clone, Copy)]
struct Run {
    start: u64,
    count: u64,
}

/// Where each level of a tree is.
struct Levels {
    /// That of the data's hashes first; none for data of one block.
    runs: Vec<Run>,
    /// First block after the tree.
    end: u64,
}

impl Levels {
    /// `hash_start` is the tree's first block, where its top is.
    fn new(data_blocks: u64, hash_start: u64) -> Result<Levels, VerityError> {
        let mut counts = Vec::new();
        let mut blocks = data_blocks;
        while blocks > 1 {
            blocks = blocks.div_ceil(FANOUT);
            counts.push(blocks);
        }
        let mut end = hash_start;
        let mut runs = Vec::new();
        for count in counts.into_iter().rev() {
            runs.push(Run { start: end, count });
            end = end.checked_add(count).ok_or(VerityError::TooBig)?;
        }
        runs.reverse();
        Ok(Levels { runs, end })
    }
}

/// Builds a tree from the hashes of data blocks in their order, and writes each hash block once it is full: memory
/// does not grow with the data.
struct TreeBuilder<S> {
    to: S,
    /// Bytes from the start of `to` to block 0.
    base: u64,
    salted: Sha256,
    levels: Vec<Level>,
    root: Hash,
}

struct Level {
    /// Where the block in the making goes.
    next: u64,
    block: Vec<u8>,
}

impl<S: WriteAt> TreeBuilder<S> {
    fn push(&mut self, hash: Hash) -> Result<(), VerityError> {
        let mut hash = hash;
        for i in 0..self.levels.len() {
            self.levels[i].block.extend(hash);
            if self.levels[i].block.len() < BLOCK as usize {
                return Ok(());
            }
            hash = self.write(i)?;
        }
        self.root = hash;
        Ok(())
    }

    /// Writes the block of level `i` as it is; returns its hash.
    fn write(&mut self, i: usize) -> Result<Hash, VerityError> {
        let level = &mut self.levels[i];
        level.block.resize(BLOCK as usize, 0);
        self.to.write_all_at(&level.block, self.base + level.next * BLOCK)?;
        level.next += 1;
        let hash = hash_block(&self.salted, &level.block);
        level.block.clear();
        Ok(hash)
    }

    fn finish(&mut self) -> Result<Hash, VerityError> {
        for i in 0..self.levels.len() {
            if self.levels[i].block.is_empty() {
                continue;
            }
            let hash = self.write(i)?;
            match self.levels.get_mut(i + 1) {
                Some(above) => above.block.extend(hash),
                None => self.root = hash,
            }
        }
        Ok(self.root)
    }
}

/// Hash type 1: the salt comes first. `salted` has taken it in.
fn hash_block(salted: &Sha256, block: &[u8]) -> Hash {
    salted.clone().chain_update(block).finalize().into()
}

/// 1 MiB of data on its way, the last one maybe less.
struct Batch {
    number: u64,
    data: Vec<u8>,
}

/// A batch that is written and hashed; its memory is used again.
struct Hashed {
    number: u64,
    data: Vec<u8>,
    hashes: io::Result<Vec<Hash>>,
}

/// Takes an image as a stream, writes it with superblock and hash tree behind it. Threads write and hash; at most a
/// few MiB are on their way.
pub struct Writer<S: WriteAt> {
    data_len: u64,
    salt: Vec<u8>,
    hash_start_block: u64,
    tree: TreeBuilder<Arc<S>>,
    filling: Vec<u8>,
    /// Batches handed to the threads, and batches whose hashes are in the tree.
    sent: u64,
    received: u64,
    early: BTreeMap<u64, Vec<Hash>>,
    idle: Vec<Vec<u8>>,
    in_flight_max: u64,
    work: Option<Sender<Batch>>,
    done: Receiver<Hashed>,
    threads: Vec<JoinHandle<()>>,
}

impl<S: WriteAt + Send + Sync + 'static> Writer<S> {
    /// For `data_len` bytes of image that begin at byte `base` of `to`. Writes the superblock.
    ///
    /// # Errors
    /// A length that is not whole blocks, a salt that is too long; write errors.
    pub fn new(to: S, base: u64, data_len: u64, options: &Options) -> Result<Writer<S>, VerityError> {
        if data_len == 0 || !data_len.is_multiple_of(BLOCK) {
            return Err(VerityError::DataLen(data_len));
        }
        if options.salt.len() > SALT_MAX {
            return Err(VerityError::Salt(options.salt.len()));
        }
        let data_blocks = data_len / BLOCK;
        let hash_start_block = data_blocks + 1;
        let levels = Levels::new(data_blocks, hash_start_block)?;
        levels.end.checked_mul(BLOCK).and_then(|len| len.checked_add(base)).ok_or(VerityError::TooBig)?;
        let to = Arc::new(to);
        to.write_all_at(&superblock(data_blocks, options), base + data_len)?;
        let salted = Sha256::new_with_prefix(&options.salt);

        let (work, jobs) = channel::<Batch>();
        let (results, done) = channel::<Hashed>();
        let jobs = Arc::new(Mutex::new(jobs));
        let count = std::thread::available_parallelism().map_or(2, |n| n.get().min(4));
        let mut threads = Vec::new();
        for _ in 0..count {
            let (to, jobs, results, salted) = (to.clone(), jobs.clone(), results.clone(), salted.clone());
            let run = move || write_and_hash(&*to, base, &salted, &jobs, &results);
            threads.push(std::thread::Builder::new().name("verity".to_owned()).spawn(run)?);
        }
        let levels = levels.runs.into_iter().map(|run| Level { next: run.start, block: Vec::new() }).collect();
        Ok(Writer {
            data_len,
            salt: options.salt.clone(),
            hash_start_block,
            tree: TreeBuilder { to, base, salted, levels, root: [0; HASH_LEN] },
            filling: Vec::with_capacity(BATCH),
            sent: 0,
            received: 0,
            early: BTreeMap::new(),
            idle: Vec::new(),
            in_flight_max: count as u64 * 2,
            work: Some(work),
            done,
            threads,
        })
    }

    /// Completes the tree.
    ///
    /// # Errors
    /// Fewer bytes than announced; write errors.
    pub fn finish(mut self) -> Result<Params, VerityError> {
        let written = self.sent * BATCH as u64 + self.filling.len() as u64;
        if written != self.data_len {
            return Err(VerityError::Incomplete { written, expected: self.data_len });
        }
        if !self.filling.is_empty() {
            self.send()?;
        }
        while self.received < self.sent {
            self.receive()?;
        }
        self.stop();
        Ok(Params {
            data_blocks: self.data_len / BLOCK,
            hash_start_block: self.hash_start_block,
            root_hash: self.tree.finish()?,
            salt: std::mem::take(&mut self.salt),
        })
    }

    fn send(&mut self) -> Result<(), VerityError> {
        let next = self.idle.pop().unwrap_or_else(|| Vec::with_capacity(BATCH));
        let data = std::mem::replace(&mut self.filling, next);
        let work = self.work.as_ref().ok_or(VerityError::Worker)?;
        work.send(Batch { number: self.sent, data }).map_err(|_| VerityError::Worker)?;
        self.sent += 1;
        while self.sent - self.received - self.early.len() as u64 >= self.in_flight_max {
            self.receive()?;
        }
        Ok(())
    }

    /// Waits for one batch; puts what is in order into the tree.
    fn receive(&mut self) -> Result<(), VerityError> {
        let Hashed { number, mut data, hashes } = self.done.recv().map_err(|_| VerityError::Worker)?;
        data.clear();
        self.idle.push(data);
        self.early.insert(number, hashes?);
        while let Some(hashes) = self.early.remove(&self.received) {
            for hash in hashes {
                self.tree.push(hash)?;
            }
            self.received += 1;
        }
        Ok(())
    }
}

impl<S: WriteAt> Writer<S> {
    /// Nothing is written to the image after this.
    fn stop(&mut self) {
        self.work = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked has sent no result, which `receive` reports.
            let _ = thread.join();
        }
    }
}

impl<S: WriteAt> Drop for Writer<S> {
    fn drop(&mut self) {
        self.stop();
    }
}

impl<S: WriteAt + Send + Sync + 'static> Write for Writer<S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = buf.len().min(BATCH - self.filling.len());
        let end = self.sent * BATCH as u64 + (self.filling.len() + n) as u64;
        if end > self.data_len {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "more data than was announced to the hash tree"));
        }
        self.filling.extend_from_slice(&buf[..n]);
        if self.filling.len() == BATCH {
            self.send().map_err(io::Error::other)?;
        }
        Ok(n)
    }

    /// Does nothing: bytes reach their place by [`Writer::finish`].
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_and_hash(
    to: &impl WriteAt,
    base: u64,
    salted: &Sha256,
    jobs: &Mutex<Receiver<Batch>>,
    results: &Sender<Hashed>,
) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Batch { number, data }) = job else { return };
        let written = to.write_all_at(&data, base + number * BATCH as u64);
        let hashes =
            written.map(|()| data.chunks_exact(BLOCK as usize).map(|block| hash_block(salted, block)).collect());
        if results.send(Hashed { number, data, hashes }).is_err() {
            return;
        }
    }
}

/// `struct verity_sb` of cryptsetup, in a block of its own.
fn superblock(data_blocks: u64, options: &Options) -> Vec<u8> {
    let mut block = Vec::with_capacity(BLOCK as usize);
    block.extend(b"verity\0\0");
    block.extend(1u32.to_le_bytes()); // version of the superblock
    block.extend(1u32.to_le_bytes()); // hash type: 1, salt before data
    block.extend(options.uuid);
    let mut algorithm = [0; 32];
    algorithm[..6].copy_from_slice(b"sha256");
    block.extend(algorithm);
    block.extend((BLOCK as u32).to_le_bytes()); // data block
    block.extend((BLOCK as u32).to_le_bytes()); // hash block
    block.extend(data_blocks.to_le_bytes());
    block.extend((options.salt.len() as u16).to_le_bytes()); // at most SALT_MAX
    block.extend([0; 6]);
    block.extend(&options.salt);
    block.resize(BLOCK as usize, 0);
    block
}

/// A block that is not what the root hash vouches for; its number counts from the start of the data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadBlock {
    Data(u64),
    Hash(u64),
}

impl fmt::Display for BadBlock {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            BadBlock::Data(block) => write!(f, "data block {block}"),
            BadBlock::Hash(block) => write!(f, "hash block {block}"),
        }
    }
}

/// Checks every block below the root hash, the tree from its top down, then the data; returns the first bad block.
///
/// # Errors
/// Read errors, such as an image that is too short.
pub fn verify(image: &impl ReadAt, params: &Params) -> Result<Option<BadBlock>, VerityError> {
    if params.data_blocks == 0 {
        return Err(VerityError::DataLen(0));
    }
    params.total_len()?;
    let levels = Levels::new(params.data_blocks, params.hash_start_block)?;
    let salted = Sha256::new_with_prefix(&params.salt);
    let mut hashes = vec![0; BLOCK as usize];
    let mut blocks = vec![0; (FANOUT * BLOCK) as usize];
    let mut above = None;
    for run in levels.runs.iter().rev().chain([&Run { start: 0, count: params.data_blocks }]) {
        for group in 0..run.count.div_ceil(FANOUT) {
            match above {
                // The top is one block, that the root hash is of.
                None => hashes[..HASH_LEN].copy_from_slice(&params.root_hash),
                Some(Run { start, .. }) => image.read_exact_at(&mut hashes, (start + group) * BLOCK)?,
            }
            let done = group * FANOUT;
            let blocks = &mut blocks[..((run.count - done).min(FANOUT) * BLOCK) as usize];
            image.read_exact_at(blocks, (run.start + done) * BLOCK)?;
            let pairs = blocks.chunks_exact(BLOCK as usize).zip(hashes.chunks_exact(HASH_LEN));
            let good = pairs.take_while(|(block, hash)| hash_block(&salted, block) == **hash).count();
            if good < blocks.len() / BLOCK as usize {
                let bad = run.start + done + good as u64;
                return Ok(Some(if run.start == 0 { BadBlock::Data(bad) } else { BadBlock::Hash(bad) }));
            }
        }
        above = Some(*run);
    }
    Ok(None)
}
