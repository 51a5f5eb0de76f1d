//! CLIP: configuration, image towers, text tower, tokenizer, preprocessing and
//! weight import.

pub mod config;
pub mod efficientnet;
pub mod import;
pub mod model;
pub mod preprocess;
pub mod resnet;
pub mod text;
pub mod tokenizer;
pub mod transformer;
pub mod vit;
pub mod weights;

pub use config::{Activation, ClipConfig, ConfigError, ImageTowerConfig, TextTowerConfig};
pub use model::{ImageTower, normalize};
pub use preprocess::Preprocessing;
pub use text::TextTower;
pub use tokenizer::Tokenizer;
pub use weights::{WeightError, Weights};
