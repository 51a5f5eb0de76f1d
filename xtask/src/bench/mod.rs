//! Measurements beside other programs.

mod child;
mod machine;
mod onnx;
pub mod prompts;
pub mod scale;
pub mod score;
mod web;

pub use web::web;
