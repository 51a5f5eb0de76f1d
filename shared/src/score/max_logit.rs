use super::msp::probe_probabilities;
use super::softmax::argmax;
use super::{Input, Method, MethodSettings, ScoreError, ScoreScale, Similarities};

/// The largest logit of the linear probe.
///
/// ```text
/// score = max_i logits_i
/// ```
///
/// The temperature plays no part.
///
/// Source: Hendrycks et al., *Scaling Out-of-Distribution Detection for Real-World Settings*,
/// ICML 2022.
pub struct MaxLogit;

impl Method for MaxLogit {
    fn id(&self) -> &'static str {
        "max-logit"
    }

    fn name(&self) -> &'static str {
        "MaxLogit"
    }

    fn equation(&self) -> &'static str {
        "max_i logits_i of a linear probe"
    }

    fn source(&self) -> &'static str {
        "Hendrycks et al., Scaling Out-of-Distribution Detection for Real-World Settings, ICML 2022"
    }

    fn needs(&self) -> &'static [Input] {
        &[Input::Probe]
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
        settings.check()?;
        let logits = similarities.require(self.name(), Input::Probe)?;
        Ok(f64::from(logits[argmax(logits)]))
    }

    fn class_probabilities(
        &self,
        similarities: &Similarities<'_>,
        settings: &MethodSettings,
    ) -> Result<Vec<f64>, ScoreError> {
        probe_probabilities(self, similarities, settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_largest_logit() {
        let similarities = Similarities::default().with(Input::Probe, &[2.0, -1.0, 3.5]);
        let settings = MaxLogit.default_settings(100.0);
        assert_eq!(MaxLogit.score(&similarities, &settings), Ok(3.5));
        assert_eq!(
            MaxLogit
                .explain(&similarities, &settings)
                .unwrap()
                .predicted,
            2
        );
    }
}
