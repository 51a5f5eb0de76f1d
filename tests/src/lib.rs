//! What the whole-system tests share: hostile files, a hub on this machine, a bundle of many files,
//! and the program under test with bounds on what
//! it may take.

pub mod faults;
pub mod hostile;
pub mod hub;
pub mod large;
pub mod program;
