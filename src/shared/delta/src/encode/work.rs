//! The same step for many items, on several threads, within a limit of memory.

use std::sync::{Condvar, Mutex, PoisonError};

use fruit_base::cores;

/// Does `step` for every item; results are in the order of the items, whatever the threads did when. At most `memory`
/// of the items' `cost` is spent at any time; an item that costs more than that is done alone.
pub fn each<I: Sync, R: Send, E: Send>(
    items: &[I],
    threads: usize,
    memory: u64,
    cost: impl Fn(&I) -> u64 + Sync,
    step: impl Fn(&I) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let threads = if threads == 0 { cores::count() } else { threads };
    let (spent, freed) = (Mutex::new(0u64), Condvar::new());
    cores::each(threads, items, |item| {
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
        result
    })
}
