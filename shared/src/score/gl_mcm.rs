use super::mcm::class_probabilities;
use super::softmax::{finite, log_odds_of_max, mean_log_odds};
use super::{Input, Method, MethodSettings, ScoreError, ScoreScale, Similarities};

/// GL-MCM: MCM of the whole image, and of the patch that looks most like a class.
///
/// ```text
/// score = ½ · ( max_i softmax_i(cosine / T) + max_p max_i softmax_i(cosine_p / T) ), as log-odds
/// ```
///
/// `cosine_p` are those of patch `p`; `T` is 1. The paper's score is the sum (λ = 1); half of it is a
/// probability and ranks alike.
///
/// Source: Miyai et al., *GL-MCM: Global and Local Maximum Concept Matching for Zero-Shot
/// Out-of-Distribution Detection*, IJCV 2025.
pub struct GlMcm;

impl Method for GlMcm {
    fn id(&self) -> &'static str {
        "gl-mcm"
    }

    fn name(&self) -> &'static str {
        "GL-MCM"
    }

    fn equation(&self) -> &'static str {
        "½ (max_i softmax_i(cosine) + max_p max_i softmax_i(cosine of patch p)) over hand-written prompts"
    }

    fn source(&self) -> &'static str {
        "Miyai et al., GL-MCM: Global and Local Maximum Concept Matching for Zero-Shot \
         Out-of-Distribution Detection, IJCV 2025"
    }

    fn needs(&self) -> &'static [Input] {
        &[Input::ZeroShot, Input::PatchZeroShot]
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
            Input::ZeroShot,
            Input::PatchZeroShot,
            similarities,
            settings,
        )
    }

    fn class_probabilities(
        &self,
        similarities: &Similarities<'_>,
        settings: &MethodSettings,
    ) -> Result<Vec<f64>, ScoreError> {
        class_probabilities(self, Input::ZeroShot, similarities, settings)
    }
}

/// The rule of GL-MCM over cosines of the image and of its patches.
pub(super) fn global_and_local(
    method: &dyn Method,
    global: Input,
    local: Input,
    similarities: &Similarities<'_>,
    settings: &MethodSettings,
) -> Result<f64, ScoreError> {
    settings.check()?;
    let (global, local) = similarities.require_groups(method.name(), global, local)?;
    let factor = 1.0 / f64::from(settings.temperature);
    let whole = log_odds_of_max(method.name(), global, factor)?;
    let mut nearest = f64::NEG_INFINITY;
    for patch in local.chunks_exact(global.len()) {
        nearest = nearest.max(log_odds_of_max(method.name(), patch, factor)?);
    }
    finite(method.name(), mean_log_odds([whole, nearest].into_iter()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_patch_that_is_sure_lifts_the_score() {
        let score = |patches: &[f32]| {
            let similarities = Similarities::new(50.0)
                .with(Input::ZeroShot, &[0.2, 0.1])
                .with(Input::PatchZeroShot, patches);
            GlMcm
                .score(&similarities, &GlMcm.default_settings(50.0))
                .unwrap()
        };
        let unsure = score(&[0.1, 0.1, 0.1, 0.1]);
        assert!(score(&[0.1, 0.1, 0.1, 0.9]) > unsure);
        let p = |difference: f64| 1.0 / (1.0 + (-difference).exp());
        let mean = 0.5 * (p(0.1) + 0.5);
        assert!((GlMcm.scale().display(unsure) - mean).abs() < 1e-7);
    }

    #[test]
    fn patches_must_fit_the_classes() {
        let similarities = Similarities::new(50.0)
            .with(Input::ZeroShot, &[0.2, 0.1])
            .with(Input::PatchZeroShot, &[0.2, 0.1, 0.3]);
        let error = GlMcm.score(&similarities, &GlMcm.default_settings(50.0));
        assert!(matches!(error, Err(ScoreError::Length { found: 3, .. })));
    }
}
