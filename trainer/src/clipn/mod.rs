//! CLIPN's "no" text tower, learned from images with captions.
//!
//! Source: Wang et al., *CLIPN for Zero-Shot OOD Detection: Teaching CLIP to Say No*, ICCV 2023. As
//! there, CLIP is frozen; a second text tower, begun from the first, and "no" prompts, begun from zero,
//! learn by the image-text binary-opposite and the text semantic-opposite loss. The image features do
//! not change, so they are computed once and kept.

mod learn;
mod pairs;
mod run;

pub use learn::Course;
pub use run::{Run, run};
