//! `trainer bench`: every method on the same images, over several seeds.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;

use super::import::model_directory;
use super::limits::ImageLimits;
use super::typed::command_line;
use crate::bench::{
    Bench, Row, Rows, Suite, SuiteOptions, Task, Trial, ablation_figures, ablation_groups,
    differences, hard_tasks, imagenet, latex_table, ood_sets, plan, summarise, template_spread,
    why_not,
};
use crate::data;
use crate::device::Devices;
use crate::embedded;
use crate::output::{self, last_name, shown};
use crate::progress::{duration_text, say};
use crate::report::{ModelReport, Report, ReportOf, check_place, print_table, write_report};
use crate::training::TrainingConfig;
use crate::training::encoded::{EncodedImages, Encoding, ImageSets};
use crate::training::experiment::Experiment;
use crate::training::run::{check_lengths, check_text};

/// Images a class of a training half of a million that are encoded: shots, and some to calibrate on.
const MOST_TRAIN_IMAGES: usize = 50;

/// Measure every method on the same images over several seeds, and write report.html, report.json,
/// table.tex and every figure as SVG and PNG.
///
/// Finished rows are kept below --out: a suite that was stopped goes on where it was, and one that
/// is run again with more seeds makes only what they add. Rows of another device are made anew. The
/// table is of the seeds that are named.
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

    /// Model directory (see `trainer import`), or OWNER/NAME on the hub; the compact model that
    /// comes with the program when left out
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,

    /// Images of the classes to know, instead of the embedded features; with their patches, so that
    /// GL-MCM and LoCoOp have rows
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// Images of none of the classes, to measure on; may be given several times
    #[arg(long = "ood", value_name = "NAME=DIR", requires = "data",
          value_parser = data::parse_set)]
    pub ood: Vec<(String, PathBuf)>,

    /// Where the paper's data lie, as users of LoCoOp or MCM have them: imagenet/images/ or ImageNet/ with
    /// train/ and val/, and iNaturalist/, SUN/, Places/, Texture/ or dtd/; for --suite hard ImageNet10/ and
    /// ImageNet20/, or ImageNet-1k
    #[arg(
        long,
        value_name = "DIR",
        required_if_eq("suite", "paper"),
        conflicts_with = "data"
    )]
    pub root: Option<PathBuf>,

    /// At most so many images of each class of the training half are encoded, shots among them; for data
    /// in two halves, such as train/ and test/ [default: 50 with --root, else all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub train_images: Option<u32>,

    /// Leave GL-MCM and LoCoOp out, and the patches of every image that they take (about 200 kB an image
    /// for ViT-B/16)
    #[arg(long)]
    pub without_patches: bool,

    /// Also ODIN as published, its step taken by the pixels: every image twice forward through the image
    /// tower and once back, for each seed
    #[arg(long)]
    pub odin_pixels: bool,

    /// Where report.html, report.json, table.tex, figures/ and finished rows go; out/bench with the suite's
    /// name for other suites than the default
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// What to compute on
    #[arg(long, default_value = "auto", value_name = "auto|wgpu|cpu")]
    pub device: Devices,

    #[command(flatten)]
    pub limits: ImageLimits,

    #[command(flatten)]
    pub training: TrainingConfig,
}

/// Runs `trainer bench`.
pub fn run(arguments: BenchArguments) -> Result<()> {
    let started = Instant::now();
    let seeds = seeds(&arguments)?;
    arguments.training.check()?;
    data::check_set_names(&arguments.ood)?;
    check_together(&arguments)?;
    let model = match &arguments.model {
        Some(path) => model_directory(path)?,
        None => embedded::compact_model()?,
    };
    check_text(&model, &arguments.training)?;
    let device = arguments.device.open()?;
    let out = arguments.out.clone().unwrap_or_else(|| {
        PathBuf::from(match arguments.suite {
            Suite::Default => "out/bench",
            Suite::OpenVocabulary => "out/bench-open-vocabulary",
            Suite::Hard => "out/bench-hard",
            Suite::Ablation => "out/bench-ablation",
            Suite::Sensitivity => "out/bench-sensitivity",
            Suite::Paper => "out/bench-paper",
        })
    });
    check_place(&out, ReportOf::Bench)?;
    let mut notes = Vec::new();
    let mut tasks = tasks(&arguments, &mut notes)?;
    if arguments.train_images.is_some() {
        check_halves(&tasks)?;
    }
    if let Some(most) = most_train_images(&arguments) {
        notes.extend(tasks.iter_mut().filter_map(|task| task.thin(most)));
        notes.dedup();
    }
    if tasks.is_empty() {
        embedded::check_holds_features_of(&model)?;
    }
    let encoded: Vec<OnceCell<EncodedImages>> = tasks.iter().map(|_| OnceCell::new()).collect();
    let experiment = |task: usize, shots: usize, seed: u64| -> Result<Experiment> {
        let (Some(task), Some(encoded)) = (tasks.get(task), encoded.get(task)) else {
            return Experiment::embedded(&model, shots, seed);
        };
        if let Some(encoded) = encoded.get() {
            return encoded.experiment(shots, seed);
        }
        let encoding = Encoding {
            cache: out.join("features").join(&task.name),
            batch: 16,
            limits: arguments.limits.into(),
            patches: !arguments.without_patches,
            context_tokens: arguments.training.context_tokens,
        };
        let sets = ImageSets {
            data: &task.data,
            ood: &task.ood,
        };
        let images = EncodedImages::encode(&model, &device.device, &sets, &encoding)?;
        encoded.get_or_init(|| images).experiment(shots, seed)
    };
    let rows = Rows::below(&out, &device.name)?;
    let mut bench = Bench {
        model: &model,
        device: &device.device,
        rows: &rows,
        limits: arguments.limits.into(),
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
            tasks: tasks.iter().map(|task| task.name.clone()).collect(),
            odin_on_pixels: arguments.odin_pixels,
        },
    );
    let has_odin = |trial: &Trial| trial.methods.iter().any(|method| method.id() == "odin");
    if arguments.odin_pixels && !trials.iter().any(has_odin) {
        bail!(
            "--odin-pixels: this suite has no row of ODIN; leave it out, or take --suite default"
        );
    }
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
        // Other shots may be more than the data have, and other contexts longer than the text tower
        // reads; the other settings still say something.
        let config = &trial.config;
        let mut possible = check_lengths(model.config.text.context_length, config);
        if possible.is_ok() && config.shots != arguments.training.shots {
            possible = experiment(trial.task, config.shots, config.seed).map(drop);
        }
        if let Err(error) = possible {
            let note = format!("Without a row: {}. {error:#}", trial.variant);
            say(&format!("note: {note}"));
            notes.push(note);
            continue;
        }
        let (rows, record) = bench.run(trial)?;
        all.extend(rows);
        first.get_or_insert(record);
    }
    let mut summary = summarise(&all, first.as_ref());
    if arguments.suite == Suite::Ablation {
        summary.figures.ablations = ablation_figures(&all, &ablation_groups(&arguments.training));
    }
    let first = first.unwrap_or_default();
    if let Some(trial) = trials.first() {
        let unavailable = unavailable(trial, &experiment)?;
        unavailable
            .iter()
            .for_each(|note| say(&format!("note: {note}")));
        notes.extend(unavailable);
    }
    notes.extend(template_spread(&all));
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
        title: title(&arguments, &tasks),
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
        config: settings(&arguments.training, &seeds, &all)?,
        data: first.data,
        device: device.name.clone(),
        versions: BTreeMap::from([("trainer".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]),
        notes,
        reproduce: vec![command_line()],
        figures: summary.figures,
        mistakes: summary.mistakes,
    };
    write_report(&out, &report)?;
    output::write_file(&out.join("table.tex"), latex_table(&report).as_bytes())?;
    print_table(&report)?;
    say(&format!(
        "{} in {}: report.html, report.json, table.tex, figures/",
        shown(&out),
        duration_text(total)
    ));
    Ok(())
}

/// Fails where one option leaves another without effect, or the suite cannot do it.
///
/// # Errors
/// Naming the option and what to do instead.
fn check_together(arguments: &BenchArguments) -> Result<()> {
    if arguments.data.is_none() && arguments.root.is_none() {
        for (given, option) in [
            (arguments.odin_pixels, "--odin-pixels"),
            (arguments.without_patches, "--without-patches"),
            (arguments.train_images.is_some(), "--train-images"),
        ] {
            if given {
                bail!(
                    "{option}: the embedded features come without their images; give --data DIR or --root DIR, or leave it out"
                );
            }
        }
    }
    if arguments.suite == Suite::Hard && !arguments.ood.is_empty() {
        bail!(
            "--ood: the hard suite measures on the photos of the classes that it leaves out; leave --ood out, or take another suite"
        );
    }
    if arguments.suite == Suite::OpenVocabulary && arguments.training.class_specific {
        bail!(
            "--class-specific: contexts of single classes cannot be put before other names, as the open-vocabulary suite does; leave it out, or take another suite"
        );
    }
    Ok(())
}

/// Fails where there is no training half of which --train-images could leave images out.
fn check_halves(tasks: &[Task]) -> Result<()> {
    for task in tasks {
        if !task.data.is_split() {
            bail!(
                "--train-images: {} is not split into a half to learn from and one to measure on; put folders `train` and `test` above the class folders (in a table, write the column `split`), or leave the option out",
                shown(&task.data.root)
            );
        }
    }
    Ok(())
}

/// How many images of a class of the training half are encoded at most.
fn most_train_images(arguments: &BenchArguments) -> Option<usize> {
    let given = arguments.train_images.map(|most| most as usize);
    given.or_else(|| arguments.root.is_some().then_some(MOST_TRAIN_IMAGES))
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

/// The images to run on; none for the embedded features.
fn tasks(arguments: &BenchArguments, notes: &mut Vec<String>) -> Result<Vec<Task>> {
    let Some(root) = arguments.root.as_deref() else {
        let data = arguments.data.as_deref();
        let tasks = data.map(|data| Task::open(data, &arguments.ood));
        return tasks.into_iter().collect();
    };
    output::require_folder(root, "the paper's data")?;
    match arguments.suite {
        Suite::Hard => hard_tasks(root),
        Suite::Paper => {
            let (ood, missing) = ood_sets(root);
            let imagenet = imagenet(root);
            let absent = imagenet.as_ref().err().into_iter().chain(&missing);
            for missing in absent {
                say(&format!("note: {missing}"));
                notes.push(missing.note());
            }
            let Ok(imagenet) = imagenet else {
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
            let task = Task::open(&imagenet, &ood)?;
            let sets: Vec<(String, usize)> = task
                .ood
                .iter()
                .map(|(name, images)| (name.clone(), images.items.len()))
                .collect();
            notes.extend(differences(
                task.data.classes.len(),
                task.test_images(),
                &sets,
            ));
            Ok(vec![task])
        }
        _ => bail!("--root is for --suite paper and --suite hard; give --data DIR"),
    }
}

/// What the table leaves out, and why.
fn unavailable(
    trial: &Trial,
    experiment: &dyn Fn(usize, usize, u64) -> Result<Experiment>,
) -> Result<Vec<String>> {
    let experiment = experiment(trial.task, trial.config.shots, trial.config.seed)?;
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

/// What the suite was told, and where there are several seeds what each chose for itself.
fn settings(training: &TrainingConfig, seeds: &[u64], rows: &[Row]) -> Result<serde_json::Value> {
    let mut training = serde_json::to_value(training)?;
    if let Some(fields) = training.as_object_mut() {
        // That of single runs, which a bench refuses: its seeds stand beside it.
        fields.remove("seed");
    }
    let mut settings = serde_json::json!({"training": training, "seeds": seeds});
    if seeds.len() > 1 {
        settings["by_seed"] = rows.iter().map(Row::chosen).collect::<Result<_>>()?;
    }
    Ok(settings)
}

fn seed_note(seeds: &[u64]) -> String {
    let listed: Vec<String> = seeds.iter().map(u64::to_string).collect();
    match seeds.len() {
        1 => format!("One seed ({}); no deviation can be given.", listed[0]),
        count => format!(
            "Means over {count} seeds ({}), ± their sample standard deviation. A seed changes the shots, \
             the starts and the batches; methods that learn nothing do not change with it. Figures and \
             steps are of the first seed, and so are each method's threshold, the share of images that it \
             keeps, and the method's own settings; `config.by_seed` in report.json has them for every seed. \
             Seconds are those of each method as if it were alone.",
            listed.join(", ")
        ),
    }
}

fn title(arguments: &BenchArguments, tasks: &[Task]) -> String {
    let data = arguments
        .data
        .as_deref()
        .map_or("Caltech-101".to_owned(), last_name);
    match arguments.suite {
        Suite::Default => format!("Every method on {data}"),
        Suite::OpenVocabulary => {
            format!("Open vocabulary on {data}: a tenth of the classes learned")
        }
        Suite::Hard if arguments.root.is_some() => {
            "ImageNet-10 against ImageNet-20, and the other way round".to_owned()
        }
        Suite::Hard => format!("Half of the classes of {data} unknown"),
        Suite::Ablation => format!("NegPrompt's parts on {data}"),
        Suite::Sensitivity => format!("Hand-written prompts against learned contexts on {data}"),
        Suite::Paper => {
            let sets = tasks.iter().flat_map(|task| &task.ood);
            let names: Vec<&str> = sets.map(|(name, _)| name.as_str()).collect();
            format!("ImageNet against {}", names.join(", "))
        }
    }
}
