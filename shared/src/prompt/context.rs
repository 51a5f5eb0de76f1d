//! Where a context starts.

use burn::tensor::{Device, Tensor, TensorData};

use crate::clip::{TextTower, Tokenizer};

/// Standard deviation of random context vectors, as in CoOp.
pub const RANDOM_STANDARD_DEVIATION: f32 = 0.02;

/// A context of `length` vectors `[length, width]` that says `text`.
///
/// The embeddings of the text stand last, next to the class name; vectors left over in front
/// of them are drawn from `N(0, 0.02²)` with `seed`, as CoOp draws whole contexts. A longer
/// text keeps its last `length` tokens. The same seed gives the same context on every machine.
pub fn initial_context(
    tower: &TextTower,
    tokenizer: &Tokenizer,
    text: &str,
    length: usize,
    seed: u64,
) -> Tensor<2> {
    let tokens = tokenizer.encode(text);
    let kept = &tokens[tokens.len().saturating_sub(length)..];
    let device = tower.device();
    let random = gaussian(seed, [length - kept.len(), tower.width()], &device);
    if kept.is_empty() {
        return random;
    }
    let words = tower.embed(kept, 1).squeeze_dim(0);
    if kept.len() == length {
        words
    } else {
        Tensor::cat(vec![random, words], 0)
    }
}

/// Adds `N(0, standard_deviation²)` noise drawn from `seed` to a context `[length, width]`.
pub fn jitter(context: Tensor<2>, standard_deviation: f32, seed: u64) -> Tensor<2> {
    let noise = gaussian(seed, context.dims(), &context.device());
    context + noise * (standard_deviation / RANDOM_STANDARD_DEVIATION)
}

fn gaussian(seed: u64, shape: [usize; 2], device: &Device) -> Tensor<2> {
    let mut state = seed;
    let values = (0..shape[0] * shape[1])
        .map(|_| standard_normal(&mut state) * RANDOM_STANDARD_DEVIATION)
        .collect::<Vec<f32>>();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// One standard normal number by the Box–Muller transform of two SplitMix64 outputs.
///
/// Written out because a seed must give the same numbers natively and in WASM, for as long as
/// bundles name their seed.
fn standard_normal(state: &mut u64) -> f32 {
    let uniform = |state: &mut u64| {
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    };
    let radius = (-2.0 * (1.0 - uniform(state)).ln()).sqrt();
    (radius * (std::f64::consts::TAU * uniform(state)).cos()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_contexts_repeat_and_have_the_stated_deviation() {
        let device = Device::flex();
        let draw = |seed| {
            gaussian(seed, [40, 50], &device)
                .into_data()
                .try_to_vec::<f32>()
                .unwrap()
        };
        let values = draw(7);
        assert_eq!(values, draw(7));
        assert_ne!(values, draw(8));
        let variance = values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32;
        assert!((variance.sqrt() / RANDOM_STANDARD_DEVIATION - 1.0).abs() < 0.1);
    }
}
