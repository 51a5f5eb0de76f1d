use super::neglabel::log_odds as label_log_odds;
use super::negprompt::log_odds;
use super::softmax::{finite, log_sigmoid};
use super::{
    FiredNegative, Input, Method, MethodSettings, MinedSettings, NegPrompt, ScoreError, ScoreScale,
    Similarities,
};

/// NegPrompt combined with mined labels: a product of two opinions.
///
/// ```text
/// score = T · ln( p / (1 − p) ) + λ · T_m · ln q
/// ```
///
/// `p` is NegPrompt's probability at the temperature `T`, `q` is NegLabel's at the temperature `T_m`, with
/// all labels in one group: in many, each small, `q` is near 1 for everything in or near the classes.
/// Both terms are in units of a cosine, so that `λ` (`mined.weight`) says how much a cosine of the one
/// is worth in the other.
///
/// The first term is, at a high `T`, the plain cosine signal that MCM lives on, and has no upper end. The
/// second is 0 for an image that no label explains and falls with the lead of the labels over the class
/// names: it can only take away. So an image far from everything (a texture) keeps MCM's low score, and
/// an image near a class but nearer to another word loses the score it would have had.
///
/// Source: this project, from NegPrompt (CVPR 2024) and NegLabel (ICLR 2024).
pub struct NegPromptMined;

impl Method for NegPromptMined {
    fn id(&self) -> &'static str {
        "negprompt-mined"
    }

    fn name(&self) -> &'static str {
        "NegPrompt + mined"
    }

    fn equation(&self) -> &'static str {
        "T · ln(p / (1 − p)) + λ · T_m · ln q, p from NegPrompt, q from NegLabel"
    }

    fn source(&self) -> &'static str {
        "this project, from NegPrompt (CVPR 2024) and NegLabel (ICLR 2024)"
    }

    fn needs(&self) -> &'static [Input] {
        &[Input::Positive, Input::Negative, Input::Named, Input::Mined]
    }

    fn scale(&self) -> ScoreScale {
        ScoreScale::Logit
    }

    fn default_settings(&self, logit_scale: f32) -> MethodSettings {
        MethodSettings {
            mined: Some(MinedSettings {
                weight: 0.3,
                temperature: 1.0 / logit_scale,
            }),
            ..MethodSettings::at_temperature(1.0)
        }
    }

    fn score(
        &self,
        similarities: &Similarities<'_>,
        settings: &MethodSettings,
    ) -> Result<f64, ScoreError> {
        let own = log_odds(self.name(), similarities, settings)?;
        let own = f64::from(settings.temperature) * own;
        let Some(mined) = settings.mined else {
            return Ok(own);
        };
        let temperature = f64::from(mined.temperature);
        let one_group = usize::MAX;
        let odds = label_log_odds(
            self.name(),
            Input::Mined,
            similarities,
            temperature,
            one_group,
        )?;
        let doubt = temperature * log_sigmoid(odds);
        finite(self.name(), own + f64::from(mined.weight) * doubt)
    }

    fn class_probabilities(
        &self,
        similarities: &Similarities<'_>,
        settings: &MethodSettings,
    ) -> Result<Vec<f64>, ScoreError> {
        NegPrompt.class_probabilities(similarities, settings)
    }

    fn fired_negatives(
        &self,
        similarities: &Similarities<'_>,
        settings: &MethodSettings,
    ) -> Result<Vec<FiredNegative>, ScoreError> {
        NegPrompt.fired_negatives(similarities, settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(label: f32, settings: &MethodSettings) -> f64 {
        let labels = [label];
        let similarities = Similarities::new(20.0)
            .with(Input::Positive, &[0.3, 0.1])
            .with(Input::Negative, &[0.1, 0.0])
            .with(Input::Named, &[0.3, 0.1])
            .with(Input::Mined, &labels);
        NegPromptMined.score(&similarities, settings).unwrap()
    }

    #[test]
    fn labels_only_take_away() {
        let settings = NegPromptMined.default_settings(20.0);
        let without = MethodSettings {
            mined: None,
            ..settings
        };
        let own = score(0.0, &without);
        assert_eq!(own, score(0.9, &without));
        let (far, near) = (score(-0.9, &settings), score(0.9, &settings));
        assert!(far <= own && own - far < 1e-9);
        // The label leads by 0.6, less what the second class adds.
        let lead = 0.05 * ((20.0f64 * 0.9).exp() / (6f64.exp() + 2f64.exp())).ln();
        assert!((own - near - 0.3 * lead).abs() < 1e-6);
    }
}
