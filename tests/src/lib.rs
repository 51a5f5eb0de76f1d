//! What the whole-system tests share: hostile files, a hub on this machine, and the program under test with bounds on what
//! it may take.

pub mod faults;
pub mod hostile;
pub mod hub;
pub mod program;
