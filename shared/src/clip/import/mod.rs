//! Published checkpoints into this project's canonical form.
//!
//! Files are opened by the caller through burn-store (`SafetensorsStore`,
//! `PytorchStore`: its pickle reader builds tensors and never executes); here
//! their tensors are renamed by burn-store's key remapping, fused where
//! `transformers` keeps queries, keys and values apart, and batch norm is folded.
//!
//! Canonical form: OpenAI's names, f32, `visual.…` for the image tower; a
//! convolution that had a batch norm carries `weight` and `bias` instead.

#[cfg(feature = "model")]
mod canonical;
#[cfg(feature = "model")]
mod fold;
mod inferred;
#[cfg(feature = "model")]
mod names;
#[cfg(feature = "model")]
mod no_tower;
mod open_clip;
mod parts;
mod transformers;

#[cfg(feature = "model")]
pub use canonical::canonical;
pub use inferred::infer_config;
#[cfg(feature = "model")]
pub use no_tower::PROMPTS as NO_PROMPTS;
pub use open_clip::open_clip_config;
pub use parts::check_parts;
pub use transformers::transformers_config;

/// The crate that opens checkpoints; [`canonical`] takes its tensors.
#[cfg(feature = "model")]
pub use burn_store;

use serde::Deserialize;
use thiserror::Error;

use crate::bundle::{TensorValues, Tensors};
use crate::clip::config::Activation;

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
    /// A tensor that this program's towers have no place for.
    #[error(
        "tensor `{name}` {shape:?} belongs to a part that this program does not compute: the \
         features would be wrong without it; use a checkpoint of CLIP's own architecture"
    )]
    UnknownPart {
        /// Name of the tensor.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
    },
}

impl ImportError {
    fn configuration(file: &str, cause: impl ToString) -> Self {
        Self::Configuration {
            file: file.into(),
            cause: cause.to_string(),
        }
    }
}

fn parse<'a, T: Deserialize<'a>>(file: &str, json: &'a str) -> Result<T, ImportError> {
    serde_json::from_str(json).map_err(|error| ImportError::configuration(file, error))
}

/// A side that does not fit becomes one that [`ClipConfig::check`](crate::clip::ClipConfig::check)
/// refuses.
fn pixels(side: usize) -> u32 {
    u32::try_from(side).unwrap_or(u32::MAX)
}

/// A checkpoint in canonical form.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Both towers, as far as the checkpoint holds them.
    pub tensors: Tensors,
    /// `exp(logit_scale)`, when the checkpoint has one.
    pub logit_scale: Option<f32>,
    /// CLIPN's text tower for what an image does not show, under the names of a text tower, with its
    /// learned prompts as [`NO_PROMPTS`].
    pub no_text: Option<Tensors>,
    /// The activation, where the names of the tensors tell whose model it is; they do not tell it of
    /// open_clip's.
    pub activation: Option<Activation>,
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
