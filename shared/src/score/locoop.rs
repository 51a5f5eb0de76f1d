use super::gl_mcm::global_and_local;
use super::mcm::{class_probabilities, concept_matching};
use super::{Input, Method, MethodSettings, ScoreError, ScoreScale, Similarities};

/// LoCoOp, scored as [`Mcm`](super::Mcm).
///
/// ```text
/// score = max_i softmax_i(cosine / temperature), as log-odds     temperature = 1
/// ```
///
/// LoCoOp learns its prompts with CoOp's cross-entropy and, weighted by λ = 0.25, an entropy term on
/// the patches whose K = 20 % of k nearest classes leave out the image's label.
///
/// Source: Miyai et al., *LoCoOp: Few-Shot Out-of-Distribution Detection via Prompt Learning*,
/// NeurIPS 2023.
pub struct LoCoOp;

impl Method for LoCoOp {
    fn id(&self) -> &'static str {
        "locoop"
    }

    fn name(&self) -> &'static str {
        "LoCoOp (MCM)"
    }

    fn equation(&self) -> &'static str {
        "max_i softmax_i(cosine / temperature) over LoCoOp's prompts"
    }

    fn source(&self) -> &'static str {
        "Miyai et al., LoCoOp: Few-Shot Out-of-Distribution Detection via Prompt Learning, NeurIPS 2023"
    }

    fn needs(&self) -> &'static [Input] {
        &[Input::LoCoOp]
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
        concept_matching(self, Input::LoCoOp, similarities, settings)
    }

    fn class_probabilities(
        &self,
        similarities: &Similarities<'_>,
        settings: &MethodSettings,
    ) -> Result<Vec<f64>, ScoreError> {
        class_probabilities(self, Input::LoCoOp, similarities, settings)
    }
}

/// LoCoOp, scored as [`GlMcm`](super::GlMcm).
///
/// ```text
/// score = ½ · ( max_i softmax_i(cosine / T) + max_p max_i softmax_i(cosine_p / T) ), as log-odds
/// ```
///
/// LoCoOp learns its prompts with CoOp's cross-entropy and, weighted by λ = 0.25, an entropy term on
/// the patches whose K = 20 % of k nearest classes leave out the image's label. Patches that no
/// class explains are thus pushed away from all prompts.
///
/// Source: Miyai et al., *LoCoOp: Few-Shot Out-of-Distribution Detection via Prompt Learning*,
/// NeurIPS 2023.
pub struct LoCoOpGl;

impl Method for LoCoOpGl {
    fn id(&self) -> &'static str {
        "locoop-gl"
    }

    fn name(&self) -> &'static str {
        "LoCoOp (GL-MCM)"
    }

    fn equation(&self) -> &'static str {
        "½ (max_i softmax_i(cosine) + max_p max_i softmax_i(cosine of patch p)) over LoCoOp's prompts"
    }

    fn source(&self) -> &'static str {
        "Miyai et al., LoCoOp: Few-Shot Out-of-Distribution Detection via Prompt Learning, NeurIPS 2023"
    }

    fn needs(&self) -> &'static [Input] {
        &[Input::LoCoOp, Input::PatchLoCoOp]
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
        global_and_local(
            self,
            Input::LoCoOp,
            Input::PatchLoCoOp,
            similarities,
            settings,
        )
    }

    fn class_probabilities(
        &self,
        similarities: &Similarities<'_>,
        settings: &MethodSettings,
    ) -> Result<Vec<f64>, ScoreError> {
        class_probabilities(self, Input::LoCoOp, similarities, settings)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{GlMcm, Mcm};
    use super::*;

    #[test]
    fn both_are_the_rules_of_mcm_over_other_prompts() {
        let (whole, patches) = ([0.3, 0.1, 0.2], [0.1, 0.4, 0.2, 0.0, 0.1, 0.3]);
        let learned = Similarities::new(20.0)
            .with(Input::LoCoOp, &whole)
            .with(Input::PatchLoCoOp, &patches);
        let written = Similarities::new(20.0)
            .with(Input::ZeroShot, &whole)
            .with(Input::PatchZeroShot, &patches);
        let settings = LoCoOp.default_settings(20.0);
        assert_eq!(
            LoCoOp.explain(&learned, &settings),
            Mcm.explain(&written, &settings)
        );
        assert_eq!(
            LoCoOpGl.explain(&learned, &settings),
            GlMcm.explain(&written, &settings)
        );
        assert!(LoCoOp.score(&written, &settings).is_err());
    }
}
