//! The exported artefact: what a training run hands to the page and to `predict`.
//!
//! A bundle is a folder of `bundle.json` (the [`Manifest`]) and content files named after their
//! role and hash: `image-tower-1f0c….safetensors`, `vocabulary-98aa….txt`. A name that holds the
//! hash can be cached for ever, and a file that does not hash to its name is refused. No tensor file
//! is larger than [`MAX_SHARD_BYTES`], so that it streams, verifies and caches in steps.
//!
//! Everything here is a function from bytes to bytes: [`write()`] gives the files to store,
//! [`Manifest::parse`], [`BundleReader`] and [`Bundle::open`] read them from wherever they come.
//! What comes in is not trusted: sizes, counts, names, hashes, shapes and finiteness are checked
//! before anything is built from it.

mod check;
mod error;
mod figures;
mod file;
mod known_answer;
mod manifest;
mod method;
mod outsiders;
mod pack;
mod precision;
mod provenance;
mod read;
mod safetensors_file;
mod tensor;
mod write;

pub use error::BundleError;
pub use figures::{Curve, Figures, Histogram, HistogramSeries, Loss, MAX_SERIES, Map, MapPoint};
pub use file::{Dtype, FileEntry, Role, sha256_hex};
pub use known_answer::{KnownAnswer, KnownInput, generated_pixels, mean_patch};
pub use manifest::{MAX_CLASSES, MAX_MANIFEST_BYTES, Manifest, PromptEntry};
pub use method::{MAX_CALIBRATION_SCORES, MethodEntry};
pub use outsiders::Outsiders;
pub use pack::{Part, Parts};
pub use precision::{Precision, Quantized, dequantize, quantize_int8, to_f16};
pub use provenance::{DataSource, Licence, Provenance};
pub use read::{Bundle, BundleReader};
pub use safetensors_file::{decode_each, decode_tensors, encode_tensors};
pub use tensor::{TensorValues, Tensors};
pub use write::{BundleContent, TensorGroup, TextFile, class_feature_tensors, write};

/// What `bundle.json` calls itself.
pub const FORMAT: &str = "negprompt-bundle";

/// The version of the format that this crate writes and reads.
pub const FORMAT_VERSION: u32 = 1;

/// The name of the manifest in a bundle's folder.
pub const MANIFEST_FILE: &str = "bundle.json";

/// The most bytes of one content file.
pub const MAX_SHARD_BYTES: usize = 32_000_000;

/// Names of tensors that have a meaning of their own.
pub mod tensor_name {
    /// [`Role::Features`](super::Role::Features): `[classes, d]`, unit length, learned positive
    /// prompts.
    pub const POSITIVE: &str = "positive";
    /// [`Role::Features`](super::Role::Features): `[negatives · classes, d]`, unit length,
    /// context-major.
    pub const NEGATIVE: &str = "negative";
    /// [`Role::Features`](super::Role::Features): `[classes, d]`, unit length, hand-written
    /// prompts.
    pub const ZERO_SHOT: &str = "zero_shot";
    /// [`Role::Features`](super::Role::Features), optional: `[classes, d]`, unit length, prompts that
    /// say an image does not show the class.
    pub const NO: &str = "no";
    /// [`Role::Features`](super::Role::Features), optional: `[classes, d]`, unit length, class names
    /// in the prompt of the mined labels.
    pub const NAMED: &str = "named";
    /// [`Role::Features`](super::Role::Features), optional: `[labels, d]`, unit length, mined
    /// negative labels.
    pub const MINED: &str = "mined";
    /// [`Role::Features`](super::Role::Features), optional: `[labels, d]`, unit length, mined nouns and
    /// modified superclass names.
    pub const CONJUGATED: &str = "conjugated";
    /// [`Role::Features`](super::Role::Features), optional: `[classes, d]`, unit length, LoCoOp's
    /// prompts.
    pub const LOCOOP: &str = "locoop";
    /// [`Role::Features`](super::Role::Features), optional: `[1]`, where ReAct clips the image
    /// feature.
    pub const REACT_CLIP: &str = "react_clip";
    /// [`Role::Features`](super::Role::Features): `[classes, d]`, weights of the linear probe.
    pub const PROBE_WEIGHT: &str = "probe.weight";
    /// [`Role::Features`](super::Role::Features): `[classes]`, biases of the linear probe.
    pub const PROBE_BIAS: &str = "probe.bias";
    /// [`Role::Features`](super::Role::Features): `[points, d]`, unit length, the image features
    /// behind the points of the map, in their order: a new photo goes where its neighbours are.
    pub const MAP_FEATURES: &str = "map.features";
    /// [`Role::Outsiders`](super::Role::Outsiders): `[photos, 1 + patches, d]`, not normalised: each
    /// photo's feature, and then those of its patches.
    pub const OUTSIDERS: &str = "outsiders";
    /// [`Role::Prompts`](super::Role::Prompts): `[M, width]`, or `[classes, M, width]` when
    /// class-specific.
    pub const POSITIVE_CONTEXT: &str = "positive_context";
    /// [`Role::Prompts`](super::Role::Prompts): `[p, M, width]`, or `[p, classes, M, width]` when
    /// class-specific.
    pub const NEGATIVE_CONTEXT: &str = "negative_context";
    /// [`Role::Prompts`](super::Role::Prompts), optional: LoCoOp's, in the shape of
    /// [`POSITIVE_CONTEXT`].
    pub const LOCOOP_CONTEXT: &str = "locoop_context";
}

#[cfg(test)]
mod example;
#[cfg(test)]
mod round_trip;
