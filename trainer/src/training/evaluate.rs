//! Every method on the same held-out images.

use anyhow::Result;
use shared::metric::threshold_at_tpr;
use shared::score::{
    ClassFeatures, Method, MethodSettings, SimilarityBuffer, methods, predict_all, score_all,
};

use super::experiment::Experiment;
use super::selection::{self, Candidate};
use crate::report::{MeasuredMethods, PromptSimilarities, ScoredMethod, measure};

/// Share of held-out ID images that the threshold keeps.
const KEPT: f64 = 0.95;

/// Temperatures that NegPrompt chooses from, beside the paper's `1 / logit_scale`.
const TEMPERATURES: [f32; 3] = [0.1, 0.3, 1.0];

/// Weights of the negatives' mass that NegPrompt chooses from; 1 is the paper's.
const NEGATIVE_WEIGHTS: [f32; 4] = [0.1, 0.3, 1.0, 3.0];

/// Similarities of every set with the learned prompts.
pub struct SetSimilarities {
    /// Of the images that choose settings.
    pub selection: SimilarityBuffer,
    /// Of the calibration images.
    pub calibration: SimilarityBuffer,
    /// Of the ID test images.
    pub test: SimilarityBuffer,
    /// Of each out-of-distribution set, with its name.
    pub ood: Vec<(String, SimilarityBuffer)>,
}

/// What [`evaluate`] found.
pub struct Evaluation {
    /// Rows and charts of the report.
    pub measured: MeasuredMethods,
    /// Scores and predictions behind them.
    pub scored: Vec<ScoredMethod>,
    /// Scores of the calibration images, method by method.
    pub calibration: Vec<Vec<f64>>,
    /// The settings that were tried for NegPrompt.
    pub candidates: Vec<Candidate>,
}

impl SetSimilarities {
    /// Compares the images of every set with `classes`.
    pub fn of(experiment: &Experiment, classes: &ClassFeatures) -> Result<Self> {
        let ood = experiment
            .ood
            .iter()
            .map(|set| Ok((set.name.clone(), classes.similarities_all(&set.features)?)))
            .collect::<Result<_>>()?;
        Ok(Self {
            selection: classes.similarities_all(&experiment.selection.features)?,
            calibration: classes.similarities_all(&experiment.calibration.features)?,
            test: classes.similarities_all(&experiment.test.features)?,
            ood,
        })
    }

    /// Largest cosines with positive and negative prompts: of the ID test images, then of all
    /// out-of-distribution images together.
    pub fn largest(&self) -> Result<(PromptSimilarities, PromptSimilarities)> {
        let (mut id, mut ood) = (PromptSimilarities::default(), PromptSimilarities::default());
        id.extend(&self.test.rows())?;
        for (_, set) in &self.ood {
            ood.extend(&set.rows())?;
        }
        Ok((id, ood))
    }
}

/// Chooses NegPrompt's temperature and weight of negatives with classes left out, then measures every method.
pub fn evaluate(
    experiment: &Experiment,
    classes: &ClassFeatures,
    similarities: &SetSimilarities,
    seed: u64,
) -> Result<Evaluation> {
    let mut scored = Vec::new();
    let mut calibration = Vec::new();
    let mut candidates = Vec::new();
    for &method in methods() {
        let mut settings = method.default_settings(classes.logit_scale);
        if method.id() == "negprompt" {
            candidates = negprompt_candidates(method, experiment, classes, similarities, seed)?;
            if let Some(best) = selection::choose(&candidates) {
                settings = best.settings;
            }
        }
        let of_calibration = score_all(method, &similarities.calibration.rows(), &settings)?;
        let test = similarities.test.rows();
        let ood = similarities
            .ood
            .iter()
            .map(|(name, set)| Ok((name.clone(), score_all(method, &set.rows(), &settings)?)))
            .collect::<Result<_>>()?;
        scored.push(ScoredMethod {
            method,
            settings,
            id: score_all(method, &test, &settings)?,
            id_predictions: predict_all(method, &test, &settings)?,
            ood,
            threshold: Some(threshold_at_tpr(&of_calibration, KEPT)?),
        });
        calibration.push(of_calibration);
    }
    let labels: Vec<Option<usize>> = experiment
        .test
        .labels
        .iter()
        .map(|&label| Some(label))
        .collect();
    Ok(Evaluation {
        measured: measure(&scored, &labels)?,
        scored,
        calibration,
        candidates,
    })
}

/// The settings of the score that NegPrompt chooses from.
pub fn negprompt_settings(method: &dyn Method, logit_scale: f32) -> Vec<MethodSettings> {
    let paper = method.default_settings(logit_scale);
    std::iter::once(paper.temperature)
        .chain(TEMPERATURES)
        .flat_map(|temperature| {
            NEGATIVE_WEIGHTS.map(|negative_weight| MethodSettings {
                temperature,
                negative_weight,
            })
        })
        .collect()
}

fn negprompt_candidates(
    method: &dyn Method,
    experiment: &Experiment,
    classes: &ClassFeatures,
    similarities: &SetSimilarities,
    seed: u64,
) -> Result<Vec<Candidate>> {
    selection::measure(
        method,
        &negprompt_settings(method, classes.logit_scale),
        &similarities.selection,
        &experiment.selection,
        experiment.classes.len(),
        seed,
    )
}
