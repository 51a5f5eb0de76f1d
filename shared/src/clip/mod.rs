//! CLIP: configuration, image towers, text tower, tokenizer, preprocessing and
//! weight import.

pub mod config;
#[cfg(feature = "model")]
pub mod efficientnet;
#[cfg(feature = "model")]
pub mod import;
#[cfg(feature = "model")]
pub mod model;
#[cfg(feature = "model")]
pub mod preprocess;
pub mod preprocessing;
#[cfg(feature = "model")]
pub mod resnet;
#[cfg(feature = "model")]
pub mod text;
#[cfg(feature = "model")]
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
pub use preprocessing::Preprocessing;
#[cfg(feature = "model")]
pub use text::TextTower;
#[cfg(feature = "model")]
pub use tokenizer::Tokenizer;
#[cfg(feature = "model")]
pub use weights::{WeightError, Weights};
