use super::ScoreError;
use super::error::check_finite;
use super::{Similarities, SimilarityRows};
use crate::simd::{matrix::Matrix, parallel};

/// How far from 1 the length of a text feature may be: half precision and int8 move it a little.
const LENGTH_TOLERANCE: f32 = 0.03;

/// The text side of a class list: what image features are compared with.
///
/// Trainer and page compute similarities here, so that both mean the same by them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClassFeatures {
    /// Width of the joint embedding, `d`.
    pub embed_dim: usize,
    /// CLIP's scale of the cosines, already exponentiated.
    pub logit_scale: f32,
    /// `[classes, d]`, unit length: the learned positive prompts.
    pub positive: Vec<f32>,
    /// `[negatives · classes, d]`, unit length, context-major; empty when there are none.
    pub negative: Vec<f32>,
    /// `[classes, d]`, unit length: the hand-written prompts; empty when there are none.
    pub zero_shot: Vec<f32>,
    /// The linear probe; none for a class list that it was not trained on.
    pub probe: Option<Probe>,
}

/// A linear classifier over unit-length image features: `logits = W I + b`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Probe {
    /// `[classes, d]`.
    pub weight: Vec<f32>,
    /// `[classes]`.
    pub bias: Vec<f32>,
}

/// The similarities of one image or of many, owned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SimilarityBuffer {
    rows: usize,
    positive: Vec<f32>,
    negative: Vec<f32>,
    zero_shot: Vec<f32>,
    probe: Vec<f32>,
    logit_scale: f32,
}

impl ClassFeatures {
    /// The number of classes.
    pub fn classes(&self) -> usize {
        let rows = [&self.positive, &self.zero_shot]
            .into_iter()
            .find(|rows| !rows.is_empty());
        rows.map_or(0, |rows| rows.len() / self.embed_dim.max(1))
    }

    /// Checks what was read from a file: shapes that fit each other, finite values, unit lengths.
    ///
    /// # Errors
    /// Naming the first thing that is wrong.
    pub fn check(&self) -> Result<(), ScoreError> {
        let classes = self.classes();
        if classes == 0 || self.embed_dim == 0 {
            return Err(ScoreError::Length {
                what: "the class features".to_owned(),
                found: 0,
                expected: "at least one class and one dimension".to_owned(),
            });
        }
        let (width, matrix) = (self.embed_dim, classes * self.embed_dim);
        let fits = |what: &str, found: usize, whole: bool| {
            if whole {
                return Ok(());
            }
            Err(ScoreError::Length {
                what: what.to_owned(),
                found,
                expected: format!("{classes} classes × {width} dimensions"),
            })
        };
        for (what, rows) in [
            ("the positive features", &self.positive),
            ("the negative features", &self.negative),
            ("the zero-shot features", &self.zero_shot),
        ] {
            let whole = match what {
                "the negative features" => rows.len().is_multiple_of(matrix),
                _ => rows.is_empty() || rows.len() == matrix,
            };
            fits(what, rows.len(), whole)?;
            check_finite(what, rows)?;
            check_unit_length(what, rows, width)?;
        }
        if let Some(probe) = &self.probe {
            let weights = probe.weight.len();
            fits("the weights of the probe", weights, weights == matrix)?;
            let biases = probe.bias.len();
            fits("the biases of the probe", biases, biases == classes)?;
            check_finite("the weights of the probe", &probe.weight)?;
            check_finite("the biases of the probe", &probe.bias)?;
        }
        Ok(())
    }

    /// The similarities of one image feature `[d]`, which need not be normalised.
    ///
    /// # Errors
    /// When the feature is of another width, not finite, or zero.
    pub fn similarities(&self, image_feature: &[f32]) -> Result<SimilarityBuffer, ScoreError> {
        if image_feature.len() != self.embed_dim {
            return Err(ScoreError::Length {
                what: "the image feature".to_owned(),
                found: image_feature.len(),
                expected: format!("{} (the width of the class features)", self.embed_dim),
            });
        }
        self.similarities_all(image_feature)
    }

    /// The similarities of many image features `[images, d]`, which need not be normalised.
    ///
    /// # Errors
    /// When the features are not whole rows, or one is not finite or zero.
    pub fn similarities_all(&self, image_features: &[f32]) -> Result<SimilarityBuffer, ScoreError> {
        let width = self.embed_dim;
        if width == 0 || !image_features.len().is_multiple_of(width) {
            return Err(ScoreError::Length {
                what: "the image features".to_owned(),
                found: image_features.len(),
                expected: format!("a multiple of {width} (the width of the class features)"),
            });
        }
        check_finite("the image features", image_features)?;
        let mut buffer = SimilarityBuffer {
            rows: image_features.len() / width,
            logit_scale: self.logit_scale,
            ..Default::default()
        };
        let mut images = vec![0.0; image_features.len()];
        let features = image_features.chunks_exact(width).enumerate();
        for (unit, (row, feature)) in images.chunks_exact_mut(width).zip(features) {
            normalise_into(unit, feature, row)?;
        }
        buffer.positive = products(&images, &self.positive, width);
        buffer.negative = products(&images, &self.negative, width);
        buffer.zero_shot = products(&images, &self.zero_shot, width);
        if let Some(probe) = &self.probe {
            buffer.probe = products(&images, &probe.weight, width);
            for row in buffer.probe.chunks_exact_mut(probe.bias.len()) {
                let pairs = row.iter_mut().zip(&probe.bias);
                pairs.for_each(|(logit, bias)| *logit += bias);
            }
        }
        Ok(buffer)
    }
}

impl SimilarityBuffer {
    /// The similarities of the only image.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn one(&self) -> Result<Similarities<'_>, ScoreError> {
        if self.rows != 1 {
            return Err(ScoreError::Length {
                what: "the similarities".to_owned(),
                found: self.rows,
                expected: "one image".to_owned(),
            });
        }
        self.rows().row(0)
    }

    /// The similarities of all images.
    pub fn rows(&self) -> SimilarityRows<'_> {
        SimilarityRows {
            rows: self.rows,
            positive: &self.positive,
            negative: &self.negative,
            zero_shot: &self.zero_shot,
            probe: &self.probe,
            logit_scale: self.logit_scale,
        }
    }
}

/// Images that a thread takes at once.
const IMAGES: usize = 96;
/// For fewer images than this, laying out the matrix costs more than its product.
const FEW: usize = 16;

/// The products of every image `[images, d]` with every row of a `[rows, d]` matrix, image by
/// image.
fn products(images: &[f32], rows: &[f32], width: usize) -> Vec<f32> {
    let outputs = rows.len() / width;
    let mut products = vec![0.0; images.len() / width * outputs];
    if outputs == 0 {
        return products;
    }
    if images.len() / width < FEW {
        for (image, products) in images
            .chunks_exact(width)
            .zip(products.chunks_exact_mut(outputs))
        {
            for (product, row) in products.iter_mut().zip(rows.chunks_exact(width)) {
                *product = dot(row, image);
            }
        }
        return products;
    }
    let matrix = Matrix::transposed(rows, width, outputs);
    let mut parts: Vec<_> = images
        .chunks(IMAGES * width)
        .zip(products.chunks_mut(IMAGES * outputs))
        .collect();
    parallel::each(&mut parts, |(images, products), _: &mut ()| {
        matrix.add_product(images, products);
    });
    products
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

fn length(vector: &[f32]) -> f64 {
    let square = |value: &f32| f64::from(*value) * f64::from(*value);
    vector.iter().map(square).sum::<f64>().sqrt()
}

fn normalise_into(unit: &mut [f32], feature: &[f32], row: usize) -> Result<(), ScoreError> {
    let length = length(feature);
    if length == 0.0 {
        return Err(ScoreError::ZeroFeature { row });
    }
    for (unit, value) in unit.iter_mut().zip(feature) {
        *unit = (f64::from(*value) / length) as f32;
    }
    Ok(())
}

fn check_unit_length(what: &str, rows: &[f32], width: usize) -> Result<(), ScoreError> {
    for (row, feature) in rows.chunks_exact(width).enumerate() {
        let length = length(feature) as f32;
        if (length - 1.0).abs() > LENGTH_TOLERANCE {
            return Err(ScoreError::NotUnitLength {
                what: what.to_owned(),
                row,
                length,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Input;
    use super::*;
    use crate::metric::generator::Generator;

    fn unit_rows(generator: &mut Generator, rows: usize, width: usize) -> Vec<f32> {
        let mut values = Vec::new();
        for _ in 0..rows {
            let row: Vec<f64> = (0..width).map(|_| generator.between(-1.0, 1.0)).collect();
            let length = row.iter().map(|value| value * value).sum::<f64>().sqrt();
            values.extend(row.iter().map(|value| (value / length) as f32));
        }
        values
    }

    fn example(width: usize) -> ClassFeatures {
        let mut generator = Generator::new(13);
        ClassFeatures {
            embed_dim: width,
            logit_scale: 20.0,
            positive: unit_rows(&mut generator, 3, width),
            negative: unit_rows(&mut generator, 6, width),
            zero_shot: unit_rows(&mut generator, 3, width),
            probe: Some(Probe {
                weight: unit_rows(&mut generator, 3, width),
                bias: vec![0.5, 0.0, -0.5],
            }),
        }
    }

    #[test]
    fn cosines_ignore_the_length_of_the_image_feature() {
        for width in [1, 7, 8, 21] {
            let features = example(width);
            features.check().unwrap();
            let class = 1;
            let scaled: Vec<f32> = features.positive[class * width..(class + 1) * width]
                .iter()
                .map(|value| value * 37.0)
                .collect();
            let buffer = features.similarities(&scaled).unwrap();
            let similarities = buffer.one().unwrap();
            assert!((similarities.positive[class] - 1.0).abs() < 1e-6);
            assert_eq!(similarities.negative.len(), 6);
            assert!(similarities.has(Input::Probe) && similarities.has(Input::ZeroShot));
            assert_eq!(features.classes(), 3);
        }
    }

    #[test]
    fn many_equal_one_by_one() {
        let features = example(21);
        let images = unit_rows(&mut Generator::new(14), 2 * IMAGES + 5, 21);
        let all = features.similarities_all(&images).unwrap();
        for (index, image) in images.chunks_exact(21).enumerate() {
            let one = features.similarities(image).unwrap();
            let (one, row) = (one.one().unwrap(), all.rows().row(index).unwrap());
            for input in [
                Input::Positive,
                Input::Negative,
                Input::ZeroShot,
                Input::Probe,
            ] {
                assert_eq!(one.get(input).len(), row.get(input).len());
                for (one, of_many) in one.get(input).iter().zip(row.get(input)) {
                    assert!((one - of_many).abs() < 1e-6, "{input}, image {index}");
                }
            }
        }
        assert!(all.one().is_err());
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let features = example(8);
        assert!(features.similarities(&[1.0; 7]).is_err());
        assert!(features.similarities_all(&[1.0; 9]).is_err());
        assert!(features.similarities(&[0.0; 8]).is_err());
        assert!(features.similarities(&[f32::NAN; 8]).is_err());
        let broken: [fn(&mut ClassFeatures); 7] = [
            |features| features.positive[3] = f32::INFINITY,
            |features| features.positive.iter_mut().for_each(|v| *v *= 2.0),
            |features| features.negative.truncate(8),
            |features| features.zero_shot.truncate(23),
            |features| features.probe = Some(Probe::default()),
            |features| features.embed_dim = 0,
            |features| *features = ClassFeatures::default(),
        ];
        for damage in broken {
            let mut features = example(8);
            damage(&mut features);
            assert!(features.check().is_err());
        }
    }
}
