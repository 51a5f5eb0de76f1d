//! What a killed run leaves of a module that it trains, so that `--resume` goes on from it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::optim::ModuleOptimizer;
use burn::tensor::{Bytes, Tensor};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shared::bundle::{Precision, Tensors, decode_tensors, encode_tensors, sha256_hex};

use crate::features::hexadecimal;
use crate::output::kind::{FolderKind, has_fields};
use crate::output::{FolderWriter, read_file};

const STATE: &str = "state.json";
const TENSORS: &str = "tensors.safetensors";
const OPTIMIZER: &str = "optimizer.bpk";

/// The folder of such a checkpoint.
const CHECKPOINT: FolderKind = FolderKind {
    name: "a checkpoint of this command",
    holds: |name, _| [STATE, TENSORS, OPTIMIZER].contains(&name),
    is_own: |folder| has_fields(&folder.join(STATE), &["run", "step", "hashes"]),
};

/// Where training stands.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
struct State {
    /// What the run was asked to do.
    run: String,
    /// Steps done.
    step: usize,
    /// SHA-256 of the tensors and of the optimizer's state.
    hashes: [String; 2],
}

/// The checkpoint of one run.
pub struct ModuleCheckpoint {
    folder: PathBuf,
    run: String,
}

/// What was read back.
pub struct SavedModule {
    /// Steps done.
    pub step: usize,
    /// What was saved, by name.
    pub tensors: Tensors,
    pub optimizer: ModuleOptimizer,
}

impl ModuleCheckpoint {
    /// `parts`: everything that decides what the run computes.
    pub fn new(work: &Path, parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Self {
            folder: work.join("checkpoint"),
            run: hexadecimal(&hash.finalize()),
        }
    }

    /// Where it is, for messages.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Replaces the checkpoint.
    pub fn save(&self, step: usize, tensors: &Tensors, optimizer: &ModuleOptimizer) -> Result<()> {
        let folder = FolderWriter::new(&self.folder, &CHECKPOINT)?;
        let tensors = encode_tensors(tensors, Precision::F32)?;
        let optimizer = optimizer
            .into_bytes()
            .map_err(|error| anyhow::anyhow!("the optimizer's state cannot be kept: {error}"))?;
        let state = State {
            run: self.run.clone(),
            step,
            hashes: [sha256_hex(&tensors), sha256_hex(&optimizer)],
        };
        folder.write(TENSORS, &tensors)?;
        folder.write(OPTIMIZER, &optimizer)?;
        folder.write(STATE, &serde_json::to_vec_pretty(&state)?)?;
        folder.finish()
    }

    /// The checkpoint, if there is one; `optimizer` takes up its state.
    ///
    /// # Errors
    /// When it belongs to another run, or is damaged.
    pub fn open(&self, optimizer: ModuleOptimizer) -> Result<Option<SavedModule>> {
        let state_file = self.folder.join(STATE);
        if !state_file.exists() {
            return Ok(None);
        }
        let of = || self.folder.display().to_string();
        let state: State = serde_json::from_slice(&read_file(&state_file)?).with_context(of)?;
        if state.run != self.run {
            bail!(
                "{} is the checkpoint of another run (other options, model, images or texts): give the same options, or leave --resume out",
                of()
            );
        }
        let file = self.folder.join(TENSORS);
        let tensors = whole(&file, &state.hashes[0])?;
        let optimizer_state = whole(&self.folder.join(OPTIMIZER), &state.hashes[1])?;
        let tensors = decode_tensors(&file.display().to_string(), &tensors)?;
        let optimizer = optimizer
            .from_bytes(Bytes::from_bytes_vec(optimizer_state))
            .map_err(|error| anyhow::anyhow!("{}: {error}; leave --resume out", of()))?;
        Ok(Some(SavedModule {
            step: state.step,
            tensors,
            optimizer,
        }))
    }
}

/// The module with parameters of the same identities in every run, so that an optimizer's state fits
/// after a restart.
pub fn numbered<M: Module>(module: M) -> M {
    module.map(&mut Numbering { next: 1 })
}

struct Numbering {
    next: u64,
}

impl ModuleMapper for Numbering {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (_, tensor, mapper) = param.consume();
        let id = ParamId::from(self.next);
        self.next += 1;
        Param::from_mapped_value(id, tensor, mapper)
    }
}

/// A file's bytes, if they are those that were written.
fn whole(path: &Path, hash: &str) -> Result<Vec<u8>> {
    let bytes = read_file(path)?;
    if sha256_hex(&bytes) != hash {
        bail!("{} is damaged: leave --resume out", path.display());
    }
    Ok(bytes)
}
