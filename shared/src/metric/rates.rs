use serde::{Deserialize, Serialize};

use super::{DEFAULT_TPR, MetricError, aupr_in, aupr_out, auroc, fpr_at_tpr};

/// How one method separates ID from one OOD set: a cell of the table. Fractions of one.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct OodRates {
    /// Area under the ROC curve.
    pub auroc: f64,
    /// False-positive rate at 95 % true-positive rate; lower is better.
    pub fpr95: f64,
    /// Average precision with ID as the positive class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aupr_in: Option<f64>,
    /// Average precision with OOD as the positive class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aupr_out: Option<f64>,
}

impl OodRates {
    /// All four rates of `id` scores against `ood` scores.
    ///
    /// # Errors
    /// When either input is empty or holds a NaN or an infinity.
    pub fn measure(id: &[f64], ood: &[f64]) -> Result<Self, MetricError> {
        Ok(Self {
            auroc: auroc(id, ood)?,
            fpr95: fpr_at_tpr(id, ood, DEFAULT_TPR)?,
            aupr_in: Some(aupr_in(id, ood)?),
            aupr_out: Some(aupr_out(id, ood)?),
        })
    }

    /// The mean over OOD sets, each set counting once; `None` when there are none. A rate that one
    /// set lacks is left out of the mean altogether.
    pub fn average<'a>(rates: impl IntoIterator<Item = &'a Self>) -> Option<Self> {
        let rates: Vec<&Self> = rates.into_iter().collect();
        if rates.is_empty() {
            return None;
        }
        let mean = |rate: fn(&Self) -> Option<f64>| {
            let values: Option<Vec<f64>> = rates.iter().map(|set| rate(set)).collect();
            values.map(|values| values.iter().sum::<f64>() / values.len() as f64)
        };
        Some(Self {
            auroc: mean(|set| Some(set.auroc))?,
            fpr95: mean(|set| Some(set.fpr95))?,
            aupr_in: mean(|set| set.aupr_in),
            aupr_out: mean(|set| set.aupr_out),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_over_sets() {
        let easy = OodRates::measure(&[2.0, 3.0], &[0.0]).unwrap();
        let ties = OodRates::measure(&[1.0], &[1.0]).unwrap();
        let average = OodRates::average([&easy, &ties]).unwrap();
        assert_eq!((average.auroc, average.fpr95), (0.75, 0.5));
        assert_eq!(average.aupr_in, Some(0.75));
        let without = OodRates {
            aupr_in: None,
            ..easy
        };
        assert_eq!(OodRates::average([&easy, &without]).unwrap().aupr_in, None);
        assert_eq!(OodRates::average([]), None);
    }
}
