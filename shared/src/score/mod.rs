//! From similarities to a score: one [`Method`] a file, one line each in the registry below.
//!
//! Every score is higher for images that look more in-distribution, and is computed in `f64`.
//!
//! # Why probabilities are scored as log-odds
//! At CLIP's scale (about 100) the probability of a clear case is `1 − 10⁻²⁰`, which rounds to 1
//! even in double precision: the clearest images would tie with each other. So a method whose paper
//! scores by a probability `p` returns its log-odds `ln(p / (1 − p))` instead, computed without ever
//! forming `p`: with `p = exp(m) / (exp(m) + Σ exp(rest))` it is `m − logsumexp(rest)`. The log-odds
//! rise strictly with `p`, so that every ranking, threshold and metric is that of the paper's score,
//! and neither end saturates. [`ScoreScale::display`] turns a score into what people read.

mod clipn;
mod compare;
mod coop;
mod csp;
mod energy;
mod error;
mod explanation;
mod features;
mod gl_mcm;
mod locoop;
mod max_logit;
mod mcm;
mod mining;
mod msp;
mod neglabel;
mod negprompt;
mod negprompt_mined;
mod odin;
mod react;
mod rows;
mod scale;
mod similarities;
mod softmax;
mod verdict;

pub use clipn::{ClipnAgreeing, ClipnCompeting};
pub use coop::CoOp;
pub use csp::Csp;
pub use energy::Energy;
pub use error::ScoreError;
pub use explanation::{ClassProbability, Explanation, FiredNegative};
pub use features::{ClassFeatures, ImageFeatures, Patches, Probe, SimilarityBuffer};
pub use gl_mcm::GlMcm;
pub use locoop::{LoCoOp, LoCoOpGl};
pub use max_logit::MaxLogit;
pub use mcm::Mcm;
pub use mining::far_labels;
pub use msp::Msp;
pub use neglabel::NegLabel;
pub use negprompt::NegPrompt;
pub use negprompt_mined::NegPromptMined;
pub use odin::{ODIN_STEP, ODIN_TEMPERATURE, Odin, odin_step};
pub use react::ReAct;
pub use rows::{Prediction, SimilarityRows, predict_all, score_all};
pub use scale::ScoreScale;
pub use similarities::{Input, Similarities};
pub use verdict::Verdict;

use serde::{Deserialize, Serialize};

/// All methods, in the order of the table.
pub fn methods() -> &'static [&'static dyn Method] {
    &[
        &NegPrompt,
        &NegPromptMined,
        &CoOp,
        &LoCoOp,
        &LoCoOpGl,
        &Mcm,
        &GlMcm,
        &ClipnCompeting,
        &ClipnAgreeing,
        &NegLabel,
        &Csp,
        &MaxLogit,
        &Energy,
        &ReAct,
        &Odin,
        &Msp,
    ]
}

/// The method with this [`Method::id`].
pub fn method(id: &str) -> Option<&'static dyn Method> {
    methods().iter().copied().find(|method| method.id() == id)
}

/// A rule that turns the similarities of one image into an ID-ness score.
pub trait Method: Sync {
    /// A stable name for files and options, in kebab case.
    fn id(&self) -> &'static str;

    /// The name in tables.
    fn name(&self) -> &'static str;

    /// The score as one line of plain text.
    fn equation(&self) -> &'static str;

    /// The paper it comes from.
    fn source(&self) -> &'static str;

    /// What must be in the [`Similarities`]; where something is missing the method is not offered.
    fn needs(&self) -> &'static [Input];

    /// Whether it takes features of the image's patches.
    fn takes_patches(&self) -> bool {
        self.needs().iter().any(|need| need.takes_patches())
    }

    /// What the score's numbers mean to people.
    fn scale(&self) -> ScoreScale;

    /// The settings of the paper, for a model with this `logit_scale` (already exponentiated).
    fn default_settings(&self, logit_scale: f32) -> MethodSettings;

    /// The score, higher for more in-distribution. Always finite.
    ///
    /// # Errors
    /// When an input is missing, empty, of the wrong length or not finite, when there are too few
    /// classes for the rule, or when the settings are out of range.
    fn score(
        &self,
        similarities: &Similarities<'_>,
        settings: &MethodSettings,
    ) -> Result<f64, ScoreError>;

    /// `[classes]`: the probability of each class for this image, for the top-5 and for ECE.
    ///
    /// # Errors
    /// As [`Method::score`].
    fn class_probabilities(
        &self,
        similarities: &Similarities<'_>,
        settings: &MethodSettings,
    ) -> Result<Vec<f64>, ScoreError>;

    /// The negative prompts that weighed most on this image, strongest first; none for methods
    /// without negatives.
    ///
    /// # Errors
    /// As [`Method::score`].
    fn fired_negatives(
        &self,
        _similarities: &Similarities<'_>,
        _settings: &MethodSettings,
    ) -> Result<Vec<FiredNegative>, ScoreError> {
        Ok(Vec::new())
    }

    /// Everything that a card shows of this image.
    ///
    /// # Errors
    /// As [`Method::score`].
    fn explain(
        &self,
        similarities: &Similarities<'_>,
        settings: &MethodSettings,
    ) -> Result<Explanation, ScoreError> {
        Explanation::assemble(
            self.score(similarities, settings)?,
            &self.class_probabilities(similarities, settings)?,
            self.fired_negatives(similarities, settings)?,
        )
    }
}

/// What can be chosen about a method; kept in the bundle, so that page and trainer agree.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct MethodSettings {
    /// What cosines (NegPrompt, MCM and others) or logits (MSP, Energy) are divided by; above 0.
    pub temperature: f32,
    /// NegPrompt: the factor on the negatives' mass in the denominator; 1 is the paper, 0 leaves
    /// the negatives out.
    #[serde(default = "one")]
    pub negative_weight: f32,
    /// NegPrompt with mined labels: what the labels' opinion counts; none leaves it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mined: Option<MinedSettings>,
}

/// What mined labels count beside the prompts.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct MinedSettings {
    /// The factor on their term, `λ`; 0 or above.
    pub weight: f32,
    /// What their cosines are divided by, `T_m`; above 0.
    pub temperature: f32,
}

impl MethodSettings {
    /// This temperature, and the paper's negative weight.
    pub fn at_temperature(temperature: f32) -> Self {
        Self {
            temperature,
            negative_weight: one(),
            mined: None,
        }
    }

    /// # Errors
    /// When a temperature is not above 0, a weight is negative, or one of them is not finite.
    pub fn check(&self) -> Result<(), ScoreError> {
        // A subnormal temperature would turn cosines into infinities.
        let temperature = |setting, value: f32| {
            let fine = value.is_normal() && value > 0.0;
            let range = "a finite number above 0";
            let error = ScoreError::Setting {
                setting,
                value,
                range,
            };
            if fine { Ok(()) } else { Err(error) }
        };
        let weight = |setting, value: f32| {
            let fine = value.is_finite() && value >= 0.0;
            let range = "a finite number, 0 or above";
            let error = ScoreError::Setting {
                setting,
                value,
                range,
            };
            if fine { Ok(()) } else { Err(error) }
        };
        temperature("temperature", self.temperature)?;
        weight("negative_weight", self.negative_weight)?;
        if let Some(mined) = self.mined {
            temperature("mined.temperature", mined.temperature)?;
            weight("mined.weight", mined.weight)?;
        }
        Ok(())
    }
}

fn one() -> f32 {
    1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_kebab_case_and_found() {
        for (index, entry) in methods().iter().enumerate() {
            let id = entry.id();
            assert!(id.chars().all(|c| c.is_ascii_lowercase() || c == '-'));
            assert!(methods()[..index].iter().all(|other| other.id() != id));
            assert_eq!(method(id).map(|found| found.name()), Some(entry.name()));
        }
        assert!(method("no-such-method").is_none());
    }

    #[test]
    fn settings_read_without_a_negative_weight() {
        let settings: MethodSettings = serde_json::from_str(r#"{"temperature": 0.5}"#).unwrap();
        assert_eq!(settings, MethodSettings::at_temperature(0.5));
        for temperature in [0.0, -1.0, f32::NAN, f32::INFINITY, 1e-40] {
            assert!(MethodSettings::at_temperature(temperature).check().is_err());
        }
        let negative = MethodSettings {
            negative_weight: -0.1,
            ..MethodSettings::at_temperature(1.0)
        };
        assert!(negative.check().is_err());
    }

    #[test]
    fn every_method_refuses_missing_and_broken_inputs() {
        for method in methods() {
            let settings = method.default_settings(100.0);
            let nothing = Similarities::new(100.0);
            assert!(matches!(
                method.score(&nothing, &settings),
                Err(ScoreError::Missing { .. })
            ));
            assert!(method.class_probabilities(&nothing, &settings).is_err());
            let all = |values: &'static [f32]| {
                Input::ALL
                    .iter()
                    .fold(nothing, |all, &input| all.with(input, values))
            };
            assert!(matches!(
                method.explain(&all(&[0.1, f32::NAN]), &settings),
                Err(ScoreError::NotFinite { index: 1, .. })
            ));
            let fine = all(&[0.1, 0.2]);
            assert!(method.score(&fine, &settings).unwrap().is_finite());
            assert!(
                method
                    .score(&fine, &MethodSettings::at_temperature(0.0))
                    .is_err()
            );
            // Each kind that a method says it needs is one that it cannot do without.
            for &input in method.needs() {
                let without = fine.with(input, &[]);
                assert!(method.explain(&without, &settings).is_err());
            }
        }
    }
}
