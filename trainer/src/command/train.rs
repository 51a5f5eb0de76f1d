//! `trainer train`: learn, measure, report, export.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use shared::bundle::{Map, Precision};
use shared::score::Input;

use super::import::model_directory;
use super::limits::ImageLimits;
use super::typed::command_line;
use crate::agreement::check_model;
use crate::data;
use crate::device::{ChosenDevice, Devices};
use crate::embedded;
use crate::model::ModelDirectory;
use crate::output::kind::BUNDLE;
use crate::output::{self, FolderWriter, last_name, shown};
use crate::progress::{duration_text, say, say_once};
use crate::report::{
    LossFigure, MapFigure, ModelReport, Report, ReportOf, ScoredMethod, check_place, print_table,
    retire, similarity_figures, write_report,
};
use crate::training::TrainingConfig;
use crate::training::bundle::{self, BundleInput};
use crate::training::checkpoints::{Checkpoints, checkpoint_folder};
use crate::training::class_names::check_start;
use crate::training::encoded::Encoding;
use crate::training::evaluate::{Evaluation, KEPT, evaluate, largest_similarities};
use crate::training::experiment::{Experiment, ImageFolders};
use crate::training::labels::{NegativeLabels, negative_labels};
use crate::training::map::lay_out;
use crate::training::run::{Learned, check_text, identity, learn};
use crate::training::selection::choose;

/// Points of a loss curve in the report.
const CURVE_POINTS: usize = 200;

/// Learn negative prompts, measure them beside other methods, write a report and a bundle.
///
/// With no arguments: the compact model and the features that come with the program
/// (Caltech-101 and several out-of-distribution sets). With --data: your own images, one folder
/// a class.
#[derive(Args, Debug)]
pub struct TrainArguments {
    /// Model directory (see `trainer import`), or OWNER/NAME on the hub, which is imported if it is
    /// not yet; the compact model that comes with the program when left out
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,

    /// Images of the classes to know, one folder a class, with folders train/ and test/ above
    /// them or without; the embedded features when left out
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// Images of none of the classes, to measure on; may be given several times
    #[arg(long = "ood", value_name = "NAME=DIR", requires = "data",
          value_parser = data::parse_set)]
    pub ood: Vec<(String, PathBuf)>,

    /// Also encode the patches of every image, so that GL-MCM and LoCoOp are learned, measured and
    /// in the bundle (takes as long again as the images, and 50 kB an image in the output folder for
    /// the compact model, 200 for ViT-B/16, 400 for ViT-L/14)
    #[arg(long, requires = "data")]
    pub patches: bool,

    /// Where report.json, report.html, figures/ and bundle/ go
    #[arg(long, default_value = "out/default", value_name = "DIR")]
    pub out: PathBuf,

    /// What to compute on
    #[arg(long, default_value = "auto", value_name = "auto|wgpu|cpu")]
    pub device: Devices,

    /// How the bundle keeps the towers: f32, f16 or int8 (per channel)
    #[arg(long, default_value = "f16", value_name = "f32|f16|int8")]
    pub precision: Precision,

    /// Write the bundle even if its features agree with the model's to less than 0.99
    #[arg(long)]
    pub force: bool,

    /// Go on where a run that was stopped left off
    #[arg(long)]
    pub resume: bool,

    #[command(flatten)]
    pub limits: ImageLimits,

    #[command(flatten)]
    pub training: TrainingConfig,
}

/// Runs `trainer train`.
pub fn run(arguments: TrainArguments) -> Result<()> {
    let started = Instant::now();
    let config = &arguments.training;
    config.check()?;
    data::check_set_names(&arguments.ood)?;
    let bundle_folder = arguments.out.join("bundle");
    BUNDLE.check(&bundle_folder)?;
    check_place(&arguments.out, ReportOf::Train)?;
    let model = match &arguments.model {
        Some(path) => model_directory(path)?,
        None => embedded::compact_model()?,
    };
    if arguments.data.is_none() {
        embedded::check_holds_features_of(&model)?;
    }
    check_text(&model, config)?;
    let mut words_notes = Vec::new();
    for (option, text) in [
        ("--positive-start", &config.positive_start),
        ("--negative-start", &config.negative_start),
    ] {
        words_notes.extend(check_start(&model, option, text, config.context_tokens)?);
    }
    words_notes.iter().for_each(|note| say_once(note));
    check_model(
        &model,
        arguments.precision,
        arguments.data.as_deref(),
        &arguments.limits.into(),
        arguments.force,
    )?;
    let device = arguments.device.open()?;
    output::create_folder(&arguments.out)?;
    let since = Instant::now();
    let experiment = match &arguments.data {
        Some(data) => {
            let folders = ImageFolders {
                data,
                ood: &arguments.ood,
            };
            let encoding = Encoding {
                cache: arguments.out.join("features"),
                batch: 16,
                patches: arguments.patches,
                limits: arguments.limits.into(),
                context_tokens: arguments.training.context_tokens,
            };
            let (shots, seed) = (config.shots, config.seed);
            Experiment::from_folders(&model, &device.device, &folders, &encoding, shots, seed)?
        }
        None => Experiment::embedded(&model, config.shots, config.seed)?,
    };
    let features_seconds = since.elapsed().as_secs_f64();
    say(&format!(
        "{} classes, {} images to learn from, {} to calibrate on, {} + {} to measure on",
        experiment.classes.len(),
        experiment.learn.images,
        experiment.calibration.images,
        experiment.test.images,
        experiment.ood.iter().map(|set| set.images).sum::<usize>(),
    ));
    let checkpoints = Checkpoints::open(
        checkpoint_folder(&arguments.out),
        identity(&model, &experiment, config)?,
        arguments.resume,
    )?;
    let mut learned = learn(
        &model,
        &experiment,
        config,
        &device.device,
        &checkpoints,
        &Input::ALL,
    )?;
    let labels = negative_labels(
        &model,
        &experiment.classes,
        config.label_pool,
        &device.device,
    )?;
    if let Some(labels) = &labels {
        let all: Vec<usize> = (0..experiment.classes.len()).collect();
        if labels.words.mine(&all).is_empty() {
            words_notes.push(told(format!(
                "No negative label was mined from the {} words of WordNet that the text tower knows: they are too few, or \
                 each is like a class. NegLabel, CSP and NegPrompt with mined labels have no row.",
                labels.words.len()
            )));
        }
        labels.add_to(&mut learned.classes);
        learned
            .timings
            .insert("negative labels".to_owned(), labels.seconds);
    }

    let since = Instant::now();
    let evaluation = evaluate(&experiment, &learned.classes, labels.as_ref(), config.seed)?;
    let evaluation_seconds = since.elapsed().as_secs_f64();
    let since = Instant::now();
    let map = lay_out(&experiment, &learned, config.seed)?;
    let map_seconds = since.elapsed().as_secs_f64();

    let mut report = report(
        &arguments,
        &model,
        &device,
        &experiment,
        &learned,
        labels.as_ref(),
        &evaluation,
    )?;
    report.notes.splice(0..0, words_notes);
    let (id, ood) = largest_similarities(&experiment, &learned.classes)?;
    report.figures.similarities =
        similarity_figures(&[("in-distribution", &id), ("out-of-distribution", &ood)])?;
    report.figures.map = Some(MapFigure {
        map: Map {
            title: "Images and prompts, neighbours near each other (t-SNE)".into(),
            series: map.series.clone(),
            points: map.points.clone(),
        },
    });
    let input = BundleInput {
        model: &model,
        experiment: &experiment,
        config,
        learned: &learned,
        evaluation: &evaluation,
        similarities: (&id, &ood),
        map: &map,
        report: &report,
    };
    let since = Instant::now();
    let folder = FolderWriter::new(&bundle_folder, &BUNDLE)?;
    for (name, bytes) in bundle::files(&input, arguments.precision)? {
        folder.write(&name, &bytes)?;
    }
    retire(&arguments.out, ReportOf::Train)?;
    folder.finish()?;
    report.timings.extend([
        ("features".to_owned(), features_seconds),
        ("evaluation".to_owned(), evaluation_seconds),
        ("map".to_owned(), map_seconds),
        ("bundle".to_owned(), since.elapsed().as_secs_f64()),
        ("total".to_owned(), started.elapsed().as_secs_f64()),
    ]);
    write_report(&arguments.out, &report)?;
    checkpoints.close()?;
    print_table(&report)?;
    say(&format!(
        "{} in {}: report.html, report.json, figures/, bundle/",
        shown(&arguments.out),
        duration_text(started.elapsed().as_secs_f64())
    ));
    Ok(())
}

fn report(
    arguments: &TrainArguments,
    model: &ModelDirectory,
    device: &ChosenDevice,
    experiment: &Experiment,
    learned: &Learned,
    labels: Option<&NegativeLabels>,
    evaluation: &Evaluation,
) -> Result<Report> {
    let config = &arguments.training;
    let mut figures = evaluation.measured.figures.clone();
    figures.losses = learned
        .losses()
        .into_iter()
        .map(|(stage, name, losses)| LossFigure::of_steps(stage, name, losses, CURVE_POINTS))
        .collect();
    let mut notes = experiment.notes.clone();
    notes.extend(notes_on(learned, evaluation));
    notes.extend(labels.map(NegativeLabels::note));
    let title = match &arguments.data {
        Some(data) => format!("Negative prompts on {}", last_name(data)),
        None => "Negative prompts on Caltech-101".into(),
    };
    Ok(Report {
        mistakes: None,
        title,
        model: ModelReport {
            name: model.config.name.clone(),
            embed_dim: model.config.embed_dim,
            logit_scale: model.config.logit_scale,
            image_size: model.config.image.image_size(),
            feature_key: model.feature_key()?,
        },
        methods: evaluation.measured.methods.clone(),
        timings: learned.timings.clone(),
        seed: config.seed,
        config: serde_json::json!({
            "training": config,
            "precision": arguments.precision.to_string(),
            "candidates": evaluation
                .candidates
                .iter()
                .map(|(method, candidates)| (method.id(), candidates))
                .collect::<BTreeMap<_, _>>(),
        }),
        data: experiment.data.clone(),
        device: device.name.clone(),
        versions: BTreeMap::from([
            ("trainer".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            ("burn".to_owned(), "0.22.1".to_owned()),
        ]),
        notes,
        reproduce: vec![command_line()],
        figures,
    })
}

/// Standard errors of a share beyond which it is no chance that the test images keep another one.
const FAR: f64 = 4.0;

/// Whether thresholds that keep 95 % of so many calibration images would hardly ever keep this share of
/// so many test images, were both of one kind.
fn is_far_from_kept(share: f64, calibration: usize, test: usize) -> bool {
    let (calibration, test) = (calibration.max(1) as f64, test.max(1) as f64);
    let error = (KEPT * (1.0 - KEPT) * (1.0 / calibration + 1.0 / test)).sqrt();
    // Below a hundred images a few of them are as many errors.
    (share - KEPT).abs() > FAR * error + 1.0 / calibration + 1.0 / test
}

/// A note that stands on the terminal as well.
fn told(note: String) -> String {
    say_once(&note);
    note
}

/// What a reader should know of how the run went.
fn notes_on(learned: &Learned, evaluation: &Evaluation) -> Vec<String> {
    let (before, after) = learned.negative_spread;
    let mut notes = Vec::new();
    if before != 0.0 || after != 0.0 {
        let judgement = if after > 0.98 {
            ": they point the same way by now, so that a class has one negative rather than several; a larger --gamma keeps them apart"
        } else {
            ""
        };
        notes.push(format!(
            "Mean cosine between the negative prompts of a class: {before:.3} before stage 2, {after:.3} after{judgement}."
        ));
    }
    for (method, candidates) in &evaluation.candidates {
        let Some(best) = choose(candidates) else {
            notes.push(told(format!(
                "{}: its settings could not be chosen, as there are too few classes or images to leave classes out; \
                 those of its paper were taken.",
                method.name()
            )));
            continue;
        };
        let (settings, name) = (best.settings, method.name());
        let mined = settings.mined.map_or(String::new(), |mined| {
            let (weight, temperature) = (mined.weight, mined.temperature);
            format!(", weight {weight} and temperature {temperature:.3} of mined labels")
        });
        notes.push(format!(
            "{name}: temperature {}, weight {} of negatives{mined} were chosen among {} with ID classes left \
             out of the class list as pseudo-OOD (AUROC {:.3}, FPR95 {:.3} there); no out-of-distribution \
             set took part.",
            settings.temperature,
            settings.negative_weight,
            candidates.len(),
            best.auroc,
            best.fpr95
        ));
    }
    let kept = |scored: &ScoredMethod| {
        let threshold = scored.threshold.unwrap_or(f64::NEG_INFINITY);
        let kept = scored.id.iter().filter(|&&score| score >= threshold);
        kept.count() as f64 / scored.id.len().max(1) as f64
    };
    if let Some(default) = evaluation.scored.first() {
        notes.push(format!(
            "The threshold keeps 95 % of held-out calibration images; {} keeps {:.1} % of the test images by it.",
            default.method.name(),
            100.0 * kept(default)
        ));
    }
    let far: Vec<String> = evaluation
        .scored
        .iter()
        .zip(&evaluation.calibration)
        .filter(|(scored, calibration)| {
            is_far_from_kept(kept(scored), calibration.len(), scored.id.len())
        })
        .map(|(scored, _)| {
            format!(
                "{} keeps {:.1} %",
                scored.method.name(),
                100.0 * kept(scored)
            )
        })
        .collect();
    if !far.is_empty() {
        notes.push(told(format!(
            "Thresholds that keep 95 % of the calibration images keep far fewer or more of the test images ({}): the two \
             are of different kinds, and on new images the thresholds will not keep 95 % either. Move them to where the \
             rates suit (`predict --threshold`, or the page), or split the images by chance.",
            far.join(", ")
        )));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_that_chance_explains_are_not_far() {
        for (share, calibration, test, far) in [
            (0.95, 1000, 1000, false),
            (0.93, 1000, 1000, false),
            (0.90, 1000, 1000, true),
            (0.559, 1500, 1500, true),
            (0.80, 20, 20, false),
            (0.40, 20, 20, true),
            (0.0, 1, 1, false),
            (1.0, 5000, 5000, true),
        ] {
            assert_eq!(
                is_far_from_kept(share, calibration, test),
                far,
                "{share} of {test}"
            );
        }
    }
}
