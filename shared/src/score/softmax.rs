//! Softmax arithmetic in `f64`, always through log-sum-exp.

use std::cmp::Ordering;

use pulp::{Simd, WithSimd};

use super::ScoreError;
use crate::simd::{LANES, dispatch};

/// `ln Σ exp(factor · values)`; `−∞` for no values.
pub(super) fn log_sum_exp(values: &[f32], factor: f64) -> f64 {
    dispatch(LogSumExp { values, factor })
}

struct LogSumExp<'a> {
    values: &'a [f32],
    factor: f64,
}

impl WithSimd for LogSumExp<'_> {
    type Output = f64;

    /// Plain loops over [`LANES`] values side by side, which the compiler turns into vectors.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f64 {
        let Self { values, factor } = self;
        if values.is_empty() {
            return f64::NEG_INFINITY;
        }
        let (blocks, rest) = values.as_chunks::<LANES>();
        // The largest product is that of the largest value, or of the smallest.
        let sign = if factor < 0.0 { -1.0 } else { 1.0 };
        let mut largest = [f32::NEG_INFINITY; LANES];
        for block in blocks {
            for (largest, value) in largest.iter_mut().zip(block) {
                let value = value * sign;
                *largest = if value > *largest { value } else { *largest };
            }
        }
        let of_rest = rest.iter().map(|value| value * sign);
        let largest = of_rest.chain(largest).fold(f32::NEG_INFINITY, f32::max);
        let highest = f64::from(largest * sign) * factor;
        if highest == f64::NEG_INFINITY {
            return highest;
        }
        let mut sums = [0.0; LANES];
        for block in blocks {
            for (sum, value) in sums.iter_mut().zip(block) {
                *sum += exp(f64::from(*value) * factor - highest);
            }
        }
        for (sum, value) in sums.iter_mut().zip(rest) {
            *sum += exp(f64::from(*value) * factor - highest);
        }
        highest + sums.iter().sum::<f64>().ln()
    }
}

/// `1 / n!` from n = 12 down to 0.
const SERIES: [f64; 13] = {
    let mut series = [1.0; 13];
    let mut factorial = 1.0;
    let mut n = 1;
    while n < 13 {
        factorial *= n as f64;
        series[12 - n] = 1.0 / factorial;
        n += 1;
    }
    series
};

/// `e^x` for `x ≤ 0` to a few units in the last place, without branches; 0 below −700.
///
/// The argument less its nearest multiple of ln 2, in two parts, then the series.
#[inline(always)]
fn exp(x: f64) -> f64 {
    // Adding it rounds to a whole number, which then stands in the low bits.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    let inside = if x < -700.0 { -700.0 } else { x };
    let shifted = inside * std::f64::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let rest = inside - whole * 6.931_471_803_691_238e-1 - whole * 1.908_214_929_270_587_7e-10;
    let mut sum = 0.0;
    for coefficient in SERIES {
        sum = sum * rest + coefficient;
    }
    let bits = shifted
        .to_bits()
        .wrapping_sub(ROUND.to_bits())
        .wrapping_add(1023)
        << 52;
    let value = sum * f64::from_bits(bits);
    if x < -700.0 { 0.0 } else { value }
}

/// `ln Σ exp(term)` of terms that are computed; `−∞` for none.
pub(super) fn log_sum_exp_of(terms: impl Iterator<Item = f64> + Clone) -> f64 {
    let highest = terms.clone().fold(f64::NEG_INFINITY, f64::max);
    if highest == f64::NEG_INFINITY {
        return highest;
    }
    highest + terms.map(|term| (term - highest).exp()).sum::<f64>().ln()
}

/// `ln(exp(a) + exp(b))`.
pub(super) fn log_add_exp(a: f64, b: f64) -> f64 {
    let highest = a.max(b);
    if highest == f64::NEG_INFINITY {
        return highest;
    }
    highest + ((a - highest).exp() + (b - highest).exp()).ln()
}

/// `ln(1 / (1 + exp(−value)))`.
pub(super) fn log_sigmoid(value: f64) -> f64 {
    value.min(0.0) - (-value.abs()).exp().ln_1p()
}

/// The log-odds of the mean of probabilities that are given by their log-odds.
pub(super) fn mean_log_odds(odds: impl Iterator<Item = f64> + Clone) -> f64 {
    log_sum_exp_of(odds.clone().map(log_sigmoid))
        - log_sum_exp_of(odds.map(|odds| log_sigmoid(-odds)))
}

/// The position of the largest value, the first of equals; 0 for no values.
pub(super) fn argmax<T: Copy + PartialOrd>(values: &[T]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate().skip(1) {
        if *value > values[best] {
            best = index;
        }
    }
    best
}

/// The positions of the `count` largest values in descending order, the first of equals first.
pub(super) fn largest(values: &[f64], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    let descending = |&a: &usize, &b: &usize| {
        values[b]
            .partial_cmp(&values[a])
            .unwrap_or(Ordering::Equal)
            .then(a.cmp(&b))
    };
    if count < order.len() {
        order.select_nth_unstable_by(count, descending);
        order.truncate(count);
    }
    order.sort_unstable_by(descending);
    order
}

/// `ln Σ exp(factor · values)` over all but the one at `left_out`.
pub(super) fn log_sum_exp_but(values: &[f32], factor: f64, left_out: usize) -> f64 {
    let after = values.get(left_out + 1..).unwrap_or_default();
    let before = &values[..left_out.min(values.len())];
    log_add_exp(log_sum_exp(before, factor), log_sum_exp(after, factor))
}

/// `values · factor` in `f64`.
pub(super) fn scaled(values: &[f32], factor: f64) -> impl Iterator<Item = f64> + Clone {
    values.iter().map(move |&value| f64::from(value) * factor)
}

/// The log-odds of the largest softmax probability of `values · factor`: `m − logsumexp(others)`.
pub(super) fn log_odds_of_max(
    method: &'static str,
    values: &[f32],
    factor: f64,
) -> Result<f64, ScoreError> {
    if values.len() < 2 {
        return Err(ScoreError::OneClass { method });
    }
    let best = argmax(values);
    let others = log_sum_exp_but(values, factor, best);
    finite(method, f64::from(values[best]) * factor - others)
}

/// `softmax(values · factor)`.
pub(super) fn softmax(values: &[f32], factor: f64) -> Vec<f64> {
    let total = log_sum_exp(values, factor);
    scaled(values, factor)
        .map(|value| (value - total).exp())
        .collect()
}

/// The score, unless it overflowed.
pub(super) fn finite(method: &'static str, score: f64) -> Result<f64, ScoreError> {
    if score.is_finite() {
        Ok(score)
    } else {
        Err(ScoreError::Overflow { method })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::generator::Generator;

    #[test]
    fn log_sum_exp_neither_overflows_nor_vanishes() {
        let values = [1000.0, 1000.0];
        assert!((log_sum_exp(&values, 1.0) - (1000.0 + 2f64.ln())).abs() < 1e-12);
        let values = [-1000.0, -1000.0];
        assert!((log_sum_exp(&values, 1.0) - (-1000.0 + 2f64.ln())).abs() < 1e-12);
        assert_eq!(log_sum_exp(&[], 1.0), f64::NEG_INFINITY);
        assert_eq!(log_add_exp(f64::NEG_INFINITY, 3.0), 3.0);
    }

    #[test]
    fn the_mean_of_probabilities_neither_saturates_nor_drifts() {
        let p = |odds: f64| 1.0 / (1.0 + (-odds).exp());
        for odds in [[0.3, -2.0, 1.0], [4.0, 4.0, 4.0]] {
            let mean = odds.iter().copied().map(p).sum::<f64>() / 3.0;
            assert!((p(mean_log_odds(odds.into_iter())) - mean).abs() < 1e-12);
        }
        let sure = mean_log_odds([100.0, 101.0].into_iter());
        assert!(sure > 100.0 && sure < 101.0);
        assert!((log_sigmoid(-800.0) + 800.0).abs() < 1e-9);
    }

    #[test]
    fn log_sum_exp_is_the_sum_of_the_standard_library() {
        let mut generator = Generator::new(12);
        for count in [1, 5, 16, 17, 300] {
            let values: Vec<f32> = (0..count)
                .map(|_| generator.between(-1.0, 1.0) as f32)
                .collect();
            for factor in [0.5, 20.0, 800.0] {
                let terms = scaled(&values, factor);
                let highest = terms.clone().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = terms.map(|value| (value - highest).exp()).sum();
                let found = log_sum_exp(&values, factor);
                assert!((found - (highest + sum.ln())).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn log_odds_agree_with_the_probability() {
        let mut generator = Generator::new(11);
        for _ in 0..100 {
            let count = 2 + generator.below(20);
            let values: Vec<f32> = (0..count)
                .map(|_| generator.between(-1.0, 1.0) as f32)
                .collect();
            let factor = generator.between(0.1, 8.0);
            let odds = log_odds_of_max("test", &values, factor).unwrap();
            let p = softmax(&values, factor).into_iter().fold(0.0, f64::max);
            assert!((odds - (p / (1.0 - p)).ln()).abs() < 1e-9);
        }
    }

    #[test]
    fn log_odds_tell_apart_what_rounds_to_one() {
        let clear = log_odds_of_max("test", &[0.9, 0.2], 100.0).unwrap();
        let clearer = log_odds_of_max("test", &[0.9, 0.1], 100.0).unwrap();
        assert_eq!(softmax(&[0.9, 0.2], 100.0)[0], 1.0);
        assert!(clearer > clear);
    }

    #[test]
    fn largest_orders_and_breaks_ties_by_position() {
        let values = [0.1, 0.5, 0.3, 0.5, 0.2];
        assert_eq!(largest(&values, 3), [1, 3, 2]);
        assert_eq!(largest(&values, 9), [1, 3, 2, 4, 0]);
        assert_eq!(largest(&values, 0), [0usize; 0]);
        assert_eq!(argmax(&values), 1);
    }
}
