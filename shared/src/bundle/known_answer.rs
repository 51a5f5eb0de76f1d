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
    /// `[embed_dim]`: the mean of the features of its patches, not normalised; empty in a bundle
    /// without methods that take them.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "crate::single::list"
    )]
    pub mean_patch: Vec<f32>,
    /// The largest `‖found − expected‖ / ‖expected‖` to accept.
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
    fn error(&self, feature: &[f32]) -> Option<f32> {
        relative_error(feature, &self.feature)
    }

    /// The same of the features of patches, `[patches, embed_dim]`.
    fn error_of_patches(&self, patches: &[f32]) -> Option<f32> {
        relative_error(&mean_patch(patches, self.feature.len()), &self.mean_patch)
    }

    /// Whether a device that is this far off is near enough.
    fn accepts(&self, error: Option<f32>) -> bool {
        error.is_some_and(|error| error <= self.tolerance)
    }

    /// Holds what a device computed against the answer: the image's `feature`, and the features of its
    /// `patches` `[patches, embed_dim]` where the answer has one of them. The largest relative error.
    ///
    /// # Errors
    /// Which part comes out how far off, in words that follow "it computes wrongly: ".
    pub fn judge(&self, feature: &[f32], patches: &[f32]) -> Result<f32, String> {
        let near = |what: &str, error: Option<f32>| match error {
            Some(off) if self.accepts(error) => Ok(off),
            Some(off) => Err(format!(
                "{what}“{}” comes out {off:.1e} off, where {:.1e} is allowed",
                self.name, self.tolerance
            )),
            None => Err(format!("{what}“{}” comes out as no number", self.name)),
        };
        let of_image = near("", self.error(feature))?;
        match self.mean_patch.is_empty() {
            true => Ok(of_image),
            false => {
                let of_patches = near("the patches of ", self.error_of_patches(patches))?;
                Ok(of_image.max(of_patches))
            }
        }
    }

    pub(super) fn check(&self, field: &str, embed_dim: usize) -> Result<(), BundleError> {
        text(&format!("{field}.name"), &self.name)?;
        if let KnownInput::Tensor { tensor } = &self.input {
            text(&format!("{field}.input.tensor"), tensor)?;
        }
        let none = self.mean_patch.is_empty();
        for (name, expected, absent) in [
            ("feature", &self.feature, false),
            ("mean_patch", &self.mean_patch, none),
        ] {
            // The error of an answer itself is 0 exactly when it has a usable length.
            let usable = relative_error(expected, expected) == Some(0.0);
            if !absent && (expected.len() != embed_dim || !usable) {
                let cause = format!("it is not {embed_dim} finite numbers, not all of them 0");
                return Err(BundleError::field(format!("{field}.{name}"), cause));
            }
        }
        if !(self.tolerance > 0.0 && self.tolerance < 1.0) {
            let cause = format!("{} is not between 0 and 1", self.tolerance);
            return Err(BundleError::field(format!("{field}.tolerance"), cause));
        }
        Ok(())
    }
}

/// `‖found − expected‖ / ‖expected‖`, or `None` when they are of different widths or that is not finite.
fn relative_error(found: &[f32], expected: &[f32]) -> Option<f32> {
    if found.len() != expected.len() {
        return None;
    }
    let (mut difference, mut reference) = (0.0, 0.0);
    for (&found, &expected) in found.iter().zip(expected) {
        difference += (f64::from(found) - f64::from(expected)).powi(2);
        reference += f64::from(expected).powi(2);
    }
    let error = (difference / reference).sqrt() as f32;
    error.is_finite().then_some(error)
}

/// Features of patches `[patches, width]` → their mean, `[width]`.
pub fn mean_patch(patches: &[f32], width: usize) -> Vec<f32> {
    let mut sum = vec![0.0f64; width];
    for patch in patches.chunks_exact(width.max(1)) {
        let values = sum.iter_mut().zip(patch);
        values.for_each(|(sum, &value)| *sum += f64::from(value));
    }
    let count = (patches.len() / width.max(1)) as f64;
    sum.into_iter().map(|sum| (sum / count) as f32).collect()
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
            mean_patch: Vec::new(),
            tolerance: 0.01,
        }
    }

    #[test]
    fn accepts_what_is_near_and_nothing_broken() {
        let accepts = |feature: &[f32]| answer().accepts(answer().error(feature));
        assert!(accepts(&[3.0, 4.04]));
        assert!(!accepts(&[3.0, 4.06]));
        assert!(!accepts(&[f32::NAN, 4.0]));
        assert!(!accepts(&[3.0]));
        assert!((answer().error(&[3.0, 9.0]).unwrap() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn patches_are_held_against_their_mean() {
        let answer = KnownAnswer {
            mean_patch: vec![1.0, 0.0],
            ..answer()
        };
        answer.check("k", 2).unwrap();
        assert_eq!(answer.error_of_patches(&[0.0, 1.0, 2.0, -1.0]), Some(0.0));
        assert!(!answer.accepts(answer.error_of_patches(&[0.0, 1.0, 2.0, 1.0])));
        assert!(!answer.accepts(answer.error_of_patches(&[])));
        for mean_patch in [vec![1.0], vec![0.0, 0.0], vec![f32::INFINITY, 0.0]] {
            let broken = KnownAnswer {
                mean_patch,
                ..answer.clone()
            };
            let error = broken.check("k", 2).unwrap_err().to_string();
            assert!(error.contains("k.mean_patch"), "{error}");
        }
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
