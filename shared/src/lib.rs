//! What the trainer and the page must do identically: CLIP, negative prompts,
//! scores, metrics and the bundle.
//!
//! This crate touches no file system, no DOM and no clock, and compiles to WASM.
//! Data takes one path through it: bytes → decoded RGB → preprocessed tensor →
//! image feature → scores → verdict.
//!
//! The feature `input` adds what turns photos and names into a tower's input: decoding, preprocessing
//! and tokenizer; `model` adds the towers, prompts and Burn. Without both stay formats, scores and
//! metrics, for a program that holds no model.
//! The feature `learn` (on by default) adds to it the gradients that teach prompts.
//!
//! Notation follows *Learning Transferable Negative Prompts for
//! Out-of-Distribution Detection* (CVPR 2024): `k` classes, `p` negative prompts
//! a class, `M` context tokens, `d` joint embedding width.

pub mod bundle;
pub mod clip;
pub mod metric;
#[cfg(feature = "model")]
pub mod prompt;
pub mod score;
mod simd;
mod single;
