use super::mcm::class_probabilities;
use super::softmax::{finite, log_sum_exp, log_sum_exp_of, mean_log_odds};
use super::{Input, Method, MethodSettings, ScoreError, ScoreScale, Similarities};

/// Labels in a group, as in the paper.
const GROUP: usize = 100;

/// The paper's temperature.
pub(super) const TEMPERATURE: f32 = 0.01;

/// NegLabel: the share of the classes in the softmax mass over classes and mined negative labels.
///
/// ```text
/// score = 1/G · Σ_g  Σ_i exp(S_i) / ( Σ_i exp(S_i) + Σ_{n in group g} exp(S_n⁻) ), as log-odds
/// ```
///
/// `S = cosine / temperature`, over NegLabel's own prompts of class names and labels. The temperature
/// is 0.01. The labels are words of WordNet far from all
/// class names.
///
/// The labels stand in groups of about 100, as in the paper (10,000 labels in 100 groups): label `n` of
/// `N` is in group `n mod ⌈N / 100⌉`.
///
/// Source: Jiang et al., *Negative Label Guided OOD Detection with Pretrained Vision-Language Models*,
/// ICLR 2024.
pub struct NegLabel;

impl Method for NegLabel {
    fn id(&self) -> &'static str {
        "neglabel"
    }

    fn name(&self) -> &'static str {
        "NegLabel"
    }

    fn equation(&self) -> &'static str {
        "mean over groups g of Σ_i exp(S_i) / (Σ_i exp(S_i) + Σ_(n in g) exp(S_n−))"
    }

    fn source(&self) -> &'static str {
        "Jiang et al., Negative Label Guided OOD Detection with Pretrained Vision-Language Models, \
         ICLR 2024"
    }

    fn needs(&self) -> &'static [Input] {
        &[Input::Named, Input::Mined]
    }

    fn scale(&self) -> ScoreScale {
        ScoreScale::Probability
    }

    fn default_settings(&self, _logit_scale: f32) -> MethodSettings {
        MethodSettings::at_temperature(TEMPERATURE)
    }

    fn score(
        &self,
        similarities: &Similarities<'_>,
        settings: &MethodSettings,
    ) -> Result<f64, ScoreError> {
        label_mass(self, Input::Mined, similarities, settings)
    }

    fn class_probabilities(
        &self,
        similarities: &Similarities<'_>,
        settings: &MethodSettings,
    ) -> Result<Vec<f64>, ScoreError> {
        class_probabilities(self, Input::Named, similarities, settings)
    }
}

/// The rule of NegLabel over one kind of negative labels.
pub(super) fn label_mass(
    method: &dyn Method,
    labels: Input,
    similarities: &Similarities<'_>,
    settings: &MethodSettings,
) -> Result<f64, ScoreError> {
    settings.check()?;
    log_odds(
        method.name(),
        labels,
        similarities,
        f64::from(settings.temperature),
        GROUP,
    )
}

/// The log-odds of NegLabel's probability at a temperature, with so many labels in a group.
pub(super) fn log_odds(
    method: &'static str,
    labels: Input,
    similarities: &Similarities<'_>,
    temperature: f64,
    group_size: usize,
) -> Result<f64, ScoreError> {
    let names = similarities.require(method, Input::Named)?;
    let labels = similarities.require(method, labels)?;
    let factor = 1.0 / temperature;
    let classes = log_sum_exp(names, factor);
    let groups = labels.len().div_ceil(group_size);
    let of_group = |group: usize| {
        let members = labels.iter().skip(group).step_by(groups);
        log_sum_exp_of(members.map(|&cosine| f64::from(cosine) * factor))
    };
    let odds: Vec<f64> = (0..groups).map(|group| classes - of_group(group)).collect();
    finite(method, mean_log_odds(odds.into_iter()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_mean_over_groups() {
        let labels: Vec<f32> = (0..150).map(|n| (n as f32 * 0.37).sin() * 0.03).collect();
        let names = [0.03f32, 0.01];
        let similarities = Similarities::new(20.0)
            .with(Input::Named, &names)
            .with(Input::Mined, &labels);
        let settings = NegLabel.default_settings(20.0);
        let exp = |value: &f32| (f64::from(*value) / f64::from(TEMPERATURE)).exp();
        let classes: f64 = names.iter().map(exp).sum();
        let share = |group: usize| {
            let negative: f64 = labels.iter().skip(group).step_by(2).map(exp).sum();
            classes / (classes + negative)
        };
        let mean = 0.5 * (share(0) + share(1));
        let score = NegLabel.score(&similarities, &settings).unwrap();
        assert!((NegLabel.scale().display(score) - mean).abs() < 1e-7);
    }
}
