//! Readers of strangers' files that may panic on damaged data: a fault in one of them is that file's
//! error, not the program's end.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic on this thread is caught and reported as one file's error, so that nothing is to
/// be printed about it.
pub fn panics_are_contained() -> bool {
    CONTAINED.get()
}

/// Runs `work`; none if it panicked.
pub fn contain<T>(work: impl FnOnce() -> T) -> Option<T> {
    let before = CONTAINED.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    CONTAINED.set(before);
    outcome.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_contained() {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let caught: Option<()> = contain(|| panic!("a decoder's fault"));
        std::panic::set_hook(hook);
        assert!(caught.is_none());
        assert!(!panics_are_contained());
    }
}
