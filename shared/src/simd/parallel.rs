//! Work shared out among the machine's threads.

use std::num::NonZero;
use std::sync::Mutex;

/// Threads that this machine runs at once; one in WASM, which has none.
pub fn threads() -> usize {
    if cfg!(target_family = "wasm") {
        return 1;
    }
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// Runs every item once, on as many threads as the machine has, each with a `Scratch` of its own;
/// results in the order of the items. Which thread takes an item changes nothing about it.
pub fn each<Item: Send, Scratch: Default, Result: Send>(
    items: &mut [Item],
    run: impl Fn(&mut Item, &mut Scratch) -> Result + Sync,
) -> Vec<Result> {
    let threads = threads().min(items.len());
    // The page does not carry what threads would take.
    if cfg!(target_family = "wasm") || threads < 2 {
        let mut scratch = Scratch::default();
        return items
            .iter_mut()
            .map(|item| run(item, &mut scratch))
            .collect();
    }
    let queue = Mutex::new(items.iter_mut().enumerate());
    let work = || {
        let mut scratch = Scratch::default();
        let mut done = Vec::new();
        // A thread that panicked has left the queue whole.
        let next = || {
            let mut queue = queue
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner());
            queue.next()
        };
        while let Some((index, item)) = next() {
            done.push((index, run(item, &mut scratch)));
        }
        done
    };
    let mut done = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut done = work();
        for other in others {
            match other.join() {
                Ok(more) => done.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}
