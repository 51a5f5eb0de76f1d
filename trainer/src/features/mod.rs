//! Image features: computed once, kept in a file that Python reads too, and mapped into memory.
//!
//! The file is safetensors with
//! - `features` `[images, width]`, F16 or F32, as the image tower gives them, not normalised;
//! - `labels` `[images]`, I32, −1 where the class is not known;
//! - `hashes` `[images, 32]`, U8, the SHA-256 of each image file;
//! - `files` `[bytes]`, U8, the names of the images, joined by newlines;
//!
//! and in the header's metadata `format` = `negprompt-features`, `version`, `classes` (a JSON
//! array), `model`, `count`, `checksum` (SHA-256 of everything behind the header), and `key`, which
//! says what computed the features ([`feature_key`]).

mod cache;
mod encode;
mod journal;
mod key;
mod layout;
mod patches;
mod prepare;
mod stream;
#[cfg(test)]
mod tests;
mod usable;
mod writer;

pub use cache::FeatureCache;
pub use encode::{EncodeOptions, EncodeReport, encode};
pub use key::feature_key;
pub use layout::FeaturePrecision;
pub use patches::encode_patches;
pub use prepare::prepare;
pub use stream::{forward_pixels, in_batches};
pub use usable::usable;
pub use writer::unfinished;
