//! The stages of a run that are not finished, kept on the disk so that `--resume` goes on from them.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use shared::bundle::{Precision, Tensors, decode_tensors, encode_tensors};

use super::learner::ContextLearner;
use super::run_lock::{RUN_LOCK, RunLock};
use crate::output;
use crate::output::kind::FolderKind;
use crate::progress::say;

/// What a run computes in several steps, and keeps after each.
const STAGES: [&str; 3] = [STAGE_1, LOCOOP, STAGE_2];
pub const STAGE_1: &str = "stage 1";
pub const LOCOOP: &str = "LoCoOp";
pub const STAGE_2: &str = "stage 2";
/// Says which run the checkpoints are of.
const MARKER: &str = "run.txt";

/// The folder of checkpoints.
const CHECKPOINTS: FolderKind = FolderKind {
    name: "the checkpoints of a run",
    holds: |name, _| {
        let of_stage = ["checkpoint", "seconds.txt"].iter().any(|ending| {
            STAGES
                .iter()
                .any(|stage| name == format!("{stage}.{ending}"))
        });
        // A killed run may leave a file that it was writing.
        let unfinished = name.starts_with('.') && name.ends_with(".partial");
        [MARKER, RUN_LOCK].contains(&name) || of_stage || unfinished
    },
    // The names of the stages are nobody else's.
    is_own: |_| true,
};

/// Where a run keeps its unfinished stages.
pub struct Checkpoints {
    folder: PathBuf,
    _lock: RunLock,
}

impl Checkpoints {
    /// Opens the folder for this run alone. Without `resume`, what an earlier run left is not used.
    ///
    /// # Errors
    /// With `resume`, when the earlier run had other settings, model or data; when another run is
    /// at work in the folder; when it holds something else than checkpoints.
    pub fn open(folder: PathBuf, fingerprint: String, resume: bool) -> Result<Self> {
        CHECKPOINTS.check(&folder)?;
        output::create_folder(&folder)?;
        let lock = RunLock::take(&folder, "--out")?;
        let marker = folder.join(MARKER);
        if resume && marker.is_file() {
            let found = output::read_file(&marker)?;
            if found != fingerprint.as_bytes() {
                bail!(
                    "{}: the run to resume had other settings, another model or other data; give the same \
                     arguments, or start afresh without --resume",
                    folder.display()
                );
            }
        } else {
            for stage in STAGES {
                for left in [path(&folder, stage), seconds_path(&folder, stage)] {
                    removed(std::fs::remove_file(&left))
                        .map_err(|error| output::explain(error, "remove", &left))?;
                }
            }
            output::write_file(&marker, fingerprint.as_bytes())?;
        }
        Ok(Self {
            folder,
            _lock: lock,
        })
    }

    /// Removes the folder of a finished run. What somebody put into it meanwhile stays, with a note.
    ///
    /// # Errors
    /// When the system refuses; a folder that is gone already is none.
    pub fn close(self) -> Result<()> {
        if let Err(stranger) = CHECKPOINTS.check(&self.folder) {
            say(&format!(
                "note: the run is finished, and its checkpoints stay: {stranger:#}"
            ));
            return Ok(());
        }
        removed(std::fs::remove_dir_all(&self.folder))
            .map_err(|error| output::explain(error, "remove", &self.folder))
    }

    /// Takes up an unfinished stage; the seconds that it took so far.
    pub fn restore(&self, stage: &str, learner: &mut ContextLearner) -> Result<f64> {
        let path = path(&self.folder, stage);
        if path.is_file() {
            let shown = path.display().to_string();
            let tensors = decode_tensors(&shown, &output::read_sealed(&path)?)?;
            learner.restore(&tensors).with_context(|| shown)?;
            say(&format!("resuming {stage} at step {}", learner.step()));
        }
        let seconds =
            std::fs::read_to_string(seconds_path(&self.folder, stage)).unwrap_or_default();
        Ok(seconds.parse().unwrap_or_default())
    }

    /// Keeps where a stage stands.
    pub fn save(&self, stage: &str, learner: &ContextLearner, seconds: f64) -> Result<()> {
        output::write_file(
            &seconds_path(&self.folder, stage),
            seconds.to_string().as_bytes(),
        )?;
        let tensors: Tensors = learner.to_tensors()?;
        output::write_sealed(
            &path(&self.folder, stage),
            encode_tensors(&tensors, Precision::F32)?,
        )
    }
}

/// Where a run's checkpoints lie below its output folder.
pub fn checkpoint_folder(out: &Path) -> PathBuf {
    out.join("checkpoint")
}

fn path(folder: &Path, stage: &str) -> PathBuf {
    folder.join(format!("{stage}.checkpoint"))
}

fn seconds_path(folder: &Path, stage: &str) -> PathBuf {
    folder.join(format!("{stage}.seconds.txt"))
}

/// What is gone already needs no removing.
fn removed(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_its_checkpoints_to_itself_and_leaves_other_folders_alone() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("checkpoint");
        let open = |resume: bool| Checkpoints::open(folder.clone(), "a".into(), resume);
        let first = open(false).unwrap();
        std::fs::write(path(&folder, "stage 1"), b"half").unwrap();
        let error = open(true).err().unwrap().to_string();
        assert!(error.contains("another run is at work"), "{error}");
        drop(first);
        drop(open(true).unwrap());
        assert!(path(&folder, "stage 1").exists());
        let other = Checkpoints::open(folder.clone(), "b".into(), true);
        assert!(other.err().unwrap().to_string().contains("other settings"));
        let fresh = open(false).unwrap();
        assert!(!path(&folder, "stage 1").exists());
        std::fs::remove_dir_all(&folder).unwrap();
        fresh.close().unwrap();

        let last = open(false).unwrap();
        std::fs::write(folder.join("notes.txt"), b"written meanwhile").unwrap();
        last.close().unwrap();
        assert!(folder.join("notes.txt").exists());
        std::fs::remove_dir_all(&folder).unwrap();

        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("epoch-3.pt"), b"weeks of work").unwrap();
        let error = open(false).err().unwrap().to_string();
        assert!(error.contains("`epoch-3.pt`"), "{error}");
        assert!(folder.join("epoch-3.pt").exists());
    }
}
