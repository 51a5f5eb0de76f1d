//! Stage 1, the probe, stage 2: what a run learns, kept on the disk as it goes.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use shared::clip::{ClipConfig, TextTower, Tokenizer, Weights, normalize};
use shared::prompt::{ContextEncoder, PromptEncoder, template};
use shared::score::{ClassFeatures, Input, odin_step};

use super::batches::LabelledFeatures;
use super::checkpoints::{Checkpoints, LOCOOP, STAGE_1, STAGE_2};
use super::config::TrainingConfig;
use super::experiment::Experiment;
use super::learner::ContextLearner;
use super::positive::unit;
use super::{locoop, negative, positive, probe};
use crate::model::{ModelDirectory, TEXT_FILE};
use crate::progress::Progress;

/// Steps between two checkpoints of a stage.
const CHECKPOINT_STEPS: usize = 25;
/// Share of the entries of image features that ReAct leaves as they are, as in its paper.
const CLIPPED_ABOVE: f64 = 0.9;
/// Prompts that pass through the text tower together outside training.
const PROMPT_BATCH: usize = 256;

/// What a run learned.
pub struct Learned {
    /// The text side of the class list, ready for scoring.
    pub classes: ClassFeatures,
    /// `[1, k or 1, M, width]`.
    pub positive_contexts: Tensor<4>,
    /// `[p, k or 1, M, width]`; none where no method needs them.
    pub negative_contexts: Option<Tensor<4>>,
    /// `[1, k or 1, M, width]`; none where no method needs them or there are no patches.
    pub locoop_contexts: Option<Tensor<4>>,
    /// Loss of every step of stage 1.
    pub positive_losses: Vec<f32>,
    /// Loss of every step of stage 2.
    pub negative_losses: Vec<f32>,
    /// Loss of every step of LoCoOp.
    pub locoop_losses: Vec<f32>,
    /// Mean cosine between the negatives of a class, before and after stage 2: near 1 they have
    /// collapsed onto each other.
    pub negative_spread: (f32, f32),
    /// Seconds by part.
    pub timings: BTreeMap<String, f64>,
}

impl Learned {
    /// The losses of each stage that ran: its name, what the loss is, and its values.
    pub fn losses(&self) -> Vec<(&'static str, &'static str, &[f32])> {
        [
            (
                "Stage 1: positive prompts",
                "cross-entropy",
                &self.positive_losses[..],
            ),
            ("Stage 2: negative prompts", "total", &self.negative_losses),
            ("LoCoOp", "total", &self.locoop_losses),
        ]
        .into_iter()
        .filter(|(_, _, losses)| !losses.is_empty())
        .collect()
    }
}

/// Fails for a model of images alone.
fn require_text_tower(model: &ModelDirectory) -> Result<()> {
    ensure!(
        model.config.text.layers > 0,
        "{} has no text tower; give it one with `trainer lit`",
        model.config.name
    );
    Ok(())
}

/// The text tower of a model, frozen, on a device that records gradients.
pub fn frozen_text_tower(model: &ModelDirectory, device: &Device) -> Result<TextTower> {
    require_text_tower(model)?;
    let tensors = model.tensors(TEXT_FILE)?;
    let weights = Weights::new(&tensors, device);
    Ok(TextTower::load(&weights, &model.config.text, model.config.embed_dim)?.no_grad())
}

/// Learns what the kinds of similarities in `needed` take: positive contexts always, negative ones,
/// LoCoOp's and the probe where they are asked for.
pub fn learn(
    model: &ModelDirectory,
    experiment: &Experiment,
    config: &TrainingConfig,
    device: &Device,
    checkpoints: &Checkpoints,
    needed: &[Input],
) -> Result<Learned> {
    let autodiff = device.clone().autodiff();
    let tower = frozen_text_tower(model, &autodiff)?;
    let tokenizer = model.tokenizer()?;
    check_lengths(tower.context_length(), config)?;
    let mut timings = BTreeMap::new();
    let prompts = PromptEncoder::new(
        &tower,
        &tokenizer,
        &experiment.classes,
        config.context_tokens,
    );
    let mut encoder = ContextEncoder::new(tower.clone(), prompts, config.class_specific)
        .with_activation_memory(config.activation_bytes());
    let images = LabelledFeatures::new(
        &experiment.learn.features,
        &experiment.learn.labels,
        &autodiff,
    );
    let logit_scale = model.config.logit_scale;
    let classes = experiment.classes.len();

    let mut stage = positive::learner(&tower, &tokenizer, classes, config);
    let seconds = run_stage(STAGE_1, &mut stage, checkpoints, |learner| {
        positive::advance(learner, &mut encoder, &images, logit_scale, config)
    })?;
    timings.insert("stage 1: positive prompts".to_owned(), seconds);
    let positive_contexts = stage.contexts();
    let positive_losses = stage.losses().to_vec();
    let positive = unit(encoder.encode(positive_contexts.clone()));
    let positive = positive.squeeze_dim::<2>(0);

    let (mut locoop_contexts, mut locoop_losses) = (None, Vec::new());
    if needed.contains(&Input::LoCoOp) && experiment.has_patches() {
        let mut stage = positive::learner(&tower, &tokenizer, classes, config);
        let seconds = run_stage(LOCOOP, &mut stage, checkpoints, |learner| {
            locoop::advance(
                learner,
                &mut encoder,
                &images,
                &experiment.learn,
                logit_scale,
                config,
            )
        })?;
        timings.insert("LoCoOp".to_owned(), seconds);
        locoop_contexts = Some(stage.contexts());
        locoop_losses = stage.losses().to_vec();
    }

    let mut probe_of_images = None;
    if needed.contains(&Input::Probe) {
        let since = Instant::now();
        probe_of_images = Some(probe::train(&images, classes, &autodiff)?);
        timings.insert("linear probe".to_owned(), since.elapsed().as_secs_f64());
    }

    let (mut negative_contexts, mut negative_losses) = (None, Vec::new());
    let mut negative_spread = (0.0, 0.0);
    if needed.contains(&Input::Negative) {
        let mut stage = negative::learner(&tower, &tokenizer, classes, config);
        let spread = |negative: Tensor<3>| -> f32 {
            shared::prompt::loss::negative_negative_distance(negative).into_scalar()
        };
        let spread_before = spread(unit(encoder.encode(stage.contexts())));
        let seconds = run_stage(STAGE_2, &mut stage, checkpoints, |learner| {
            negative::advance(
                learner,
                &mut encoder,
                &images,
                &positive,
                logit_scale,
                config,
            )
        })?;
        timings.insert("stage 2: negative prompts".to_owned(), seconds);
        negative_spread = (
            spread_before,
            spread(unit(encoder.encode(stage.contexts()))),
        );
        negative_contexts = Some(stage.contexts());
        negative_losses = stage.losses().to_vec();
    }

    let mut learned = Learned {
        classes: ClassFeatures::default(),
        positive_contexts,
        negative_contexts,
        locoop_contexts,
        positive_losses,
        negative_losses,
        locoop_losses,
        negative_spread,
        timings,
    };
    learned.classes = ClassFeatures {
        react_clip: Some(react_clip(&experiment.learn.features)),
        odin_step: Some(odin_step(model.config.embed_dim)),
        probe: probe_of_images,
        ..prompt_features(
            model,
            &tower,
            &tokenizer,
            &experiment.classes,
            config,
            &learned,
        )?
    };
    learned.classes.check()?;
    Ok(learned)
}

/// Puts the learned contexts before other class names (the open-vocabulary protocol). What knows
/// only the classes that were learned from, the probe, is left out.
pub fn for_other_names(
    model: &ModelDirectory,
    names: &[String],
    config: &TrainingConfig,
    device: &Device,
    learned: &mut Learned,
) -> Result<()> {
    if config.class_specific {
        bail!(
            "--class-specific: contexts of single classes cannot be put before other names; leave it out"
        );
    }
    let tower = frozen_text_tower(model, &device.clone().autodiff())?;
    let tokenizer = model.tokenizer()?;
    learned.classes = prompt_features(model, &tower, &tokenizer, names, config, learned)?;
    learned.classes.check()?;
    Ok(())
}

/// The features of class names behind learned contexts and in hand-written prompts.
fn prompt_features(
    model: &ModelDirectory,
    tower: &TextTower,
    tokenizer: &Tokenizer,
    names: &[String],
    config: &TrainingConfig,
    learned: &Learned,
) -> Result<ClassFeatures> {
    let prompts = PromptEncoder::new(tower, tokenizer, names, config.context_tokens);
    let mut encoder = ContextEncoder::new(tower.clone(), prompts, config.class_specific);
    let mut behind = |contexts: &Tensor<4>| values(unit(encoder.encode(contexts.clone())));
    let positive = behind(&learned.positive_contexts)?;
    let mut optional = |contexts: &Option<Tensor<4>>| match contexts {
        Some(contexts) => behind(contexts),
        None => Ok(Vec::new()),
    };
    Ok(ClassFeatures {
        embed_dim: model.config.embed_dim,
        logit_scale: model.config.logit_scale,
        positive,
        negative: optional(&learned.negative_contexts)?,
        locoop: optional(&learned.locoop_contexts)?,
        zero_shot: values(zero_shot_features(tower, tokenizer, names, template::PHOTO))?,
        ..ClassFeatures::default()
    })
}

/// Where ReAct clips: the 90th percentile of all entries of the features that were learned from.
fn react_clip(features: &[f32]) -> f32 {
    let mut entries = features.to_vec();
    if entries.is_empty() {
        return f32::MAX;
    }
    let place = (CLIPPED_ABOVE * (entries.len() - 1) as f64).round() as usize;
    *entries.select_nth_unstable_by(place, f32::total_cmp).1
}

/// Unit text features `[names, d]` of hand-written prompts.
pub fn zero_shot_features(
    tower: &TextTower,
    tokenizer: &Tokenizer,
    names: &[String],
    template: &str,
) -> Tensor<2> {
    let prompts = template::tokenize(tokenizer, template, names, tower.context_length());
    let parts = prompts
        .chunks(PROMPT_BATCH)
        .map(|batch| tower.forward(batch))
        .collect();
    normalize(Tensor::cat(parts, 0)).inner()
}

/// What tells a run from another: everything that its result depends on.
pub fn fingerprint(
    model: &ClipConfig,
    feature_key: &str,
    experiment: &Experiment,
    config: &TrainingConfig,
) -> Result<String> {
    let sets: Vec<(&str, u64)> = experiment
        .data
        .iter()
        .map(|set| (set.name.as_str(), set.images))
        .collect();
    let parts = serde_json::json!({
        "model": model.name,
        "features": feature_key,
        "classes": experiment.classes,
        "sets": sets,
        "config": config,
    });
    Ok(serde_json::to_string(&parts)?)
}

/// What tells a run that is resumed from another: images and text tower also where their names and
/// numbers are the same.
pub fn identity(
    model: &ModelDirectory,
    experiment: &Experiment,
    config: &TrainingConfig,
) -> Result<String> {
    let told = fingerprint(&model.config, &model.feature_key()?, experiment, config)?;
    let parts = serde_json::json!({
        "run": told,
        "text": model.text_key()?,
        "images": experiment.digest(),
    });
    Ok(serde_json::to_string(&parts)?)
}

/// Runs a stage to its end; the seconds that it took, those of interrupted runs among them.
fn run_stage(
    name: &str,
    learner: &mut ContextLearner,
    checkpoints: &Checkpoints,
    mut step: impl FnMut(&mut ContextLearner) -> Result<f32>,
) -> Result<f64> {
    let before = checkpoints.restore(name, learner)?;
    let since = Instant::now();
    let seconds = || before + since.elapsed().as_secs_f64();
    let progress = Progress::new(name, "steps", learner.steps() as u64);
    progress.skip(learner.step() as u64);
    while !learner.is_finished() {
        let loss = step(learner).with_context(|| name.to_owned())?;
        progress.note(format!("loss {loss:.4}"));
        progress.advance(1);
        if learner.step().is_multiple_of(CHECKPOINT_STEPS) || learner.is_finished() {
            checkpoints.save(name, learner, seconds())?;
        }
    }
    Ok(seconds())
}

/// Whether the model has a text tower and a vocabulary to learn prompts with, and room for the contexts:
/// asked before images are encoded, which may take hours.
///
/// # Errors
/// What is missing, and the way out.
pub fn check_text(model: &ModelDirectory, config: &TrainingConfig) -> Result<()> {
    require_text_tower(model)?;
    model.tokenizer()?;
    check_lengths(model.config.text.context_length, config)
}

/// Whether a text tower that reads `context_length` tokens has room for the context and a name.
///
/// # Errors
/// It has not, or the context has no tokens.
pub fn check_lengths(context_length: usize, config: &TrainingConfig) -> Result<()> {
    // [SOS], the context, one token of a name, the full stop and [EOS].
    let longest = context_length.saturating_sub(4);
    if config.context_tokens == 0 || config.context_tokens > longest {
        bail!(
            "--context-tokens {}: the text tower reads {context_length} tokens, which leaves 1 to {longest} for the context",
            config.context_tokens,
        );
    }
    Ok(())
}

/// The numbers of a tensor, row by row.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    tensor
        .into_data()
        .try_into_vec::<f32>()
        .context("reading features from the device")
}
