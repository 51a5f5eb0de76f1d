//! Image features against text features, a block of images at a time.

use super::error::check_finite;
use super::features::length;
use super::odin::moved_to_class;
use super::{ClassFeatures, ImageFeatures, Input, Probe, ScoreError, SimilarityBuffer};
use crate::simd::{matrix::Matrix, parallel};

/// Images that a thread compares at once: a whole number of the product's tiles, and at a thousand
/// classes their similarities still stay in the second-level cache until they are scored.
pub(super) const BLOCK: usize = 96;
/// For fewer images than this, laying out the matrix costs more than its product.
const FEW: usize = 16;

/// The text side of a class list, laid out for products with many images.
pub(super) struct Laid<'a> {
    classes: &'a ClassFeatures,
    whole: Vec<(Input, Rows<'a>)>,
    of_patches: Vec<(Input, Rows<'a>)>,
    probe: Option<(&'a Probe, Rows<'a>)>,
}

/// The result of a comparison, and room for the next.
#[derive(Default)]
pub(super) struct Comparison {
    pub similarities: SimilarityBuffer,
    units: Vec<f32>,
}

impl<'a> Laid<'a> {
    /// For so many images and patches in all.
    pub fn new(classes: &'a ClassFeatures, images: usize, patches: usize) -> Self {
        let width = classes.embed_dim;
        let of_patches = [
            (Input::PatchZeroShot, &classes.zero_shot),
            (Input::PatchLoCoOp, &classes.locoop),
        ];
        let laid = |(input, rows): (Input, &'a Vec<f32>), count| {
            (!rows.is_empty()).then(|| (input, Rows::new(rows, width, count)))
        };
        let prompts = classes.prompts().into_iter();
        Self {
            classes,
            whole: prompts.filter_map(|of| laid(of, images)).collect(),
            of_patches: of_patches
                .into_iter()
                .filter(|_| patches > 0)
                .filter_map(|of| laid(of, patches))
                .collect(),
            probe: classes
                .probe
                .as_ref()
                .map(|probe| (probe, Rows::new(&probe.weight, width, images))),
        }
    }

    /// Leaves the similarities in `comparison`; errors count images from `first`.
    pub fn compare(
        &self,
        images: &ImageFeatures<'_>,
        first: usize,
        comparison: &mut Comparison,
    ) -> Result<(), ScoreError> {
        let ClassFeatures {
            embed_dim: width,
            logit_scale,
            react_clip,
            odin_step,
            ..
        } = *self.classes;
        let rows = images.global.len().checked_div(width).unwrap_or(0);
        let together = images.patches.len() / (rows * width).max(1);
        for (what, features, fits) in [
            ("the image features", images.global, rows * width),
            (
                "the features of patches",
                images.patches,
                together * rows * width,
            ),
        ] {
            if features.len() != fits && !(features.is_empty() && width > 0) || width == 0 {
                return Err(ScoreError::Length {
                    what: what.to_owned(),
                    found: features.len(),
                    expected: format!("{rows} rows of {width} (the width of the class features)"),
                });
            }
            check_finite(what, features)?;
        }
        let Comparison {
            similarities,
            units,
        } = comparison;
        similarities.restart(rows, logit_scale);
        normalise(images.global, width, first, 1, units)?;
        for (input, prompts) in &self.whole {
            prompts.products(units, width, similarities.of(*input));
        }
        if let Some((probe, weight)) = &self.probe {
            let logits = |units: &[f32], logits: &mut Vec<f32>| {
                weight.products(units, width, logits);
                for row in logits.chunks_exact_mut(probe.bias.len().max(1)) {
                    let pairs = row.iter_mut().zip(&probe.bias);
                    pairs.for_each(|(logit, bias)| *logit += bias);
                }
            };
            logits(units, similarities.of(Input::Probe));
            if let Some(step) = odin_step {
                let found = similarities.of(Input::Probe);
                let moved = moved_to_class(units.clone(), found, probe, step);
                logits(&moved, similarities.of(Input::PerturbedProbe));
            }
            if let Some(clip) = react_clip {
                let clipped: Vec<f32> = images.global.iter().map(|value| value.min(clip)).collect();
                normalise(&clipped, width, first, 1, units)?;
                logits(units, similarities.of(Input::ClippedProbe));
            }
        }
        if together > 0 {
            normalise(images.patches, width, first, together, units)?;
            for (input, prompts) in &self.of_patches {
                prompts.products(units, width, similarities.of(*input));
            }
        }
        Ok(())
    }
}

/// A `[rows, d]` matrix that images are multiplied with.
enum Rows<'a> {
    Plain(&'a [f32]),
    Laid(Matrix),
}

impl<'a> Rows<'a> {
    fn new(rows: &'a [f32], width: usize, images: usize) -> Self {
        if images < FEW || rows.is_empty() || width == 0 {
            return Self::Plain(rows);
        }
        Self::Laid(Matrix::transposed(rows, width, rows.len() / width))
    }

    /// The products of every image `[images, d]` with every row, image by image.
    fn products(&self, images: &[f32], width: usize, products: &mut Vec<f32>) {
        products.clear();
        match self {
            Self::Plain(rows) => {
                for image in images.chunks_exact(width) {
                    products.extend(rows.chunks_exact(width).map(|row| dot(row, image)));
                }
            }
            Self::Laid(matrix) => {
                let outputs = matrix.outputs;
                products.resize(images.len() / width * outputs, 0.0);
                let mut parts: Vec<_> = images
                    .chunks(BLOCK * width)
                    .zip(products.chunks_mut(BLOCK * outputs))
                    .collect();
                parallel::each(&mut parts, |(images, products), _: &mut ()| {
                    matrix.add_product(images, products);
                });
            }
        }
    }
}

/// Eight partial sums: the compiler turns them into vector instructions, and the error stays below
/// that of one running sum.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    let (a_blocks, b_blocks) = (a.chunks_exact(8), b.chunks_exact(8));
    let tail = a_blocks.remainder().iter().zip(b_blocks.remainder());
    let tail: f32 = tail.map(|(a, b)| a * b).sum();
    for (a, b) in a_blocks.zip(b_blocks) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f32>() + tail
}

/// Rows of `features` to unit length, `together` of them an image.
fn normalise(
    features: &[f32],
    width: usize,
    first: usize,
    together: usize,
    units: &mut Vec<f32>,
) -> Result<(), ScoreError> {
    units.clear();
    for (row, feature) in features.chunks_exact(width).enumerate() {
        let length = length(feature);
        if length == 0.0 {
            let row = first + row / together;
            return Err(ScoreError::ZeroFeature { row });
        }
        units.extend(
            feature
                .iter()
                .map(|value| (f64::from(*value) / length) as f32),
        );
    }
    Ok(())
}
