use serde::{Deserialize, Serialize};

use super::digits::rounded_down;
use super::error::{MetricError, check_finite, check_lengths, sorted};
use super::{DEFAULT_TPR, ID_SCORES, OOD_SCORES, threshold_at_tpr};

/// The most points a [`Calibration`] holds.
pub const MAX_CALIBRATION_POINTS: usize = 201;

const THRESHOLDS: &str = "the calibration thresholds";

/// What to expect of each threshold: the share of held-out ID that it keeps and, where a reference
/// OOD set is given, the share of that which it lets through.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Calibration {
    /// `[points]`, strictly ascending, in units of the method's score; at most
    /// [`MAX_CALIBRATION_POINTS`]. The first is the lowest score seen, the last the highest.
    pub thresholds: Vec<f64>,
    /// `[points]`: the share of held-out ID with `score >= threshold`.
    pub hit_rate: Vec<f64>,
    /// `[points]`: the share of the reference OOD set with `score >= threshold`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub false_alarm: Option<Vec<f64>>,
}

/// The rates that a [`Calibration`] expects at one threshold, as fractions of one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExpectedRates {
    /// The share of ID images called in.
    pub hit_rate: f64,
    /// The share of OOD images called in, if a reference set was measured.
    pub false_alarm: Option<f64>,
}

impl Calibration {
    /// Measures the curve at evenly spaced ranks of the ID scores and of the OOD scores, half each,
    /// so that both ends of the slider are well resolved, and at the default threshold. Thresholds
    /// are rounded down to 12 significant digits, and measured as they are then.
    ///
    /// # Errors
    /// When an input is empty or holds a NaN or an infinity.
    pub fn measure(id: &[f64], reference_ood: Option<&[f64]>) -> Result<Self, MetricError> {
        let id = sorted(ID_SCORES, id)?;
        let ood = reference_ood
            .map(|ood| sorted(OOD_SCORES, ood))
            .transpose()?;
        let mut thresholds = vec![threshold_at_tpr(&id, DEFAULT_TPR)?];
        let free = MAX_CALIBRATION_POINTS - thresholds.len();
        match &ood {
            Some(ood) => {
                thresholds.extend(at_even_ranks(&id, free / 2));
                thresholds.extend(at_even_ranks(ood, free / 2));
            }
            None => thresholds.extend(at_even_ranks(&id, free)),
        }
        let thresholds: Vec<f64> = thresholds.into_iter().map(rounded_down).collect();
        let mut thresholds = sorted(THRESHOLDS, &thresholds)?;
        thresholds.dedup();
        let rates = |scores: &[f64]| -> Vec<f64> {
            let kept = |&threshold: &f64| {
                scores.len() - scores.partition_point(|&score| score < threshold)
            };
            let rate = |threshold| kept(threshold) as f64 / scores.len() as f64;
            thresholds.iter().map(rate).collect()
        };
        Ok(Self {
            hit_rate: rates(&id),
            false_alarm: ood.as_deref().map(rates),
            thresholds,
        })
    }

    /// Checks a curve that was read from a file.
    ///
    /// # Errors
    /// When it is empty or too long, its parts differ in length, thresholds do not ascend, or rates
    /// are not fractions that never rise.
    pub fn check(&self) -> Result<(), MetricError> {
        check_finite(THRESHOLDS, &self.thresholds)?;
        if self.thresholds.len() > MAX_CALIBRATION_POINTS {
            return Err(MetricError::OutOfRange {
                what: "the number of calibration points",
                value: self.thresholds.len() as f64,
                range: "at most 201",
            });
        }
        check_order(THRESHOLDS, &self.thresholds, "ascending", |a, b| a < b)?;
        self.check_rates("the calibration hit rates", &self.hit_rate)?;
        if let Some(false_alarm) = &self.false_alarm {
            self.check_rates("the calibration false-alarm rates", false_alarm)?;
        }
        Ok(())
    }

    /// The rates to expect at `threshold`: exact at the measured points, linear between them, all
    /// in below the first and nothing in above the last. A curve that fails [`Self::check`] gives
    /// rates of 0.
    pub fn at(&self, threshold: f64) -> ExpectedRates {
        ExpectedRates {
            hit_rate: self.interpolate(&self.hit_rate, threshold),
            false_alarm: self
                .false_alarm
                .as_ref()
                .map(|rates| self.interpolate(rates, threshold)),
        }
    }

    /// The largest measured threshold that keeps at least `hit_rate` of held-out ID.
    pub fn threshold_keeping(&self, hit_rate: f64) -> Option<f64> {
        let enough = self.hit_rate.partition_point(|&rate| rate >= hit_rate);
        let index = enough.checked_sub(1)?;
        self.thresholds.get(index).copied()
    }

    fn interpolate(&self, rates: &[f64], threshold: f64) -> f64 {
        let above = self.thresholds.partition_point(|&point| point < threshold);
        let (Some(&high), Some(&high_rate)) = (self.thresholds.get(above), rates.get(above)) else {
            return 0.0;
        };
        if above == 0 {
            return if threshold < high { 1.0 } else { high_rate };
        }
        let (low, low_rate) = (self.thresholds[above - 1], rates[above - 1]);
        let share = (threshold - low) / (high - low);
        low_rate + share * (high_rate - low_rate)
    }

    fn check_rates(&self, what: &'static str, rates: &[f64]) -> Result<(), MetricError> {
        check_finite(what, rates)?;
        check_lengths(what, rates.len(), THRESHOLDS, self.thresholds.len())?;
        if let Some(&value) = rates.iter().find(|rate| !(0.0..=1.0).contains(*rate)) {
            return Err(MetricError::OutOfRange {
                what,
                value,
                range: "between 0 and 1",
            });
        }
        check_order(what, rates, "never rising", |a, b| a >= b)
    }
}

fn check_order(
    what: &'static str,
    values: &[f64],
    order: &'static str,
    ordered: fn(f64, f64) -> bool,
) -> Result<(), MetricError> {
    match values
        .windows(2)
        .position(|pair| !ordered(pair[0], pair[1]))
    {
        Some(index) => Err(MetricError::Order {
            what,
            index: index + 1,
            order,
        }),
        None => Ok(()),
    }
}

/// At most `limit` entries at evenly spaced ranks, the first and the last among them.
fn at_even_ranks(sorted: &[f64], limit: usize) -> Vec<f64> {
    if sorted.len() <= limit {
        return sorted.to_vec();
    }
    // In 64 bits for the browser, whose `usize` has 32.
    let (last, steps) = (sorted.len() as u64 - 1, limit as u64 - 1);
    (0..=steps)
        .map(|step| sorted[((step * last + steps / 2) / steps) as usize])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::generator::Generator;
    use super::*;

    fn share(scores: &[f64], threshold: f64) -> f64 {
        scores.iter().filter(|&&score| score >= threshold).count() as f64 / scores.len() as f64
    }

    #[test]
    fn rates_are_those_of_the_scores_at_every_point() {
        let mut generator = Generator::new(8);
        for round in 0..60 {
            let levels = [None, Some(4), Some(100)][round % 3];
            let (id_count, ood_count) = (1 + generator.below(900), 1 + generator.below(900));
            let id = generator.scores(id_count, 0.4, levels);
            let ood = generator.scores(ood_count, 0.0, levels);
            let reference = (round % 2 == 0).then_some(&ood[..]);
            let curve = Calibration::measure(&id, reference).unwrap();
            curve.check().unwrap();
            for (index, &threshold) in curve.thresholds.iter().enumerate() {
                assert_eq!(curve.hit_rate[index], share(&id, threshold));
                let expected = curve.at(threshold);
                assert!((expected.hit_rate - share(&id, threshold)).abs() < 1e-12);
                if let Some(false_alarm) = expected.false_alarm {
                    assert!((false_alarm - share(&ood, threshold)).abs() < 1e-12);
                }
            }
            assert_eq!(curve.false_alarm.is_some(), reference.is_some());
            let keeping = curve.threshold_keeping(DEFAULT_TPR).unwrap();
            assert_eq!(
                keeping,
                rounded_down(threshold_at_tpr(&id, DEFAULT_TPR).unwrap())
            );
        }
    }

    #[test]
    fn is_close_between_the_points() {
        let mut generator = Generator::new(9);
        let id = generator.scores(5000, 0.5, None);
        let ood = generator.scores(3000, 0.0, None);
        let curve = Calibration::measure(&id, Some(&ood)).unwrap();
        for _ in 0..500 {
            let threshold = generator.between(-1.0, 1.5);
            let expected = curve.at(threshold);
            assert!((expected.hit_rate - share(&id, threshold)).abs() < 0.011);
            assert!((expected.false_alarm.unwrap() - share(&ood, threshold)).abs() < 0.011);
        }
        assert_eq!(curve.at(-5.0).hit_rate, 1.0);
        assert_eq!(curve.at(5.0).hit_rate, 0.0);
    }

    #[test]
    fn refuses_curves_that_cannot_be() {
        let good = Calibration::measure(&[1.0, 2.0, 3.0], Some(&[0.0, 1.0])).unwrap();
        let broken: [fn(&mut Calibration); 7] = [
            |curve| curve.thresholds.reverse(),
            |curve| curve.thresholds[0] = f64::NAN,
            |curve| curve.hit_rate.reverse(),
            |curve| curve.hit_rate[0] = 1.5,
            |curve| curve.hit_rate.truncate(1),
            |curve| curve.false_alarm = Some(Vec::new()),
            |curve| {
                curve.thresholds = (0..202).map(f64::from).collect();
                curve.hit_rate = vec![0.0; 202];
                curve.false_alarm = None;
            },
        ];
        for damage in broken {
            let mut curve = good.clone();
            damage(&mut curve);
            assert!(curve.check().is_err(), "{curve:?}");
        }
        assert!(Calibration::measure(&[], None).is_err());
        assert!(Calibration::measure(&[1.0], Some(&[])).is_err());
    }
}
