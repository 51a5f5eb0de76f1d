//! Stage 2 (NegPrompt): the negative contexts, from in-distribution images alone.

use anyhow::Result;
use burn::tensor::{Int, Tensor};
use shared::clip::{TextTower, Tokenizer};
use shared::prompt::context::{initial_context, jitter};
use shared::prompt::{ContextEncoder, loss};

use super::batches::{LabelledFeatures, indices};
use super::config::{NisLoss, TrainingConfig};
use super::learner::ContextLearner;
use super::positive::unit;

/// Deviation by which the starts of the p contexts differ; equal starts would stay equal.
const START_DEVIATION: f32 = 0.02;

/// The learner of stage 2 at its start: `[p, k or 1, M, width]`.
pub fn learner(
    tower: &TextTower,
    tokenizer: &Tokenizer,
    classes: usize,
    config: &TrainingConfig,
) -> ContextLearner {
    let starts = (0..config.negatives as u64)
        .map(|index| {
            let seed = config.seed.wrapping_mul(1_000_003).wrapping_add(index + 1);
            let start = initial_context(
                tower,
                tokenizer,
                &config.negative_start,
                config.context_tokens,
                seed,
            );
            jitter(start, START_DEVIATION, seed.wrapping_add(1 << 32))
        })
        .collect();
    let starts: Tensor<3> = Tensor::stack(starts, 0);
    let [count, tokens, width] = starts.dims();
    let own = if config.class_specific { classes } else { 1 };
    let contexts = starts
        .reshape([count, 1, tokens, width])
        .expand([count, own, tokens, width]);
    ContextLearner::new(contexts, config.negative_steps, config.negative_rate)
}

/// One step of `L = NIS + β·NPD + γ·NND + δ·joint + ε·mixed` over a batch of images; `δ = ε = 0`
/// is the paper's objective.
///
/// `positive`: unit features of the frozen positive prompts, `[k, d]`.
pub fn advance(
    learner: &mut ContextLearner,
    encoder: &mut ContextEncoder,
    images: &LabelledFeatures,
    positive: &Tensor<2>,
    logit_scale: f32,
    config: &TrainingConfig,
) -> Result<f32> {
    let step = learner.step();
    let batch = images.batch(step, config.batch, config.seed ^ 2);
    let mixed = images.mixed_batch(step, config.batch, config.seed ^ 3);
    let (classes, labels) = batch.classes(encoder, step, config);
    encoder.select(classes.as_deref());
    let positive = match classes {
        Some(classes) => positive
            .clone()
            .select(0, indices(&classes, &positive.device())),
        None => positive.clone(),
    };
    let features = batch.features;
    learner.advance(|contexts| {
        encoder.loss_gradient(contexts, |negative| {
            let negative = unit(negative);
            let beside = beside_the_paper(
                &negative,
                &positive,
                &features,
                &labels,
                mixed,
                logit_scale,
                config,
            );
            let paper = objective(negative, positive, features, labels, logit_scale, config);
            match beside {
                Some(beside) => paper + beside,
                None => paper,
            }
        })
    })
}

/// `δ·joint + ε·mixed`; none when both weights are zero.
fn beside_the_paper(
    negative: &Tensor<3>,
    positive: &Tensor<2>,
    features: &Tensor<2>,
    labels: &Tensor<1, Int>,
    mixed: Tensor<2>,
    logit_scale: f32,
    config: &TrainingConfig,
) -> Option<Tensor<1>> {
    let [contexts, classes, width] = negative.dims();
    let negative = negative.clone().reshape([contexts * classes, width]);
    let logits = |images: Tensor<2>, prompts: &Tensor<2>| {
        images.matmul(prompts.clone().transpose()) * logit_scale
    };
    let joint = (config.delta != 0.0).then(|| {
        let (near, far) = (
            logits(features.clone(), positive),
            logits(features.clone(), &negative),
        );
        loss::joint_cross_entropy(near, far, labels.clone()) * config.delta
    });
    let mixed = (config.epsilon != 0.0 && mixed.dims()[0] > 0).then(|| {
        let (near, far) = (logits(mixed.clone(), positive), logits(mixed, &negative));
        loss::mixed_image_distance(near, far) * config.epsilon
    });
    [joint, mixed]
        .into_iter()
        .flatten()
        .reduce(|sum, term| sum + term)
}

/// `L = NIS + β·NPD + γ·NND`, or the released code's variant of the three.
///
/// `negative`: unit `[p, k, d]`, `positive`: unit `[k, d]`, `features`: unit `[batch, d]`.
pub fn objective(
    negative: Tensor<3>,
    positive: Tensor<2>,
    features: Tensor<2>,
    labels: Tensor<1, Int>,
    logit_scale: f32,
    config: &TrainingConfig,
) -> Tensor<1> {
    let [contexts, classes, width] = negative.dims();
    let flat = negative.clone().reshape([contexts * classes, width]);
    match config.nis {
        NisLoss::Paper | NisLoss::Off => {
            let text = loss::negative_positive_distance(negative.clone(), positive) * config.beta
                + loss::negative_negative_distance(negative) * config.gamma;
            if config.nis == NisLoss::Off {
                return text;
            }
            let logits = features.matmul(flat.transpose()) * logit_scale;
            loss::negative_image_similarity(logits) + text
        }
        NisLoss::Released => {
            let prompts = Tensor::cat(vec![positive.clone(), flat], 0);
            let logits = features.matmul(prompts.transpose()) * logit_scale;
            let one_hot = labels.one_hot::<2>(classes).float();
            loss::released_image_similarity(logits, one_hot)
                + loss::released_positive_distance(negative.clone(), positive) * config.beta
                + loss::released_negative_distance(negative) * config.gamma
        }
    }
}
