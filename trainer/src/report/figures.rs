//! The numbers behind the charts of a report.

use serde::{Deserialize, Serialize};
use shared::bundle::Histogram;
use shared::score::ScoreScale;

/// Every chart's numbers; empty lists are left out of the page.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// How the scores of ID and OOD images are distributed, one a method.
    pub scores: Vec<ScoreFigure>,
    /// ROC curves of all methods, one figure an OOD set.
    pub roc: Vec<RocFigure>,
    /// Losses during training, one a stage.
    pub losses: Vec<LossFigure>,
    /// Cosines of ID and OOD images with positive and negative prompts (the paper's Fig. 3).
    pub similarities: Vec<SimilarityFigure>,
}

/// One method's scores. The first series is ID, the others are OOD sets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoreFigure {
    /// Name of the method.
    pub method: String,
    pub histogram: Histogram,
    pub threshold: f64,
    /// What the numbers on the axis are.
    pub scale: ScoreScale,
}

/// ROC curves over one OOD set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RocFigure {
    /// Name of the OOD set.
    pub set: String,
    /// One a method: false-positive rate → true-positive rate.
    pub curves: Vec<Curve>,
}

/// The losses of one training stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossFigure {
    /// `Stage 1: positive prompts`.
    pub stage: String,
    /// What the steps count: `step`, `epoch`.
    pub unit: String,
    /// One a loss: step → value.
    pub curves: Vec<Curve>,
}

/// Cosines with one kind of prompt. Series: ID, then each OOD set or all of them together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SimilarityFigure {
    pub histogram: Histogram,
}

/// A line in a chart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    pub name: String,
    pub x: Vec<f64>,
    pub y: Vec<f64>,
}

impl Curve {
    /// At most `most` points, evenly taken, the first and the last among them.
    pub fn thinned(mut self, most: usize) -> Self {
        let points = self.x.len().min(self.y.len());
        if points > most && most >= 2 {
            let at = |i: usize| i * (points - 1) / (most - 1);
            self.x = (0..most).map(|i| self.x[at(i)]).collect();
            self.y = (0..most).map(|i| self.y[at(i)]).collect();
        }
        self
    }
}

/// The ROC curve of `id` against `ood` scores at `points` false-positive rates, closer together
/// where the rates are small.
pub fn roc_curve(name: &str, id: &[f64], ood: &[f64], points: usize) -> Curve {
    let mut id = id.to_vec();
    let mut ood = ood.to_vec();
    id.sort_unstable_by(|a, b| b.total_cmp(a));
    ood.sort_unstable_by(|a, b| b.total_cmp(a));
    let (mut x, mut y) = (vec![0.0], vec![0.0]);
    let (mut taken_id, mut taken_ood) = (0, 0);
    // One threshold at a time, ties together: a tie is a slope, not a step in somebody's favour.
    while taken_id < id.len() || taken_ood < ood.len() {
        let next = id.get(taken_id).copied().unwrap_or(f64::NEG_INFINITY);
        let threshold = next.max(ood.get(taken_ood).copied().unwrap_or(f64::NEG_INFINITY));
        while id.get(taken_id).is_some_and(|&score| score >= threshold) {
            taken_id += 1;
        }
        while ood.get(taken_ood).is_some_and(|&score| score >= threshold) {
            taken_ood += 1;
        }
        x.push(taken_ood as f64 / ood.len().max(1) as f64);
        y.push(taken_id as f64 / id.len().max(1) as f64);
        if threshold == f64::NEG_INFINITY {
            break;
        }
    }
    resample(name, &x, &y, points)
}

/// The curve through `(x, y)`, `x` rising from 0 to 1, at squares of even steps.
fn resample(name: &str, x: &[f64], y: &[f64], points: usize) -> Curve {
    let mut curve = Curve {
        name: name.to_owned(),
        ..Default::default()
    };
    let last = points.max(2) - 1;
    let mut segment = 0;
    for step in 0..=last {
        let at = (step as f64 / last as f64).powi(2);
        // The last point at or before `at`: the upper end of a vertical rise.
        while segment + 1 < x.len() && x[segment + 1] <= at {
            segment += 1;
        }
        let height = match x.get(segment + 1) {
            Some(&right) if right > x[segment] => {
                let part = (at - x[segment]) / (right - x[segment]);
                y[segment] + part * (y[segment + 1] - y[segment])
            }
            _ => y[segment],
        };
        curve.x.push(rounded(at));
        curve.y.push(rounded(height));
    }
    curve
}

/// Five decimals: more than a chart can show, and a fifth of the bytes.
fn rounded(value: f64) -> f64 {
    (value * 1e5).round() / 1e5
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn perfect_scores_rise_at_once_and_equal_ones_make_the_diagonal() {
        let perfect = roc_curve("m", &[3.0, 4.0], &[1.0, 2.0], 11);
        assert_eq!((perfect.x[0], perfect.y[0]), (0.0, 1.0));
        let equal = roc_curve("m", &[1.0; 5], &[1.0; 3], 11);
        for (x, y) in equal.x.iter().zip(&equal.y) {
            assert!((x - y).abs() < 1e-4);
        }
        assert_eq!(equal.x.last(), Some(&1.0));
    }

    #[test]
    fn thinning_keeps_the_ends() {
        let curve = Curve {
            name: "loss".into(),
            x: (0..1000).map(f64::from).collect(),
            y: vec![1.0; 1000],
        }
        .thinned(50);
        assert_eq!(curve.x.len(), 50);
        assert_eq!((curve.x[0], curve.x[49]), (0.0, 999.0));
    }
}
