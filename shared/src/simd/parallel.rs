//! Work shared out among the machine's threads.

#[cfg(any(feature = "model", not(target_family = "wasm")))]
use std::num::NonZero;
#[cfg(any(feature = "model", not(target_family = "wasm")))]
use std::sync::OnceLock;
#[cfg(not(target_family = "wasm"))]
use std::sync::{Mutex, MutexGuard};

/// Threads that this machine runs at once; one in WASM, which has none. The system is asked once: it
/// may read files to answer, and a product of few rows takes no longer.
#[cfg(any(feature = "model", not(target_family = "wasm")))]
pub fn threads() -> usize {
    if cfg!(target_family = "wasm") {
        return 1;
    }
    static THREADS: OnceLock<usize> = OnceLock::new();
    *THREADS.get_or_init(|| std::thread::available_parallelism().map_or(1, NonZero::get))
}

/// Runs `run` on one of the threads that work is shared out among: what it shares out piece by piece
/// then changes threads once and not with each piece.
#[cfg(feature = "model")]
pub fn inside<Result: Send>(run: impl FnOnce() -> Result + Send) -> Result {
    #[cfg(not(target_family = "wasm"))]
    return rayon::scope(|_| run());
    #[cfg(target_family = "wasm")]
    run()
}

/// Runs every item once, on as many threads as the machine has, each with a `Scratch` of its own;
/// results in the order of the items. Which thread takes an item changes nothing about it.
pub fn each<Item: Send, Scratch: Default, Result: Send>(
    items: &mut [Item],
    run: impl Fn(&mut Item, &mut Scratch) -> Result + Sync,
) -> Vec<Result> {
    // The page does not carry what threads would take.
    #[cfg(not(target_family = "wasm"))]
    if threads().min(items.len()) > 1 {
        return shared_out(items, run);
    }
    let mut scratch = Scratch::default();
    items
        .iter_mut()
        .map(|item| run(item, &mut scratch))
        .collect()
}

#[cfg(not(target_family = "wasm"))]
fn shared_out<Item: Send, Scratch: Default, Result: Send>(
    items: &mut [Item],
    run: impl Fn(&mut Item, &mut Scratch) -> Result + Sync,
) -> Vec<Result> {
    let threads = threads().min(items.len());
    let queue = Mutex::new(items.iter_mut().enumerate());
    let done = Mutex::new(Vec::new());
    let work = || {
        let mut scratch = Scratch::default();
        let mut own = Vec::new();
        // The lock is held for no longer than this takes.
        let next = || whole(&queue).next();
        while let Some((index, item)) = next() {
            own.push((index, run(item, &mut scratch)));
        }
        whole(&done).extend(own);
    };
    // A pool's threads are there already: a product of few rows takes no longer than starting one.
    rayon::scope(|scope| {
        (1..threads).for_each(|_| scope.spawn(|_| work()));
        work();
    });
    let mut done = whole(&done).split_off(0);
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

/// A thread that panicked has left what it locked whole.
#[cfg(not(target_family = "wasm"))]
fn whole<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
