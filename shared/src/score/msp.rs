use super::softmax::{log_odds_of_max, softmax};
use super::{Input, Method, MethodSettings, ScoreError, ScoreScale, Similarities};

/// Maximum softmax probability of the linear probe.
///
/// ```text
/// score = max_i softmax_i(logits / temperature), as log-odds     temperature = 1
/// ```
///
/// Source: Hendrycks and Gimpel, *A Baseline for Detecting Misclassified and Out-of-Distribution
/// Examples in Neural Networks*, ICLR 2017.
pub struct Msp;

impl Method for Msp {
    fn id(&self) -> &'static str {
        "msp"
    }

    fn name(&self) -> &'static str {
        "MSP"
    }

    fn equation(&self) -> &'static str {
        "max_i softmax_i(logits / temperature) of a linear probe"
    }

    fn source(&self) -> &'static str {
        "Hendrycks and Gimpel, A Baseline for Detecting Misclassified and Out-of-Distribution \
         Examples in Neural Networks, ICLR 2017"
    }

    fn needs(&self) -> &'static [Input] {
        &[Input::Probe]
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
        settings.check()?;
        let logits = similarities.require(self.name(), Input::Probe)?;
        log_odds_of_max(self.name(), logits, 1.0 / f64::from(settings.temperature))
    }

    fn class_probabilities(
        &self,
        similarities: &Similarities<'_>,
        settings: &MethodSettings,
    ) -> Result<Vec<f64>, ScoreError> {
        probe_probabilities(self, similarities, settings)
    }
}

/// `softmax(logits)` of the linear probe; the temperature serves detection only.
pub(super) fn probe_probabilities(
    method: &dyn Method,
    similarities: &Similarities<'_>,
    settings: &MethodSettings,
) -> Result<Vec<f64>, ScoreError> {
    settings.check()?;
    let logits = similarities.require(method.name(), Input::Probe)?;
    Ok(softmax(logits, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_largest_probability_of_the_probe() {
        let similarities = Similarities::default().with(Input::Probe, &[2.0, -1.0, 0.5]);
        let settings = Msp.default_settings(100.0);
        let shown = Msp
            .scale()
            .display(Msp.score(&similarities, &settings).unwrap());
        let explanation = Msp.explain(&similarities, &settings).unwrap();
        assert!((shown - explanation.top[0].probability).abs() < 1e-12);
        assert_eq!(explanation.predicted, 0);
    }
}
