//! The page in a real browser, driven over WebDriver.
//!
//! The page has to be built (`cargo xtask web`; `cargo xtask test` does it first), and Chromium
//! with its driver installed. Each test writes screenshots into `page/` of the target folder.

mod bad_input;
mod bundles;
mod constructors;
mod device;
mod everyday;
mod hostile;
mod large;
mod load;
mod network;
mod offline;
mod parity;
mod patches;
mod reach;
mod recovery;
mod stage;
mod versions;
mod ways_in;
mod wire;
