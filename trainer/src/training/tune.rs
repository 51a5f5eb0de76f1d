//! How prompts should be learned, decided with classes left out.
//!
//! The classes are dealt into parts. For each part, prompts are learned on the other classes alone;
//! then held-out images of those are in-distribution and images of the part are out-of-distribution,
//! of classes that neither the prompts nor the class list have ever seen. No set that is reported
//! takes part, and none is opened.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::clip::{TextTower, Tokenizer};
use shared::metric::{auroc, fpr_at_tpr};
use shared::prompt::{ContextEncoder, PromptEncoder};
use shared::score::{ClassFeatures, Method, MethodSettings, method, score_all};

use super::batches::{LabelledFeatures, shuffled};
use super::config::{NisLoss, TrainingConfig};
use super::evaluate::negprompt_settings;
use super::experiment::{Experiment, ImageSet};
use super::positive::unit;
use super::run::{frozen_text_tower, values};
use super::selection::{Candidate, choose};
use super::{negative, positive};
use crate::model::ModelDirectory;

/// One change to the settings: a name as in the report's `config`, and values to try.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// `delta`, `negative_steps`, …
    pub name: String,
    /// JSON values; what is no JSON is text.
    pub values: Vec<Value>,
}

impl Axis {
    /// Reads `NAME=VALUE,VALUE…`.
    pub fn parse(text: &str) -> Result<Self> {
        let (name, values) = text
            .split_once('=')
            .filter(|(name, values)| !name.is_empty() && !values.is_empty())
            .with_context(|| {
                format!("`{text}` is not NAME=VALUE,VALUE…, for example delta=0,0.3,1")
            })?;
        let value = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| text.into());
        Ok(Self {
            name: name.replace('-', "_"),
            values: values.split(',').map(value).collect(),
        })
    }
}

/// Settings that nothing here is learned anew for, and why.
const FIXED: [(&str, &str); 3] = [
    (
        "shots",
        "the shots are drawn once: run `tune` once for each --shots",
    ),
    ("seed", "every combination runs with each of --seeds"),
    (
        "label_pool",
        "negative labels take no part in what is compared here",
    ),
];

/// All combinations of the axes' values over `base`, the first axis turning slowest.
///
/// # Errors
/// Naming a setting that there is not or that is given twice, or a value that it cannot have or that
/// is there twice.
pub fn grid(base: &TrainingConfig, axes: &[Axis]) -> Result<Vec<TrainingConfig>> {
    let mut settings = serde_json::to_value(base)?;
    // Left out of reports where it is not given.
    if let Some(fields) = settings.as_object_mut() {
        fields
            .entry("class_sample")
            .or_insert(serde_json::Value::Null);
    }
    let mut all = vec![settings.clone()];
    for (index, axis) in axes.iter().enumerate() {
        let name = &axis.name;
        if let Some((name, why)) = FIXED.iter().find(|(fixed, _)| fixed == name) {
            bail!("--try {name}: {why}");
        }
        if settings.get(name).is_none() {
            let known: Vec<&str> = settings
                .as_object()
                .into_iter()
                .flat_map(|fields| fields.keys().map(String::as_str))
                .filter(|name| FIXED.iter().all(|(fixed, _)| fixed != name))
                .collect();
            bail!(
                "there is no setting `{name}`; the settings are {}",
                known.join(", ")
            );
        }
        if axes[..index].iter().any(|other| other.name == *name) {
            bail!("--try {name}: give it once, with all values to try");
        }
        if let Some((earlier, later)) = repeated(&settings, axis) {
            bail!("--try {name}: {earlier} and {later} are the same value; give each once");
        }
        let mut wider = Vec::new();
        for settings in &all {
            for value in &axis.values {
                let mut settings = settings.clone();
                settings[name] = value.clone();
                wider.push(settings);
            }
        }
        all = wider;
    }
    all.into_iter()
        .map(|settings| {
            let config: TrainingConfig = serde_json::from_value(settings.clone())
                .with_context(|| format!("these settings cannot be: {settings}"))?;
            // No report tells it, as it changes no result.
            Ok(TrainingConfig {
                activation_memory: base.activation_memory,
                ..config
            })
        })
        .collect()
}

/// Two values of an axis that come to the same settings, as `0` and `0.0` do: both would be learned,
/// and the table would have one row twice.
fn repeated<'a>(settings: &Value, axis: &'a Axis) -> Option<(&'a Value, &'a Value)> {
    let read = |value: &Value| {
        let mut settings = settings.clone();
        settings[&axis.name] = value.clone();
        serde_json::from_value::<TrainingConfig>(settings).ok()
    };
    let came_to: Vec<_> = axis.values.iter().map(read).collect();
    let earlier_than = |later: usize| {
        let is_same = |earlier: &Option<TrainingConfig>| *earlier == came_to[later];
        came_to[..later].iter().position(is_same)
    };
    (0..came_to.len())
        // What cannot be read is refused with its cause.
        .filter(|&later| came_to[later].is_some())
        .find_map(|later| Some((&axis.values[earlier_than(later)?], &axis.values[later])))
}

/// The classes without one part of `parts`, and the part.
pub struct Fold {
    /// Images and names of the kept classes alone; nothing to measure on.
    pub kept: Experiment,
    /// Held-out images of the classes that were left out.
    pub left_out: ImageSet,
}

/// Deals the classes into `parts` parts and leaves out part `part`.
///
/// # Errors
/// When fewer than two classes would be kept or none left out.
pub fn fold(experiment: &Experiment, part: usize, parts: usize, seed: u64) -> Result<Fold> {
    let classes = experiment.classes.len();
    if parts < 2 || classes < 2 * parts {
        bail!(
            "{classes} classes cannot be dealt into {parts} parts of at least two; lower --parts, which must be 2 or more"
        );
    }
    let order = shuffled(classes, seed ^ 0x7E57_F01D);
    let mut kept: Vec<usize> = order
        .iter()
        .enumerate()
        .filter(|(place, _)| place % parts != part)
        .map(|(_, &class)| class)
        .collect();
    kept.sort_unstable();
    let (learn, _) = divide(&experiment.learn, &kept, experiment.width);
    let (selection, left_out) = divide(&experiment.selection, &kept, experiment.width);
    Ok(Fold {
        kept: Experiment {
            classes: kept
                .iter()
                .map(|&class| experiment.classes[class].clone())
                .collect(),
            learn,
            selection,
            width: experiment.width,
            ..Experiment::default()
        },
        left_out,
    })
}

/// The images of the kept classes, numbered among those, and the others.
fn divide(set: &ImageSet, kept: &[usize], width: usize) -> (ImageSet, ImageSet) {
    let (mut inside, mut outside) = (ImageSet::default(), ImageSet::default());
    for (feature, label) in set.features.chunks_exact(width.max(1)).zip(&set.labels) {
        let set = match kept.binary_search(label) {
            Ok(place) => {
                inside.labels.push(place);
                &mut inside
            }
            Err(_) => &mut outside,
        };
        set.features.extend_from_slice(feature);
        set.images += 1;
    }
    (inside, outside)
}

/// How settings did on one fold: AUROC and FPR95 for each of NegPrompt's score settings.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct FoldResult {
    /// Place of the training settings in the grid.
    pub place: usize,
    /// Seed of shots and training.
    pub seed: u64,
    /// Which part of the classes was left out.
    pub part: usize,
    /// Temperature and weight of negatives, AUROC, FPR95.
    pub rates: Vec<(MethodSettings, f64, f64)>,
}

/// Learns on the kept classes of a fold, with one setting after another.
pub struct FoldLearner<'a> {
    model: &'a ModelDirectory,
    fold: &'a Fold,
    tower: TextTower,
    tokenizer: Tokenizer,
    images: LabelledFeatures,
    /// Unit features `[k, d]` of what stage 1 learned, by the settings that it depends on: most of
    /// what is tried differs in stage 2 alone.
    positives: BTreeMap<String, Tensor<2>>,
}

impl<'a> FoldLearner<'a> {
    /// Loads the text tower and the shots.
    pub fn new(model: &'a ModelDirectory, fold: &'a Fold, device: &Device) -> Result<Self> {
        let autodiff = device.clone().autodiff();
        let learn = &fold.kept.learn;
        Ok(Self {
            model,
            fold,
            tower: frozen_text_tower(model, &autodiff)?,
            tokenizer: model.tokenizer()?,
            images: LabelledFeatures::new(&learn.features, &learn.labels, &autodiff),
            positives: BTreeMap::new(),
        })
    }

    /// Learns with `config` and scores kept against left-out images.
    pub fn try_settings(
        &mut self,
        config: &TrainingConfig,
    ) -> Result<Vec<(MethodSettings, f64, f64)>> {
        let classes = self.learn_prompts(config)?;
        let inside = classes.similarities_all(&self.fold.kept.selection.features)?;
        let outside = classes.similarities_all(&self.fold.left_out.features)?;
        let negprompt: &dyn Method = method("negprompt").context("NegPrompt is not registered")?;
        negprompt_settings(negprompt, classes.logit_scale)
            .into_iter()
            .map(|settings| {
                let inside = score_all(negprompt, &inside.rows(), &settings)?;
                let outside = score_all(negprompt, &outside.rows(), &settings)?;
                let rates = (
                    auroc(&inside, &outside)?,
                    fpr_at_tpr(&inside, &outside, 0.95)?,
                );
                Ok((settings, rates.0, rates.1))
            })
            .collect()
    }

    /// Both stages, without probe, hand-written prompts or checkpoints.
    fn learn_prompts(&mut self, config: &TrainingConfig) -> Result<ClassFeatures> {
        let Self {
            model,
            fold,
            tower,
            tokenizer,
            images,
            positives,
        } = self;
        let names = &fold.kept.classes;
        let prompts = PromptEncoder::new(tower, tokenizer, names, config.context_tokens);
        let mut encoder = ContextEncoder::new(tower.clone(), prompts, config.class_specific)
            .with_activation_memory(config.activation_bytes());
        let scale = model.config.logit_scale;
        let key = stage_1_settings(config);
        let positive = match positives.get(&key) {
            Some(positive) => positive.clone(),
            None => {
                let mut stage = positive::learner(tower, tokenizer, names.len(), config);
                while !stage.is_finished() {
                    positive::advance(&mut stage, &mut encoder, images, scale, config)?;
                }
                unit(encoder.encode(stage.contexts())).squeeze_dim::<2>(0)
            }
        };
        positives.insert(key, positive.clone());
        let mut stage = negative::learner(tower, tokenizer, names.len(), config);
        while !stage.is_finished() {
            negative::advance(&mut stage, &mut encoder, images, &positive, scale, config)?;
        }
        let negative = unit(encoder.encode(stage.contexts()));
        Ok(ClassFeatures {
            embed_dim: model.config.embed_dim,
            logit_scale: scale,
            positive: values(positive)?,
            negative: values(negative)?,
            ..ClassFeatures::default()
        })
    }
}

/// The settings with those of stage 2 alone set to nothing.
fn stage_1_settings(config: &TrainingConfig) -> String {
    let shared = TrainingConfig {
        negatives: 0,
        negative_start: String::new(),
        negative_steps: 0,
        negative_rate: 0.0,
        beta: 0.0,
        gamma: 0.0,
        delta: 0.0,
        epsilon: 0.0,
        nis: NisLoss::Paper,
        ..config.clone()
    };
    format!("{shared:?}")
}

/// Settings of training with what they came to.
#[derive(Clone, Debug, Serialize)]
pub struct Standing {
    /// Place in the grid.
    pub place: usize,
    /// The settings of the score that [`choose`] takes, with means over folds and seeds.
    pub best: Candidate,
    /// Standard error of the difference to the first of the list, over folds and seeds.
    pub difference_error: f64,
}

/// The grid's places from best to worst by AUROC − FPR95.
pub fn standings(results: &[FoldResult], places: usize) -> Vec<Standing> {
    let mut all: Vec<(Standing, Vec<f64>)> = (0..places)
        .filter_map(|place| {
            let of_place: Vec<&FoldResult> = results.iter().filter(|r| r.place == place).collect();
            let candidates = candidates(&of_place);
            let best = choose(&candidates)?.clone();
            let index = candidates
                .iter()
                .position(|candidate| candidate.settings == best.settings)?;
            let single = of_place
                .iter()
                .filter_map(|result| result.rates.get(index))
                .map(|rate| rate.1 - rate.2)
                .collect();
            let standing = Standing {
                place,
                best,
                difference_error: 0.0,
            };
            Some((standing, single))
        })
        .collect();
    all.sort_by(|(a, _), (b, _)| b.best.criterion().total_cmp(&a.best.criterion()));
    let first = all.first().map(|(_, single)| single.clone());
    all.into_iter()
        .map(|(mut standing, single)| {
            let differences: Vec<f64> = first
                .iter()
                .flatten()
                .zip(&single)
                .map(|(a, b)| a - b)
                .collect();
            standing.difference_error = standard_error(&differences);
            standing
        })
        .collect()
}

fn candidates(results: &[&FoldResult]) -> Vec<Candidate> {
    let Some(first) = results.first() else {
        return Vec::new();
    };
    let count = results.len() as f64;
    first
        .rates
        .iter()
        .enumerate()
        .map(|(index, &(settings, ..))| {
            let of = |rate: fn(&(MethodSettings, f64, f64)) -> f64| -> Vec<f64> {
                results
                    .iter()
                    .filter_map(|result| result.rates.get(index).map(rate))
                    .collect()
            };
            Candidate {
                settings,
                auroc: of(|rate| rate.1).iter().sum::<f64>() / count,
                fpr95: of(|rate| rate.2).iter().sum::<f64>() / count,
                standard_error: standard_error(&of(|rate| rate.1 - rate.2)),
            }
        })
        .collect()
}

fn standard_error(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    if count < 2.0 {
        return 0.0;
    }
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (count - 1.0) / count).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        training: TrainingConfig,
    }

    fn defaults() -> TrainingConfig {
        Line::parse_from(["trainer"]).training
    }

    #[test]
    fn axes_are_read_and_multiplied() {
        let base = defaults();
        let axes = [
            Axis::parse("delta=0,0.5").unwrap(),
            Axis::parse("negative-start=a photo without a,no").unwrap(),
        ];
        let grid = grid(&base, &axes).unwrap();
        let found: Vec<_> = grid
            .iter()
            .map(|config| (config.delta, config.negative_start.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                (0.0, "a photo without a"),
                (0.0, "no"),
                (0.5, "a photo without a"),
                (0.5, "no")
            ]
        );
        assert_eq!(grid[0].shots, base.shots);
        assert!(Axis::parse("delta").is_err() && Axis::parse("delta=").is_err());
    }

    #[test]
    fn what_is_not_learned_anew_is_not_tried() {
        let base = defaults();
        for text in ["shots=4,8", "seed=1", "label-pool=0,100"] {
            let axis = Axis::parse(text).unwrap();
            let error = grid(&base, &[axis]).unwrap_err().to_string();
            let name = text.split_once('=').unwrap().0.replace('-', "_");
            assert!(error.contains(&format!("--try {name}: ")), "{error}");
        }
    }

    #[test]
    fn nothing_is_tried_twice() {
        let told = |axes: &[&str]| {
            let axes: Vec<_> = axes.iter().map(|text| Axis::parse(text).unwrap()).collect();
            grid(&defaults(), &axes).map_err(|error| error.to_string())
        };
        assert_eq!(told(&["delta=0,0.5", "beta=0,0.5"]).unwrap().len(), 4);
        for (axes, said) in [
            (&["delta=0,0.3", "delta=1"][..], "--try delta: give it once"),
            (&["negative-steps=1", "negative_steps=2"], "give it once"),
            (&["delta=1,0,0"], "0 and 0 are the same value"),
            (&["delta=0,0.0"], "0 and 0.0 are the same value"),
            (&["delta=0.3,3e-1"], "are the same value"),
            (&["nis=off,paper,off"], "\"off\" and \"off\""),
            (&["class_sample=null,null"], "null and null"),
        ] {
            let error = told(axes).unwrap_err();
            assert!(error.contains(said), "{axes:?}: {error}");
        }
    }

    #[test]
    fn settings_that_reports_leave_out_are_kept_and_tried() {
        let base = TrainingConfig {
            activation_memory: 0.5,
            ..defaults()
        };
        let axis = Axis::parse("class_sample=null,20").unwrap();
        let grid = grid(&base, &[axis]).unwrap();
        let found: Vec<_> = grid.iter().map(|config| config.class_sample).collect();
        assert_eq!(found, [None, Some(20)]);
        assert!(grid.iter().all(|config| config.activation_memory == 0.5));
    }

    #[test]
    fn unknown_settings_and_values_are_named() {
        let base = defaults();
        let of = |text: &str| {
            grid(&base, &[Axis::parse(text).unwrap()])
                .unwrap_err()
                .to_string()
        };
        assert!(of("omega=1").contains("`omega`") && of("omega=1").contains("epsilon"));
        assert!(of("omega=1,1").contains("`omega`") && !of("omega=1").contains("label_pool"));
        assert!(of("delta=much").contains("much") && of("delta=much,much").contains("cannot be"));
    }

    #[test]
    fn a_fold_holds_no_image_of_a_class_that_is_left_out() {
        let set = |labels: &[usize]| ImageSet {
            name: String::new(),
            features: labels.iter().map(|&label| label as f32).collect(),
            labels: labels.to_vec(),
            images: labels.len(),
            ..ImageSet::default()
        };
        let labels: Vec<usize> = (0..24).map(|image| image % 8).collect();
        let experiment = Experiment {
            classes: (0..8).map(|class| class.to_string()).collect(),
            learn: set(&labels),
            selection: set(&labels),
            width: 1,
            ..Experiment::default()
        };
        let mut seen = Vec::new();
        for part in 0..4 {
            let fold = fold(&experiment, part, 4, 7).unwrap();
            assert_eq!(fold.kept.classes.len(), 6);
            let names = |set: &ImageSet| -> Vec<String> {
                set.features.iter().map(f32::to_string).collect()
            };
            for set in [&fold.kept.learn, &fold.kept.selection] {
                assert_eq!(set.images, 18);
                for (name, &label) in names(set).iter().zip(&set.labels) {
                    assert_eq!(*name, fold.kept.classes[label]);
                }
            }
            for name in names(&fold.left_out) {
                assert!(!fold.kept.classes.contains(&name));
                seen.push(name);
            }
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 8, "every class is left out once");
        assert!(fold(&experiment, 0, 5, 7).is_err());
    }

    #[test]
    fn standings_go_by_the_mean_and_pair_the_folds() {
        let settings = MethodSettings::at_temperature(1.0);
        let result = |place, part, auroc| FoldResult {
            place,
            seed: 0,
            part,
            rates: vec![(settings, auroc, 0.1)],
        };
        let results = [
            result(0, 0, 0.90),
            result(0, 1, 0.80),
            result(1, 0, 0.95),
            result(1, 1, 0.85),
        ];
        let standings = standings(&results, 2);
        assert_eq!(standings[0].place, 1);
        assert!((standings[0].best.auroc - 0.90).abs() < 1e-12);
        // Worse by the same amount on every fold: no doubt about the difference.
        assert!(standings[1].difference_error < 1e-12);
        assert!(standings[1].best.standard_error > 0.04);
    }
}
