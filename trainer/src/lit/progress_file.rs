//! What a killed run leaves, so that `--resume` goes on from it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use burn::optim::ModuleOptimizer;
use burn::tensor::{Bytes, Device};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shared::bundle::{
    Precision, TensorValues, Tensors, decode_tensors, encode_tensors, sha256_hex,
};

use super::matrix::{matrix, values};
use super::space::Space;
use crate::output::{FolderWriter, read_file};

const STATE: &str = "state.json";
const TENSORS: &str = "tensors.safetensors";
const OPTIMIZER: &str = "optimizer.bpk";

/// Where training stands.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
struct State {
    /// What the run was asked to do.
    run: String,
    /// Steps of the text tower done.
    step: usize,
    /// SHA-256 of the tensors and of the optimizer's state.
    hashes: [String; 2],
}

/// The checkpoint of one run.
pub struct Checkpoint {
    folder: PathBuf,
    run: String,
}

/// What was read back.
pub struct Saved {
    pub step: usize,
    pub space: Space,
    /// Weights of the text tower.
    pub text: Tensors,
    pub optimizer: ModuleOptimizer,
}

impl Checkpoint {
    /// `parts`: everything that decides what the run computes.
    pub fn new(work: &Path, parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let run = hash
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Self {
            folder: work.join("checkpoint"),
            run,
        }
    }

    /// Replaces the checkpoint.
    pub fn save(
        &self,
        step: usize,
        space: &Space,
        text: &Tensors,
        optimizer: &ModuleOptimizer,
    ) -> Result<()> {
        let folder = FolderWriter::new(&self.folder)?;
        let mut tensors = text.clone();
        for (name, tensor) in [
            ("space.projection", &space.projection),
            ("space.offset", &space.offset),
            ("space.prototypes", &space.prototypes),
            ("space.log_scale", &space.log_scale),
        ] {
            let shape = tensor.dims().to_vec();
            let values = values(tensor.clone())?;
            tensors.insert(name.to_owned(), TensorValues { shape, values });
        }
        let tensors = encode_tensors(&tensors, Precision::F32)?;
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

    /// The checkpoint, if there is one.
    ///
    /// # Errors
    /// When it belongs to another run, or is damaged.
    pub fn open(&self, optimizer: ModuleOptimizer, device: &Device) -> Result<Option<Saved>> {
        let state_file = self.folder.join(STATE);
        if !state_file.exists() {
            return Ok(None);
        }
        let of = || self.folder.display().to_string();
        let state: State = serde_json::from_slice(&read_file(&state_file)?).with_context(of)?;
        if state.run != self.run {
            bail!(
                "{} is the checkpoint of another run (other seed, steps, tower, photos or concepts): give the same options, or leave --resume out",
                of()
            );
        }
        let [tensors, optimizer_state] = [TENSORS, OPTIMIZER].map(|name| self.folder.join(name));
        let [tensors, optimizer_state] = [
            whole(&tensors, &state.hashes[0])?,
            whole(&optimizer_state, &state.hashes[1])?,
        ];
        let file = self.folder.join(TENSORS);
        let mut text = decode_tensors(&file.display().to_string(), &tensors)?;
        let mut take = |name: &str| {
            let tensor = text.remove(name).with_context(|| {
                format!("{} has no `{name}`: leave --resume out", file.display())
            })?;
            let &[rows, width] = tensor.shape.as_slice() else {
                bail!(
                    "{}: `{name}` is no matrix: leave --resume out",
                    file.display()
                )
            };
            Ok(matrix(tensor.values, rows, width, device))
        };
        let space = Space {
            projection: take("space.projection")?,
            offset: take("space.offset")?,
            prototypes: take("space.prototypes")?,
            log_scale: take("space.log_scale")?,
        };
        let bytes = Bytes::from_bytes_vec(optimizer_state);
        let optimizer = optimizer
            .from_bytes(bytes)
            .map_err(|error| anyhow::anyhow!("{}: {error}; leave --resume out", of()))?;
        Ok(Some(Saved {
            step: state.step,
            space,
            text,
            optimizer,
        }))
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
