use std::cmp::Ordering;

use thiserror::Error;

/// Why a metric could not be computed. Each message names the input and the way out.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum MetricError {
    /// There is nothing to measure.
    #[error("{what} are empty: a rate needs at least one sample")]
    Empty {
        /// The input, for example "ID scores".
        what: &'static str,
    },
    /// A NaN or an infinity, which has no place in a ranking.
    #[error(
        "{what}: entry {index} is {value}; only finite values can be ranked, look for a broken \
         image, feature or weight before the scores"
    )]
    NotFinite {
        /// The input.
        what: &'static str,
        /// Where in the input.
        index: usize,
        /// The offending value.
        value: f64,
    },
    /// Two inputs that describe the same samples differ in length.
    #[error(
        "{left} has {left_len} entries and {right} has {right_len}: both must describe the same \
         samples in the same order"
    )]
    Lengths {
        /// The first input.
        left: &'static str,
        /// Its length.
        left_len: usize,
        /// The second input.
        right: &'static str,
        /// Its length.
        right_len: usize,
    },
    /// A rate, share or count outside its range.
    #[error("{what} is {value}; it must be {range}")]
    OutOfRange {
        /// The input.
        what: &'static str,
        /// The offending value.
        value: f64,
        /// The range in words.
        range: &'static str,
    },
    /// Values that must be in order are not.
    #[error("{what}: entry {index} is out of order; it must be {order}")]
    Order {
        /// The input.
        what: &'static str,
        /// The first entry that breaks the order.
        index: usize,
        /// The order in words.
        order: &'static str,
    },
}

/// Refuses empty inputs, NaN and infinities.
pub(super) fn check_finite(what: &'static str, values: &[f64]) -> Result<(), MetricError> {
    if values.is_empty() {
        return Err(MetricError::Empty { what });
    }
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(MetricError::NotFinite {
            what,
            index,
            value: values[index],
        }),
        None => Ok(()),
    }
}

/// A checked copy of `values` in ascending order.
pub(crate) fn sorted(what: &'static str, values: &[f64]) -> Result<Vec<f64>, MetricError> {
    check_finite(what, values)?;
    let mut sorted = values.to_vec();
    // Not `total_cmp`: it puts -0.0 below 0.0, and the two must tie.
    sorted.sort_unstable_by(|a, b| a.partial_cmp(b).unwrap_or(Ordering::Equal));
    Ok(sorted)
}

/// Refuses inputs of different lengths.
pub(super) fn check_lengths(
    left: &'static str,
    left_len: usize,
    right: &'static str,
    right_len: usize,
) -> Result<(), MetricError> {
    if left_len == right_len {
        return Ok(());
    }
    Err(MetricError::Lengths {
        left,
        left_len,
        right,
        right_len,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_input_and_the_entry() {
        let error = check_finite("ID scores", &[0.0, f64::NAN]).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("ID scores") && message.contains("entry 1"));
        assert_eq!(
            check_finite("OOD scores", &[]),
            Err(MetricError::Empty { what: "OOD scores" })
        );
        assert!(check_finite("ID scores", &[f64::NEG_INFINITY]).is_err());
    }

    #[test]
    fn both_zeros_tie_after_sorting() {
        let sorted = sorted("ID scores", &[0.0, -0.0, -1.0]).unwrap();
        assert_eq!(sorted, [-1.0, 0.0, 0.0]);
    }
}
