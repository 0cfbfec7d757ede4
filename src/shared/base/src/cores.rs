//! Work on all cores.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Cores that this process may use, at least 1.
#[must_use]
pub fn count() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Runs `work` on every item, in their order, on at most `workers` threads. Results are in the items' order.
///
/// # Errors
/// Of the items that failed, the first one's error. After an error no further item is begun.
pub fn each<T: Sync, R: Send, E: Send>(
    workers: usize,
    items: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(items.len()));
    let worker = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(number) else { break };
            let result = work(item);
            if result.is_err() {
                next.store(items.len(), Ordering::Relaxed);
            }
            done.lock().unwrap_or_else(PoisonError::into_inner).push((number, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..workers.min(items.len()) {
            scope.spawn(worker);
        }
        worker();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_items_order() {
        let items: Vec<u64> = (0..500).collect();
        for workers in [0, 1, 4, 1000] {
            let squares = each(workers, &items, |n| Ok::<_, ()>(n * n)).unwrap();
            assert!(squares.iter().enumerate().all(|(i, square)| *square == (i * i) as u64) && squares.len() == 500);
        }
    }

    #[test]
    fn after_an_error_no_more_is_begun() {
        let begun = AtomicUsize::new(0);
        let items: Vec<usize> = (0..10_000).collect();
        let result = each(2, &items, |n| {
            begun.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(std::time::Duration::from_micros(50));
            if *n >= 20 { Err(*n) } else { Ok(()) }
        });
        assert!(matches!(result, Err(20 | 21)), "{result:?}");
        assert!(begun.into_inner() < 100);
    }
}
