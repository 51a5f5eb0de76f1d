//! Set-up and chores. `cargo xtask` lists them.

pub mod bench;
pub mod bundle;
pub mod checks;
pub mod faults;
pub mod page;
pub mod run;
pub mod seal;
pub mod serve;
pub mod tools;
pub mod webdriver;
