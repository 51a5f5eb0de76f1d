//! Stage 1 (CoOp): the positive contexts.

use anyhow::Result;
use burn::tensor::Tensor;
use shared::clip::{TextTower, Tokenizer, normalize};
use shared::prompt::context::initial_context;
use shared::prompt::{PromptEncoder, loss};

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
    tower: &TextTower,
    encoder: &PromptEncoder,
    images: &LabelledFeatures,
    logit_scale: f32,
    config: &TrainingConfig,
) -> Result<f32> {
    let (features, labels) = images.batch(learner.step(), config.batch, config.seed);
    learner.advance(|contexts| {
        let text = encode(tower, encoder, contexts, config.class_specific).squeeze_dim::<2>(0);
        let logits = features.matmul(text.transpose()) * logit_scale;
        loss::cross_entropy(logits, labels)
    })
}

/// Contexts `[contexts, k or 1, M, width]` → unit text features `[contexts, k, d]`.
pub fn encode(
    tower: &TextTower,
    encoder: &PromptEncoder,
    contexts: Tensor<4>,
    class_specific: bool,
) -> Tensor<3> {
    let [count, _, tokens, width] = contexts.dims();
    let features = if class_specific {
        encoder.encode_class_specific(tower, contexts)
    } else {
        encoder.encode(tower, contexts.reshape([count, tokens, width]))
    };
    let [count, classes, width] = features.dims();
    normalize(features.reshape([count * classes, width])).reshape([count, classes, width])
}
