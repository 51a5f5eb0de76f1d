//! A finished run as a bundle.

use anyhow::{Context, Result};
use burn::tensor::{Device, Tensor};
use shared::bundle::{
    self, BundleContent, Curve, DataSource, Figures, Histogram, KnownAnswer, KnownInput, Licence,
    Loss, Map, MethodEntry, Precision, PromptEntry, Provenance, Role, TensorGroup, TensorValues,
    Tensors, TextFile, class_feature_tensors, decode_tensors, encode_tensors, generated_pixels,
    mean_patch, tensor_name,
};
use shared::clip::{ClipConfig, ImageTower};
use shared::metric::OodRates;
use shared::score::Method;

use super::config::TrainingConfig;
use super::evaluate::Evaluation;
use super::experiment::Experiment;
use super::map::FigureMap;
use super::outsiders::outsiders;
use super::run::Learned;
use crate::features::{forward_patches, forward_pixels};
use crate::model::{IMAGE_FILE, ModelDirectory, TEXT_FILE};
use crate::report::{self, PromptSimilarities, Report};

/// Seeds of the pictures that a device must encode rightly before it is trusted.
const KNOWN_SEEDS: [u64; 2] = [1, 2];
/// How far a device's feature of a known picture may be off, relative to its length.
const KNOWN_TOLERANCE: f32 = 0.01;
/// Points of a ROC curve on the page.
const ROC_POINTS: usize = 41;
/// Points of a loss curve on the page.
const LOSS_POINTS: usize = 100;
/// Bins of the similarity histogram.
const BINS: usize = 48;

/// All that a bundle is made of.
pub struct BundleInput<'a> {
    /// The model whose towers go in.
    pub model: &'a ModelDirectory,
    /// The images of the run.
    pub experiment: &'a Experiment,
    /// The settings of the run.
    pub config: &'a TrainingConfig,
    /// What it learned.
    pub learned: &'a Learned,
    /// How that did.
    pub evaluation: &'a Evaluation,
    /// Largest similarities of ID and of out-of-distribution images, behind Fig. 3.
    pub similarities: (&'a PromptSimilarities, &'a PromptSimilarities),
    /// Points of Fig. 4.
    pub map: &'a FigureMap,
    /// The report, for what was said about the run.
    pub report: &'a Report,
}

/// The files of the bundle, `bundle.json` last.
pub fn files(input: &BundleInput, precision: Precision) -> Result<Vec<(String, Vec<u8>)>> {
    let model = input.model;
    // What the bundle will hold is what the known answers must be of.
    let stored = |file: &str| -> Result<Tensors> {
        Ok(decode_tensors(
            file,
            &encode_tensors(&model.tensors(file)?, precision)?,
        )?)
    };
    let image = stored(IMAGE_FILE)?;
    let known_answers = known_answers(input, &image)?;
    let mut features = class_feature_tensors(&input.learned.classes)?;
    features.insert(tensor_name::MAP_FEATURES.into(), input.map.features.clone());
    let mut contexts = Tensors::from([(
        tensor_name::POSITIVE_CONTEXT.to_owned(),
        context(&input.learned.positive_contexts, true)?,
    )]);
    for (name, learned, single) in [
        (
            tensor_name::NEGATIVE_CONTEXT,
            &input.learned.negative_contexts,
            false,
        ),
        (
            tensor_name::LOCOOP_CONTEXT,
            &input.learned.locoop_contexts,
            true,
        ),
    ] {
        if let Some(learned) = learned {
            contexts.insert(name.to_owned(), context(learned, single)?);
        }
    }
    let outsiders = outsiders(input.experiment)?
        .map(|photos| (tensor_name::OUTSIDERS.to_owned(), photos))
        .into_iter()
        .collect();
    let group = |role, precision, tensors| TensorGroup {
        role,
        precision,
        tensors,
    };
    let mut texts = vec![TextFile {
        role: Role::Vocabulary,
        content: model.vocabulary()?,
    }];
    texts.extend(model.words()?.map(|content| TextFile {
        role: Role::Words,
        content,
    }));
    let content = BundleContent {
        model: model.config.clone(),
        classes: input.experiment.classes.clone(),
        prompts: PromptEntry {
            context_tokens: input.config.context_tokens,
            negatives: input.config.negatives,
            class_specific: input.config.class_specific,
            seed: input.config.seed,
            init: format!(
                "{} / {}",
                input.config.positive_start, input.config.negative_start
            ),
        },
        methods: methods(input)?,
        figures: figures(input)?,
        provenance: provenance(input),
        known_answers,
        tensors: vec![
            group(Role::ImageTower, precision, image),
            group(Role::TextTower, precision, stored(TEXT_FILE)?),
            group(Role::Features, Precision::F16, features),
            group(Role::Prompts, Precision::F32, contexts),
            group(Role::Outsiders, Precision::F16, outsiders),
        ],
        texts,
    };
    Ok(bundle::write(&content)?)
}

fn known_answers(input: &BundleInput, image: &Tensors) -> Result<Vec<KnownAnswer>> {
    let device = Device::flex();
    let config = &input.model.config;
    let tower = ImageTower::load(image, config, &device)?;
    let patches = input.experiment.has_patches();
    KNOWN_SEEDS
        .into_iter()
        .map(|seed| {
            let pixels = generated_pixels(seed, config.image.image_size());
            let found = known_features(&tower, config, &device, pixels, patches)?;
            Ok(KnownAnswer {
                name: format!("generated picture {seed}"),
                input: KnownInput::Seed { seed },
                feature: found.feature,
                mean_patch: found.mean_patch,
                tolerance: KNOWN_TOLERANCE,
            })
        })
        .collect()
}

/// What a device must find in a picture.
pub struct KnownFeatures {
    /// `[embed_dim]`.
    pub feature: Vec<f32>,
    /// `[embed_dim]`; empty without patches.
    pub mean_patch: Vec<f32>,
}

/// Encodes `pixels` `[3, size, size]` as known answers have it.
///
/// # Errors
/// When the tower's result cannot be read.
pub fn known_features(
    tower: &ImageTower,
    config: &ClipConfig,
    device: &Device,
    pixels: Vec<f32>,
    patches: bool,
) -> Result<KnownFeatures> {
    let mean_patch = match patches {
        true => {
            let patches = forward_patches(tower, &config.preprocessing, device, pixels.clone(), 1)?;
            mean_patch(&patches, config.embed_dim)
        }
        false => Vec::new(),
    };
    Ok(KnownFeatures {
        feature: forward_pixels(tower, &config.preprocessing, device, pixels, 1)?,
        mean_patch,
    })
}

/// Shared contexts lose the axis of classes; positive ones that of contexts as well.
fn context(contexts: &Tensor<4>, single: bool) -> Result<TensorValues> {
    let mut shape = contexts.dims().to_vec();
    if shape[1] == 1 {
        shape.remove(1);
    }
    if single {
        shape.remove(0);
    }
    let data = contexts.clone().into_data();
    let values = data
        .try_into_vec::<f32>()
        .context("reading contexts from the device")?;
    Ok(TensorValues::new(shape, values)?)
}

fn methods(input: &BundleInput) -> Result<Vec<MethodEntry>> {
    let reference = input.experiment.ood.iter().map(|set| set.name.as_str());
    let reference = reference.collect::<Vec<_>>().join(" + ");
    input
        .evaluation
        .scored
        .iter()
        .zip(&input.evaluation.calibration)
        .zip(&input.evaluation.measured.methods)
        .filter(|((scored, _), _)| offered(input, scored.method))
        .map(|((scored, calibration), row)| {
            let all: Vec<f64> = scored
                .ood
                .iter()
                .flat_map(|(_, scores)| scores.iter().copied())
                .collect();
            let ood = row
                .ood
                .iter()
                .map(|(set, rates)| {
                    let rates = OodRates {
                        auroc: rates.auroc,
                        fpr95: rates.fpr95,
                        aupr_in: rates.aupr_in,
                        aupr_out: rates.aupr_out,
                    };
                    (set.clone(), rates)
                })
                .collect();
            Ok(MethodEntry::measure(
                scored.method.id(),
                scored.settings,
                calibration,
                (!all.is_empty()).then_some((reference.as_str(), all.as_slice())),
                row.id_top1.unwrap_or_default(),
                ood,
            )?)
        })
        .collect()
}

/// Whether the bundle's reader will have what the method needs.
fn offered(input: &BundleInput, method: &dyn Method) -> bool {
    let patches = input.experiment.has_patches();
    input.learned.classes.offers(method, patches)
}

fn figures(input: &BundleInput) -> Result<Figures> {
    let (id, ood) = input.similarities;
    let mut series: Vec<(&str, &[f64])> = vec![
        ("in-distribution × positive", &id.positive),
        ("in-distribution × negative", &id.negative),
    ];
    if !ood.positive.is_empty() {
        series.push(("out-of-distribution × positive", &ood.positive));
        series.push(("out-of-distribution × negative", &ood.negative));
    }
    let similarity = Histogram::measure(
        "Similarity of images with positive and negative prompts",
        "largest cosine with a prompt of the kind",
        BINS,
        &series,
    )?;
    let scores = input
        .evaluation
        .scored
        .iter()
        .zip(&input.evaluation.measured.figures.scores)
        .filter(|(scored, _)| offered(input, scored.method))
        .map(|(scored, figure)| (scored.method.id().to_owned(), figure.histogram.clone()))
        .collect();
    let drawn = &input.evaluation.measured.figures;
    let known = |name: &str| {
        let mut scored = input.evaluation.scored.iter();
        scored
            .find(|scored| scored.method.name() == name && offered(input, scored.method))
            .map(|scored| scored.method.id().to_owned())
    };
    let by_id = |curve: &report::Curve| Some((known(&curve.name)?, stored(curve, ROC_POINTS)));
    let roc = drawn
        .roc
        .iter()
        .map(|figure| {
            let curves = figure.curves.iter().filter_map(by_id).collect();
            (figure.set.clone(), curves)
        })
        .collect();
    let reliability = drawn.reliability.iter();
    let reliability = reliability.filter_map(|figure| by_id(&figure.curve));
    let losses = input.report.figures.losses.iter().flat_map(|figure| {
        figure.curves.iter().map(|curve| Loss {
            stage: figure.stage.clone(),
            name: curve.name.clone(),
            curve: stored(curve, LOSS_POINTS),
        })
    });
    let map = Map {
        title: "Images and prompts, neighbours near each other (t-SNE)".into(),
        series: input.map.series.clone(),
        points: input.map.points.clone(),
    };
    Ok(Figures {
        similarity: Some(similarity),
        scores,
        map: Some(map),
        roc,
        reliability: reliability.collect(),
        losses: losses.collect(),
    })
}

/// A curve of the report as the page gets it: fewer points and digits, as all of them together are a
/// good part of what a first visit fetches as JSON.
fn stored(curve: &report::Curve, points: usize) -> Curve {
    let report::Curve { x, y, .. } = curve.clone().thinned(points);
    let short = |values: Vec<f64>| {
        let short = |value: f64| (value * 1e4).round() / 1e4;
        values.into_iter().map(short).collect()
    };
    Curve {
        x: short(x),
        y: short(y),
    }
}

fn provenance(input: &BundleInput) -> Provenance {
    let data = input
        .report
        .data
        .iter()
        .map(|set| DataSource {
            name: set.name.clone(),
            used_for: set.used_for.clone(),
            images: set.images,
            source: set.source.clone(),
        })
        .collect();
    Provenance {
        data,
        config: input.report.config.clone(),
        seed: input.config.seed,
        versions: input.report.versions.clone(),
        licences: vec![Licence {
            what: format!("model {}", input.model.config.name),
            licence: "see the model card of the model directory".into(),
        }],
    }
}
