use super::energy::energy;
use super::msp::probe_probabilities;
use super::{Input, Method, MethodSettings, ScoreError, ScoreScale, Similarities};

/// ReAct: the energy of the linear probe for an image feature whose large entries were clipped.
///
/// ```text
/// score = T · logsumexp(logits(min(feature, c)) / T)     T = temperature = 1
/// ```
///
/// The clip `c` is the 90th percentile of all entries of the features of in-distribution images,
/// before normalisation. ReAct clips the activations of a network's last layer, which are not
/// negative; where the image tower ends in a projection, as CLIP's do, the feature is the signed
/// embedding behind that, and only its upper side is clipped.
///
/// Source: Sun et al., *ReAct: Out-of-distribution Detection With Rectified Activations*, NeurIPS 2021.
pub struct ReAct;

impl Method for ReAct {
    fn id(&self) -> &'static str {
        "react"
    }

    fn name(&self) -> &'static str {
        "ReAct"
    }

    fn equation(&self) -> &'static str {
        "T · logsumexp(logits / T) of a linear probe on the clipped feature"
    }

    fn source(&self) -> &'static str {
        "Sun et al., ReAct: Out-of-distribution Detection With Rectified Activations, NeurIPS 2021"
    }

    fn needs(&self) -> &'static [Input] {
        &[Input::ClippedProbe, Input::Probe]
    }

    fn scale(&self) -> ScoreScale {
        ScoreScale::Logit
    }

    fn default_settings(&self, _logit_scale: f32) -> MethodSettings {
        MethodSettings::at_temperature(1.0)
    }

    fn score(
        &self,
        similarities: &Similarities<'_>,
        settings: &MethodSettings,
    ) -> Result<f64, ScoreError> {
        energy(self, Input::ClippedProbe, similarities, settings)
    }

    fn class_probabilities(
        &self,
        similarities: &Similarities<'_>,
        settings: &MethodSettings,
    ) -> Result<Vec<f64>, ScoreError> {
        probe_probabilities(self, similarities, settings)
    }
}
