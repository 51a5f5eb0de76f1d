use super::msp::probe_probabilities;
use super::softmax::{finite, log_sum_exp};
use super::{Input, Method, MethodSettings, ScoreError, ScoreScale, Similarities};

/// The negated free energy of the linear probe's logits.
///
/// ```text
/// score = T · logsumexp(logits / T)     T = temperature = 1
/// ```
///
/// Source: Liu et al., *Energy-based Out-of-distribution Detection*, NeurIPS 2020.
pub struct Energy;

impl Method for Energy {
    fn id(&self) -> &'static str {
        "energy"
    }

    fn name(&self) -> &'static str {
        "Energy"
    }

    fn equation(&self) -> &'static str {
        "T · logsumexp(logits / T) of a linear probe"
    }

    fn source(&self) -> &'static str {
        "Liu et al., Energy-based Out-of-distribution Detection, NeurIPS 2020"
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
        energy(self, Input::Probe, similarities, settings)
    }

    fn class_probabilities(
        &self,
        similarities: &Similarities<'_>,
        settings: &MethodSettings,
    ) -> Result<Vec<f64>, ScoreError> {
        probe_probabilities(self, similarities, settings)
    }
}

/// The rule of Energy over one kind of logits.
pub(super) fn energy(
    method: &dyn Method,
    logits: Input,
    similarities: &Similarities<'_>,
    settings: &MethodSettings,
) -> Result<f64, ScoreError> {
    settings.check()?;
    let logits = similarities.require(method.name(), logits)?;
    let temperature = f64::from(settings.temperature);
    let energy = temperature * log_sum_exp(logits, 1.0 / temperature);
    finite(method.name(), energy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn energy(probe: &[f32], temperature: f32) -> f64 {
        let similarities = Similarities::default().with(Input::Probe, probe);
        Energy
            .score(&similarities, &MethodSettings::at_temperature(temperature))
            .unwrap()
    }

    #[test]
    fn is_log_sum_exp_at_the_temperature() {
        let expected = 2.0 * ((0.5f64).exp() + (1.5f64).exp()).ln();
        assert!((energy(&[1.0, 3.0], 2.0) - expected).abs() < 1e-12);
    }

    #[test]
    fn tends_to_the_largest_logit_and_never_overflows() {
        assert!((energy(&[1.0, 3.0], 1e-3) - 3.0).abs() < 1e-9);
        assert!((energy(&[5000.0, 5000.0], 1.0) - (5000.0 + 2f64.ln())).abs() < 1e-9);
    }
}
