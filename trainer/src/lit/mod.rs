//! Locked-image tuning (*LiT: Zero-Shot Transfer with Locked-image Text Tuning*, CVPR 2022) of a
//! small text tower, without captions from the web.
//!
//! 1. [`space`]: the joint space, from the locked tower's own classifier.
//! 2. [`bag`]: the text tower starts as a bag of words.
//! 3. [`captions`], [`train`]: it learns sentences around the words of a concept corpus, with what
//!    they mean in that space.
//! 4. [`names`]: in the second half of the steps the class names compete for images as well, as
//!    they will in a zero-shot classifier.
//! 5. The image projection is fitted once more, to the text features that the tower really gives.

mod bag;
mod captions;
mod card;
mod concepts;
mod directory;
mod learn;
pub mod matrix;
mod meaning;
mod measure;
mod names;
mod photos;
mod progress_file;
pub mod random;
mod run;
mod space;
mod templates;
pub mod tower;
mod train;

pub use run::{Run, run};
