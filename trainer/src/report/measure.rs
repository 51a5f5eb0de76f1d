//! From scores to the rows of the table and the numbers of its charts.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use shared::bundle::Histogram;
use shared::metric;
use shared::score::{Method, MethodSettings, Prediction, ScoreScale};

use super::figures::{Figures, RocFigure, ScoreFigure, reliability, roc_curve};
use super::{MethodReport, SetReport};

const HISTOGRAM_BINS: usize = 48;
const ROC_POINTS: usize = 81;
const ECE_BINS: usize = 15;
const TPR: f64 = 0.95;

/// What one method gave to every image.
pub struct ScoredMethod {
    pub method: &'static dyn Method,
    pub settings: MethodSettings,
    /// Scores of the ID images.
    pub id: Vec<f64>,
    /// First choices for the ID images, in the same order.
    pub id_predictions: Vec<Prediction>,
    /// By OOD set, in the order of the tables.
    pub ood: Vec<(String, Vec<f64>)>,
    /// The threshold in use; the one that keeps 95 % of the ID images where none is given.
    pub threshold: Option<f64>,
}

/// Rows and charts of [`measure`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MeasuredMethods {
    pub methods: Vec<MethodReport>,
    /// Scores and ROC curves; losses and similarities are left to the caller.
    pub figures: Figures,
}

/// Measures every method on the same images.
///
/// `id_labels` holds the class of each ID image, where it is known; accuracy, calibration error
/// and OSCR are left out unless all of them are.
///
/// # Errors
/// When a set is empty or a score is not a number.
pub fn measure(scored: &[ScoredMethod], id_labels: &[Option<usize>]) -> Result<MeasuredMethods> {
    let labels: Option<Vec<usize>> = id_labels.iter().copied().collect();
    let labels = labels.filter(|labels| !labels.is_empty());
    let mut measured = MeasuredMethods::default();
    for of_method in scored {
        let name = of_method.method.name();
        let row =
            row(of_method, labels.as_deref()).with_context(|| format!("cannot measure {name}"))?;
        let figure = score_figure(of_method, row.threshold)
            .with_context(|| format!("cannot draw the scores of {name}"))?;
        measured.figures.scores.push(figure);
        if let Some(labels) = &labels {
            let of_method = reliability(name, &of_method.id_predictions, labels);
            measured.figures.reliability.extend(of_method);
        }
        measured.methods.push(row);
    }
    let sets = scored.first().map_or(&[][..], |first| &first.ood);
    measured.figures.roc = sets
        .iter()
        .enumerate()
        .map(|(index, (set, _))| RocFigure {
            set: set.clone(),
            curves: scored
                .iter()
                .filter_map(|of_method| {
                    let (_, scores) = of_method.ood.get(index)?;
                    let name = of_method.method.name();
                    Some(roc_curve(name, &of_method.id, scores, ROC_POINTS))
                })
                .collect(),
        })
        .collect();
    Ok(measured)
}

fn row(scored: &ScoredMethod, labels: Option<&[usize]>) -> Result<MethodReport> {
    let correct: Option<Vec<bool>> = labels.map(|labels| {
        labels
            .iter()
            .zip(&scored.id_predictions)
            .map(|(&label, prediction)| prediction.class == label)
            .collect()
    });
    let id_top1 = correct.as_ref().map(|correct| {
        correct.iter().filter(|&&right| right).count() as f64 / correct.len().max(1) as f64
    });
    let ece = match &correct {
        Some(correct) => {
            let confidence: Vec<f64> = scored
                .id_predictions
                .iter()
                .map(|prediction| prediction.probability)
                .collect();
            Some(metric::ece(&confidence, correct, ECE_BINS)?)
        }
        None => None,
    };
    let mut ood = BTreeMap::new();
    for (set, scores) in &scored.ood {
        let rates = metric::OodRates::measure(&scored.id, scores)
            .with_context(|| format!("the set `{set}`"))?;
        let oscr = correct
            .as_ref()
            .map(|correct| metric::oscr(&scored.id, correct, scores))
            .transpose()?;
        let report = SetReport {
            auroc: rates.auroc,
            fpr95: rates.fpr95,
            aupr_in: rates.aupr_in,
            aupr_out: rates.aupr_out,
            oscr,
            auroc_deviation: None,
            fpr95_deviation: None,
        };
        ood.insert(set.clone(), report);
    }
    let threshold = match scored.threshold {
        Some(threshold) => threshold,
        None => metric::threshold_at_tpr(&scored.id, TPR)?,
    };
    Ok(MethodReport {
        name: scored.method.name().to_owned(),
        id: scored.method.id().to_owned(),
        id_top1,
        ece,
        average: SetReport::average(ood.values()),
        ood,
        threshold,
        kept: Some(share_kept(&scored.id, threshold)),
        settings: scored.settings,
        seconds: None,
    })
}

fn share_kept(id: &[f64], threshold: f64) -> f64 {
    let kept = id.iter().filter(|&&score| score >= threshold).count();
    kept as f64 / id.len().max(1) as f64
}

fn score_figure(scored: &ScoredMethod, threshold: f64) -> Result<ScoreFigure> {
    let scale = scored.method.scale();
    let axis = match scale {
        ScoreScale::Probability => "score, as log-odds",
        ScoreScale::Logit => "score",
    };
    let mut series: Vec<(&str, &[f64])> = vec![("in-distribution", &scored.id)];
    series.extend(
        scored
            .ood
            .iter()
            .map(|(set, scores)| (set.as_str(), scores.as_slice())),
    );
    let name = scored.method.name();
    Ok(ScoreFigure {
        method: name.to_owned(),
        histogram: Histogram::measure(name, axis, HISTOGRAM_BINS, &series)?,
        threshold,
        scale,
    })
}

impl SetReport {
    /// The mean over sets, each counting once; none when there are none. A rate that one set lacks
    /// is left out.
    pub fn average<'a>(sets: impl IntoIterator<Item = &'a Self>) -> Option<Self> {
        let sets: Vec<&Self> = sets.into_iter().collect();
        if sets.is_empty() {
            return None;
        }
        let mean = |rate: fn(&Self) -> Option<f64>| {
            let rates: Option<Vec<f64>> = sets.iter().map(|set| rate(set)).collect();
            rates.map(|rates| rates.iter().sum::<f64>() / rates.len() as f64)
        };
        Some(Self {
            auroc: mean(|set| Some(set.auroc))?,
            fpr95: mean(|set| Some(set.fpr95))?,
            aupr_in: mean(|set| set.aupr_in),
            aupr_out: mean(|set| set.aupr_out),
            oscr: mean(|set| set.oscr),
            auroc_deviation: None,
            fpr95_deviation: None,
        })
    }
}
