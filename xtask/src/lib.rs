//! Set-up and chores. `cargo xtask` lists them.

pub mod bench;
pub mod bundle;
pub mod checks;
pub mod faults;
pub mod fuzz;
pub mod page;
pub mod run;
pub mod seal;
pub mod serve;
pub mod supply_chain;
pub mod tools;
pub mod webdriver;
