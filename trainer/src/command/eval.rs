//! `trainer eval`: a bundle measured on anybody's folders.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;
use serde_json::json;
use shared::bundle::MethodEntry;
use shared::score::{Method, Prediction, predict_all, score_all};

use super::limits::ImageLimits;
use super::typed::command_line;
use crate::data::{self, Dataset, Split};
use crate::detector::Detector;
use crate::device::{ChosenDevice, Devices};
use crate::output::{self, last_name};
use crate::progress::{Progress, say};
use crate::report::{
    DataReport, ModelReport, PromptSimilarities, Report, ScoredMethod, measure, print_table,
    similarity_figures, write_html,
};

/// Measure a bundle on folders of images.
///
/// Prints AUROC, FPR95 and ID accuracy of every method in the bundle, for in-distribution images
/// in class folders and any number of sets that belong to none of the classes. The class folders
/// must bear the names of the bundle's classes; a folder of photos without class folders works
/// too, and gives no accuracy.
#[derive(Args, Debug)]
pub struct EvalArguments {
    /// Bundle directory, made by `trainer train` or `trainer export`
    #[arg(long, value_name = "DIR", default_value = "out/default/bundle")]
    pub bundle: PathBuf,

    /// Images of the bundle's classes, one folder a class
    #[arg(long, value_name = "DIR")]
    pub id: PathBuf,

    /// Images of something else, with a name for the table; may be given many times
    #[arg(long, value_name = "NAME=DIR", required = true, value_parser = data::parse_set)]
    pub ood: Vec<(String, PathBuf)>,

    /// Which half of the --id images, where they are split [default: test]
    #[arg(long, value_enum)]
    pub split: Option<Split>,

    /// Also write the table as JSON, with all settings and figures
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Also write the report as a page
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// What to compute on; auto takes a real GPU, else the CPU
    #[arg(long, default_value = "auto", value_name = "auto|wgpu|cpu")]
    pub device: Devices,

    /// Images that go through the model together
    #[arg(long, default_value_t = 16, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub batch: u16,

    #[command(flatten)]
    pub limits: ImageLimits,
}

/// Fails where a table could not be written in the end.
fn check_destinations(arguments: &EvalArguments) -> Result<()> {
    let (json, html) = (&arguments.json, &arguments.html);
    for (option, path) in [("--json", json), ("--html", html)] {
        if let Some(path) = path {
            output::check_file_place(path).map_err(|error| anyhow!("{option}: {error:#}"))?;
            let read = [&arguments.bundle, &arguments.id];
            let sets = arguments.ood.iter().map(|(_, folder)| folder);
            let mut read = read.into_iter().chain(sets);
            if let Some(read) = read.find(|read| output::is_within(path, read))
                && !output::is_special(path)
            {
                bail!(
                    "{option}: {} lies in {}, which is read, and what is there may be lost: give another file",
                    path.display(),
                    read.display()
                );
            }
        }
    }
    if let (Some(json), Some(html)) = (json, html)
        && output::are_one_file(json, html)
        && !output::is_special(json)
    {
        bail!(
            "--json and --html are both to go to {}: give each its own",
            json.display()
        );
    }
    Ok(())
}

/// Runs `trainer eval`.
pub fn run(arguments: EvalArguments) -> Result<()> {
    check_destinations(&arguments)?;
    let sets = open_sets(&arguments)?;
    let device = arguments.device.open()?;
    let detector = Detector::open(&arguments.bundle, &device.device)?;
    let mut id = data::open(&arguments.id)?;
    let half = half(arguments.split, &id)?;
    if let Some(half) = half {
        id = id.split(half)?;
    }
    name_labels(&mut id, &detector.manifest.classes)?;
    let started = Instant::now();
    let methods = detector.methods();
    ensure!(
        !methods.is_empty(),
        "the bundle {} has no method that this program knows: export it again",
        arguments.bundle.display()
    );

    let id_scores = score(&detector, &methods, "in-distribution", &id, &arguments)?;
    let mut ood_scores = Vec::new();
    for (name, dataset) in &sets {
        ood_scores.push(score(&detector, &methods, name, dataset, &arguments)?);
    }
    let scored: Vec<_> = methods
        .iter()
        .enumerate()
        .map(|(index, (entry, method))| ScoredMethod {
            method: *method,
            settings: entry.settings,
            id: id_scores.methods[index].scores.clone(),
            id_predictions: id_scores.methods[index].predictions.clone(),
            ood: sets
                .iter()
                .zip(&ood_scores)
                .map(|((name, _), of_set)| (name.clone(), of_set.methods[index].scores.clone()))
                .collect(),
            threshold: Some(entry.threshold),
        })
        .collect();
    let measured = measure(&scored, &id_scores.labels)?;
    let mut report = report(&arguments, &detector, &device, half);
    report.notes.extend(without_accuracy(&id_scores.labels));
    report.notes.extend(data::notes_of_both(&id, &sets));
    for note in &report.notes {
        say(&format!("note: {note}"));
    }
    report.methods = measured.methods;
    report.figures = measured.figures;
    let mut similarities = vec![("in-distribution", &id_scores.similarities)];
    similarities.extend(
        sets.iter()
            .zip(&ood_scores)
            .map(|((name, _), of_set)| (name.as_str(), &of_set.similarities)),
    );
    report.figures.similarities = similarity_figures(&similarities)?;
    report.data = vec![data_report(
        "in-distribution",
        "in-distribution test",
        &id,
        &id_scores,
    )];
    report.data.extend(
        sets.iter()
            .zip(&ood_scores)
            .map(|((name, dataset), of_set)| {
                data_report(name, "out-of-distribution test", dataset, of_set)
            }),
    );
    report.timings = BTreeMap::from([(
        "features and scores".to_owned(),
        started.elapsed().as_secs_f64(),
    )]);
    print_table(&report)?;
    if let Some(path) = &arguments.json {
        output::write_json(path, &report)?;
        say(&format!("wrote {}", path.display()));
    }
    if let Some(path) = &arguments.html {
        let json = arguments.json.as_deref().map(last_name);
        output::write_file(path, write_html(&report, json.as_deref()).as_bytes())?;
        say(&format!("wrote {}", path.display()));
    }
    Ok(())
}

/// Opens everything before the first image is read, so that a wrong path is found at once.
fn open_sets(arguments: &EvalArguments) -> Result<Vec<(String, Dataset)>> {
    data::check_set_names(&arguments.ood)?;
    let sets = arguments.ood.iter();
    sets.map(|(name, path)| Ok((name.clone(), data::open_unlabelled(path)?)))
        .collect()
}

/// The half to measure on; none where all images are.
fn half(asked: Option<Split>, id: &Dataset) -> Result<Option<Split>> {
    match asked {
        _ if id.is_split() => Ok(Some(asked.unwrap_or(Split::Test))),
        None => Ok(None),
        Some(split) => bail!(
            "--split {}: the images of {} are not split into halves: leave --split out, which measures on all of them",
            split.as_str(),
            id.root.display()
        ),
    }
}

/// Replaces the labels of the ID images, which count its own folders, by those of the bundle's
/// classes of the same names.
fn name_labels(dataset: &mut Dataset, classes: &[String]) -> Result<()> {
    let plain = |name: &str| data::class_name(name).to_lowercase();
    let mut folded: HashMap<String, Vec<usize>> = HashMap::new();
    for (number, name) in classes.iter().enumerate() {
        folded.entry(plain(name)).or_default().push(number);
    }
    // The very name first: a bundle may know a `Crane` and a `crane`.
    let number_of = |name: &str| -> Result<Option<usize>> {
        if let Some(number) = classes.iter().position(|class| class == name) {
            return Ok(Some(number));
        }
        match folded.get(&plain(name)).map(Vec::as_slice) {
            None | Some([]) => Ok(None),
            Some([number]) => Ok(Some(*number)),
            Some(several) => bail!(
                "{}: `{name}` may be any of the bundle's classes {}: name the folder exactly like one of them",
                dataset.root.display(),
                several
                    .iter()
                    .map(|&number| format!("`{}`", classes[number]))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        }
    };
    let of_folder = dataset
        .classes
        .iter()
        .map(|name| number_of(name))
        .collect::<Result<Vec<Option<usize>>>>()?;
    let strangers: Vec<_> = dataset
        .classes
        .iter()
        .zip(&of_folder)
        .filter(|(_, number)| number.is_none())
        .map(|(name, _)| name.as_str())
        .collect();
    if let Some(first) = strangers.first() {
        bail!(
            "{} has {} that {} none of the bundle's classes, the first being `{first}`: rename it like the class, give it to --ood, or put the photos in one folder without class folders. The bundle knows: {}{}",
            dataset.root.display(),
            match strangers.len() {
                1 => "a class folder".to_owned(),
                n => format!("{n} class folders"),
            },
            if strangers.len() == 1 { "is" } else { "are" },
            classes
                .iter()
                .take(8)
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(", "),
            if classes.len() > 8 { ", …" } else { "" },
        );
    }
    for item in &mut dataset.items {
        item.label = item
            .label
            .and_then(|label| of_folder.get(label).copied().flatten());
    }
    Ok(())
}

/// Why the table has no accuracy, where the classes of some images are known.
fn without_accuracy(labels: &[Option<usize>]) -> Option<String> {
    let known = labels.iter().flatten().count();
    (0 < known && known < labels.len()).then(|| {
        format!(
            "The class of {} of {} in-distribution images is not known: accuracy, calibration error and OSCR are left out.",
            labels.len() - known,
            labels.len()
        )
    })
}

/// Every method's scores for one set of images.
struct ScoredSet {
    methods: Vec<ScoredImages>,
    /// Of the images that could be read, in order.
    labels: Vec<Option<usize>>,
    similarities: PromptSimilarities,
    skipped: u64,
}

#[derive(Clone, Default)]
struct ScoredImages {
    scores: Vec<f64>,
    predictions: Vec<Prediction>,
}

fn score(
    detector: &Detector,
    methods: &[(&MethodEntry, &'static dyn Method)],
    name: &str,
    dataset: &Dataset,
    arguments: &EvalArguments,
) -> Result<ScoredSet> {
    for warning in &dataset.warnings {
        say(&format!("note: {warning}"));
    }
    let limits = arguments.limits.into();
    let progress = Progress::new(
        format!("scoring {name}"),
        "images",
        dataset.items.len() as u64,
    );
    let mut scored = ScoredSet {
        methods: vec![ScoredImages::default(); methods.len()],
        labels: Vec::new(),
        similarities: PromptSimilarities::default(),
        skipped: 0,
    };
    let batch = usize::from(arguments.batch);
    let needing = methods.iter().map(|(_, method)| *method);
    detector.features(&dataset.items, batch, &limits, needing, |item, found| {
        progress.advance(1);
        let image = match found {
            Ok(image) => image,
            Err(reason) => {
                progress.print(&format!("skipped {}: {reason}", item.path.display()));
                scored.skipped += 1;
                return Ok(());
            }
        };
        let similarities = detector.classes.compare(&image)?;
        let rows = similarities.rows();
        for ((entry, method), of_method) in methods.iter().zip(&mut scored.methods) {
            let failed = || format!("{} of {}", method.name(), item.path.display());
            let scores = score_all(*method, &rows, &entry.settings).with_context(failed)?;
            let predictions = predict_all(*method, &rows, &entry.settings).with_context(failed)?;
            of_method.scores.extend(scores);
            of_method.predictions.extend(predictions);
        }
        scored.similarities.extend(&rows)?;
        scored.labels.push(item.label);
        Ok(())
    })?;
    if scored.labels.is_empty() {
        return Err(anyhow!(
            "none of the {} images in {} can be read",
            dataset.items.len(),
            dataset.root.display()
        ));
    }
    if scored.skipped > 0 {
        say(&format!(
            "{name}: {} of {} images could not be read and are left out",
            scored.skipped,
            dataset.items.len()
        ));
    }
    Ok(scored)
}

fn data_report(name: &str, used_for: &str, dataset: &Dataset, scored: &ScoredSet) -> DataReport {
    DataReport {
        name: name.to_owned(),
        used_for: used_for.to_owned(),
        images: scored.labels.len() as u64,
        classes: (!dataset.classes.is_empty()).then_some(dataset.classes.len()),
        skipped: scored.skipped,
        source: last_name(&dataset.root),
    }
}

fn report(
    arguments: &EvalArguments,
    detector: &Detector,
    device: &ChosenDevice,
    half: Option<Split>,
) -> Report {
    let manifest = &detector.manifest;
    Report {
        mistakes: None,
        title: format!("Negative prompts on {}", last_name(&arguments.id)),
        model: ModelReport {
            name: manifest.model.name.clone(),
            embed_dim: manifest.model.embed_dim,
            logit_scale: manifest.model.logit_scale,
            image_size: manifest.model.image.image_size(),
            feature_key: String::new(),
        },
        seed: manifest.provenance.seed,
        config: json!({
            "bundle": last_name(&arguments.bundle),
            "split": half.map_or("all", Split::as_str),
            "batch": arguments.batch,
            "max_megapixels": arguments.limits.max_megapixels,
            "training": manifest.provenance.config,
        }),
        device: device.name.clone(),
        versions: BTreeMap::from([("trainer".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]),
        reproduce: vec![command_line()],
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::test_images::put;

    #[test]
    fn a_half_is_asked_for_where_there_are_halves() {
        let folder = tempfile::tempdir().unwrap();
        put(&folder.path().join("ant/0.png"), 1);
        let whole = data::open(folder.path()).unwrap();
        assert_eq!(half(None, &whole).unwrap(), None);
        let error = half(Some(Split::Train), &whole).unwrap_err().to_string();
        assert!(
            error.contains("--split train") && error.contains("leave --split out"),
            "{error}"
        );
        let folder = tempfile::tempdir().unwrap();
        put(&folder.path().join("train/ant/0.png"), 1);
        put(&folder.path().join("test/ant/0.png"), 2);
        let split = data::open(folder.path()).unwrap();
        assert_eq!(half(None, &split).unwrap(), Some(Split::Test));
        let train = half(Some(Split::Train), &split).unwrap();
        assert_eq!(train, Some(Split::Train));
    }

    #[test]
    fn images_without_a_class_are_told() {
        assert_eq!(without_accuracy(&[Some(0), Some(1)]), None);
        assert_eq!(without_accuracy(&[None, None]), None);
        let note = without_accuracy(&[Some(0), None, None]).unwrap();
        assert!(note.contains("2 of 3"), "{note}");
    }

    #[test]
    fn labels_follow_the_bundle_and_strangers_are_named() {
        let folder = tempfile::tempdir().unwrap();
        put(&folder.path().join("Sea_Horse/1.png"), 1);
        put(&folder.path().join("ant/1.png"), 1);
        let mut dataset = data::open(folder.path()).unwrap();
        let classes = ["ant".to_owned(), "bee".into(), "sea horse".into()];
        name_labels(&mut dataset, &classes).unwrap();
        let labels: Vec<_> = dataset.items.iter().map(|item| item.label).collect();
        assert_eq!(labels, [Some(2), Some(0)]);

        // Names that differ in their capitals only.
        let mut dataset = data::open(folder.path()).unwrap();
        let capitals = ["Ant", "Sea Horse", "ant", "sea horse"].map(str::to_owned);
        name_labels(&mut dataset, &capitals).unwrap();
        let labels: Vec<_> = dataset.items.iter().map(|item| item.label).collect();
        assert_eq!(labels, [Some(1), Some(2)]);
        let mut dataset = data::open(folder.path()).unwrap();
        let capitals = ["ANT", "SEA HORSE", "ant", "sea horse"].map(str::to_owned);
        let error = name_labels(&mut dataset, &capitals)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("`Sea Horse` may be any of") && error.contains("`SEA HORSE`"),
            "{error}"
        );

        let mut dataset = data::open(folder.path()).unwrap();
        let error = name_labels(&mut dataset, &classes[..2])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("`Sea Horse`") && error.contains("ant, bee"),
            "{error}"
        );
    }
}
