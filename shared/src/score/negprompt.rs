use super::softmax::{argmax, finite, largest, log_add_exp, log_sum_exp, log_sum_exp_but, scaled};
use super::{FiredNegative, Input, Method, MethodSettings, ScoreError, ScoreScale, Similarities};

/// NegPrompt: the probability of the best class when every negative prompt competes.
///
/// ```text
/// p(y=i|x) = exp(S_i⁺) / ( Σ_j exp(S_j⁺) + w · Σ_l Σ_j exp(S⁻_{l,j}) )      S = cosine / temperature
/// score    = max_i p(y=i|x), as log-odds:
///            S_b⁺ − ln( Σ_{j≠b} exp(S_j⁺) + w · Σ_l Σ_j exp(S⁻_{l,j}) )     b = argmax_j S_j⁺
/// ```
///
/// In the paper the temperature is `1 / logit_scale` and `w` (`negative_weight`) is 1.
///
/// Source: Li et al., *Learning Transferable Negative Prompts for Out-of-Distribution Detection*,
/// CVPR 2024.
pub struct NegPrompt;

/// How many negatives an explanation names.
const FIRED: usize = 5;

impl Method for NegPrompt {
    fn id(&self) -> &'static str {
        "negprompt"
    }

    fn name(&self) -> &'static str {
        "NegPrompt"
    }

    fn equation(&self) -> &'static str {
        "max_i exp(S_i+) / (Σ_j exp(S_j+) + w · Σ_l Σ_j exp(S_lj−)), S = cosine / temperature"
    }

    fn source(&self) -> &'static str {
        "Li et al., Learning Transferable Negative Prompts for Out-of-Distribution Detection, \
         CVPR 2024"
    }

    fn needs(&self) -> &'static [Input] {
        &[Input::Positive, Input::Negative]
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
        log_odds(self.name(), similarities, settings)
    }

    /// The probabilities of the equation at the paper's temperature, `1 / logit_scale`: they sum to
    /// less than 1, and what is missing is the probability of "none of these". The temperature of
    /// the settings serves the detection score only; a flat softmax tells classes apart no worse,
    /// and says nothing to a person.
    fn class_probabilities(
        &self,
        similarities: &Similarities<'_>,
        settings: &MethodSettings,
    ) -> Result<Vec<f64>, ScoreError> {
        settings.check()?;
        let (positive, negative) = prompts(self.name(), similarities)?;
        let factor = similarities.require_scale()?;
        let classes = log_sum_exp(positive, factor);
        let total = log_add_exp(classes, negative_mass(negative, factor, settings));
        Ok(scaled(positive, factor)
            .map(|value| (value - total).exp())
            .collect())
    }

    fn fired_negatives(
        &self,
        similarities: &Similarities<'_>,
        settings: &MethodSettings,
    ) -> Result<Vec<FiredNegative>, ScoreError> {
        settings.check()?;
        let (positive, negative) = prompts(self.name(), similarities)?;
        let shares = super::softmax::softmax(negative, similarities.require_scale()?);
        Ok(largest(&shares, FIRED)
            .into_iter()
            .map(|index| FiredNegative {
                context: index / positive.len(),
                class: index % positive.len(),
                cosine: negative[index],
                share: shares[index],
            })
            .collect())
    }
}

/// The cosines with the positive and with the negative prompts.
fn prompts<'a>(
    method: &'static str,
    similarities: &Similarities<'a>,
) -> Result<(&'a [f32], &'a [f32]), ScoreError> {
    similarities.require_groups(method, Input::Positive, Input::Negative)
}

/// The log-odds of the largest probability of the equation, at the temperature of the settings.
pub(super) fn log_odds(
    method: &'static str,
    similarities: &Similarities<'_>,
    settings: &MethodSettings,
) -> Result<f64, ScoreError> {
    settings.check()?;
    let (positive, negative) = prompts(method, similarities)?;
    let factor = 1.0 / f64::from(settings.temperature);
    let best = argmax(positive);
    let others = log_sum_exp_but(positive, factor, best);
    let rest = log_add_exp(others, negative_mass(negative, factor, settings));
    if rest == f64::NEG_INFINITY {
        return Err(ScoreError::OneClass { method });
    }
    finite(method, f64::from(positive[best]) * factor - rest)
}

/// `ln(w · Σ exp(factor · cosine⁻))`, `−∞` when the weight is 0.
fn negative_mass(negative: &[f32], factor: f64, settings: &MethodSettings) -> f64 {
    if settings.negative_weight == 0.0 {
        return f64::NEG_INFINITY;
    }
    f64::from(settings.negative_weight).ln() + log_sum_exp(negative, factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::generator::Generator;

    fn naive(similarities: &Similarities<'_>, settings: &MethodSettings) -> Vec<f64> {
        let exp = |value: &f32| (f64::from(*value) / f64::from(settings.temperature)).exp();
        let positive: f64 = similarities.get(Input::Positive).iter().map(exp).sum();
        let negative: f64 = similarities.get(Input::Negative).iter().map(exp).sum();
        let total = positive + f64::from(settings.negative_weight) * negative;
        similarities
            .get(Input::Positive)
            .iter()
            .map(|v| exp(v) / total)
            .collect()
    }

    #[test]
    fn equals_the_equation_where_that_can_be_computed() {
        let mut generator = Generator::new(12);
        for round in 0..200 {
            let classes = 1 + generator.below(9);
            let negatives = 1 + generator.below(4);
            let mut cosines = |count: usize| -> Vec<f32> {
                (0..count)
                    .map(|_| generator.between(-0.3, 0.4) as f32)
                    .collect()
            };
            let (positive, negative) = (cosines(classes), cosines(negatives * classes));
            let settings = MethodSettings {
                temperature: [1.0, 0.0625, 0.25][round % 3],
                negative_weight: [1.0, 0.3, 2.5, 0.0][round % 4],
                mined: None,
            };
            let similarities = Similarities::new(1.0 / settings.temperature)
                .with(Input::Positive, &positive)
                .with(Input::Negative, &negative);
            if classes == 1 && settings.negative_weight == 0.0 {
                assert!(NegPrompt.score(&similarities, &settings).is_err());
                continue;
            }
            let expected = naive(&similarities, &settings);
            let found = NegPrompt
                .class_probabilities(&similarities, &settings)
                .unwrap();
            for (a, b) in found.iter().zip(&expected) {
                assert!((a - b).abs() < 1e-12);
            }
            let best = expected.iter().copied().fold(0.0, f64::max);
            let score = NegPrompt.score(&similarities, &settings).unwrap();
            assert!((NegPrompt.scale().display(score) - best).abs() < 1e-12);
        }
    }

    #[test]
    fn clear_cases_do_not_tie() {
        let settings = NegPrompt.default_settings(100.0);
        let score = |positive: &[f32], negative: &[f32]| {
            let similarities = Similarities::default()
                .with(Input::Positive, positive)
                .with(Input::Negative, negative);
            NegPrompt.score(&similarities, &settings).unwrap()
        };
        let clear = score(&[0.8, 0.1], &[0.1, 0.0]);
        let clearer = score(&[0.9, 0.1], &[0.1, 0.0]);
        assert!(clearer > clear && clear > 36.0);
        let hopeless = score(&[-0.8, -0.9], &[0.9, 0.9]);
        let worse = score(&[-0.9, -0.9], &[0.9, 0.9]);
        assert!(worse < hopeless && worse.is_finite());
    }

    #[test]
    fn weight_zero_leaves_the_negatives_out() {
        let similarities = Similarities::new(10.0)
            .with(Input::Positive, &[0.3, 0.1, 0.2])
            .with(Input::Negative, &[0.9, 0.9, 0.9]);
        let settings = MethodSettings {
            temperature: 0.1,
            negative_weight: 0.0,
            mined: None,
        };
        let probabilities = NegPrompt
            .class_probabilities(&similarities, &settings)
            .unwrap();
        assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn names_the_negatives_that_fired() {
        let similarities = Similarities::new(20.0)
            .with(Input::Positive, &[0.3, 0.1])
            .with(Input::Negative, &[0.0, 0.1, 0.5, 0.2]);
        let explanation = NegPrompt
            .explain(&similarities, &NegPrompt.default_settings(20.0))
            .unwrap();
        assert_eq!(explanation.predicted, 0);
        let first = &explanation.negatives[0];
        assert_eq!((first.context, first.class, first.cosine), (1, 0, 0.5));
        let shares: f64 = explanation.negatives.iter().map(|fired| fired.share).sum();
        assert!((shares - 1.0).abs() < 1e-12);
        let listed: f64 = explanation.top.iter().map(|entry| entry.probability).sum();
        assert!((listed + explanation.none - 1.0).abs() < 1e-12);
        assert!(explanation.none > 0.9);
    }

    #[test]
    fn refuses_a_ragged_list_of_negatives() {
        let similarities = Similarities::default()
            .with(Input::Positive, &[0.3, 0.1])
            .with(Input::Negative, &[0.0, 0.1, 0.5]);
        assert!(matches!(
            NegPrompt.score(&similarities, &NegPrompt.default_settings(20.0)),
            Err(ScoreError::Length { found: 3, .. })
        ));
    }
}
