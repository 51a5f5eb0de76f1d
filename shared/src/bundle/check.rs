//! Bounds that every part of a manifest keeps to. Generous for anything a trainer writes, small
//! enough that a hostile file cannot exhaust a browser tab.

use super::BundleError;

/// The most bytes of one piece of text in a manifest.
pub(super) const MAX_TEXT_BYTES: usize = 4_096;

pub(super) fn at_most(field: &str, found: usize, limit: usize) -> Result<(), BundleError> {
    if found <= limit {
        return Ok(());
    }
    let cause = format!("{found} entries are above the limit of {limit}");
    Err(BundleError::field(field, cause))
}

pub(super) fn text(field: &str, text: &str) -> Result<(), BundleError> {
    if text.len() <= MAX_TEXT_BYTES {
        return Ok(());
    }
    let cause = format!("{} bytes of text are above {MAX_TEXT_BYTES}", text.len());
    Err(BundleError::field(field, cause))
}

pub(super) fn finite(field: &str, values: &[f64]) -> Result<(), BundleError> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(index) => {
            let cause = format!("entry {index} is not a finite number");
            Err(BundleError::field(field, cause))
        }
    }
}

pub(super) fn fraction(field: &str, value: f64) -> Result<(), BundleError> {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    let cause = format!("{value} is not a fraction between 0 and 1");
    Err(BundleError::field(field, cause))
}
