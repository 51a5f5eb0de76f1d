//! What the whole-system tests share: hostile files, and the program under test with bounds on what
//! it may take.

pub mod faults;
pub mod hostile;
pub mod program;
