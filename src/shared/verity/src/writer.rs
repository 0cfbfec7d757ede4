//! An image with superblock and hash tree behind it, while the image streams by.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use sha2::Sha256;

use crate::{BLOCK, Hash, Options, Params, Tree, VerityError, WriteAt, hash_block};

/// Bytes that are written, and hashed by one thread, at a time.
const BATCH: usize = 1 << 20;
/// Batches that wait, for each thread: enough that a thread never runs dry while another has the processor.
const BATCHES_WAITING: usize = 4;

/// 1 MiB of data on its way, the last one maybe less.
struct Batch {
    number: u64,
    data: Vec<u8>,
}

/// A batch that is hashed; its memory is used again.
struct Hashed {
    number: u64,
    data: Vec<u8>,
    hashes: Vec<Hash>,
}

/// Hashes batches; shared by all threads.
struct Job {
    salted: Sha256,
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    batches: VecDeque<Batch>,
    /// No more are to come.
    closed: bool,
}

impl Job {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.waiting().closed = true;
        self.changed.notify_all();
    }

    fn do_one(&self, batch: Batch) -> Hashed {
        let Batch { number, data } = batch;
        let hashes = data.chunks_exact(BLOCK as usize).map(|block| hash_block(&self.salted, block)).collect();
        Hashed { number, data, hashes }
    }

    /// What a thread does until there is no more to do, or nobody asks for it.
    fn run(&self, results: &Sender<Hashed>) {
        loop {
            let mut waiting = self.waiting();
            let batch = loop {
                match waiting.batches.pop_front() {
                    Some(batch) => break batch,
                    None if waiting.closed => return,
                    None => waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                }
            };
            drop(waiting);
            if results.send(self.do_one(batch)).is_err() {
                return;
            }
        }
    }
}

/// Takes an image as a stream, writes it with superblock and hash tree behind it. Only the caller's thread writes (two
/// would wait for each other at the file's lock); other threads hash, and this one too when they have enough to do.
pub struct Writer<S: WriteAt> {
    data_len: u64,
    tree: Tree<S>,
    filling: Vec<u8>,
    /// Full batches so far, and those whose hashes are in the tree.
    filled: u64,
    in_tree: u64,
    /// Hashes of batches that come after one that is not done yet.
    early: BTreeMap<u64, Vec<Hash>>,
    idle: Vec<Vec<u8>>,
    job: Arc<Job>,
    done: Receiver<Hashed>,
    threads: Vec<JoinHandle<()>>,
}

impl<S: WriteAt> Writer<S> {
    /// For `data_len` bytes of image that begin at byte `base` of `to`. Writes the superblock.
    ///
    /// # Errors
    /// A length that is not whole blocks, a salt that is too long; write errors.
    pub fn new(to: S, base: u64, data_len: u64, options: &Options) -> Result<Writer<S>, VerityError> {
        let tree = Tree::new(to, base, data_len, options)?;
        let job = Job { salted: tree.salted.clone(), waiting: Mutex::default(), changed: Condvar::new() };
        let (results, done) = channel();
        let mut writer = Writer {
            data_len,
            tree,
            filling: Vec::with_capacity(BATCH),
            filled: 0,
            in_tree: 0,
            early: BTreeMap::new(),
            idle: Vec::new(),
            job: Arc::new(job),
            done,
            threads: Vec::new(),
        };
        for _ in 0..std::thread::available_parallelism().map_or(1, |n| n.get().saturating_sub(1).clamp(1, 3)) {
            let (job, results) = (writer.job.clone(), results.clone());
            let thread = std::thread::Builder::new().name("verity".to_owned()).spawn(move || job.run(&results))?;
            writer.threads.push(thread);
        }
        Ok(writer)
    }

    /// Completes the tree.
    ///
    /// # Errors
    /// Fewer bytes than announced; write errors.
    pub fn finish(mut self) -> Result<Params, VerityError> {
        let written = self.filled * BATCH as u64 + self.filling.len() as u64;
        if written != self.data_len {
            return Err(VerityError::Incomplete { written, expected: self.data_len });
        }
        if !self.filling.is_empty() {
            self.hand_over()?;
        }
        loop {
            let batch = self.job.waiting().batches.pop_front();
            let Some(batch) = batch else { break };
            let hashed = self.job.do_one(batch);
            self.take_in(hashed)?;
        }
        self.job.close();
        while self.in_tree < self.filled {
            let hashed = self.done.recv().map_err(|_| VerityError::Thread)?;
            self.take_in(hashed)?;
        }
        self.tree.complete()
    }

    /// Writes the full buffer and passes it on to be hashed, or does that here if enough is waiting already.
    fn hand_over(&mut self) -> Result<(), VerityError> {
        while let Ok(hashed) = self.done.try_recv() {
            self.take_in(hashed)?;
        }
        let place = self.tree.base + self.filled * BATCH as u64;
        self.tree.to.write_all_at(&self.filling, place)?;
        let next = self.idle.pop().unwrap_or_else(|| Vec::with_capacity(BATCH));
        let batch = Batch { number: self.filled, data: std::mem::replace(&mut self.filling, next) };
        self.filled += 1;
        let mut waiting = self.job.waiting();
        if waiting.batches.len() < BATCHES_WAITING * self.threads.len() {
            waiting.batches.push_back(batch);
            drop(waiting);
            self.job.changed.notify_one();
            return Ok(());
        }
        drop(waiting);
        let hashed = self.job.do_one(batch);
        self.take_in(hashed)
    }

    /// Puts what is in order into the tree.
    fn take_in(&mut self, hashed: Hashed) -> Result<(), VerityError> {
        let Hashed { number, mut data, hashes } = hashed;
        data.clear();
        self.idle.push(data);
        self.early.insert(number, hashes);
        while let Some(hashes) = self.early.remove(&self.in_tree) {
            for hash in hashes {
                self.tree.push(hash)?;
            }
            self.in_tree += 1;
        }
        Ok(())
    }
}

impl<S: WriteAt> Drop for Writer<S> {
    /// No thread outlives its writer.
    fn drop(&mut self) {
        self.job.waiting().batches.clear();
        self.job.close();
        for thread in self.threads.drain(..) {
            // A thread that panicked has sent no result, which `finish` reports.
            let _ = thread.join();
        }
    }
}

impl<S: WriteAt> Write for Writer<S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = buf.len().min(BATCH - self.filling.len());
        let end = self.filled * BATCH as u64 + (self.filling.len() + n) as u64;
        if end > self.data_len {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "more data than was announced to the hash tree"));
        }
        self.filling.extend_from_slice(&buf[..n]);
        if self.filling.len() == BATCH {
            self.hand_over().map_err(io::Error::other)?;
        }
        Ok(n)
    }

    /// Does nothing: bytes reach their place by [`Writer::finish`].
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
