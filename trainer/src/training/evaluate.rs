//! Every method on the same held-out images.

use std::ops::Range;

use anyhow::Result;
use shared::metric::threshold_at_tpr;
use shared::score::{
    ClassFeatures, Input, Method, MethodSettings, MinedSettings, Patches, Prediction, ScoreError,
    SimilarityRows, methods, predict_all, score_all,
};

use super::experiment::{Experiment, ImageSet};
use super::labels::{LabelPool, NegativeLabels};
use super::selection::{self, Candidate};
use crate::report::{MeasuredMethods, PromptSimilarities, ScoredMethod, measure};

/// Share of held-out ID images that the threshold keeps.
pub const KEPT: f64 = 0.95;

/// Temperatures that NegPrompt chooses from, beside the paper's `1 / logit_scale`.
const TEMPERATURES: [f32; 3] = [0.1, 0.3, 1.0];

/// Weights of the negatives' mass that NegPrompt chooses from; 1 is the paper's.
const NEGATIVE_WEIGHTS: [f32; 4] = [0.1, 0.3, 1.0, 3.0];

/// Weights of mined labels that NegPrompt with them chooses from; 0 is NegPrompt itself.
const MINED_WEIGHTS: [f32; 5] = [0.0, 0.03, 0.1, 0.3, 1.0];

/// Temperatures of mined labels to choose from, in parts of CLIP's own `1 / logit_scale`.
const MINED_TEMPERATURES: [f32; 2] = [1.0, 0.5];

/// Images whose largest cosines are looked for at a time: what they need in memory grows with it.
const TOGETHER: usize = 256;

/// Cosines of images and words that choosing settings may hold.
const MOST_POOL_COSINES: usize = 20_000_000;

/// What [`evaluate`] found.
pub struct Evaluation {
    /// Rows and charts of the report.
    pub measured: MeasuredMethods,
    /// Scores and predictions behind them.
    pub scored: Vec<ScoredMethod>,
    /// Scores of the calibration images, method by method.
    pub calibration: Vec<Vec<f64>>,
    /// The settings that were tried, by method; none where there was nothing to choose by.
    pub candidates: Vec<(&'static dyn Method, Vec<Candidate>)>,
}

/// One method's scores of everything.
pub struct MethodScores {
    /// Scores and predictions of the images to measure on.
    pub scored: ScoredMethod,
    /// Scores of the calibration images.
    pub calibration: Vec<f64>,
    /// The settings that were tried.
    pub candidates: Vec<Candidate>,
}

/// Measures every method that the class features offer; those with settings of their own first
/// choose them with ID classes left out.
pub fn evaluate(
    experiment: &Experiment,
    classes: &ClassFeatures,
    labels: Option<&NegativeLabels>,
    seed: u64,
) -> Result<Evaluation> {
    let (mut scored, mut calibration, mut candidates) = (Vec::new(), Vec::new(), Vec::new());
    for &method in methods() {
        if classes.offers(method, experiment.has_patches()) {
            let tried = choose_settings(method, experiment, classes, labels, seed)?;
            let scores = score_with(method, tried, experiment, classes)?;
            scored.push(scores.scored);
            calibration.push(scores.calibration);
            if has_settings(method) {
                candidates.push((method, scores.candidates));
            }
        }
    }
    Ok(Evaluation {
        measured: measure(&scored, &experiment.test.known_labels())?,
        scored,
        calibration,
        candidates,
    })
}

/// Scores the images of every set with the best of the settings that were tried, or with those of the
/// method's paper where none were.
pub fn score_with(
    method: &'static dyn Method,
    candidates: Vec<Candidate>,
    experiment: &Experiment,
    classes: &ClassFeatures,
) -> Result<MethodScores> {
    let settings = selection::choose(&candidates).map_or_else(
        || method.default_settings(classes.logit_scale),
        |best| best.settings,
    );
    let classes = classes.only(method.needs());
    let scorer = Scorer {
        method,
        settings: &settings,
        classes: &classes,
    };
    let calibration = scorer.scores(&experiment.calibration)?;
    let ood = experiment
        .ood
        .iter()
        .map(|set| Ok((set.name.clone(), scorer.scores(set)?)))
        .collect::<Result<_>>()?;
    let scored = ScoredMethod {
        method,
        settings,
        id: scorer.scores(&experiment.test)?,
        id_predictions: scorer.predictions(&experiment.test)?,
        ood,
        threshold: Some(threshold_at_tpr(&calibration, KEPT)?),
    };
    Ok(MethodScores {
        scored,
        calibration,
        candidates,
    })
}

/// Largest cosines with positive and negative prompts: of the ID test images, then of all
/// out-of-distribution images together.
pub fn largest_similarities(
    experiment: &Experiment,
    classes: &ClassFeatures,
) -> Result<(PromptSimilarities, PromptSimilarities)> {
    let classes = classes.only(&[Input::Positive, Input::Negative]);
    let (mut id, mut ood) = (PromptSimilarities::default(), PromptSimilarities::default());
    extend(&mut id, &classes, &experiment.test)?;
    for set in &experiment.ood {
        extend(&mut ood, &classes, set)?;
    }
    Ok((id, ood))
}

fn extend(into: &mut PromptSimilarities, classes: &ClassFeatures, set: &ImageSet) -> Result<()> {
    for features in set.features.chunks(TOGETHER * classes.embed_dim.max(1)) {
        into.extend(&classes.similarities_all(features)?.rows())?;
    }
    Ok(())
}

/// A method with its settings and the part of the class features that it needs.
struct Scorer<'a> {
    method: &'static dyn Method,
    settings: &'a MethodSettings,
    classes: &'a ClassFeatures,
}

impl Scorer<'_> {
    fn scores(&self, set: &ImageSet) -> Result<Vec<f64>> {
        self.each(set, |rows| score_all(self.method, rows, self.settings))
    }

    fn predictions(&self, set: &ImageSet) -> Result<Vec<Prediction>> {
        self.each(set, |rows| predict_all(self.method, rows, self.settings))
    }

    /// What `of` makes of every image of a set, in order.
    fn each<T: Send>(
        &self,
        set: &ImageSet,
        of: impl Fn(&SimilarityRows) -> Result<Vec<T>, ScoreError> + Sync,
    ) -> Result<Vec<T>> {
        let takes_patches = self.method.takes_patches();
        let of_set = set.patches.as_ref().filter(|_| takes_patches);
        let gather = of_set.map(|patches| {
            move |places: Range<usize>| patches.gather(&places.collect::<Vec<usize>>())
        });
        let patches = gather.as_ref().map(|gather| gather as &Patches);
        Ok(self.classes.each_block(&set.features, patches, of)?)
    }
}

/// Whether a method chooses its settings, and has not just those of its paper.
fn has_settings(method: &dyn Method) -> bool {
    ["negprompt", "negprompt-mined"].contains(&method.id())
}

/// The settings that a method chooses from, measured; none for one that has its paper's.
///
/// `experiment` and `classes` are those of the classes that were learned from.
pub fn choose_settings(
    method: &'static dyn Method,
    experiment: &Experiment,
    classes: &ClassFeatures,
    labels: Option<&NegativeLabels>,
    seed: u64,
) -> Result<Vec<Candidate>> {
    match (method.id(), labels) {
        ("negprompt", _) => negprompt_candidates(method, experiment, classes, seed),
        ("negprompt-mined", Some(labels)) => {
            mined_candidates(method, experiment, classes, &labels.words, seed)
        }
        _ => Ok(Vec::new()),
    }
}

/// The settings of the score that NegPrompt chooses from.
pub fn negprompt_settings(method: &dyn Method, logit_scale: f32) -> Vec<MethodSettings> {
    let paper = method.default_settings(logit_scale);
    std::iter::once(1.0 / logit_scale)
        .chain(TEMPERATURES)
        .flat_map(|temperature| {
            NEGATIVE_WEIGHTS.map(|negative_weight| MethodSettings {
                temperature,
                negative_weight,
                ..paper
            })
        })
        .collect()
}

fn negprompt_candidates(
    method: &dyn Method,
    experiment: &Experiment,
    classes: &ClassFeatures,
    seed: u64,
) -> Result<Vec<Candidate>> {
    let images = &experiment.selection;
    let compared = classes
        .only(method.needs())
        .similarities_all(&images.features)?;
    selection::measure(
        method,
        &negprompt_settings(method, classes.logit_scale),
        &compared,
        images,
        experiment.classes.len(),
        None,
        seed,
    )
}

/// NegPrompt's own settings first, as NegPrompt chooses them; then what the labels count.
fn mined_candidates(
    method: &dyn Method,
    experiment: &Experiment,
    classes: &ClassFeatures,
    pool: &LabelPool,
    seed: u64,
) -> Result<Vec<Candidate>> {
    let alone = shared::score::method("negprompt");
    let own = match alone {
        Some(alone) => negprompt_candidates(alone, experiment, classes, seed)?,
        None => Vec::new(),
    };
    let own = selection::choose(&own).map_or_else(
        || method.default_settings(classes.logit_scale),
        |best| best.settings,
    );
    let settings: Vec<MethodSettings> = MINED_TEMPERATURES
        .into_iter()
        .flat_map(|part| {
            MINED_WEIGHTS.map(|weight| MethodSettings {
                mined: Some(MinedSettings {
                    weight,
                    temperature: part / classes.logit_scale,
                }),
                ..own
            })
        })
        .collect();
    let images = experiment
        .selection
        .thinned(MOST_POOL_COSINES / pool.len().max(1));
    let mut with_pool = classes.only(method.needs());
    with_pool.mined = pool.features().to_vec();
    let compared = with_pool.similarities_all(&images.features)?;
    let count = experiment.classes.len();
    selection::measure(
        method,
        &settings,
        &compared,
        &images,
        count,
        Some(pool),
        seed,
    )
}
