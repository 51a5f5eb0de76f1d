use super::mcm::class_probabilities;
use super::softmax::{argmax, finite, log_sigmoid, log_sum_exp_of, scaled};
use super::{Input, Method, MethodSettings, ScoreError, ScoreScale, Similarities};

/// CLIPN, competing to win: whether the "no" of the most similar class wins over its "yes".
///
/// ```text
/// score = 1 − p_b⁻, as log-odds: S_b⁺ − S_b⁻     b = argmax_i S_i⁺
/// ```
///
/// Each class has a prompt that says the image shows it, and one that says it does not:
/// `p_i⁻ = exp(S_i⁻) / (exp(S_i⁺) + exp(S_i⁻))`, `S = cosine / temperature`, the temperature being
/// CLIP's own, `1 / logit_scale`.
///
/// CLIPN encodes the second with a text tower of its own. Where a model has none, as the compact one,
/// both come from the one text tower, and what it makes of "without" is what this method can know.
///
/// Source: Wang et al., *CLIPN for Zero-Shot OOD Detection: Teaching CLIP to Say No*, ICCV 2023.
pub struct ClipnCompeting;

impl Method for ClipnCompeting {
    fn id(&self) -> &'static str {
        "clipn-competing"
    }

    fn name(&self) -> &'static str {
        "CLIPN (competing)"
    }

    fn equation(&self) -> &'static str {
        "1 − p_b−, p_b− = exp(S_b−) / (exp(S_b+) + exp(S_b−)), b = argmax_i S_i+"
    }

    fn source(&self) -> &'static str {
        "Wang et al., CLIPN for Zero-Shot OOD Detection: Teaching CLIP to Say No, ICCV 2023"
    }

    fn needs(&self) -> &'static [Input] {
        &[Input::ZeroShot, Input::No]
    }

    fn scale(&self) -> ScoreScale {
        ScoreScale::Probability
    }

    fn default_settings(&self, logit_scale: f32) -> MethodSettings {
        MethodSettings::at_temperature(1.0 / logit_scale)
    }

    fn score(
        &self,
        similarities: &Similarities<'_>,
        settings: &MethodSettings,
    ) -> Result<f64, ScoreError> {
        let (yes, no, factor) = yes_and_no(self, similarities, settings)?;
        let best = argmax(yes);
        finite(
            self.name(),
            (f64::from(yes[best]) - f64::from(no[best])) * factor,
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

/// CLIPN, agreeing to differ: the probability that any class is there, when each class shares its
/// own with its "no".
///
/// ```text
/// score = Σ_i (1 − p_i⁻) · softmax_i(S⁺), as log-odds
/// ```
///
/// Each class has a prompt that says the image shows it, and one that says it does not:
/// `p_i⁻ = exp(S_i⁻) / (exp(S_i⁺) + exp(S_i⁻))`, `S = cosine / temperature`, the temperature being
/// CLIP's own, `1 / logit_scale`.
///
/// CLIPN encodes the second with a text tower of its own. Where a model has none, as the compact one,
/// both come from the one text tower, and what it makes of "without" is what this method can know.
///
/// Source: Wang et al., *CLIPN for Zero-Shot OOD Detection: Teaching CLIP to Say No*, ICCV 2023.
pub struct ClipnAgreeing;

impl Method for ClipnAgreeing {
    fn id(&self) -> &'static str {
        "clipn-agreeing"
    }

    fn name(&self) -> &'static str {
        "CLIPN (agreeing)"
    }

    fn equation(&self) -> &'static str {
        "Σ_i (1 − p_i−) · softmax_i(S+)"
    }

    fn source(&self) -> &'static str {
        "Wang et al., CLIPN for Zero-Shot OOD Detection: Teaching CLIP to Say No, ICCV 2023"
    }

    fn needs(&self) -> &'static [Input] {
        &[Input::ZeroShot, Input::No]
    }

    fn scale(&self) -> ScoreScale {
        ScoreScale::Probability
    }

    fn default_settings(&self, logit_scale: f32) -> MethodSettings {
        MethodSettings::at_temperature(1.0 / logit_scale)
    }

    fn score(
        &self,
        similarities: &Similarities<'_>,
        settings: &MethodSettings,
    ) -> Result<f64, ScoreError> {
        let (yes, no, factor) = yes_and_no(self, similarities, settings)?;
        let differences: Vec<f64> = yes
            .iter()
            .zip(no)
            .map(|(&yes, &no)| (f64::from(yes) - f64::from(no)) * factor)
            .collect();
        let mass = |sign: f64| {
            let parts = scaled(yes, factor).zip(&differences);
            log_sum_exp_of(parts.map(|(yes, difference)| yes + log_sigmoid(sign * difference)))
        };
        finite(self.name(), mass(1.0) - mass(-1.0))
    }

    fn class_probabilities(
        &self,
        similarities: &Similarities<'_>,
        settings: &MethodSettings,
    ) -> Result<Vec<f64>, ScoreError> {
        class_probabilities(self, Input::ZeroShot, similarities, settings)
    }
}

/// The cosines with the "yes" and with the "no" prompt of each class, and what to multiply them by.
fn yes_and_no<'a>(
    method: &dyn Method,
    similarities: &Similarities<'a>,
    settings: &MethodSettings,
) -> Result<(&'a [f32], &'a [f32], f64), ScoreError> {
    settings.check()?;
    let (yes, no) = similarities.require_groups(method.name(), Input::ZeroShot, Input::No)?;
    if yes.len() != no.len() {
        return Err(ScoreError::Length {
            what: Input::No.to_string(),
            found: no.len(),
            expected: format!("one for each of the {} classes", yes.len()),
        });
    }
    Ok((yes, no, 1.0 / f64::from(settings.temperature)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_rules_equal_their_equations() {
        let (yes, no) = ([0.3f32, 0.1, 0.25], [0.2f32, 0.3, 0.28]);
        let similarities = Similarities::new(10.0)
            .with(Input::ZeroShot, &yes)
            .with(Input::No, &no);
        let settings = ClipnAgreeing.default_settings(10.0);
        let exp = |value: f32| (10.0 * f64::from(value)).exp();
        let total: f64 = yes.iter().map(|&value| exp(value)).sum();
        let shown = |method: &dyn Method| {
            let score = method.score(&similarities, &settings).unwrap();
            method.scale().display(score)
        };
        let agreeing: f64 = (0..3)
            .map(|i| exp(yes[i]) / total * exp(yes[i]) / (exp(yes[i]) + exp(no[i])))
            .sum();
        assert!((shown(&ClipnAgreeing) - agreeing).abs() < 1e-7);
        let competing = exp(yes[0]) / (exp(yes[0]) + exp(no[0]));
        assert!((shown(&ClipnCompeting) - competing).abs() < 1e-7);
    }

    #[test]
    fn each_class_has_one_no() {
        let similarities = Similarities::new(10.0)
            .with(Input::ZeroShot, &[0.1, 0.2])
            .with(Input::No, &[0.1, 0.2, 0.3, 0.4]);
        let settings = ClipnCompeting.default_settings(10.0);
        assert!(ClipnCompeting.score(&similarities, &settings).is_err());
    }
}
