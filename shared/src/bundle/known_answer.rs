use serde::{Deserialize, Serialize};

use super::BundleError;
use super::check::text;

/// An input with the feature that a correct device computes from it. The page asks before it
/// trusts a device; some drivers are wrong in half precision.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct KnownAnswer {
    /// What a person calls it.
    pub name: String,
    /// The pixels.
    pub input: KnownInput,
    /// `[embed_dim]`: the image tower's output, not normalised, on the CPU backend.
    #[serde(deserialize_with = "crate::single::list")]
    pub feature: Vec<f32>,
    /// The largest `‖found − feature‖ / ‖feature‖` to accept.
    #[serde(deserialize_with = "crate::single::one")]
    pub tolerance: f32,
}

/// The preprocessed pixels of a [`KnownAnswer`], `[3, size, size]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum KnownInput {
    /// Made by [`generated_pixels`].
    Seed {
        /// Its seed.
        seed: u64,
    },
    /// Stored among the tensors of [`Role::KnownAnswers`](super::Role::KnownAnswers).
    Tensor {
        /// Its name there.
        tensor: String,
    },
}

impl KnownAnswer {
    /// The relative error of a feature that a device computed, or `None` when it is of another
    /// width or not finite.
    pub fn error(&self, feature: &[f32]) -> Option<f32> {
        if feature.len() != self.feature.len() {
            return None;
        }
        let (mut difference, mut reference) = (0.0, 0.0);
        for (&found, &expected) in feature.iter().zip(&self.feature) {
            difference += (f64::from(found) - f64::from(expected)).powi(2);
            reference += f64::from(expected).powi(2);
        }
        let error = (difference / reference).sqrt() as f32;
        error.is_finite().then_some(error)
    }

    /// Whether a device's feature is near enough.
    pub fn accepts(&self, feature: &[f32]) -> bool {
        self.error(feature)
            .is_some_and(|error| error <= self.tolerance)
    }

    pub(super) fn check(&self, field: &str, embed_dim: usize) -> Result<(), BundleError> {
        text(&format!("{field}.name"), &self.name)?;
        if let KnownInput::Tensor { tensor } = &self.input {
            text(&format!("{field}.input.tensor"), tensor)?;
        }
        // The error of the answer itself is 0 exactly when it has a usable length.
        if self.feature.len() != embed_dim || self.error(&self.feature) != Some(0.0) {
            let cause = format!("it is not {embed_dim} finite numbers, not all of them 0");
            return Err(BundleError::field(format!("{field}.feature"), cause));
        }
        if !(self.tolerance > 0.0 && self.tolerance < 1.0) {
            let cause = format!("{} is not between 0 and 1", self.tolerance);
            return Err(BundleError::field(format!("{field}.tolerance"), cause));
        }
        Ok(())
    }
}

/// A picture for known answers, `[3, size, size]`: soft blobs with fine grain, in the range that
/// preprocessed photos have (about −2 to 2). Only additions, products and divisions of `f32` in
/// a fixed order, so that every machine gets the same bits.
pub fn generated_pixels(seed: u64, size: usize) -> Vec<f32> {
    const CELLS: usize = 8;
    let last = size.max(2) - 1;
    let mut pixels = Vec::with_capacity(3 * size * size);
    for channel in 0..3 {
        let corner = |row: usize, column: usize| 4.0 * unit(seed, [channel, row, column, 0]) - 2.0;
        for y in 0..size {
            let (row, down) = cell(y, last, CELLS);
            for x in 0..size {
                let (column, across) = cell(x, last, CELLS);
                let blend = |row: usize| {
                    let (left, right) = (corner(row, column), corner(row, column + 1));
                    left + (right - left) * across
                };
                let (top, bottom) = (blend(row), blend(row + 1));
                let grain = 0.5 * unit(seed, [channel, y, x, 1]) - 0.25;
                pixels.push(top + (bottom - top) * down + grain);
            }
        }
    }
    pixels
}

/// The cell of a position in `0..=last`, and how far into it.
fn cell(position: usize, last: usize, cells: usize) -> (usize, f32) {
    let index = (position * cells / last).min(cells - 1);
    let into = (position * cells - index * last) as f32 / last as f32;
    (index, into)
}

/// A number in `[0, 1)` from a seed and four indices (SplitMix64), exact in `f32`.
fn unit(seed: u64, indices: [usize; 4]) -> f32 {
    let mut state = seed;
    for index in indices {
        state = state
            .wrapping_add(index as u64)
            .wrapping_add(0x9e37_79b9_7f4a_7c15);
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^= state >> 31;
    }
    (state >> 40) as f32 / (1u32 << 24) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> KnownAnswer {
        KnownAnswer {
            name: "blobs".to_owned(),
            input: KnownInput::Seed { seed: 7 },
            feature: vec![3.0, 4.0],
            tolerance: 0.01,
        }
    }

    #[test]
    fn accepts_what_is_near_and_nothing_broken() {
        assert!(answer().accepts(&[3.0, 4.04]));
        assert!(!answer().accepts(&[3.0, 4.06]));
        assert!(!answer().accepts(&[f32::NAN, 4.0]));
        assert!(!answer().accepts(&[3.0]));
        assert!((answer().error(&[3.0, 9.0]).unwrap() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn refuses_answers_that_cannot_be_compared() {
        answer().check("k", 2).unwrap();
        assert!(answer().check("k", 3).is_err());
        for feature in [vec![0.0, 0.0], vec![f32::NAN, 1.0]] {
            assert!(
                KnownAnswer {
                    feature,
                    ..answer()
                }
                .check("k", 2)
                .is_err()
            );
        }
        for tolerance in [0.0, f32::NAN, 1.0] {
            assert!(
                KnownAnswer {
                    tolerance,
                    ..answer()
                }
                .check("k", 2)
                .is_err()
            );
        }
    }

    #[test]
    fn pixels_repeat_and_look_like_a_photo() {
        for size in [1, 2, 9, 32] {
            let pixels = generated_pixels(5, size);
            assert_eq!(pixels.len(), 3 * size * size);
            assert_eq!(pixels, generated_pixels(5, size));
            assert!(pixels.iter().all(|value| value.abs() <= 2.25));
        }
        let (a, b) = (generated_pixels(5, 32), generated_pixels(6, 32));
        assert_ne!(a, b);
        assert_ne!(a[..1024], a[1024..2048]);
        // Neighbours are alike: the step is far below that of noise of the same range (about 1.3).
        let steps: f32 = a.windows(2).map(|pair| (pair[0] - pair[1]).abs()).sum();
        assert!(steps / (a.len() as f32) < 0.6);
    }

    /// The hash is that of the same arithmetic in NumPy: stored answers stay valid.
    #[test]
    fn pixels_never_change() {
        let bytes: Vec<u8> = generated_pixels(1, 64)
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let expected = "c0c84230bcef6e15aef5e29abbc847537d017fcf2a7107c939e0fd8d09d5565a";
        assert_eq!(crate::bundle::sha256_hex(&bytes), expected);
    }
}
