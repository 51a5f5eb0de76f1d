//! What the page and its worker share, and what of both can be tested without a browser.
//!
//! Two programs are built from this crate: `page` (main thread: draws and listens, holds no
//! model) and `worker` (dedicated worker: holds the model, never draws). They speak in the
//! enums of [`message`].

pub mod animation;
pub mod class_list;
#[cfg(target_arch = "wasm32")]
pub mod constructors;
pub mod edited;
pub mod lines;
pub mod message;
pub mod plot;
pub mod queue;
pub mod record;
pub mod scoring;
pub mod wording;
