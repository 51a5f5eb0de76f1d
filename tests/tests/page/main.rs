//! The page in a real browser, driven over WebDriver.
//!
//! The page has to be built (`cargo xtask web`; `cargo xtask test` does it first), and Chromium
//! with its driver installed. Each test writes screenshots into `page/` of the target folder.

mod bad_input;
mod device;
mod everyday;
mod offline;
mod parity;
mod reach;
mod stage;
mod ways_in;
