//! Training the text tower: captions against their target vectors.

use anyhow::{Result, bail};
use burn::module::ParamGroup;
use burn::optim::{
    AdamWConfig, AdjustLrFn, GradientsParams, ModuleOptimizer, MuonConfig, Optimizer,
};
use burn::tensor::activation::{log_softmax, softmax};
use burn::tensor::{Device, Tensor};
use shared::clip::normalize;
use shared::clip::text::TextTower;

use super::captions::{Batch, Captions};
use super::matrix::{matrix, rows};
use super::names::Names;
use super::random::Random;
use super::space::schedule;

/// Contexts in a batch, and names behind each.
pub const CONTEXTS: usize = 12;
pub const ITEMS: usize = 32;
/// Captions in a batch.
pub const CAPTIONS: usize = CONTEXTS * ITEMS;
/// Highest learning rate of what AdamW learns; embeddings and matrices learn faster. (Measured
/// from random weights at two and a half times this rate: zero-shot accuracy after 150 steps goes
/// from 30 % to 44 % with faster embeddings, and to 50 % with Muon for the matrices. From a bag of
/// words that rate is too high: the loss of the captions, 1.0 with this one after 200 steps, stays
/// at 1.3 to 1.7.)
const RATE: f64 = 6e-4;
const EMBEDDING_FACTOR: f64 = 8.0;
const MATRIX_FACTOR: f64 = 4.0;
/// Share of the steps over which the rate rises.
const WARM_UP: f64 = 0.06;
/// Scale on cosines in the divergence between what a caption says and what it should say.
const SCALE: f32 = 25.0;
/// Weight of the squared difference of similarities to images.
const SIMILARITY_WEIGHT: f32 = 100.0;
/// Images of the bank that a step looks at.
const IMAGES: usize = 512;
/// Share of the steps that are captions alone; the names take part in the others. A step with
/// them costs about three times as much.
const CAPTIONS_ALONE: f64 = 0.5;
/// Weight of what the names get wrong together.
const NAMES_WEIGHT: f32 = 2.0;
/// Largest standard deviation of the noise on the embeddings of contexts, so that contexts
/// between words mean something as well.
const NOISE: f32 = 0.02;

/// An optimizer whose learning rate is a multiple of the module's.
#[derive(Clone)]
struct Scaled<O> {
    optimizer: O,
    factor: f64,
}

impl<O: Optimizer> Optimizer for Scaled<O> {
    type State<const D: usize> = O::State<D>;

    fn step<const D: usize>(
        &self,
        rate: f64,
        tensor: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        self.optimizer
            .step(rate * self.factor, tensor, gradient, state)
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        O::to_device(state, device)
    }
}

/// AdamW, with faster embeddings, and Muon for the matrices of the blocks
/// (*Muon is Scalable for LLM Training*, 2025).
pub fn optimizer() -> ModuleOptimizer {
    let adam = AdamWConfig::new()
        .with_beta_2(0.98)
        .with_epsilon(1e-6)
        .with_weight_decay(0.0)
        .build();
    let muon = MuonConfig::new()
        .with_adjust_lr_fn(AdjustLrFn::MatchRmsAdamW)
        .build();
    let embeddings = Scaled {
        optimizer: adam.clone(),
        factor: EMBEDDING_FACTOR,
    };
    let matrices = Scaled {
        optimizer: muon,
        factor: MATRIX_FACTOR,
    };
    let weights = ["query_key_value", "output", "mlp_in", "mlp_out"]
        .map(|layer| format!("{layer}.weight"))
        .to_vec();
    ModuleOptimizer::from(adam)
        .with_group(ParamGroup::from_any_predicates(weights), matrices, None)
        .with_group(
            ParamGroup::from_predicate("token_embedding"),
            embeddings,
            None,
        )
}

/// What captions are compared with.
pub struct Aims {
    /// Unit rows `[prototypes, d]`.
    pub prototypes: Tensor<2>,
    /// Unit image features `[images, d]`.
    pub images: Tensor<2>,
}

/// One step; returns the tower and the loss. What a step does depends on the seed and its number.
///
/// # Errors
/// When the loss is not finite.
pub fn step(
    tower: TextTower,
    optimizer: &mut ModuleOptimizer,
    captions: &Captions,
    names: &Names,
    aims: &Aims,
    (step, steps): (usize, usize),
    seed: u64,
) -> Result<(TextTower, f32)> {
    let mut random = Random::new(seed, 1_000 + step as u64);
    let Some(batch) = captions.batch(CONTEXTS, ITEMS, &mut random) else {
        bail!("the concept corpus gives no captions");
    };
    let said = features(&tower, &batch, &mut random);
    let mut loss = caption_loss(said, &batch, aims, &mut random);
    if step as f64 >= CAPTIONS_ALONE * steps as f64 {
        loss = loss + names.loss(&tower, &mut random)? * NAMES_WEIGHT;
    }
    let value: f32 = loss.clone().into_scalar();
    if !value.is_finite() {
        bail!("the loss is {value} at step {}", step + 1);
    }
    let gradients = GradientsParams::from_grads(loss.backward(), &tower);
    let rate = RATE * schedule(step, steps, WARM_UP * steps as f64);
    Ok((optimizer.step(rate, tower, gradients), value))
}

/// How far what the captions of a batch say, `[captions, d]`, is from what they should: divergence
/// between the distributions over prototypes, distance between the vectors, and squared difference
/// of the similarities to images.
pub fn caption_loss(said: Tensor<2>, batch: &Batch, aims: &Aims, random: &mut Random) -> Tensor<1> {
    let device = aims.prototypes.device();
    let captions = batch.contexts * batch.items;
    let said = normalize(said);
    let width = batch.targets.len() / captions.max(1);
    let meant = matrix(batch.targets.clone(), captions, width, &device);
    let over_prototypes =
        |vectors: Tensor<2>, prototypes: Tensor<2>| vectors.matmul(prototypes.transpose()) * SCALE;
    let wanted = over_prototypes(meant.clone(), aims.prototypes.clone());
    let constant = |tensor: Tensor<2>| Tensor::<2>::from_inner(tensor);
    let found = over_prototypes(said.clone(), constant(aims.prototypes.clone()));
    let target = softmax(wanted.clone(), 1);
    let entropy = constant(target.clone() * log_softmax(wanted, 1));
    let divergence = (entropy - constant(target) * log_softmax(found, 1)).sum() / captions as f32;

    let meant = constant(meant);
    let distance = (said.clone() * meant.clone()).sum() / captions as f32;
    let images = rows(&aims.images, &random.indices(IMAGES, aims.images.dims()[0]));
    let similarity = (said - meant)
        .matmul(constant(images).transpose())
        .square()
        .mean();
    divergence - distance + 1.0 + similarity * SIMILARITY_WEIGHT
}

/// Text features of a batch, `[contexts · items, d]`, not normalised.
fn features(tower: &TextTower, batch: &Batch, random: &mut Random) -> Tensor<2> {
    let (contexts, items) = (batch.contexts, batch.items);
    // Their first token is [SOS], which is never learned.
    let context = noisy(tower.embed(&batch.context_tokens, contexts), 1, random);
    let width = tower.width();
    let prefix = tower.prefix(context);
    let suffix = tower.embed(&batch.item_tokens, contexts * items);
    let length = suffix.dims()[1];
    let found = tower.suffix(&prefix, suffix.reshape([contexts, items, length, width]));
    let d = found.dims()[2];
    found.reshape([contexts * items, d])
}

/// Embeddings `[contexts, tokens, width]` with noise on all tokens but the first `spared`; how much
/// is drawn for each context.
pub fn noisy(embeddings: Tensor<3>, spared: usize, random: &mut Random) -> Tensor<3> {
    let [contexts, tokens, width] = embeddings.dims();
    let mut noise = Vec::with_capacity(contexts * tokens * width);
    for _ in 0..contexts {
        let deviation = NOISE * random.uniform() as f32;
        noise.extend(std::iter::repeat_n(0.0, spared * width));
        noise.extend(random.normals((tokens - spared) * width, deviation));
    }
    let noise = matrix(noise, contexts * tokens, width, &embeddings.device());
    embeddings + noise.reshape([contexts, tokens, width])
}
