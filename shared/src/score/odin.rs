use super::msp::{max_probability, probe_probabilities};
use super::{Input, Method, MethodSettings, ScoreError, ScoreScale, Similarities};

/// ODIN: the maximum softmax probability of the linear probe at a high temperature, for an image
/// moved a little towards its own most probable class.
///
/// ```text
/// x̃     = x − ε · sign( −∇ₓ ln max_i softmax_i(logits(x) / T) )
/// score = max_i softmax_i(logits(x̃) / T), as log-odds     T = temperature = 1000
/// ```
///
/// The gradient goes through the image tower, so the moved image must be encoded anew: features alone
/// are not enough.
///
/// Source: Liang et al., *Enhancing The Reliability of Out-of-distribution Image Detection in Neural
/// Networks*, ICLR 2018.
pub struct Odin;

impl Method for Odin {
    fn id(&self) -> &'static str {
        "odin"
    }

    fn name(&self) -> &'static str {
        "ODIN"
    }

    fn equation(&self) -> &'static str {
        "max_i softmax_i(logits / T) of a linear probe on the moved image, T = 1000"
    }

    fn source(&self) -> &'static str {
        "Liang et al., Enhancing The Reliability of Out-of-distribution Image Detection in Neural \
         Networks, ICLR 2018"
    }

    fn needs(&self) -> &'static [Input] {
        &[Input::MovedProbe, Input::Probe]
    }

    fn scale(&self) -> ScoreScale {
        ScoreScale::Probability
    }

    fn default_settings(&self, _logit_scale: f32) -> MethodSettings {
        MethodSettings::at_temperature(1000.0)
    }

    fn score(
        &self,
        similarities: &Similarities<'_>,
        settings: &MethodSettings,
    ) -> Result<f64, ScoreError> {
        max_probability(self, Input::MovedProbe, similarities, settings)
    }

    fn class_probabilities(
        &self,
        similarities: &Similarities<'_>,
        settings: &MethodSettings,
    ) -> Result<Vec<f64>, ScoreError> {
        probe_probabilities(self, Input::Probe, similarities, settings)
    }
}
