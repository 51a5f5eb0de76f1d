use std::fmt;

use super::ScoreError;
use super::error::check_finite;

/// One kind of [`Similarities`].
///
/// A new kind is one more variant here, its words in [`fmt::Display`], and the line that computes
/// it in `features.rs`; no method needs to know of it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Input {
    /// `[classes]`: cosines with the learned positive prompts (stage 1).
    Positive,
    /// `[negatives · classes]`: cosines with the negative prompts, context-major: prompt `i` of
    /// class `j` is at `i · classes + j`.
    Negative,
    /// `[classes]`: cosines with the hand-written prompts.
    ZeroShot,
    /// `[classes]`: cosines with prompts that say the image does not show the class.
    No,
    /// `[classes]`: cosines with the class names in the prompt of the mined labels.
    Named,
    /// `[labels]`: cosines with negative labels mined from nouns and adjectives.
    Mined,
    /// `[labels]`: cosines with negative labels mined from nouns and modified superclass names.
    Conjugated,
    /// `[classes]`: cosines with the positive prompts that LoCoOp learned.
    LoCoOp,
    /// `[patches · classes]`, patch-major: cosines of every patch with the hand-written prompts.
    PatchZeroShot,
    /// `[patches · classes]`, patch-major: cosines of every patch with LoCoOp's prompts.
    PatchLoCoOp,
    /// `[classes]`: logits (not cosines) of the linear probe.
    Probe,
    /// `[classes]`: logits of the linear probe for the image feature with large entries clipped.
    ClippedProbe,
    /// `[classes]`: logits of the linear probe for the image feature moved towards the class that the
    /// probe names.
    PerturbedProbe,
}

impl Input {
    /// All kinds.
    pub const ALL: [Self; 13] = [
        Self::Positive,
        Self::Negative,
        Self::ZeroShot,
        Self::No,
        Self::Named,
        Self::Mined,
        Self::Conjugated,
        Self::LoCoOp,
        Self::PatchZeroShot,
        Self::PatchLoCoOp,
        Self::Probe,
        Self::ClippedProbe,
        Self::PerturbedProbe,
    ];

    /// Whether the values come in groups of one a class, so that a class can be left out of them.
    pub fn is_by_class(self) -> bool {
        !matches!(self, Self::Mined | Self::Conjugated)
    }

    /// Whether it takes features of the image's patches.
    pub fn takes_patches(self) -> bool {
        matches!(self, Self::PatchZeroShot | Self::PatchLoCoOp)
    }

    /// The place of the kind in a table of all kinds.
    pub(super) fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Input {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Positive => "similarities with learned positive prompts",
            Self::Negative => "similarities with negative prompts",
            Self::ZeroShot => "similarities with hand-written prompts",
            Self::No => "similarities with \"no\" prompts",
            Self::Named => "similarities with class names in the prompt of the mined labels",
            Self::Mined => "similarities with mined negative labels",
            Self::Conjugated => "similarities with modified superclass names",
            Self::LoCoOp => "similarities with LoCoOp's prompts",
            Self::PatchZeroShot => "similarities of patches with hand-written prompts",
            Self::PatchLoCoOp => "similarities of patches with LoCoOp's prompts",
            Self::Probe => "logits of a linear probe",
            Self::ClippedProbe => "logits of a linear probe for clipped features",
            Self::PerturbedProbe => {
                "logits of a linear probe for features moved towards their class"
            }
        })
    }
}

/// What one image has in common with the classes. An empty slice means "not available".
#[derive(Clone, Copy, Debug, Default)]
pub struct Similarities<'a> {
    values: [&'a [f32]; Input::ALL.len()],
    /// CLIP's scale of the cosines, already exponentiated (about 100).
    pub logit_scale: f32,
}

impl<'a> Similarities<'a> {
    /// Nothing yet, at this scale of the cosines.
    pub fn new(logit_scale: f32) -> Self {
        Self {
            logit_scale,
            ..Self::default()
        }
    }

    /// With the values of one kind.
    pub fn with(mut self, input: Input, values: &'a [f32]) -> Self {
        self.values[input.index()] = values;
        self
    }

    /// The values of one kind, empty when not available.
    pub fn get(&self, input: Input) -> &'a [f32] {
        self.values[input.index()]
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

    /// The values of a kind by class, and of another that holds a whole number of groups of one a
    /// class; both there and finite.
    pub(super) fn require_groups(
        &self,
        method: &'static str,
        by_class: Input,
        groups: Input,
    ) -> Result<(&'a [f32], &'a [f32]), ScoreError> {
        let classes = self.require(method, by_class)?;
        let values = self.require(method, groups)?;
        if !values.len().is_multiple_of(classes.len()) {
            return Err(ScoreError::Length {
                what: groups.to_string(),
                found: values.len(),
                expected: format!("a multiple of the {} classes", classes.len()),
            });
        }
        Ok((classes, values))
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
