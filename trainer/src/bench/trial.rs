//! One trial: learn once, score with every method.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use burn::tensor::Device;
use serde_json::json;
use shared::bundle::Map;
use shared::score::{ClassFeatures, Input, Method, methods};

use super::row::{Row, Rows, TrialRecord};
use crate::model::ModelDirectory;
use crate::progress::say;
use crate::report::{LossFigure, Mistake, ScoredMethod, measure, reliability, similarity_figures};
use crate::training::TrainingConfig;
use crate::training::evaluate::{choose_settings, largest_similarities, score_with};
use crate::training::experiment::{ClassSplit, Experiment};
use crate::training::labels::{NegativeLabels, negative_labels};
use crate::training::map::lay_out;
use crate::training::run::{Checkpoints, Learned, fingerprint, for_other_names, learn};

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
    /// Which classes are learned, known and unknown.
    pub split: ClassSplit,
    /// The methods that give rows; those that the data cannot serve are left out.
    pub methods: Vec<&'static dyn Method>,
}

impl Trial {
    /// A method's name in the tables and figures: with what the trial changes.
    fn name_of(&self, method: &dyn Method) -> String {
        match self.variant.as_str() {
            "" => method.name().to_owned(),
            variant => format!("{}, {variant}", method.name()),
        }
    }
}

/// What all trials of a suite share.
pub struct Bench<'a> {
    /// The model.
    pub model: &'a ModelDirectory,
    /// Where prompts are learned.
    pub device: &'a Device,
    /// Finished rows.
    pub rows: &'a Rows,
    /// Where unfinished stages are kept.
    pub checkpoints: PathBuf,
    /// The experiment of a number of shots and a seed.
    pub experiment: &'a dyn Fn(usize, u64) -> Result<Experiment>,
    /// Labels mined for a class list: they do not depend on the seed.
    pub labels: BTreeMap<String, Option<NegativeLabels>>,
    /// Rows that an earlier run had finished.
    pub taken_over: usize,
}

impl Bench<'_> {
    /// The rows of a trial, and what it showed: from the disk where they are finished, else made.
    pub fn run(&mut self, trial: &Trial) -> Result<(Vec<Row>, TrialRecord)> {
        let whole = (self.experiment)(trial.config.shots, trial.config.seed)?;
        let (learning, experiment) = whole.split_classes(&trial.split)?;
        let methods: Vec<&'static dyn Method> = trial
            .methods
            .iter()
            .copied()
            .filter(|method| why_not(*method, &experiment, trial).is_none())
            .collect();
        let feature_key = self.model.feature_key()?;
        let depends = json!({
            "run": fingerprint(&self.model.config, &feature_key, &learning, &trial.config)?,
            "measured": fingerprint(&self.model.config, &feature_key, &experiment, &trial.config)?,
            "split": trial.split,
            "patches": experiment.has_patches(),
            "variant": trial.variant,
        });
        let trial_key = Rows::key(&json!({"trial": depends}))?;
        let keys = methods
            .iter()
            .map(|method| Rows::key(&json!({"method": method.id(), "trial": depends})))
            .collect::<Result<Vec<_>>>()?;
        let done: Vec<Option<Row>> = keys.iter().map(|key| self.rows.get(key)).collect();
        self.taken_over += done.iter().flatten().count();
        let record: Option<TrialRecord> = self.rows.get(&trial_key);
        if let (Some(record), true) = (&record, done.iter().all(Option::is_some)) {
            return Ok((done.into_iter().flatten().collect(), record.clone()));
        }

        let needed = needed(&methods);
        let folder = self.checkpoints.join(&trial_key);
        let checkpoints = Checkpoints::open(folder, trial_key.clone(), true)?;
        let config = &trial.config;
        let mut learned = learn(
            self.model,
            &learning,
            config,
            self.device,
            &checkpoints,
            &needed,
        )?;
        if trial.split.is_open_vocabulary() {
            let names = &experiment.classes;
            for_other_names(self.model, names, config, self.device, &mut learned)?;
        }
        let finished = self.rows;
        let labels = self.labels(&learning, config)?;
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
        for ((&method, key), done) in methods.iter().zip(&keys).zip(done) {
            if let Some(row) = done {
                rows.push(row);
                continue;
            }
            let since = Instant::now();
            let candidates = choose_settings(method, &learning, &own, labels, config.seed)?;
            let scores = score_with(method, candidates, &experiment, &learned.classes)?;
            let seconds =
                since.elapsed().as_secs_f64() + learning_seconds(method, &learned, labels);
            let row = row(trial, &experiment, scores.scored, seconds)?;
            finished.put(key, &row)?;
            let (name, seed) = (trial.name_of(method), config.seed);
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

/// What a method takes that a trial cannot give; none when it has a row.
pub fn why_not(
    method: &dyn Method,
    experiment: &Experiment,
    trial: &Trial,
) -> Option<&'static str> {
    let needs = |wanted: &[Input]| method.needs().iter().any(|need| wanted.contains(need));
    let takes_patches = method.needs().iter().any(|need| need.takes_patches());
    if (takes_patches || needs(&[Input::LoCoOp])) && !experiment.has_patches() {
        return Some(
            "features of patches, which the embedded features do not hold (run the suite on images with `--data`)",
        );
    }
    if needs(&[Input::No, Input::Named, Input::Mined, Input::Conjugated])
        && (trial.config.label_pool == 0 || trial.split.is_open_vocabulary())
    {
        return Some("a pool of words, which this suite leaves out");
    }
    if needs(&[Input::Probe]) && trial.split.is_open_vocabulary() {
        return Some("a probe, which knows only the classes it learned");
    }
    None
}

/// All kinds of similarities that some method takes.
fn needed(methods: &[&'static dyn Method]) -> Vec<Input> {
    let mut needed: Vec<Input> = methods
        .iter()
        .flat_map(|method| method.needs().iter().copied())
        .collect();
    needed.sort_unstable();
    needed.dedup();
    needed
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

/// Seconds of the stages that a method needs.
fn learning_seconds(
    method: &dyn Method,
    learned: &Learned,
    labels: Option<&NegativeLabels>,
) -> f64 {
    let stage = |name: &str| learned.timings.get(name).copied().unwrap_or_default();
    let needs = |input: Input| method.needs().contains(&input);
    let mut seconds = 0.0;
    if needs(Input::Positive) {
        seconds += stage("stage 1: positive prompts");
    }
    if needs(Input::Negative) {
        seconds += stage("stage 2: negative prompts");
    }
    if needs(Input::Probe) {
        seconds += stage("linear probe");
    }
    if needs(Input::LoCoOp) {
        seconds += stage("LoCoOp");
    }
    if let Some(labels) = labels {
        if needs(Input::Mined) || needs(Input::Conjugated) {
            seconds += labels.seconds;
        }
        if needs(Input::No) {
            seconds += labels.no_seconds;
        }
    }
    seconds
}

fn row(trial: &Trial, experiment: &Experiment, scored: ScoredMethod, seconds: f64) -> Result<Row> {
    let labels = experiment.test.known_labels();
    let scored = [scored];
    let measured = measure(&scored, &labels)?;
    let [scored] = scored;
    let mut method = measured.methods[0].clone();
    method.seconds = Some(seconds);
    let name = trial.name_of(scored.method);
    let mut scores = measured.figures.scores[0].clone();
    scores.method.clone_from(&name);
    let mut roc = measured.figures.roc;
    for curve in roc.iter_mut().flat_map(|figure| &mut figure.curves) {
        curve.name.clone_from(&name);
    }
    Ok(Row {
        variant: trial.variant.clone(),
        seed: trial.config.seed,
        seconds,
        scores,
        roc,
        reliability: reliability(&name, &scored.id_predictions, &experiment.test.labels),
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
            file: names.get(image).cloned().unwrap_or_default(),
            score: scores[image],
        }));
    };
    worst("in-distribution", &experiment.test.files, &scored.id, true);
    for (set, (name, scores)) in experiment.ood.iter().zip(&scored.ood) {
        worst(name, &set.files, scores, false);
    }
    mistakes
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
