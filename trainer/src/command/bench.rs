//! `trainer bench`: every method on the same images, over several seeds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;

use super::limits::ImageLimits;
use crate::bench::{
    Bench, Rows, Suite, SuiteOptions, Trial, latex_table, paper_folders, plan, summarise, why_not,
};
use crate::device::DeviceChoice;
use crate::embedded;
use crate::model::ModelDirectory;
use crate::output::{self, shown};
use crate::progress::{duration_text, say};
use crate::report::{ModelReport, Report, print_table, write_html};
use crate::training::TrainingConfig;
use crate::training::experiment::{Experiment, ImageFolders, parse_named_folder};

/// Measure every method on the same images over several seeds, and write report.html, report.json
/// and table.tex.
///
/// Finished rows are kept below --out: a suite that was stopped goes on where it was, and one that
/// is run again with another seed adds to it.
#[derive(Args, Debug)]
pub struct BenchArguments {
    /// What to try
    #[arg(long, value_enum, default_value_t = Suite::Default)]
    pub suite: Suite,

    /// Seeds, each a run of its own; the table gives mean and standard deviation
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "0,1,2",
        value_name = "N,…"
    )]
    pub seeds: Vec<u64>,

    /// Model directory (see `trainer import`); the compact model that comes with the program when
    /// left out
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,

    /// Images of the classes to know, instead of the embedded features; with their patches, so that
    /// GL-MCM and LoCoOp have rows
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// Images of none of the classes, to measure on; may be given several times
    #[arg(long = "ood", value_name = "NAME=DIR", requires = "data",
          value_parser = |text: &str| parse_named_folder(text).map_err(|error| error.to_string()))]
    pub ood: Vec<(String, PathBuf)>,

    /// Where the paper's data lie, for --suite paper: imagenet/, iNaturalist/, SUN/, Places/, dtd/
    #[arg(long, value_name = "DIR", required_if_eq("suite", "paper"))]
    pub root: Option<PathBuf>,

    /// Where report.html, report.json, table.tex and finished rows go; out/bench with the suite's
    /// name for other suites than the default
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// What to compute on
    #[arg(long, value_enum, default_value_t)]
    pub device: DeviceChoice,

    #[command(flatten)]
    pub limits: ImageLimits,

    #[command(flatten)]
    pub training: TrainingConfig,
}

/// Runs `trainer bench`.
pub fn run(arguments: BenchArguments) -> Result<()> {
    let started = Instant::now();
    let seeds = seeds(&arguments)?;
    let model = match &arguments.model {
        Some(path) => ModelDirectory::open(path)?,
        None => embedded::compact_model()?,
    };
    let device = arguments.device.open()?;
    let out = arguments.out.clone().unwrap_or_else(|| {
        PathBuf::from(match arguments.suite {
            Suite::Default => "out/bench",
            Suite::OpenVocabulary => "out/bench-open-vocabulary",
            Suite::Hard => "out/bench-hard",
            Suite::Ablation => "out/bench-ablation",
            Suite::Paper => "out/bench-paper",
        })
    });
    let mut notes = Vec::new();
    let images = images(&arguments, &mut notes)?;
    if images.is_none() && arguments.model.is_some() {
        bail!(
            "--model without --data: the embedded features are the compact model's own; give --data DIR, the images to learn from"
        );
    }
    let experiment = |shots: usize, seed: u64| -> Result<Experiment> {
        match &images {
            None => Experiment::embedded(&model, shots, seed),
            Some((data, ood)) => {
                let folders = ImageFolders {
                    data,
                    ood,
                    cache: out.join("features"),
                    batch: 16,
                    limits: arguments.limits.into(),
                    patches: true,
                };
                Experiment::from_folders(&model, &device.device, &folders, shots, seed)
            }
        }
    };
    let rows = Rows::below(&out)?;
    let mut bench = Bench {
        model: &model,
        device: &device.device,
        rows: &rows,
        checkpoints: out.join("checkpoints"),
        experiment: &experiment,
        labels: BTreeMap::new(),
        taken_over: 0,
    };
    let trials = plan(
        arguments.suite,
        &SuiteOptions {
            config: arguments.training.clone(),
            seeds: seeds.clone(),
        },
    );
    let (mut all, mut first) = (Vec::new(), None);
    for (number, trial) in trials.iter().enumerate() {
        say(&format!(
            "trial {} of {}: seed {}{}",
            number + 1,
            trials.len(),
            trial.config.seed,
            if trial.variant.is_empty() {
                String::new()
            } else {
                format!(", {}", trial.variant)
            }
        ));
        let (rows, record) = bench.run(trial)?;
        all.extend(rows);
        first.get_or_insert(record);
    }
    let summary = summarise(&all, first.as_ref());
    let first = first.unwrap_or_default();
    if let Some(trial) = trials.first() {
        notes.extend(unavailable(trial, &experiment)?);
    }
    notes.extend(first.notes);
    notes.push(seed_note(&seeds));
    let mut timings = first.timings;
    let total = started.elapsed().as_secs_f64();
    let whole = match bench.taken_over {
        0 => "total".to_owned(),
        rows => format!("this run, with {rows} finished rows taken over"),
    };
    timings.insert(whole, total);
    let report = Report {
        title: title(&arguments),
        model: ModelReport {
            name: model.config.name.clone(),
            embed_dim: model.config.embed_dim,
            logit_scale: model.config.logit_scale,
            image_size: model.config.image.image_size(),
            feature_key: model.feature_key()?,
        },
        methods: summary.methods,
        timings,
        seed: seeds.first().copied().unwrap_or_default(),
        config: serde_json::json!({"training": arguments.training, "seeds": seeds}),
        data: first.data,
        device: device.name.clone(),
        versions: BTreeMap::from([("trainer".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]),
        notes,
        reproduce: vec![super::train::command_line()],
        figures: summary.figures,
        mistakes: summary.mistakes,
    };
    output::write_json(&out.join("report.json"), &report)?;
    output::write_file(&out.join("report.html"), write_html(&report).as_bytes())?;
    output::write_file(&out.join("table.tex"), latex_table(&report).as_bytes())?;
    print_table(&report);
    say(&format!(
        "{} in {}: report.html, report.json, table.tex",
        shown(&out),
        duration_text(total)
    ));
    Ok(())
}

fn seeds(arguments: &BenchArguments) -> Result<Vec<u64>> {
    let single = arguments.training.seed;
    if single != 0 {
        bail!("--seed {single}: a bench runs over --seeds, for example --seeds {single}");
    }
    let mut seeds = arguments.seeds.clone();
    seeds.sort_unstable();
    seeds.dedup();
    if seeds.is_empty() || seeds.len() != arguments.seeds.len() {
        bail!("--seeds: give each seed once, for example --seeds 0,1,2");
    }
    Ok(seeds)
}

type Folders = (PathBuf, Vec<(String, PathBuf)>);

/// The folders of images to run on; none for the embedded features.
fn images(arguments: &BenchArguments, notes: &mut Vec<String>) -> Result<Option<Folders>> {
    let Some(root) = arguments
        .root
        .as_deref()
        .filter(|_| arguments.suite == Suite::Paper)
    else {
        let data = arguments.data.clone();
        return Ok(data.map(|data| (data, arguments.ood.clone())));
    };
    output::require_folder(root, "the paper's data")?;
    let (imagenet, ood, missing) = paper_folders(root);
    for missing in &missing {
        say(&format!("note: {missing}"));
        notes.push(missing.to_string());
    }
    let Some(imagenet) = imagenet else {
        bail!(
            "{}: without ImageNet-1k there is nothing to learn from; to run on data of your own, give --data DIR",
            shown(root)
        );
    };
    if ood.is_empty() {
        bail!(
            "{}: none of the out-of-distribution sets is there, and nothing can be measured",
            shown(root)
        );
    }
    Ok(Some((imagenet, ood)))
}

/// What the table leaves out, and why.
fn unavailable(
    trial: &Trial,
    experiment: &dyn Fn(usize, u64) -> Result<Experiment>,
) -> Result<Vec<String>> {
    let experiment = experiment(trial.config.shots, trial.config.seed)?;
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for method in &trial.methods {
        let Some(reason) = why_not(*method, &experiment, trial) else {
            continue;
        };
        match reasons.iter_mut().find(|(other, _)| *other == reason) {
            Some((_, names)) => names.push(method.name()),
            None => reasons.push((reason, vec![method.name()])),
        }
    }
    let note = |(reason, names): &(&str, Vec<&str>)| {
        let names = names.join(", ");
        format!("Without a row: {names}. What it takes: {reason}.")
    };
    Ok(reasons.iter().map(note).collect())
}

fn seed_note(seeds: &[u64]) -> String {
    let listed: Vec<String> = seeds.iter().map(u64::to_string).collect();
    match seeds.len() {
        1 => format!("One seed ({}); no deviation can be given.", listed[0]),
        count => format!(
            "Means over {count} seeds ({}), ± their sample standard deviation. A seed changes the shots, \
             the starts and the batches; methods that learn nothing do not change with it. Figures and \
             steps are of the first seed. Seconds are those of each method as if it were alone.",
            listed.join(", ")
        ),
    }
}

fn title(arguments: &BenchArguments) -> String {
    let data = arguments
        .data
        .as_deref()
        .map_or("Caltech-101".to_owned(), |data: &Path| shown(data));
    match arguments.suite {
        Suite::Default => format!("Every method on {data}"),
        Suite::OpenVocabulary => {
            format!("Open vocabulary on {data}: a tenth of the classes learned")
        }
        Suite::Hard => format!("Half of the classes of {data} unknown"),
        Suite::Ablation => format!("NegPrompt's parts on {data}"),
        Suite::Paper => "ImageNet-1k against iNaturalist, SUN, Places and Textures".to_owned(),
    }
}
