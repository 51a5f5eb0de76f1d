use super::softmax::{log_odds_of_max, softmax};
use super::{Input, Method, MethodSettings, ScoreError, ScoreScale, Similarities};

/// Maximum concept matching over hand-written prompts.
///
/// ```text
/// score = max_i softmax_i(cosine / temperature), as log-odds     temperature = 1
/// ```
///
/// The temperature serves detection only. The class probabilities are CLIP's own,
/// `softmax(logit_scale · cosine)`: at temperature 1 they would all be nearly equal.
///
/// Source: Ming et al., *Delving into Out-of-Distribution Detection with Vision-Language
/// Representations*, NeurIPS 2022.
pub struct Mcm;

impl Method for Mcm {
    fn id(&self) -> &'static str {
        "mcm"
    }

    fn name(&self) -> &'static str {
        "MCM"
    }

    fn equation(&self) -> &'static str {
        "max_i softmax_i(cosine / temperature) over hand-written prompts"
    }

    fn source(&self) -> &'static str {
        "Ming et al., Delving into Out-of-Distribution Detection with Vision-Language \
         Representations, NeurIPS 2022"
    }

    fn needs(&self) -> &'static [Input] {
        &[Input::ZeroShot]
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
        concept_matching(self, Input::ZeroShot, similarities, settings)
    }

    fn class_probabilities(
        &self,
        similarities: &Similarities<'_>,
        settings: &MethodSettings,
    ) -> Result<Vec<f64>, ScoreError> {
        class_probabilities(self, Input::ZeroShot, similarities, settings)
    }
}

/// The rule of MCM over one kind of cosines.
pub(super) fn concept_matching(
    method: &dyn Method,
    cosines: Input,
    similarities: &Similarities<'_>,
    settings: &MethodSettings,
) -> Result<f64, ScoreError> {
    settings.check()?;
    let cosines = similarities.require(method.name(), cosines)?;
    log_odds_of_max(
        method.name(),
        cosines,
        1.0 / f64::from(settings.temperature),
    )
}

/// CLIP's probabilities over one kind of cosines: `softmax(logit_scale · cosine)`.
pub(super) fn class_probabilities(
    method: &dyn Method,
    cosines: Input,
    similarities: &Similarities<'_>,
    settings: &MethodSettings,
) -> Result<Vec<f64>, ScoreError> {
    settings.check()?;
    let cosines = similarities.require(method.name(), cosines)?;
    Ok(softmax(cosines, similarities.require_scale()?))
}

#[cfg(test)]
mod tests {
    use super::super::CoOp;
    use super::*;

    #[test]
    fn is_the_largest_softmax_of_the_cosines() {
        let similarities = Similarities::new(50.0)
            .with(Input::ZeroShot, &[0.3, 0.1, 0.2])
            .with(Input::Positive, &[0.1, 0.1, 0.3]);
        let settings = Mcm.default_settings(50.0);
        let shown = Mcm
            .scale()
            .display(Mcm.score(&similarities, &settings).unwrap());
        let total = 0.3f64.exp() + 0.1f64.exp() + 0.2f64.exp();
        assert!((shown - 0.3f64.exp() / total).abs() < 1e-7);
        let explanation = Mcm.explain(&similarities, &settings).unwrap();
        assert_eq!((explanation.predicted, explanation.none), (0, 0.0));
        assert!(explanation.negatives.is_empty());
        let learned = CoOp.explain(&similarities, &settings).unwrap();
        assert_eq!(learned.predicted, 2);
    }

    #[test]
    fn one_class_has_nothing_to_compare_with() {
        let similarities = Similarities::new(50.0).with(Input::ZeroShot, &[0.3]);
        let error = Mcm.score(&similarities, &Mcm.default_settings(50.0));
        assert_eq!(error, Err(ScoreError::OneClass { method: "MCM" }));
    }

    #[test]
    fn high_temperatures_keep_the_order() {
        let settings = MethodSettings::at_temperature(1000.0);
        let score = |low: f32| {
            let cosines = [0.3, low];
            let similarities = Similarities::default().with(Input::ZeroShot, &cosines);
            Mcm.score(&similarities, &settings).unwrap()
        };
        assert!(score(0.1) > score(0.100_01));
    }
}
