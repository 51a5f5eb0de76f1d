//! `trainer tune`: compare ways of learning, with classes left out.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::import::model_directory;
use super::limits::ImageLimits;
use crate::device::Devices;
use crate::embedded;
use crate::model::ModelDirectory;
use crate::output::kind::has_fields;
use crate::output::{self, shown};
use crate::progress::{Progress, say};
use crate::training::TrainingConfig;
use crate::training::config::LABEL_POOL;
use crate::training::encoded::Encoding;
use crate::training::experiment::{Experiment, ImageFolders};
use crate::training::run::{check_lengths, check_text, identity};
use crate::training::run_lock::{RUN_LOCK, RunLock};
use crate::training::tune::{Axis, FoldLearner, FoldResult, Standing, fold, grid, standings};

/// Compare ways of learning by in-distribution images alone, with classes left out.
///
/// Every combination of the values after --try is learned on a part of the classes, and measured
/// on how well it tells their held-out images from those of the classes that were left out. The
/// table is sorted by AUROC − FPR95. No out-of-distribution set is opened.
#[derive(Args, Debug)]
pub struct TuneArguments {
    /// Model directory, or OWNER/NAME on the hub; the compact model that comes with the program
    /// when left out
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,

    /// Images, as in `train`; the embedded features when left out
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// A setting and the values to try, named as in the report's `config` (delta, epsilon,
    /// negative_steps, …); may be given several times
    #[arg(long = "try", value_name = "NAME=VALUE,VALUE…", required = true,
          value_parser = |text: &str| Axis::parse(text).map_err(|error| error.to_string()))]
    pub axes: Vec<Axis>,

    /// Parts that the classes are dealt into; each is left out once
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub parts: usize,

    /// Seeds, each with shots and a deal of its own
    #[arg(long, default_value = "0", value_delimiter = ',', value_name = "N,N…")]
    pub seeds: Vec<u64>,

    /// Where tune.json goes
    #[arg(long, default_value = "out/tune", value_name = "DIR")]
    pub out: PathBuf,

    /// What to compute on
    #[arg(long, default_value = "auto", value_name = "auto|wgpu|cpu")]
    pub device: Devices,

    /// Go on where a run that was stopped left off
    #[arg(long)]
    pub resume: bool,

    #[command(flatten)]
    pub limits: ImageLimits,

    #[command(flatten)]
    pub training: TrainingConfig,
}

/// `tune.json`: what was tried, what came out, and enough to go on after a stop.
#[derive(Serialize, Deserialize)]
struct Record {
    /// Everything that the results depend on.
    run: String,
    /// The settings, by place.
    grid: Vec<TrainingConfig>,
    /// Every fold that is done.
    folds: Vec<FoldResult>,
}

/// Runs `trainer tune`.
pub fn run(mut arguments: TuneArguments) -> Result<()> {
    let (parts, seed) = (arguments.parts, arguments.training.seed);
    ensure!(
        parts >= 2,
        "--parts {parts}: give 2 or more; each part of the classes is left out once"
    );
    ensure!(
        seed == 0,
        "--seed {seed}: every combination runs with each of --seeds, for example --seeds {seed}"
    );
    if arguments.training.label_pool != LABEL_POOL {
        say(
            "note: --label-pool changes nothing here: negative labels take no part in what is compared",
        );
        arguments.training.label_pool = LABEL_POOL;
    }
    let seeds: BTreeSet<u64> = arguments.seeds.iter().copied().collect();
    ensure!(
        seeds.len() == arguments.seeds.len() && !seeds.is_empty(),
        "--seeds: give each seed once, for example --seeds 0,1,2"
    );
    let model = match &arguments.model {
        Some(path) => model_directory(path)?,
        None => embedded::compact_model()?,
    };
    if arguments.data.is_none() {
        embedded::check_holds_features_of(&model)?;
    }
    let device = arguments.device.open()?;
    let settings = grid(&arguments.training, &arguments.axes)?;
    if let Some(first) = settings.first() {
        check_text(&model, first)?;
    }
    for config in &settings {
        config.check()?;
        check_lengths(model.config.text.context_length, config)?;
    }
    let file = arguments.out.join("tune.json");
    // Beside the lock of a run it is ours, though damaged.
    let has_run = arguments.out.join(RUN_LOCK).exists();
    if file.exists() && !has_run && !has_fields(&file, &["run", "grid", "folds"]) {
        bail!(
            "{} is not of this command, and would be lost: give another --out, or move it away",
            file.display()
        );
    }
    output::create_folder(&arguments.out)?;
    let _turn = RunLock::take(&arguments.out, "--out")?;
    let experiments = arguments
        .seeds
        .iter()
        .map(|&seed| experiment(&arguments, &model, seed))
        .collect::<Result<Vec<_>>>()?;
    let Some(first) = experiments.first() else {
        bail!("--seeds names no seed");
    };
    let others = &experiments[1..];
    let shape = serde_json::json!([
        settings,
        arguments.parts,
        arguments.seeds,
        others.iter().map(Experiment::digest).collect::<Vec<_>>(),
    ]);
    let run = format!("{} {shape}", identity(&model, first, &arguments.training)?);
    let mut record = Record {
        run,
        grid: settings,
        folds: Vec::new(),
    };
    if arguments.resume && file.is_file() {
        let earlier: Record = serde_json::from_slice(&output::read_file(&file)?)
            .map_err(|error| anyhow::anyhow!("{}: {error}; leave --resume out", shown(&file)))?;
        if earlier.run != record.run {
            bail!(
                "{}: the run to resume tried other settings, another model or other data; give the same \
                 arguments, or start afresh without --resume",
                shown(&file)
            );
        }
        record.folds = earlier.folds;
    }

    let total = record.grid.len() * arguments.parts * experiments.len();
    let progress = Progress::new("classes left out", "runs", total as u64);
    progress.skip(record.folds.len() as u64);
    for (experiment, &seed) in experiments.iter().zip(&arguments.seeds) {
        for part in 0..arguments.parts {
            let fold = fold(experiment, part, arguments.parts, seed)?;
            let mut learner = FoldLearner::new(&model, &fold, &device.device)?;
            for place in 0..record.grid.len() {
                let is_this =
                    |done: &FoldResult| (done.place, done.seed, done.part) == (place, seed, part);
                if record.folds.iter().any(is_this) {
                    continue;
                }
                let config = TrainingConfig {
                    seed,
                    ..record.grid[place].clone()
                };
                let rates = learner.try_settings(&config)?;
                record.folds.push(FoldResult {
                    place,
                    seed,
                    part,
                    rates,
                });
                output::write_json(&file, &record)?;
                progress.advance(1);
            }
        }
    }
    progress.finish();
    print_standings(
        &standings(&record.folds, record.grid.len()),
        &record.grid,
        &arguments.axes,
    )?;
    say(&format!("{}: every fold", shown(&file)));
    Ok(())
}

/// The in-distribution images alone: a set to measure on is not even opened.
fn experiment(arguments: &TuneArguments, model: &ModelDirectory, seed: u64) -> Result<Experiment> {
    let shots = arguments.training.shots;
    match &arguments.data {
        Some(data) => {
            let folders = ImageFolders { data, ood: &[] };
            let encoding = Encoding {
                cache: arguments.out.join("features"),
                batch: 16,
                patches: false,
                limits: arguments.limits.into(),
                context_tokens: arguments.training.context_tokens,
            };
            let device = arguments.device.open()?;
            Experiment::from_folders(model, &device.device, &folders, &encoding, shots, seed)
        }
        None => Experiment::embedded(model, shots, seed).map(|experiment| Experiment {
            ood: Vec::new(),
            ..experiment
        }),
    }
}

fn print_standings(standings: &[Standing], grid: &[TrainingConfig], axes: &[Axis]) -> Result<()> {
    let mut text = String::new();
    for axis in axes {
        text.push_str(&format!("{:>16} ", axis.name));
    }
    text.push_str(
        "  AUROC   FPR95  difference to the first ± its standard error   temperature  weight\n",
    );
    let best = standings
        .first()
        .map_or(0.0, |first| first.best.criterion());
    for standing in standings {
        let settings = serde_json::to_value(&grid[standing.place])?;
        for axis in axes {
            let value = &settings[&axis.name];
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            text.push_str(&format!("{value:>16} "));
        }
        text.push_str(&format!(
            "  {:5.2}   {:5.2}  {:>23.2} ± {:<22.2}   {:>11.3}  {:>6}\n",
            100.0 * standing.best.auroc,
            100.0 * standing.best.fpr95,
            100.0 * (standing.best.criterion() - best),
            100.0 * standing.difference_error,
            standing.best.settings.temperature,
            standing.best.settings.negative_weight,
        ));
    }
    let mut screen = std::io::stdout();
    let written = screen
        .write_all(text.as_bytes())
        .and_then(|()| screen.flush());
    match written {
        // A closed stdout is no reason to fail.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(anyhow::anyhow!(
            "cannot print the table: {error}; every fold is in tune.json, and --resume prints it again"
        )),
        _ => Ok(()),
    }
}
