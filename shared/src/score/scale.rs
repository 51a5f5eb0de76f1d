use serde::{Deserialize, Serialize};

/// What the numbers of a score mean to people.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScoreScale {
    /// The score is the log-odds of a probability, which is what to show.
    Probability,
    /// The score is a logit without bounds, shown as it is.
    Logit,
}

impl ScoreScale {
    /// What to show for a score: the probability `1 / (1 + exp(−score))`, or the logit itself.
    pub fn display(self, score: f64) -> f64 {
        match self {
            Self::Probability => 1.0 / (1.0 + (-score).exp()),
            Self::Logit => score,
        }
    }

    /// The score behind a number that a person typed: the inverse of [`Self::display`]. A
    /// probability of 0 or 1 gives an infinity.
    pub fn from_display(self, shown: f64) -> f64 {
        match self {
            Self::Probability => shown.ln() - (-shown).ln_1p(),
            Self::Logit => shown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_and_back() {
        for score in [-30.0, -1.0, 0.0, 0.5, 12.0] {
            for scale in [ScoreScale::Probability, ScoreScale::Logit] {
                let back = scale.from_display(scale.display(score));
                assert!((back - score).abs() < 1e-9 * score.abs().exp().max(1.0));
            }
        }
        assert_eq!(ScoreScale::Probability.display(0.0), 0.5);
        assert_eq!(ScoreScale::Probability.display(-1e4), 0.0);
        assert_eq!(ScoreScale::Probability.display(1e4), 1.0);
    }
}
