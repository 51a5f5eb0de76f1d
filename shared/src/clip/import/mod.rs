//! Published checkpoints into this project's canonical form.
//!
//! Files are opened by the caller through burn-store (`SafetensorsStore`,
//! `PytorchStore`: its pickle reader builds tensors and never executes); here
//! their tensors are renamed by burn-store's key remapping, fused where
//! `transformers` keeps queries, keys and values apart, and batch norm is folded.
//!
//! Canonical form: OpenAI's names, f32, `visual.…` for the image tower; a
//! convolution that had a batch norm carries `weight` and `bias` instead.

mod configuration;
mod fold;
mod names;

pub use configuration::{infer_config, open_clip_config, transformers_config};

/// The crate that opens checkpoints; [`canonical`] takes its tensors.
pub use burn_store;

use burn::tensor::DType;
use burn_store::bridge;
use burn_store::burn_pack::Tensor as StoredTensor;
use thiserror::Error;

use crate::bundle::{TensorValues, Tensors};

/// Why a checkpoint cannot be used.
#[derive(Error, Debug, Clone, PartialEq)]
pub enum ImportError {
    /// None of the known namings fits.
    #[error(
        "this is not a CLIP or EfficientNet-Lite checkpoint: it holds {count} tensors, among them \
         {examples}; expected the names of `transformers`, OpenAI, open_clip or \
         efficientnet-lite-pytorch"
    )]
    Foreign {
        /// Number of tensors in the file.
        count: usize,
        /// A few of their names.
        examples: String,
    },
    /// A tensor could not be read.
    #[error(
        "tensor `{name}` cannot be read ({cause}); the file is cut short or damaged, fetch it again"
    )]
    Unreadable {
        /// Name in the checkpoint.
        name: String,
        /// What the reader said.
        cause: String,
    },
    /// A tensor that another one calls for is not there.
    #[error("the checkpoint has `{present}` but not `{missing}`; it is cut short, fetch it again")]
    Incomplete {
        /// What is there.
        present: String,
        /// What should be there as well.
        missing: String,
    },
    /// Two tensors that belong together disagree in shape.
    #[error("tensor `{name}` has shape {found:?}, which does not fit {fits}")]
    Shape {
        /// Name of the tensor.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// What it should fit.
        fits: String,
    },
    /// The configuration file does not describe a CLIP model.
    #[error("{file}: {cause}")]
    Configuration {
        /// Name of the configuration file.
        file: String,
        /// What is wrong and what was expected.
        cause: String,
    },
}

/// A checkpoint in canonical form.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Both towers, as far as the checkpoint holds them.
    pub tensors: Tensors,
    /// `exp(logit_scale)`, when the checkpoint has one.
    pub logit_scale: Option<f32>,
    /// The classifier of an EfficientNet-Lite: weight `[classes, head_width]`, bias `[classes]`.
    pub classifier: Option<Classifier>,
}

/// A linear classifier over the pooled feature.
#[derive(Clone, Debug, PartialEq)]
pub struct Classifier {
    /// `[classes, head_width]`.
    pub weight: TensorValues,
    /// `[classes]`.
    pub bias: TensorValues,
}

/// Brings the tensors of one checkpoint into canonical form.
///
/// # Errors
/// A foreign or incomplete checkpoint, or a tensor that cannot be read.
pub fn canonical(stored: Vec<StoredTensor>) -> Result<Checkpoint, ImportError> {
    let naming = names::Naming::of(&stored).ok_or_else(|| ImportError::Foreign {
        count: stored.len(),
        examples: stored
            .iter()
            .take(4)
            .map(|tensor| format!("`{}`", tensor.name))
            .collect::<Vec<_>>()
            .join(", "),
    })?;
    let (renamed, _) = naming.remapper().remap(stored);
    let mut tensors = Tensors::new();
    for tensor in renamed {
        // Integer tensors are counters and position ids: nothing to learn from them.
        if tensor.dtype.is_float() {
            let (name, values) = read(tensor)?;
            tensors.insert(name, values);
        }
    }
    names::fuse_attention(&mut tensors)?;
    names::transpose_projections(&mut tensors)?;
    fold::fold_batch_norms(&mut tensors, naming.batch_norm_epsilon())?;
    let logit_scale = tensors
        .remove("logit_scale")
        .and_then(|scale| scale.values.first().map(|log| log.exp()));
    let classifier = match (
        tensors.remove("classifier.weight"),
        tensors.remove("classifier.bias"),
    ) {
        (Some(weight), Some(bias)) => Some(Classifier { weight, bias }),
        _ => None,
    };
    Ok(Checkpoint {
        tensors,
        logit_scale,
        classifier,
    })
}

fn read(tensor: StoredTensor) -> Result<(String, TensorValues), ImportError> {
    let name = tensor.name.clone();
    let unreadable = |cause: String| ImportError::Unreadable {
        name: name.clone(),
        cause,
    };
    let shape = tensor.shape.to_vec();
    let data = bridge::into_data(tensor).map_err(|error| unreadable(error.to_string()))?;
    let values = data
        .convert_dtype(DType::F32)
        .try_into_vec::<f32>()
        .map_err(|error| unreadable(format!("{error:?}")))?;
    let values = TensorValues::new(shape, values).map_err(|error| unreadable(error.to_string()))?;
    Ok((name, values))
}
