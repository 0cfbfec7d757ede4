//! The same step for many items, on several threads, within a limit of memory.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

/// Does `step` for every item; results are in the order of the items, whatever the threads did when. At most `memory`
/// of the items' `cost` is spent at any time; an item that costs more than that is done alone.
pub fn each<I: Sync, R: Send, E: Send>(
    items: &[I],
    threads: usize,
    memory: u64,
    cost: impl Fn(&I) -> u64 + Sync,
    step: impl Fn(&I) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if threads == 0 { processors() } else { threads };
    let results: Vec<Mutex<Option<Result<R, E>>>> = items.iter().map(|_| Mutex::new(None)).collect();
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (spent, freed) = (Mutex::new(0u64), Condvar::new());
    let worker = || {
        while !failed.load(Ordering::Relaxed) {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(i) else { break };
            let cost = cost(item);
            {
                let mut spent = spent.lock().unwrap_or_else(PoisonError::into_inner);
                while *spent > 0 && spent.saturating_add(cost) > memory {
                    spent = freed.wait(spent).unwrap_or_else(PoisonError::into_inner);
                }
                *spent += cost;
            }
            let result = step(item);
            *spent.lock().unwrap_or_else(PoisonError::into_inner) -= cost;
            freed.notify_all();
            if result.is_err() {
                failed.store(true, Ordering::Relaxed);
            }
            *results[i].lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(items.len().max(1)) {
            scope.spawn(worker);
        }
        worker();
    });
    // Items behind a failed one may be missing; the failure comes first.
    let mut done = Vec::with_capacity(items.len());
    let mut error = None;
    for result in results {
        match result.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(Ok(result)) => done.push(result),
            Some(Err(e)) => error = error.or(Some(e)),
            None => {}
        }
    }
    match error {
        Some(e) => Err(e),
        None => Ok(done),
    }
}
