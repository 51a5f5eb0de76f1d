//! Layer norm and the activations, forward and back, in one pass over a row.
//!
//! The loops are plain; inside [`dispatch`] the compiler turns them into the machine's widest
//! vectors. Sums run over [`LANES`] partial sums, as vectors hold them.

use pulp::{Simd, WithSimd};

use crate::clip::config::{Activation, LAYER_NORM_EPSILON};
use crate::simd::{LANES, dispatch};

/// Scale `γ` and shift `β` of a layer norm, each `[width]`.
#[derive(Clone, Debug)]
pub struct Norm {
    pub gamma: Vec<f32>,
    pub beta: Vec<f32>,
}

impl Norm {
    /// `out = γ (x − mean) / √(variance + ε) + β` of every row of `x` `[rows, width]`.
    pub fn forward(&self, x: &[f32], out: &mut [f32]) {
        dispatch(NormForward { of: self, x, out });
    }

    /// Adds to `out` the gradient of the loss with respect to `x`, from `gradient`, that with
    /// respect to the norm's output; all `[rows, width]`.
    pub fn add_backward(&self, x: &[f32], gradient: &[f32], out: &mut [f32]) {
        dispatch(NormBackward {
            of: self,
            x,
            gradient,
            out,
        });
    }
}

struct NormForward<'a> {
    of: &'a Norm,
    x: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for NormForward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Norm { gamma, beta } = self.of;
        let width = gamma.len();
        let rows = self.x.chunks_exact(width);
        for (x, out) in rows.zip(self.out.chunks_exact_mut(width)) {
            let (mean, rstd) = moments(x);
            let affine = gamma.iter().zip(beta);
            for ((out, x), (gamma, beta)) in out.iter_mut().zip(x).zip(affine) {
                *out = (x - mean) * rstd * gamma + beta;
            }
        }
    }
}

struct NormBackward<'a> {
    of: &'a Norm,
    x: &'a [f32],
    gradient: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for NormBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let gamma = &self.of.gamma;
        let width = gamma.len();
        let rows = self
            .x
            .chunks_exact(width)
            .zip(self.gradient.chunks_exact(width));
        for ((x, gradient), out) in rows.zip(self.out.chunks_exact_mut(width)) {
            let (mean, rstd) = moments(x);
            // dx = rstd (g − mean(g) − x̂ mean(g x̂)), g = γ · gradient, x̂ the normalised row.
            let along = sum([gradient, gamma], |[gradient, gamma]| gradient * gamma) / width as f32;
            let across = sum([gradient, gamma, x], |[gradient, gamma, x]| {
                gradient * gamma * (x - mean)
            }) * rstd
                / width as f32;
            let values = x.iter().zip(gradient).zip(gamma);
            for (out, ((x, gradient), gamma)) in out.iter_mut().zip(values) {
                *out += rstd * (gradient * gamma - along - (x - mean) * rstd * across);
            }
        }
    }
}

/// Mean and `1 / √(variance + ε)` of a row.
#[inline(always)]
fn moments(x: &[f32]) -> (f32, f32) {
    let width = x.len() as f32;
    let mean = sum([x], |[x]| x) / width;
    let variance = sum([x], |[x]| (x - mean) * (x - mean)) / width;
    (mean, 1.0 / (variance + LAYER_NORM_EPSILON as f32).sqrt())
}

/// The sum of `value` over slices of one length, in as many partial sums as a vector has lanes.
#[inline(always)]
pub fn sum<const N: usize>(of: [&[f32]; N], value: impl Fn([f32; N]) -> f32) -> f32 {
    let mut sums = [0.0f32; LANES];
    let chunks = of.map(|of| of.as_chunks::<LANES>().0);
    let whole = chunks.iter().map(|chunks| chunks.len()).min().unwrap_or(0);
    // Cut to one length, so that no access within is checked.
    let chunks = chunks.map(|chunks| &chunks[..whole]);
    for at in 0..whole {
        let values = chunks.map(|chunks| &chunks[at]);
        for (lane, sum) in sums.iter_mut().enumerate() {
            *sum += value(values.map(|values| values[lane]));
        }
    }
    let rest = of.map(|of| &of[whole * LANES..]);
    let left = rest.iter().map(|rest| rest.len()).min().unwrap_or(0);
    for (at, sum) in sums.iter_mut().enumerate().take(left) {
        *sum += value(rest.map(|rest| rest[at]));
    }
    total(sums)
}

/// The largest of `values`, NaN aside.
#[inline(always)]
pub fn largest(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for values in values.chunks(LANES) {
        for (largest, &value) in lanes.iter_mut().zip(values) {
            if value > *largest {
                *largest = value;
            }
        }
    }
    lanes.into_iter().fold(f32::NEG_INFINITY, f32::max)
}

/// The sum of the lanes, by halves. Never inlined: compiled as one, the halves take the loop that fills
/// the lanes apart into pairs.
#[inline(never)]
pub fn total(sums: [f32; LANES]) -> f32 {
    let eight: [f32; 8] = std::array::from_fn(|lane| sums[lane] + sums[lane + 8]);
    let four: [f32; 4] = std::array::from_fn(|lane| eight[lane] + eight[lane + 4]);
    (four[0] + four[2]) + (four[1] + four[3])
}

/// `out = activation(x)`.
pub fn activate(activation: Activation, x: &[f32], out: &mut [f32]) {
    dispatch(Activate { activation, x, out });
}

struct Activate<'a> {
    activation: Activation,
    x: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for Activate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let pairs = self.out.iter_mut().zip(self.x);
        match self.activation {
            Activation::QuickGelu => pairs.for_each(|(out, &x)| *out = x * sigmoid(1.702 * x)),
            Activation::Gelu => pairs.for_each(|(out, &x)| *out = x * normal(x).0),
        }
    }
}

/// `gradient *= activation′(x)`: the gradient with respect to the activation's output becomes that
/// with respect to its input.
pub fn activate_backward(activation: Activation, x: &[f32], gradient: &mut [f32]) {
    dispatch(ActivateBackward {
        activation,
        x,
        gradient,
    });
}

struct ActivateBackward<'a> {
    activation: Activation,
    x: &'a [f32],
    gradient: &'a mut [f32],
}

impl WithSimd for ActivateBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let pairs = self.gradient.iter_mut().zip(self.x);
        match self.activation {
            Activation::QuickGelu => pairs.for_each(|(gradient, &x)| {
                let gate = sigmoid(1.702 * x);
                *gradient *= gate + 1.702 * x * gate * (1.0 - gate);
            }),
            Activation::Gelu => pairs.for_each(|(gradient, &x)| {
                let (below, density) = normal(x);
                *gradient *= below + x * density;
            }),
        }
    }
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The standard normal distribution at `x`: the share below, and the density.
///
/// The error function to 1.5e-7: Abramowitz and Stegun, 7.1.26.
#[inline(always)]
fn normal(x: f32) -> (f32, f32) {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let polynomial = t
        * (0.254_829_6
            + t * (-0.284_496_72 + t * (1.421_413_8 + t * (-1.453_152_1 + t * 1.061_405_4))));
    let square = exp(-z * z);
    let tail = 0.5 * polynomial * square;
    let below = if x < 0.0 { tail } else { 1.0 - tail };
    // 1 / √(2π)
    (below, square * 0.398_942_3)
}

/// `e^x` to a few units in the last place, without branches; the ends of the range are cut.
///
/// The argument less its nearest multiple of ln 2, in two parts, then a polynomial (Cephes,
/// `expf`).
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Adding it rounds to a whole number, which then stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let rest = x - whole * 0.693_359_4 + whole * 2.121_944_4e-4;
    let polynomial = 0.5
        + rest
            * (1.666_666_5e-1
                + rest
                    * (4.166_579_6e-2
                        + rest * (8.333_452e-3 + rest * (1.398_199_9e-3 + rest * 1.987_569_1e-4))));
    let power = f32::from_bits(
        shifted
            .to_bits()
            .wrapping_sub(ROUND.to_bits())
            .wrapping_add(127)
            << 23,
    );
    (1.0 + rest + rest * rest * polynomial) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_that_of_the_standard_library() {
        for step in -8600..8700 {
            let x = step as f32 / 100.0;
            let (found, wanted) = (exp(x), x.exp());
            assert!(
                (found - wanted).abs() <= 4e-7 * wanted,
                "e^{x}: {found} for {wanted}"
            );
        }
    }

    /// Against differences in double precision.
    #[test]
    fn activations_have_their_own_slopes() {
        let exact = |activation: Activation, x: f64| match activation {
            Activation::QuickGelu => x / (1.0 + (-1.702 * x).exp()),
            // Simpson's rule over the density.
            Activation::Gelu => {
                let density = |t: f64| (-0.5 * t * t).exp() / (std::f64::consts::TAU).sqrt();
                let steps = 2000;
                let width = x / f64::from(steps);
                let inner: f64 = (1..steps)
                    .map(|at| f64::from(2 + at % 2 * 2) * density(width * f64::from(at)))
                    .sum();
                x * (0.5 + width / 3.0 * (density(0.0) + inner + density(x)))
            }
        };
        for activation in [Activation::QuickGelu, Activation::Gelu] {
            for step in -50..50 {
                let x = step as f32 / 10.0;
                let mut out = [0.0];
                activate(activation, &[x], &mut out);
                let wanted = exact(activation, x.into());
                assert!(
                    (f64::from(out[0]) - wanted).abs() < 2e-6,
                    "{activation:?} at {x}"
                );
                let mut slope = [1.0];
                activate_backward(activation, &[x], &mut slope);
                let near = |shift: f64| exact(activation, f64::from(x) + shift);
                let wanted = (near(1e-4) - near(-1e-4)) / 2e-4;
                assert!(
                    (f64::from(slope[0]) - wanted).abs() < 1e-5,
                    "{activation:?} at {x}"
                );
            }
        }
    }
}
