//! The parsers of the crate `shared`, from the same files, without the towers and so without Burn.

#[path = "../../../shared/src/bundle/mod.rs"]
pub mod bundle;
#[path = "../../../shared/src/metric/mod.rs"]
pub mod metric;
#[path = "../../../shared/src/score/mod.rs"]
pub mod score;

/// Configuration, preprocessing and tokenizer.
pub mod clip {
    #[path = "../../../../shared/src/clip/config.rs"]
    pub mod config;
    #[path = "../../../../shared/src/clip/preprocess.rs"]
    pub mod preprocess;
    #[path = "../../../../shared/src/clip/tokenizer.rs"]
    pub mod tokenizer;

    pub use config::{Activation, ClipConfig, ConfigError, ImageTowerConfig, TextTowerConfig};
    pub use preprocess::Preprocessing;
    pub use tokenizer::Tokenizer;
}
