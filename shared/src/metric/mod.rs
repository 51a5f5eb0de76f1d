//! How well scores separate in-distribution (ID) from out-of-distribution (OOD) images.
//!
//! Every function takes scores where **higher means more ID**, ID first, then OOD. All rates are
//! fractions of one, and everything runs in O(n log n).
//!
//! Two rules keep the figures honest:
//! - **Ties flatter nobody.** AUROC and OSCR count a tie as one half; the threshold of FPR95 is the
//!   one that keeps *at least* 95 % of ID, and a sample is in when `score >= threshold`.
//! - **Nothing broken is ranked.** Empty inputs, NaN and infinities are a [`MetricError`] that
//!   names the input, because wherever they were sorted they would produce a plausible number.

mod accuracy;
mod calibration;
mod conformal;
mod digits;
mod error;
mod open_set;
mod precision_recall;
mod ranking;
mod rates;
mod threshold;

pub use accuracy::{ECE_BINS, accuracy, ece};
pub use calibration::{Calibration, ExpectedRates, MAX_CALIBRATION_POINTS};
pub use conformal::{conformal_quantiles, p_value};
pub(crate) use digits::rounded_down;
pub use error::MetricError;
pub(crate) use error::sorted;
pub use open_set::oscr;
pub use precision_recall::{aupr_in, aupr_out};
pub use ranking::auroc;
pub use rates::OodRates;
pub use threshold::{fpr_at_tpr, threshold_at_tpr};

/// The true-positive rate of "FPR95": the share of ID that the default threshold keeps.
pub const DEFAULT_TPR: f64 = 0.95;

/// What the inputs are called in error messages.
const ID_SCORES: &str = "ID scores";
const OOD_SCORES: &str = "OOD scores";

#[cfg(test)]
pub(crate) mod generator;
