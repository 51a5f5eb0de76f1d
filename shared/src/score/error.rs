use thiserror::Error;

use super::Input;

/// Why an image could not be scored. Each message names the input and the way out.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ScoreError {
    /// The method needs something that is not there.
    #[error("{method} needs {input}, which are not there; choose another method or another bundle")]
    Missing {
        /// The method's name.
        method: &'static str,
        /// What is missing.
        input: Input,
    },
    /// A length that does not fit the others.
    #[error("{what}: {found} values where {expected} belong")]
    Length {
        /// The input.
        what: String,
        /// Its length.
        found: usize,
        /// What fits, in words.
        expected: String,
    },
    /// A NaN or an infinity.
    #[error("{what}: entry {index} is {value}; look for a broken image, feature or weight")]
    NotFinite {
        /// The input.
        what: String,
        /// Where in the input.
        index: usize,
        /// The offending value.
        value: f32,
    },
    /// With one class and nothing to compare it with, every image scores the same.
    #[error("{method} compares classes and there is only one; add a class or choose NegPrompt")]
    OneClass {
        /// The method's name.
        method: &'static str,
    },
    /// A setting outside its range.
    #[error("the setting {setting} is {value}; it must be {range}")]
    Setting {
        /// The field of `MethodSettings`.
        setting: &'static str,
        /// The offending value.
        value: f32,
        /// The range in words.
        range: &'static str,
    },
    /// A text feature that is not of unit length, so that its products are not cosines.
    #[error(
        "{what}: row {row} has length {length} where 1 belongs; normalise the features before \
         they are stored"
    )]
    NotUnitLength {
        /// The input.
        what: String,
        /// The row.
        row: usize,
        /// Its Euclidean length.
        length: f32,
    },
    /// An image feature without a direction.
    #[error("image feature {row} is all zeros and has no direction; look for a broken weight")]
    ZeroFeature {
        /// Which image.
        row: usize,
    },
    /// A score that is not finite for finite inputs: the settings stretch it too far.
    #[error("the score of {method} overflows; its temperature is too small")]
    Overflow {
        /// The method's name.
        method: &'static str,
    },
}

/// Refuses NaN and infinities.
pub(super) fn check_finite(what: impl ToString, values: &[f32]) -> Result<(), ScoreError> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(ScoreError::NotFinite {
            what: what.to_string(),
            index,
            value: values[index],
        }),
        None => Ok(()),
    }
}
