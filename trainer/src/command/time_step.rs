//! `trainer time-step`: what `cargo xtask bench` times, hidden from the help.
//!
//! A program under the protocol of `benches/reference/clip_text.py`: a JSON line when it is ready,
//! then for every line on the standard input one run and a JSON line with its `seconds`.

use std::io::{self, BufRead, Write};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use shared::bundle::{TensorValues, Tensors};
use shared::clip::{ClipConfig, ImageTower, ImageTowerConfig, TextTower, TextTowerConfig, Weights};
use shared::prompt::{ContextEncoder, PromptEncoder};
use shared::score::{ClassFeatures, Method, NegPrompt, score_all};

use crate::features::forward_pixels;
use crate::lit::matrix::matrix;
use crate::lit::random::Random;
use crate::lit::tower;
use crate::training::TrainingConfig;
use crate::training::batches::LabelledFeatures;
use crate::training::learner::ContextLearner;
use crate::training::{negative, positive};

/// Joint width of ViT-B/16.
const EMBED_DIM: usize = 512;
const LOGIT_SCALE: f32 = 100.0;
/// Token ids of `[SOS]` and `[EOS]`.
const ENDS: (u32, u32) = (49_406, 49_407);
/// More than anyone times.
const STEPS: usize = 10_000;

/// Times parts of the trainer for `cargo xtask bench`.
#[derive(Args, Debug)]
pub struct TimeArguments {
    #[command(subcommand)]
    what: Timed,
}

#[derive(Subcommand, Debug)]
enum Timed {
    /// A step of stage 2 with ViT-B/16's text tower, random weights
    Step {
        /// Classes (k), with suffixes of 4, 5, 6, 4, … tokens
        #[arg(long, default_value_t = 100)]
        classes: usize,
        /// Images to learn from
        #[arg(long, default_value_t = 1600)]
        images: usize,
        #[command(flatten)]
        training: Box<TrainingConfig>,
    },
    /// A large matrix product in Burn: this machine's own limit
    Product {
        rows: usize,
        columns: usize,
        depth: usize,
    },
    /// Images through ViT-B/32's image tower on the CPU, random weights
    Encode {
        /// Images at once
        #[arg(long, default_value_t = 1)]
        batch: usize,
    },
    /// NegPrompt's score of many image features against k(1 + p) text features
    Score {
        /// Classes (k)
        #[arg(long, default_value_t = 1000)]
        classes: usize,
        /// Negative prompts a class (p)
        #[arg(long, default_value_t = 2)]
        negatives: usize,
        /// Image features
        #[arg(long, default_value_t = 10_000)]
        images: usize,
    },
}

/// Runs `trainer time-step`.
pub fn run(arguments: TimeArguments) -> Result<()> {
    match arguments.what {
        Timed::Step {
            classes,
            images,
            training,
        } => step(classes, images, &training),
        Timed::Product {
            rows,
            columns,
            depth,
        } => product(rows, columns, depth),
        Timed::Encode { batch } => encode(batch),
        Timed::Score {
            classes,
            negatives,
            images,
        } => score(classes, negatives, images),
    }
}

fn step(classes: usize, images: usize, config: &TrainingConfig) -> Result<()> {
    ensure!(classes > 0 && images > 0, "a step needs classes and images");
    let device = Device::flex().autodiff();
    let random = &mut Random::new(0, 0);
    let mut encoder = context_encoder(classes, config, &device, random)?;
    let width = encoder.tower().width();
    let mut contexts = |count: usize| {
        let tokens = config.context_tokens;
        let own = if config.class_specific { classes } else { 1 };
        let values = random.normals(count * own * tokens * width, 0.02);
        matrix(values, count * own * tokens, width, &device)
            .reshape([count, own, tokens, width])
            .inner()
    };
    let positive = positive::unit(encoder.encode(contexts(1))).squeeze_dim::<2>(0);
    let positive = Tensor::from_inner(positive);
    // A rate of zero would be a special case; this one changes nothing that matters.
    let mut learner = ContextLearner::new(contexts(config.negatives), STEPS, 1e-9);
    let labels: Vec<usize> = (0..images).map(|image| image % classes).collect();
    let images = LabelledFeatures::new(&unit_rows(images, random), &labels, &device);
    serve(&json!({"classes": classes}), || {
        let loss = negative::advance(
            &mut learner,
            &mut encoder,
            &images,
            &positive,
            LOGIT_SCALE,
            config,
        )?;
        Ok(json!({"value": loss, "multiplications": encoder.multiplications()}))
    })
}

/// ViT-B/16's text tower with random weights, behind a class list of random tokens.
fn context_encoder(
    classes: usize,
    config: &TrainingConfig,
    device: &Device,
    random: &mut Random,
) -> Result<ContextEncoder> {
    let shape = TextTowerConfig::openai(512);
    let tensors = tower::initial(&shape, EMBED_DIM, random);
    let tower = TextTower::load(&Weights::new(&tensors, device), &shape, EMBED_DIM)?.no_grad();
    drop(tensors);
    let suffixes: Vec<Vec<u32>> = (0..classes)
        .map(|class| {
            let name = (0..3 + class % 3).map(|_| 1000 + random.below(39_000) as u32);
            name.chain([ENDS.1]).collect()
        })
        .collect();
    let prompts = PromptEncoder::from_suffixes(ENDS.0, &suffixes);
    Ok(ContextEncoder::new(tower, prompts, config.class_specific)
        .with_activation_memory(config.activation_bytes()))
}

/// `[rows, EMBED_DIM]`, each of length 1.
fn unit_rows(rows: usize, random: &mut Random) -> Vec<f32> {
    let mut values = random.normals(rows * EMBED_DIM, 1.0);
    for row in values.chunks_exact_mut(EMBED_DIM) {
        let length = row.iter().map(|value| value * value).sum::<f32>().sqrt();
        row.iter_mut().for_each(|value| *value /= length);
    }
    values
}

fn product(rows: usize, columns: usize, depth: usize) -> Result<()> {
    let device = Device::flex();
    let random = &mut Random::new(0, 0);
    let mut draw = |rows, columns| {
        let values = random.normals(rows * columns, 1.0);
        matrix(values, rows, columns, &device)
    };
    let (a, b) = (draw(rows, depth), draw(depth, columns));
    serve(
        &json!({"rows": rows, "columns": columns, "depth": depth}),
        || {
            let product = a.clone().matmul(b.clone());
            let first: f32 = product.slice([0..1, 0..1]).into_scalar();
            Ok(json!({"value": first, "multiplications": rows * columns * depth}))
        },
    )
}

fn encode(batch: usize) -> Result<()> {
    let device = Device::flex();
    let random = &mut Random::new(0, 0);
    let config = ClipConfig::vit_b_32();
    let tower = ImageTower::load(&random_tower(&config, random), &config, &device)?;
    let size = config.image.image_size();
    let pixels = random.normals(batch * 3 * size * size, 1.0);
    serve(&json!({"batch": batch}), || {
        let pixels = pixels.clone();
        let features = forward_pixels(&tower, &config.preprocessing, &device, pixels, batch)?;
        Ok(json!({"value": features.first()}))
    })
}

/// A vision transformer's weights: the blocks are those of a text tower of the same width.
fn random_tower(config: &ClipConfig, random: &mut Random) -> Tensors {
    let ImageTowerConfig::Vit(vit) = &config.image else {
        return Tensors::new();
    };
    let (width, patch) = (vit.width, vit.patch_size);
    let blocks = TextTowerConfig {
        context_length: 1,
        vocabulary_size: 1,
        width,
        layers: vit.layers,
        heads: vit.heads,
        mlp_width: vit.mlp_width,
        activation: vit.activation,
    };
    let mut tensors: Tensors = tower::initial(&blocks, config.embed_dim, random)
        .into_iter()
        .filter(|(name, _)| name.starts_with("transformer."))
        .map(|(name, tensor)| (format!("visual.{name}"), tensor))
        .collect();
    let tokens = (vit.image_size / patch).pow(2) + 1;
    for (name, shape) in [
        ("conv1.weight", vec![width, 3, patch, patch]),
        ("class_embedding", vec![width]),
        ("positional_embedding", vec![tokens, width]),
        ("proj", vec![width, config.embed_dim]),
        ("ln_pre.weight", vec![width]),
        ("ln_pre.bias", vec![width]),
        ("ln_post.weight", vec![width]),
        ("ln_post.bias", vec![width]),
    ] {
        let values = random.normals(shape.iter().product(), 0.02);
        tensors.insert(format!("visual.{name}"), TensorValues { shape, values });
    }
    tensors
}

fn score(classes: usize, negatives: usize, images: usize) -> Result<()> {
    let random = &mut Random::new(0, 0);
    let features = ClassFeatures {
        embed_dim: EMBED_DIM,
        logit_scale: LOGIT_SCALE,
        positive: unit_rows(classes, random),
        negative: unit_rows(negatives * classes, random),
        ..ClassFeatures::default()
    };
    let images = unit_rows(images, random);
    let settings = NegPrompt.default_settings(LOGIT_SCALE);
    serve(&json!({"classes": classes}), || {
        let scores = features.each_block(&images, None, |similarities| {
            score_all(&NegPrompt, similarities, &settings)
        })?;
        Ok(json!({
            "value": scores.first(),
            "multiplications": (1 + negatives) * classes * images.len(),
        }))
    })
}

/// Runs whenever a line comes.
fn serve(about: &Value, mut run: impl FnMut() -> Result<Value>) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", json!({"ready": about}))?;
    out.flush()?;
    for line in io::stdin().lock().lines() {
        line.context("reading the standard input")?;
        let started = Instant::now();
        let mut report = run()?;
        report["seconds"] = json!(started.elapsed().as_secs_f64());
        writeln!(out, "{report}")?;
        out.flush()?;
    }
    Ok(())
}
