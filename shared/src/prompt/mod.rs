//! Prompts: learned contexts in front of class names, and the losses that teach them.
//!
//! Positive prompt of class j: `[SOS] v_1 … v_M name_j . [EOS]`. Negative prompt i of
//! class j: `[SOS] u_{i,1} … u_{i,M} name_j . [EOS]`. Contexts are shared by all
//! classes unless they are class-specific.

pub mod context;
pub mod encode;
#[cfg(feature = "learn")]
pub mod learn;
pub mod loss;
#[cfg(feature = "learn")]
pub mod opposite;
pub mod template;

pub use encode::{PromptEncoder, suffixes};
#[cfg(feature = "learn")]
pub use learn::{ACTIVATION_MEMORY, ContextEncoder, LossGradient};
