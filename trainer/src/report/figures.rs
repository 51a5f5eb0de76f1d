//! The numbers behind the charts of a report.

use serde::{Deserialize, Serialize};
use shared::bundle::{Histogram, Map};
use shared::score::{Prediction, ScoreScale};

/// Bins of a reliability diagram, as many as of the expected calibration error.
const RELIABILITY_BINS: usize = 15;

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
    /// How often each method is right by how sure it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reliability: Vec<ReliabilityFigure>,
    /// Images and prompts in two dimensions (the paper's Fig. 4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map: Option<MapFigure>,
    /// What each part of a method, or each value of a setting, is worth.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ablations: Vec<AblationFigure>,
}

/// One rate by what was changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AblationFigure {
    /// What was changed: `Losses`, `Shots`.
    pub title: String,
    /// Which rate: `average AUROC, %`.
    pub rate: String,
    pub rows: Vec<AblationRow>,
}

/// One setting in an ablation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AblationRow {
    /// `without NIS`, `p = 4`.
    pub name: String,
    /// Whether it is the setting that the others are measured against.
    pub own: bool,
    /// Mean over seeds, a fraction of one.
    pub rate: f64,
    /// Standard deviation over seeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deviation: Option<f64>,
}

/// Accuracy by confidence: the diagonal is a method whose probabilities mean what they say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityFigure {
    /// Name of the method.
    pub method: String,
    /// Mean confidence of a bin → share of its images that are right. Empty bins are left out.
    pub curve: Curve,
    /// How many images are in each bin of the curve.
    pub images: Vec<u64>,
}

/// Points whose neighbours were neighbours in the joint space.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MapFigure {
    pub map: Map,
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

impl LossFigure {
    /// One loss, step after step.
    pub fn of_steps(stage: &str, name: &str, losses: &[f32], points: usize) -> Self {
        let curve = Curve {
            name: name.into(),
            x: (1..=losses.len()).map(|step| step as f64).collect(),
            y: losses.iter().map(|&loss| f64::from(loss)).collect(),
        };
        Self {
            stage: stage.into(),
            unit: "step".into(),
            curves: vec![curve.thinned(points)],
        }
    }
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

/// The reliability diagram of a method's first choices; none where no class is known.
pub fn reliability(
    name: &str,
    predictions: &[Prediction],
    labels: &[usize],
) -> Option<ReliabilityFigure> {
    let (mut sums, mut right) = ([0.0; RELIABILITY_BINS], [0u64; RELIABILITY_BINS]);
    let mut images = [0u64; RELIABILITY_BINS];
    for (prediction, &label) in predictions.iter().zip(labels) {
        // Open below and closed above, as in the expected calibration error.
        let place = (prediction.probability * RELIABILITY_BINS as f64).ceil() as usize;
        let bin = place.clamp(1, RELIABILITY_BINS) - 1;
        sums[bin] += prediction.probability;
        right[bin] += u64::from(prediction.class == label);
        images[bin] += 1;
    }
    let filled: Vec<usize> = (0..RELIABILITY_BINS)
        .filter(|&bin| images[bin] > 0)
        .collect();
    (!filled.is_empty()).then(|| ReliabilityFigure {
        method: name.to_owned(),
        curve: Curve {
            name: name.to_owned(),
            x: filled
                .iter()
                .map(|&bin| rounded(sums[bin] / images[bin] as f64))
                .collect(),
            y: filled
                .iter()
                .map(|&bin| rounded(right[bin] as f64 / images[bin] as f64))
                .collect(),
        },
        images: filled.iter().map(|&bin| images[bin]).collect(),
    })
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
    fn reliability_is_accuracy_by_confidence() {
        let prediction = |class, probability| Prediction { class, probability };
        let predictions = [
            prediction(0, 1.0),
            prediction(1, 0.98),
            prediction(1, 0.4),
            prediction(0, 0.39),
        ];
        let figure = reliability("m", &predictions, &[0, 0, 1, 0]).unwrap();
        assert_eq!(figure.curve.x, [0.395, 0.99]);
        assert_eq!(figure.curve.y, [1.0, 0.5]);
        assert_eq!(figure.images, [2, 2]);
        assert!(reliability("m", &predictions, &[]).is_none());
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
