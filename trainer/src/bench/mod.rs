//! Every method on the same images, over several seeds: what `trainer bench` runs.
//!
//! A [`Trial`] is what is learned once: data, seed and settings. Each of its methods gives a
//! `Row`, which is kept on the disk under a key of everything that it depends on, so that a suite
//! that died goes on without repeating a finished row.

mod hard;
mod latex;
mod paper;
mod planned;
mod row;
mod suite;
mod summary;
mod task;
mod template;
mod trial;

pub use hard::tasks as hard_tasks;
pub use latex::table as latex_table;
pub use paper::{differences, imagenet, ood_sets};
pub use planned::why_not;
pub use row::{Row, Rows};
pub use suite::{Suite, SuiteOptions, ablation_groups, plan};
pub use summary::{ablation_figures, summarise};
pub use task::Task;
pub use template::spread as template_spread;
pub use trial::{Bench, Trial};
