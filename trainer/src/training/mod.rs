//! Prompt learning: stage 1, stage 2, the linear probe, and what they share.

pub mod batches;
pub mod bundle;
pub mod checkpoints;
pub mod class_names;
pub mod config;
pub mod encoded;
pub mod evaluate;
pub mod experiment;
pub mod labels;
pub mod learner;
pub mod locoop;
pub mod map;
pub mod module_checkpoint;
pub mod negative;
pub mod odin;
pub mod outsiders;
mod overlap;
pub mod positive;
pub mod probe;
pub mod run;
pub mod run_lock;
pub mod selection;
pub mod tune;

pub use config::TrainingConfig;
