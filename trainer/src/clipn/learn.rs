//! Learning the "no" tower and its prompts.

use anyhow::{Result, bail};
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor, TensorData};
use shared::clip::{NoTextTower, TextTower, normalize};
use shared::prompt::opposite::{image_text_binary_opposite, text_semantic_opposite};

use crate::progress::Progress;
use crate::training::batches::{indices, shuffled, unit_rows};
use crate::training::run::values;

/// Share of the steps over which the learning rate rises.
const WARM_UP: f64 = 0.05;
/// Factor on the sum of the losses, as in the released code.
const LOSS_FACTOR: f32 = 0.5;
/// Steps between checkpoints.
const SAVE_EVERY: usize = 50;
/// Texts that pass through a tower together outside training.
const TOGETHER: usize = 128;

/// Images with their texts, ready to learn from.
pub struct Pairs {
    /// `[pairs, d]`, of any length.
    pub images: Vec<f32>,
    /// Token ids of each caption.
    pub texts: Vec<Vec<u32>>,
    /// CLIP's scale of the cosines.
    pub logit_scale: f32,
    /// Width of the features, `d`.
    pub width: usize,
}

/// How long to learn, and how fast.
#[derive(Clone, Copy, Debug)]
pub struct Course {
    /// Steps of AdamW.
    pub steps: usize,
    /// Pairs in a batch.
    pub batch: usize,
    /// Highest learning rate.
    pub rate: f64,
    /// Seed of every draw.
    pub seed: u64,
}

/// How often a tower says what it should, on pairs that it did not learn from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Obedience {
    /// Share of images that say yes to their own caption.
    pub yes_to_own: f64,
    /// Share of images and other captions that say no to each other.
    pub no_to_others: f64,
}

/// Where learning stands.
pub struct Started {
    /// The tower with its prompts.
    pub tower: NoTextTower,
    pub optimizer: ModuleOptimizer,
    /// Loss of every step done.
    pub losses: Vec<f32>,
}

/// What [`learn`] gives.
pub struct Learned {
    /// The tower with its prompts.
    pub tower: NoTextTower,
    /// Loss of every step.
    pub losses: Vec<f32>,
}

/// Learns the tower of `start` from pairs, on from where that stands; `yes` is CLIP's own text tower,
/// frozen. `save` keeps what was reached, now and then.
///
/// # Errors
/// When the loss is not finite, or `save` fails.
pub fn learn(
    yes: &TextTower,
    start: Started,
    pairs: &Pairs,
    course: &Course,
    device: &Device,
    mut save: impl FnMut(&Started) -> Result<()>,
) -> Result<Learned> {
    let mut state = start;
    let count = pairs.texts.len();
    let unit = unit_rows(&pairs.images, pairs.width);
    let images = Tensor::<2>::from_data(TensorData::new(unit, [count, pairs.width]), device);
    let of_yes = encode(&pairs.texts, |texts| yes.forward(texts));
    let prompts = state.tower.prompts();
    let prompts = prompts.map_or(0, |prompts| prompts.dims()[0]);
    let progress = Progress::new("\"no\" text tower", "steps", course.steps as u64);
    progress.skip(state.losses.len() as u64);
    for step in state.losses.len()..course.steps {
        let rows = batch(count, step, course);
        let texts: Vec<Vec<u32>> = rows.iter().map(|&row| pairs.texts[row].clone()).collect();
        let drawn = draws(rows.len(), prompts + 1, course.seed, step);
        let places = indices(&rows, device);
        let images = images.clone().select(0, places.clone());
        let yes = of_yes.clone().select(0, places);
        let no = normalize(state.tower.forward_with(&texts, &drawn));
        let logits = |texts: &Tensor<2>| {
            images.clone().matmul(texts.clone().transpose()) * pairs.logit_scale
        };
        let others = others(&texts, device);
        let binary = image_text_binary_opposite(logits(&yes), logits(&no), others);
        let loss = (binary + text_semantic_opposite(yes, no)) * LOSS_FACTOR;
        let value: f32 = loss.clone().into_scalar();
        if !value.is_finite() {
            bail!("the loss is {value} at step {}; lower --rate", step + 1);
        }
        let gradients = GradientsParams::from_grads(loss.backward(), &state.tower);
        let rate = rate(step, course);
        state.tower = state.optimizer.step(rate, state.tower, gradients);
        state.losses.push(value);
        progress.note(format!("loss {value:.3}"));
        progress.advance(1);
        if (step + 1).is_multiple_of(SAVE_EVERY) {
            save(&state)?;
        }
    }
    Ok(Learned {
        tower: state.tower,
        losses: state.losses,
    })
}

/// A new optimizer: AdamW, without decay of the weights, which began as good ones.
pub fn optimizer() -> ModuleOptimizer {
    AdamWConfig::new()
        .with_beta_2(0.98)
        .with_epsilon(1e-6)
        .with_weight_decay(0.0)
        .build()
        .into()
}

/// How often images and captions say what they should.
pub fn obedience(yes: &TextTower, tower: &NoTextTower, pairs: &Pairs) -> Result<Obedience> {
    let of_yes = values(encode(&pairs.texts, |texts| yes.forward(texts)))?;
    let of_no = values(encode(&pairs.texts, |texts| tower.forward(texts)))?;
    let unit = unit_rows(&pairs.images, pairs.width);
    let cosine = |a: &[f32], b: &[f32]| -> f32 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    let (mut own, mut right_own, mut other, mut right_other) = (0u64, 0u64, 0u64, 0u64);
    for (place, image) in unit.chunks_exact(pairs.width).enumerate() {
        let texts = of_yes
            .chunks_exact(pairs.width)
            .zip(of_no.chunks_exact(pairs.width));
        for (text, (yes, no)) in texts.enumerate() {
            let says_yes = cosine(image, yes) > cosine(image, no);
            if text == place {
                own += 1;
                right_own += u64::from(says_yes);
            } else if pairs.texts[text] != pairs.texts[place] {
                other += 1;
                right_other += u64::from(!says_yes);
            }
        }
    }
    let share = |right: u64, all: u64| right as f64 / all.max(1) as f64;
    Ok(Obedience {
        yes_to_own: share(right_own, own),
        no_to_others: share(right_other, other),
    })
}

/// Unit features `[texts, d]`, outside autodiff's reach.
fn encode(texts: &[Vec<u32>], forward: impl Fn(&[Vec<u32>]) -> Tensor<2>) -> Tensor<2> {
    let parts = texts
        .chunks(TOGETHER)
        .map(|texts| normalize(forward(texts)).detach())
        .collect();
    Tensor::cat(parts, 0)
}

/// 1 for an image and a text that says something else than its own, else 0: `[n, n]`.
fn others(texts: &[Vec<u32>], device: &Device) -> Tensor<2> {
    let count = texts.len();
    let marks: Vec<f32> = texts
        .iter()
        .flat_map(|own| {
            texts
                .iter()
                .map(move |text| f32::from(u8::from(text != own)))
        })
        .collect();
    Tensor::from_data(TensorData::new(marks, [count, count]), device)
}

/// The pairs of a step: epoch after epoch, each in an order of its own.
fn batch(count: usize, step: usize, course: &Course) -> Vec<usize> {
    let size = course.batch.clamp(1, count);
    let batches = (count / size).max(1);
    let epoch = (step / batches) as u64;
    let order = shuffled(count, course.seed ^ 0x0C11 ^ (epoch << 20));
    let first = step % batches * size;
    order[first..first + size].to_vec()
}

/// `count` draws from `0..bound`.
fn draws(count: usize, bound: usize, seed: u64, step: usize) -> Vec<usize> {
    let seed = seed ^ 0x0D_12A3 ^ ((step as u64) << 24);
    let order = shuffled(count.max(bound), seed);
    order
        .into_iter()
        .take(count)
        .map(|draw| draw % bound)
        .collect()
}

/// A linear rise, then half a cosine.
fn rate(step: usize, course: &Course) -> f64 {
    let (at, steps) = (step as f64 + 1.0, course.steps.max(1) as f64);
    let warm_up = (steps * WARM_UP).max(1.0);
    if at < warm_up {
        return course.rate * at / warm_up;
    }
    let share = (at - warm_up) / (steps - warm_up).max(1.0);
    course.rate * 0.5 * (1.0 + (std::f64::consts::PI * share).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COURSE: Course = Course {
        steps: 10,
        batch: 4,
        rate: 1.0,
        seed: 1,
    };

    #[test]
    fn an_epoch_sees_each_pair_at_most_once() {
        let mut seen: Vec<usize> = (0..2).flat_map(|step| batch(9, step, &COURSE)).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 8);
        assert_eq!(batch(2, 5, &COURSE).len(), 2);
    }

    #[test]
    fn every_prompt_and_their_mean_are_drawn() {
        let mut drawn: Vec<usize> = (0..20).flat_map(|step| draws(8, 5, 3, step)).collect();
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn, [0, 1, 2, 3, 4]);
        assert_eq!(draws(3, 1, 3, 0), [0, 0, 0]);
    }

    #[test]
    fn texts_that_say_the_same_are_no_others() {
        let texts = [vec![1, 2], vec![1, 3], vec![1, 2]];
        let marks = values(others(&texts, &Device::flex())).unwrap();
        assert_eq!(marks, [0., 1., 0., 1., 0., 1., 0., 1., 0.]);
    }
}
