use super::mcm::{class_probabilities, concept_matching};
use super::{Input, Method, MethodSettings, ScoreError, ScoreScale, Similarities};

/// CoOp: the rule of [`Mcm`](super::Mcm) over the positive prompts learned in stage 1.
///
/// ```text
/// score = max_i softmax_i(cosine / temperature), as log-odds     temperature = 1
/// ```
///
/// Source: Zhou et al., *Learning to Prompt for Vision-Language Models*, IJCV 2022; scored as in
/// Ming et al., NeurIPS 2022.
pub struct CoOp;

impl Method for CoOp {
    fn id(&self) -> &'static str {
        "coop"
    }

    fn name(&self) -> &'static str {
        "CoOp"
    }

    fn equation(&self) -> &'static str {
        "max_i softmax_i(cosine / temperature) over learned positive prompts"
    }

    fn source(&self) -> &'static str {
        "Zhou et al., Learning to Prompt for Vision-Language Models, IJCV 2022"
    }

    fn needs(&self) -> &'static [Input] {
        &[Input::Positive]
    }

    fn scale(&self) -> ScoreScale {
        ScoreScale::Probability
    }

    fn default_settings(&self, _logit_scale: f32) -> MethodSettings {
        MethodSettings::at_temperature(1.0)
    }

    fn score(
        &self,
        similarities: &Similarities<'_>,
        settings: &MethodSettings,
    ) -> Result<f64, ScoreError> {
        concept_matching(self, Input::Positive, similarities, settings)
    }

    fn class_probabilities(
        &self,
        similarities: &Similarities<'_>,
        settings: &MethodSettings,
    ) -> Result<Vec<f64>, ScoreError> {
        class_probabilities(self, Input::Positive, similarities, settings)
    }
}
