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
//!
//! A shard of a larger list of images has besides
//! - `positions` `[images]`, I32, where each image stands in the whole list;
//! - `skipped` `[bytes]`, U8, a JSON object a line for each image that could not be read;
//!
//! and in the metadata `shard` (`I/N`), `total` (images in the whole list) and `listing` (SHA-256 of
//! the list). `docs/features.md` describes the format for readers in other languages.

mod cache;
mod destination;
mod encode;
mod journal;
mod key;
mod layout;
mod merge;
mod patches;
mod prepare;
mod shard;
mod shard_file;
mod stream;
#[cfg(test)]
mod tests;
mod usable;
mod writer;

pub use cache::FeatureCache;
pub use destination::check_destination;
pub use encode::{EncodeOptions, EncodeReport, Resume, Worker, encode};
pub use key::{feature_key, hexadecimal};
pub use layout::FeaturePrecision;
pub use merge::merge;
pub use patches::encode_patches;
pub use prepare::prepare;
pub use shard::{Shard, is_finished, select};
pub use stream::{forward_patches, forward_pixels, in_batches};
pub use usable::usable;
pub use writer::unfinished;
