//! Stage 1 (CoOp): the positive contexts.

use anyhow::Result;
use burn::tensor::Tensor;
use shared::clip::{TextTower, Tokenizer, normalize};
use shared::prompt::context::initial_context;
use shared::prompt::{ContextEncoder, loss};

use super::batches::LabelledFeatures;
use super::config::TrainingConfig;
use super::learner::ContextLearner;

/// The learner of stage 1 at its start: `[1, k or 1, M, width]`.
pub fn learner(
    tower: &TextTower,
    tokenizer: &Tokenizer,
    classes: usize,
    config: &TrainingConfig,
) -> ContextLearner {
    let start = initial_context(
        tower,
        tokenizer,
        &config.positive_start,
        config.context_tokens,
        config.seed,
    );
    let [tokens, width] = start.dims();
    let own = if config.class_specific { classes } else { 1 };
    let contexts = start
        .reshape([1, 1, tokens, width])
        .expand([1, own, tokens, width]);
    ContextLearner::new(contexts, config.positive_steps, config.positive_rate)
}

/// One step of cross-entropy of `softmax_j(S_j⁺)` against the label, over a batch of images.
pub fn advance(
    learner: &mut ContextLearner,
    encoder: &mut ContextEncoder,
    images: &LabelledFeatures,
    logit_scale: f32,
    config: &TrainingConfig,
) -> Result<f32> {
    let batch = images.batch(learner.step(), config.batch, config.seed);
    let (classes, labels) = batch.classes(encoder, learner.step(), config);
    encoder.select(classes.as_deref());
    learner.advance(|contexts| {
        encoder.loss_gradient(contexts, |text| {
            let text = unit(text).squeeze_dim::<2>(0);
            let logits = batch.features.matmul(text.transpose()) * logit_scale;
            loss::cross_entropy(logits, labels)
        })
    })
}

/// Text features `[contexts, k, d]` at unit length.
pub fn unit(features: Tensor<3>) -> Tensor<3> {
    let [count, classes, width] = features.dims();
    normalize(features.reshape([count * classes, width])).reshape([count, classes, width])
}
