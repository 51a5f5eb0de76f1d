//! Every method on the same images, over several seeds: what `trainer bench` runs.
//!
//! A [`Trial`] is what is learned once: data, seed and settings. Each of its methods gives a
//! `Row`, which is kept on the disk under a key of everything that it depends on, so that a suite
//! that died goes on without repeating a finished row.

mod latex;
mod paper;
mod row;
mod suite;
mod summary;
mod trial;

pub use latex::table as latex_table;
pub use paper::folders as paper_folders;
pub use row::Rows;
pub use suite::{Suite, SuiteOptions, plan};
pub use summary::summarise;
pub use trial::{Bench, Trial, why_not};
