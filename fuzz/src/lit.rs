//! The corpus that `trainer lit` reads.

#[path = "../../trainer/src/lit/concepts.rs"]
pub mod concepts;
