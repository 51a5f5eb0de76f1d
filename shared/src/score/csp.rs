use super::mcm::class_probabilities;
use super::neglabel::{TEMPERATURE, label_mass};
use super::{Input, Method, MethodSettings, ScoreError, ScoreScale, Similarities};

/// CSP: the rule of [`NegLabel`](super::NegLabel) over a conjugated semantic pool.
///
/// ```text
/// score = 1/G · Σ_g  Σ_i exp(S_i) / ( Σ_i exp(S_i) + Σ_{n in group g} exp(S_n⁻) ), as log-odds
/// ```
///
/// The pool holds nouns, as NegLabel's, and in place of bare adjectives the names of superclasses that
/// adjectives modify (`white creature`, `valuable item`): each takes the place of many unlikely
/// classes, where another noun would only be a synonym.
///
/// Source: Chen et al., *Conjugated Semantic Pool Improves OOD Detection with Pre-trained
/// Vision-Language Models*, NeurIPS 2024.
pub struct Csp;

impl Method for Csp {
    fn id(&self) -> &'static str {
        "csp"
    }

    fn name(&self) -> &'static str {
        "CSP"
    }

    fn equation(&self) -> &'static str {
        "as NegLabel, over nouns and superclass names modified by adjectives"
    }

    fn source(&self) -> &'static str {
        "Chen et al., Conjugated Semantic Pool Improves OOD Detection with Pre-trained \
         Vision-Language Models, NeurIPS 2024"
    }

    fn needs(&self) -> &'static [Input] {
        &[Input::Named, Input::Conjugated]
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
        label_mass(self, Input::Conjugated, similarities, settings)
    }

    fn class_probabilities(
        &self,
        similarities: &Similarities<'_>,
        settings: &MethodSettings,
    ) -> Result<Vec<f64>, ScoreError> {
        class_probabilities(self, Input::Named, similarities, settings)
    }
}

#[cfg(test)]
mod tests {
    use super::super::NegLabel;
    use super::*;

    #[test]
    fn is_neglabel_over_another_pool() {
        let similarities = Similarities::new(20.0)
            .with(Input::Named, &[0.3, 0.1])
            .with(Input::Mined, &[0.2, 0.25, 0.0])
            .with(Input::Conjugated, &[0.2, 0.25, 0.0]);
        let settings = Csp.default_settings(20.0);
        assert_eq!(
            Csp.score(&similarities, &settings),
            NegLabel.score(&similarities, &settings)
        );
    }
}
