//! One run at a time in a folder.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use anyhow::{Result, bail};

use crate::output;

/// Held by the run that works in the folder.
pub const RUN_LOCK: &str = "run.lock";

/// A folder that this run has to itself as long as this lives: two runs in one would take up each
/// other's checkpoints.
pub struct RunLock {
    _file: File,
}

impl RunLock {
    /// Takes the folder; `option` is the one that names it.
    ///
    /// # Errors
    /// When another run is at work in it, or it cannot be written to.
    pub fn take(folder: &Path, option: &str) -> Result<Self> {
        let path = folder.join(RUN_LOCK);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| output::explain(error, "write", &path))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => bail!(
                "another run is at work in {} at this moment: wait for it, or choose another {option}",
                folder.display()
            ),
            // A file system without locks is no reason to refuse.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Self { _file: file }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_one_runs_own_until_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let first = RunLock::take(folder.path(), "--work").unwrap();
        let error = RunLock::take(folder.path(), "--work").err().unwrap();
        let text = error.to_string();
        assert!(text.contains("choose another --work"), "{text}");
        drop(first);
        RunLock::take(folder.path(), "--work").unwrap();
    }
}
