use std::fmt;

use super::ScoreError;
use super::error::check_finite;

/// What one image has in common with the classes. An empty slice means "not available".
///
/// Write `..Default::default()` when building one: later methods add fields.
#[derive(Clone, Copy, Debug, Default)]
pub struct Similarities<'a> {
    /// `[classes]`: cosines with the learned positive prompts (stage 1).
    pub positive: &'a [f32],
    /// `[negatives · classes]`: cosines with the negative prompts, context-major: prompt `i` of
    /// class `j` is at `i · classes + j`.
    pub negative: &'a [f32],
    /// `[classes]`: cosines with the hand-written prompts.
    pub zero_shot: &'a [f32],
    /// `[classes]`: logits (not cosines) of the linear probe.
    pub probe: &'a [f32],
    /// CLIP's scale of the cosines, already exponentiated (about 100).
    pub logit_scale: f32,
}

/// One kind of [`Similarities`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Input {
    /// [`Similarities::positive`].
    Positive,
    /// [`Similarities::negative`].
    Negative,
    /// [`Similarities::zero_shot`].
    ZeroShot,
    /// [`Similarities::probe`].
    Probe,
}

impl fmt::Display for Input {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Positive => "similarities with learned positive prompts",
            Self::Negative => "similarities with negative prompts",
            Self::ZeroShot => "similarities with hand-written prompts",
            Self::Probe => "logits of a linear probe",
        })
    }
}

impl<'a> Similarities<'a> {
    /// The values of one kind, empty when not available.
    pub fn get(&self, input: Input) -> &'a [f32] {
        match input {
            Input::Positive => self.positive,
            Input::Negative => self.negative,
            Input::ZeroShot => self.zero_shot,
            Input::Probe => self.probe,
        }
    }

    /// Whether one kind is available.
    pub fn has(&self, input: Input) -> bool {
        !self.get(input).is_empty()
    }

    /// The values of one kind, there and finite.
    pub(super) fn require(
        &self,
        method: &'static str,
        input: Input,
    ) -> Result<&'a [f32], ScoreError> {
        let values = self.get(input);
        if values.is_empty() {
            return Err(ScoreError::Missing { method, input });
        }
        check_finite(input, values)?;
        Ok(values)
    }

    /// The positive and the negative cosines, there, finite, and a whole number of negatives a
    /// class.
    pub(super) fn require_both(
        &self,
        method: &'static str,
    ) -> Result<(&'a [f32], &'a [f32]), ScoreError> {
        let positive = self.require(method, Input::Positive)?;
        let negative = self.require(method, Input::Negative)?;
        if !negative.len().is_multiple_of(positive.len()) {
            return Err(ScoreError::Length {
                what: Input::Negative.to_string(),
                found: negative.len(),
                expected: format!("a multiple of the {} classes", positive.len()),
            });
        }
        Ok((positive, negative))
    }

    /// The logit scale, a number above 0.
    pub(super) fn require_scale(&self) -> Result<f64, ScoreError> {
        if self.logit_scale.is_normal() && self.logit_scale > 0.0 {
            return Ok(f64::from(self.logit_scale));
        }
        Err(ScoreError::Setting {
            setting: "logit_scale",
            value: self.logit_scale,
            range: "a finite number above 0",
        })
    }
}
