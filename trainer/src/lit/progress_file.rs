//! What a killed run leaves, so that `--resume` goes on from it: the joint space beside the text tower.

use std::path::Path;

use anyhow::{Context, Result, bail};
use burn::optim::ModuleOptimizer;
use burn::tensor::Device;
use shared::bundle::{TensorValues, Tensors};

use super::matrix::{matrix, values};
use super::space::Space;
use crate::training::module_checkpoint::{ModuleCheckpoint, SavedModule};

/// The checkpoint of one run.
pub struct Checkpoint(ModuleCheckpoint);

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
        Self(ModuleCheckpoint::new(work, parts))
    }

    /// Replaces the checkpoint.
    pub fn save(
        &self,
        step: usize,
        space: &Space,
        text: &Tensors,
        optimizer: &ModuleOptimizer,
    ) -> Result<()> {
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
        self.0.save(step, &tensors, optimizer)
    }

    /// The checkpoint, if there is one.
    ///
    /// # Errors
    /// When it belongs to another run, or is damaged.
    pub fn open(&self, optimizer: ModuleOptimizer, device: &Device) -> Result<Option<Saved>> {
        let Some(saved) = self.0.open(optimizer)? else {
            return Ok(None);
        };
        let SavedModule {
            step,
            tensors: mut text,
            optimizer,
        } = saved;
        let folder = self.0.folder().display();
        let mut take = |name: &str| {
            let tensor = text
                .remove(name)
                .with_context(|| format!("{folder} has no `{name}`: leave --resume out"))?;
            let &[rows, width] = tensor.shape.as_slice() else {
                bail!("{folder}: `{name}` is no matrix: leave --resume out")
            };
            Ok(matrix(tensor.values, rows, width, device))
        };
        let space = Space {
            projection: take("space.projection")?,
            offset: take("space.offset")?,
            prototypes: take("space.prototypes")?,
            log_scale: take("space.log_scale")?,
        };
        Ok(Some(Saved {
            step,
            space,
            text,
            optimizer,
        }))
    }
}
