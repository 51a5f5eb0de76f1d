use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::BundleError;
use super::check::{at_most, fraction, text};
use crate::metric::{
    Calibration, DEFAULT_TPR, MetricError, OodRates, conformal_quantiles, p_value, rounded_down,
    sorted, threshold_at_tpr,
};
use crate::score::{Method, MethodSettings, method};

/// The most calibration scores that a bundle keeps for p-values.
pub const MAX_CALIBRATION_SCORES: usize = 1_001;

const MAX_OOD_SETS: usize = 256;

/// A method as it was measured: what the page and `predict` need to give verdicts with it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct MethodEntry {
    /// [`Method::id`].
    pub id: String,
    /// How it was set.
    pub settings: MethodSettings,
    /// The score at which 95 % of held-out ID is kept, in units of the method's score.
    pub threshold: f64,
    /// What to expect of other thresholds.
    pub calibration: Calibration,
    /// The OOD set behind the false-alarm rates of `calibration`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference_ood: Option<String>,
    /// Ascending scores of held-out ID images, at most [`MAX_CALIBRATION_SCORES`], for p-values.
    pub calibration_scores: Vec<f64>,
    /// Share of held-out ID images whose class is right.
    pub id_top1: f64,
    /// Rates on each OOD set, by name.
    pub ood: BTreeMap<String, OodRates>,
}

impl MethodEntry {
    /// Calibrates a method on the scores of held-out ID images and, for the false-alarm rate, on
    /// those of a named reference OOD set. What is stored is rounded down to 12 significant digits:
    /// the threshold keeps no fewer images for that, and p-values are no smaller.
    ///
    /// # Errors
    /// When scores are empty or not finite.
    pub fn measure(
        id: &str,
        settings: MethodSettings,
        calibration_id: &[f64],
        reference_ood: Option<(&str, &[f64])>,
        id_top1: f64,
        ood: BTreeMap<String, OodRates>,
    ) -> Result<Self, MetricError> {
        let ascending = sorted("the calibration scores", calibration_id)?;
        let kept = conformal_quantiles(&ascending, MAX_CALIBRATION_SCORES)?;
        Ok(Self {
            id: id.to_owned(),
            settings,
            threshold: rounded_down(threshold_at_tpr(calibration_id, DEFAULT_TPR)?),
            calibration: Calibration::measure(
                calibration_id,
                reference_ood.map(|(_, scores)| scores),
            )?,
            reference_ood: reference_ood.map(|(name, _)| name.to_owned()),
            calibration_scores: kept.into_iter().map(rounded_down).collect(),
            id_top1,
            ood,
        })
    }

    /// The method, unless this program does not know it.
    pub fn method(&self) -> Option<&'static dyn Method> {
        method(&self.id)
    }

    /// The share of ID images that look at least as unusual as one with this score.
    ///
    /// # Errors
    /// When the score is not finite.
    pub fn p_value(&self, score: f64) -> Result<f64, MetricError> {
        p_value(&self.calibration_scores, score)
    }

    pub(super) fn check(&self, field: &str) -> Result<(), BundleError> {
        let refuse = |part: &str, cause: &dyn ToString| {
            BundleError::field(format!("{field}.{part}"), cause.to_string())
        };
        text(&format!("{field}.id"), &self.id)?;
        self.settings
            .check()
            .map_err(|cause| refuse("settings", &cause))?;
        if !self.threshold.is_finite() {
            return Err(refuse("threshold", &"it is not a finite number"));
        }
        self.calibration
            .check()
            .map_err(|cause| refuse("calibration", &cause))?;
        let scores = format!("{field}.calibration_scores");
        at_most(
            &scores,
            self.calibration_scores.len(),
            MAX_CALIBRATION_SCORES,
        )?;
        // Asking for a p-value checks that the scores are there, finite and in order.
        self.p_value(self.threshold)
            .map_err(|cause| refuse("calibration_scores", &cause))?;
        text(
            &format!("{field}.reference_ood"),
            self.reference_ood.as_deref().unwrap_or_default(),
        )?;
        fraction(&format!("{field}.id_top1"), self.id_top1)?;
        at_most(&format!("{field}.ood"), self.ood.len(), MAX_OOD_SETS)?;
        for (set, rates) in &self.ood {
            text(&format!("{field}.ood"), set)?;
            let parts = [
                Some(rates.auroc),
                Some(rates.fpr95),
                rates.aupr_in,
                rates.aupr_out,
            ];
            for rate in parts.into_iter().flatten() {
                fraction(&format!("{field}.ood.{set}"), rate)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::generator::Generator;

    #[test]
    fn measures_what_it_says() {
        let mut generator = Generator::new(51);
        let id = generator.scores(3000, 0.5, None);
        let ood = generator.scores(2000, 0.0, None);
        let settings = MethodSettings::at_temperature(1.0);
        let reference = Some(("textures", &ood[..]));
        let entry =
            MethodEntry::measure("mcm", settings, &id, reference, 0.9, BTreeMap::new()).unwrap();
        entry.check("methods[0]").unwrap();
        assert_eq!(entry.calibration_scores.len(), MAX_CALIBRATION_SCORES);
        assert_eq!(entry.method().unwrap().name(), "MCM");
        let expected = entry.calibration.at(entry.threshold);
        assert!((expected.hit_rate - 0.95).abs() < 1e-3);
        assert!(expected.false_alarm.unwrap() > 0.3);
        assert!((entry.p_value(entry.threshold).unwrap() - 0.05).abs() < 2e-3);
    }

    #[test]
    fn refuses_what_cannot_be() {
        let settings = MethodSettings::at_temperature(1.0);
        let good =
            MethodEntry::measure("mcm", settings, &[1.0, 2.0], None, 0.9, BTreeMap::new()).unwrap();
        type Damage = fn(&mut MethodEntry);
        let broken: [(&str, Damage); 7] = [
            ("threshold", |entry| entry.threshold = f64::INFINITY),
            ("settings", |entry| entry.settings.temperature = 0.0),
            ("calibration", |entry| entry.calibration.thresholds.clear()),
            ("calibration_scores", |entry| {
                entry.calibration_scores.reverse()
            }),
            ("calibration_scores", |entry| {
                entry.calibration_scores = vec![0.0; 1002]
            }),
            ("id_top1", |entry| entry.id_top1 = 1.1),
            ("id", |entry| entry.id = "x".repeat(10_000)),
        ];
        for (part, damage) in broken {
            let mut entry = good.clone();
            damage(&mut entry);
            let error = entry.check("methods[3]").unwrap_err().to_string();
            assert!(error.contains(&format!("methods[3].{part}")), "{error}");
        }
    }
}
