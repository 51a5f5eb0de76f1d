//! CLIP: configuration, image towers, text tower, tokenizer, preprocessing and
//! weight import.

pub mod config;
#[cfg(feature = "model")]
mod direct;
#[cfg(feature = "model")]
pub mod efficientnet;
#[cfg(feature = "model")]
mod gpu;
#[cfg(feature = "input")]
pub mod import;
#[cfg(feature = "model")]
pub mod model;
#[cfg(feature = "learn")]
pub mod no_text;
#[cfg(feature = "input")]
pub mod preprocess;
pub mod preprocessing;
#[cfg(feature = "model")]
pub mod resnet;
#[cfg(feature = "model")]
pub mod text;
#[cfg(feature = "input")]
pub mod tokenizer;
#[cfg(feature = "model")]
pub mod transformer;
#[cfg(feature = "model")]
pub mod vit;
#[cfg(feature = "model")]
pub mod weights;

pub use config::{Activation, ClipConfig, ConfigError, ImageTowerConfig, TextTowerConfig};
#[cfg(feature = "model")]
pub use model::{ImageTower, normalize};
#[cfg(feature = "learn")]
pub use no_text::NoTextTower;
pub use preprocessing::Preprocessing;
#[cfg(feature = "model")]
pub use text::TextTower;
#[cfg(feature = "input")]
pub use tokenizer::Tokenizer;
#[cfg(feature = "model")]
pub use weights::{Placed, PlacedTensors, WeightError, Weights};
