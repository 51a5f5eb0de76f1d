//! One trial: learn once, score with every method.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use serde_json::json;
use shared::bundle::Map;
use shared::clip::preprocess::DecodeLimits;
use shared::score::{ClassFeatures, Input, Method, methods};

use super::planned::{OF_WORDS, Planned, learning_seconds, needed};
use super::row::{Row, Rows, TrialRecord};
use super::template::Template;
use crate::model::ModelDirectory;
use crate::output;
use crate::progress::say;
use crate::report::{LossFigure, Mistake, ScoredMethod, measure, similarity_figures};
use crate::training::TrainingConfig;
use crate::training::checkpoints::Checkpoints;
use crate::training::evaluate::{MethodScores, choose_settings, largest_similarities, score_with};
use crate::training::experiment::{ClassSplit, Experiment};
use crate::training::labels::{NegativeLabels, negative_labels};
use crate::training::map::lay_out;
use crate::training::odin::PixelStep;
use crate::training::run::{Learned, fingerprint, for_other_names, learn};

/// Points of a loss curve.
const CURVE_POINTS: usize = 100;
/// Mistakes kept of each set.
const MISTAKES: usize = 5;

/// What is learned once and scored with several methods.
#[derive(Clone)]
pub struct Trial {
    /// What it changes against the suite's own settings, for the table; empty for nothing.
    pub variant: String,
    /// Settings, with the seed.
    pub config: TrainingConfig,
    /// Which of the suite's tasks it is on.
    pub task: usize,
    /// Which classes are learned, known and unknown.
    pub split: ClassSplit,
    /// The methods that give rows; those that the data cannot serve are left out.
    pub methods: Vec<&'static dyn Method>,
    /// Hand-written prompts that give rows beside them.
    pub templates: Vec<Template>,
    /// Whether ODIN, where it has a row, has another with its step on the pixels.
    pub odin_on_pixels: bool,
}

/// What all trials of a suite share.
pub struct Bench<'a> {
    /// The model.
    pub model: &'a ModelDirectory,
    /// Where prompts are learned.
    pub device: &'a Device,
    /// Finished rows.
    pub rows: &'a Rows,
    /// Larger images are not decoded.
    pub limits: DecodeLimits,
    /// Where unfinished stages are kept.
    pub checkpoints: PathBuf,
    /// The experiment of a task, a number of shots and a seed.
    pub experiment: &'a dyn Fn(usize, usize, u64) -> Result<Experiment>,
    /// Labels mined for a class list: they do not depend on the seed.
    pub labels: BTreeMap<String, Option<NegativeLabels>>,
    /// Rows that an earlier run had finished.
    pub taken_over: usize,
}

impl Bench<'_> {
    /// The rows of a trial, and what it showed: from the disk where they are finished, else made.
    pub fn run(&mut self, trial: &Trial) -> Result<(Vec<Row>, TrialRecord)> {
        let whole = (self.experiment)(trial.task, trial.config.shots, trial.config.seed)?;
        let (learning, experiment) = whole.split_classes(&trial.split)?;
        let planned = trial.planned(&experiment);
        let feature_key = self.model.feature_key()?;
        let depends = json!({
            "run": fingerprint(&self.model.config, &feature_key, &learning, &trial.config)?,
            "measured": fingerprint(&self.model.config, &feature_key, &experiment, &trial.config)?,
            "text": self.model.text_key()?,
            "images": whole.digest(),
            "names": whole.names_digest()?,
            "split": trial.split,
            "patches": experiment.has_patches(),
            "variant": trial.variant,
        });
        let trial_key = self.rows.key(&json!({"trial": depends}))?;
        let keys = planned
            .iter()
            .map(|row| row.key(self.rows, &depends))
            .collect::<Result<Vec<_>>>()?;
        let done: Vec<Option<Row>> = keys.iter().map(|key| self.rows.get(key)).collect();
        self.taken_over += done.iter().flatten().count();
        let record: Option<TrialRecord> = self.rows.get(&trial_key);
        if let (Some(record), true) = (&record, done.iter().all(Option::is_some)) {
            return Ok((done.into_iter().flatten().collect(), record.clone()));
        }

        let needed = needed(&planned);
        let folder = self.checkpoints.join(&trial_key);
        let checkpoints = Checkpoints::open(folder, trial_key.clone(), true)?;
        let config = &trial.config;
        let (finished, model, device, limits) = (self.rows, self.model, self.device, self.limits);
        let takes_words = needed.iter().any(|input| OF_WORDS.contains(input));
        // Before what takes long: a text tower may know too few words for any label.
        let labels = match takes_words {
            true => self.labels(&learning, config)?,
            false => None,
        };
        if needed.contains(&Input::Mined)
            && let Some(labels) = labels
        {
            check_mined(labels, learning.classes.len())?;
        }
        let mut learned = learn(model, &learning, config, device, &checkpoints, &needed)?;
        if trial.split.is_open_vocabulary() {
            let names = &experiment.classes;
            for_other_names(model, names, config, device, &mut learned)?;
        }
        let mut own = learned.classes.clone();
        if trial.split.is_open_vocabulary() {
            // Settings are chosen with the classes that were learned, and no other.
            own = for_learned_names(&learned, &learning, &experiment);
        }
        if let Some(labels) = labels {
            labels.add_to(&mut own);
            if !trial.split.is_open_vocabulary() {
                learned.classes.clone_from(&own);
            }
        }
        let mut rows = Vec::new();
        for ((planned, key), done) in planned.iter().zip(&keys).zip(done) {
            if let Some(row) = done {
                rows.push(row);
                continue;
            }
            let since = Instant::now();
            let method = planned.method;
            let (own, all) = match planned.template {
                None => (own.clone(), learned.classes.clone()),
                Some(template) => {
                    let put = |classes: &ClassFeatures, names: &[String]| {
                        template.put_into(classes, model, names, device)
                    };
                    (
                        put(&own, &learning.classes)?,
                        put(&learned.classes, &experiment.classes)?,
                    )
                }
            };
            let candidates = choose_settings(method, &learning, &own, labels, config.seed)?;
            let mut scores = score_with(method, candidates, &experiment, &all)?;
            if planned.on_pixels {
                let step = PixelStep::open(model, device, limits)?;
                scores = scored_on_pixels(scores, &step, &experiment, &all)?;
            }
            let seconds =
                since.elapsed().as_secs_f64() + learning_seconds(planned.needs(), &learned, labels);
            let row = row(planned, &experiment, scores.scored, config.seed, seconds)?;
            finished.put(key, &row)?;
            let (name, seed) = (planned.name(), config.seed);
            say(&format!("{name}, seed {seed}: {seconds:.1} s"));
            rows.push(row);
        }
        let record = match record {
            Some(record) => record,
            None => {
                let record = record_of(&experiment, &learned, labels, config.seed)?;
                finished.put(&trial_key, &record)?;
                record
            }
        };
        checkpoints.close()?;
        Ok((rows, record))
    }

    /// Negative labels of the classes that are learned, mined once for each class list.
    fn labels(
        &mut self,
        learning: &Experiment,
        config: &TrainingConfig,
    ) -> Result<Option<&NegativeLabels>> {
        let key = format!("{}\n{}", config.label_pool, learning.classes.join("\n"));
        if !self.labels.contains_key(&key) {
            let mined = negative_labels(
                self.model,
                &learning.classes,
                config.label_pool,
                self.device,
            )?;
            self.labels.insert(key.clone(), mined);
        }
        Ok(self.labels.get(&key).and_then(Option::as_ref))
    }
}

/// Fails where the pool of words gave no negative label.
fn check_mined(labels: &NegativeLabels, classes: usize) -> Result<()> {
    let all: Vec<usize> = (0..classes).collect();
    if labels.words.mine(&all).is_empty() {
        bail!(
            "no negative label was mined from the {} words of WordNet that the text tower knows: too few, or each of them like a class; leave the methods with labels out with --label-pool 0",
            labels.words.len()
        );
    }
    Ok(())
}

/// The scores of images whose pixels took ODIN's step; what an image shows is still told from the image.
fn scored_on_pixels(
    unmoved: MethodScores,
    step: &PixelStep,
    experiment: &Experiment,
    classes: &ClassFeatures,
) -> Result<MethodScores> {
    let probe = classes.probe.as_ref().context("ODIN needs a probe")?;
    let moved = experiment.with_features(|set| step.features(set, probe))?;
    let classes = ClassFeatures {
        odin_step: Some(0.0),
        ..classes.clone()
    };
    let mut scores = score_with(unmoved.scored.method, Vec::new(), &moved, &classes)?;
    scores.scored.id_predictions = unmoved.scored.id_predictions;
    Ok(scores)
}

/// The rows of the learned classes among those of all class names.
fn for_learned_names(learned: &Learned, learning: &Experiment, all: &Experiment) -> ClassFeatures {
    let places: Vec<usize> = learning
        .classes
        .iter()
        .filter_map(|name| all.classes.iter().position(|other| other == name))
        .collect();
    learned.classes.of_classes(&places)
}

fn row(
    planned: &Planned,
    experiment: &Experiment,
    scored: ScoredMethod,
    seed: u64,
    seconds: f64,
) -> Result<Row> {
    let labels = experiment.test.known_labels();
    let scored = [scored];
    let mut measured = measure(&scored, &labels)?;
    let [scored] = scored;
    let mut method = measured.methods[0].clone();
    method.seconds = Some(seconds);
    let name = planned.name();
    let mut scores = measured.figures.scores[0].clone();
    scores.method.clone_from(&name);
    let mut reliability = measured.figures.reliability.pop();
    if let Some(figure) = &mut reliability {
        figure.method.clone_from(&name);
        figure.curve.name.clone_from(&name);
    }
    let mut roc = measured.figures.roc;
    for curve in roc.iter_mut().flat_map(|figure| &mut figure.curves) {
        curve.name.clone_from(&name);
    }
    Ok(Row {
        variant: planned.variant.clone(),
        seed,
        seconds,
        scores,
        roc,
        reliability,
        mistakes: mistakes(experiment, &scored, method.threshold),
        method,
    })
}

/// The images on the wrong side of the threshold that lie farthest from it, set by set.
fn mistakes(experiment: &Experiment, scored: &ScoredMethod, threshold: f64) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    let mut worst = |set: &str, names: &[String], scores: &[f64], inside: bool| {
        let mut wrong: Vec<usize> = (0..scores.len())
            .filter(|&image| (scores[image] >= threshold) != inside)
            .collect();
        wrong.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        if inside {
            wrong.reverse();
        }
        mistakes.extend(wrong.into_iter().take(MISTAKES).map(|image| Mistake {
            set: set.to_owned(),
            file: names.get(image).map_or(String::new(), |name| told(name)),
            score: scores[image],
        }));
    };
    worst("in-distribution", &experiment.test.files, &scored.id, true);
    for (set, (name, scores)) in experiment.ood.iter().zip(&scored.ood) {
        worst(name, &set.files, scores, false);
    }
    mistakes
}

/// An image as a report names it: below the folder of its set, and nothing of what is above. Tables
/// may name their images from anywhere.
fn told(name: &str) -> String {
    let path = Path::new(name);
    let below = path
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    match below && !name.contains(':') {
        true => name.to_owned(),
        false => output::last_name(path),
    }
}

fn record_of(
    experiment: &Experiment,
    learned: &Learned,
    labels: Option<&NegativeLabels>,
    seed: u64,
) -> Result<TrialRecord> {
    let (id, ood) = largest_similarities(experiment, &learned.classes)?;
    let mut sets = vec![("in-distribution", &id)];
    if !ood.positive.is_empty() {
        sets.push(("out-of-distribution", &ood));
    }
    let map = if learned.classes.negative.is_empty() {
        None
    } else {
        let map = lay_out(experiment, learned, seed)?;
        Some(Map {
            title: "Images and prompts, neighbours near each other (t-SNE)".into(),
            series: map.series,
            points: map.points,
        })
    };
    let mut notes = experiment.notes.clone();
    notes.extend(labels.map(NegativeLabels::note));
    let mut timings = learned.timings.clone();
    if let Some(labels) = labels {
        timings.insert("negative labels".into(), labels.seconds);
        timings.insert("\"no\" prompts".into(), labels.no_seconds);
    }
    Ok(TrialRecord {
        data: experiment.data.clone(),
        notes,
        losses: learned
            .losses()
            .into_iter()
            .map(|(stage, name, losses)| LossFigure::of_steps(stage, name, losses, CURVE_POINTS))
            .collect(),
        similarities: similarity_figures(&sets)?,
        map,
        timings,
    })
}

/// All methods that this program knows, in the order of the table.
pub fn all_methods() -> Vec<&'static dyn Method> {
    methods().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_an_image_below_its_folder_only() {
        for (name, expected) in [
            ("red/1.png", "red/1.png"),
            ("/home/ann/holiday/1.png", "1.png"),
            ("../ann/1.png", "1.png"),
            ("C:/Users/ann/1.png", "1.png"),
        ] {
            assert_eq!(told(name), expected);
        }
    }
}
