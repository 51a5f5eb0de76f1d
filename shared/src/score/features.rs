use super::ScoreError;
use super::error::check_finite;
use super::odin::moved_to_class;
use super::{Input, Method, Similarities, SimilarityRows};
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
    /// `[classes, d]`, unit length: prompts that say an image does not show the class; empty when
    /// there are none.
    pub no: Vec<f32>,
    /// `[classes, d]`, unit length: the class names in the prompt of the mined labels; empty when
    /// there are none.
    pub named: Vec<f32>,
    /// `[labels, d]`, unit length: mined nouns and adjectives; empty when there are none.
    pub mined: Vec<f32>,
    /// `[labels, d]`, unit length: mined nouns and modified superclass names; empty when there are
    /// none.
    pub conjugated: Vec<f32>,
    /// `[classes, d]`, unit length: LoCoOp's prompts; empty when there are none.
    pub locoop: Vec<f32>,
    /// The linear probe; none for a class list that it was not trained on.
    pub probe: Option<Probe>,
    /// Where ReAct clips entries of the image feature, before it is normalised.
    pub react_clip: Option<f32>,
    /// How far ODIN moves each entry of the unit-length image feature ([`odin_step`](super::odin_step)).
    pub odin_step: Option<f32>,
}

/// What is known of some images: features that need not be normalised.
#[derive(Clone, Copy, Debug, Default)]
pub struct ImageFeatures<'a> {
    /// `[images, d]`.
    pub global: &'a [f32],
    /// `[images, patches, d]`; empty when there are none.
    pub patches: &'a [f32],
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
    values: [Vec<f32>; Input::ALL.len()],
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
        for (input, rows) in self.prompts() {
            let whole = match input {
                Input::Mined | Input::Conjugated => rows.len().is_multiple_of(width),
                Input::Negative => rows.len().is_multiple_of(matrix),
                _ => rows.is_empty() || rows.len() == matrix,
            };
            let what = format!("the features behind {input}");
            fits(&what, rows.len(), whole)?;
            check_finite(&what, rows)?;
            check_unit_length(&what, rows, width)?;
        }
        if let Some(clip) = self.react_clip {
            check_finite("ReAct's clip", &[clip])?;
        }
        if let Some(step) = self.odin_step {
            check_finite("ODIN's step", &[step])?;
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
        self.compare(&ImageFeatures {
            global: image_features,
            ..Default::default()
        })
    }

    /// The similarities of many images of which more may be known than one feature each.
    ///
    /// # Errors
    /// When the features are not whole rows or not of equally many images, or one is not finite or
    /// zero.
    pub fn compare(&self, images: &ImageFeatures<'_>) -> Result<SimilarityBuffer, ScoreError> {
        let width = self.embed_dim;
        let rows = images.global.len().checked_div(width).unwrap_or(0);
        for (what, features, fits) in [
            ("the image features", images.global, rows * width),
            (
                "the features of patches",
                images.patches,
                images.patches.len() / (rows * width).max(1) * rows * width,
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
        let mut buffer = SimilarityBuffer {
            rows,
            logit_scale: self.logit_scale,
            ..Default::default()
        };
        let normalised = |features: &[f32], together: usize| -> Result<Vec<f32>, ScoreError> {
            let mut units = vec![0.0; features.len()];
            let rows = features.chunks_exact(width).enumerate();
            for (unit, (row, feature)) in units.chunks_exact_mut(width).zip(rows) {
                normalise_into(unit, feature, row / together)?;
            }
            Ok(units)
        };
        let units = normalised(images.global, 1)?;
        for (input, prompts) in self.prompts() {
            *buffer.of(input) = products(&units, prompts, width);
        }
        if let Some(probe) = &self.probe {
            *buffer.of(Input::Probe) = probe.logits(&units, width);
        }
        if let (Some(probe), Some(clip)) = (&self.probe, self.react_clip) {
            let clipped: Vec<f32> = images.global.iter().map(|value| value.min(clip)).collect();
            *buffer.of(Input::ClippedProbe) = probe.logits(&normalised(&clipped, 1)?, width);
        }
        if let (Some(probe), Some(step)) = (&self.probe, self.odin_step) {
            let logits = buffer.of(Input::Probe).clone();
            let moved = moved_to_class(units, &logits, probe, step);
            *buffer.of(Input::PerturbedProbe) = probe.logits(&moved, width);
        }
        let together = images.patches.len() / (rows * width).max(1);
        if together > 0 {
            let units = normalised(images.patches, together)?;
            for (input, prompts) in [
                (Input::PatchZeroShot, &self.zero_shot),
                (Input::PatchLoCoOp, &self.locoop),
            ] {
                *buffer.of(input) = products(&units, prompts, width);
            }
        }
        Ok(buffer)
    }

    /// Whether a method has everything that it needs, for images of which only the feature is known
    /// or also the patches.
    pub fn offers(&self, method: &dyn Method, patches: bool) -> bool {
        let there = |input: &Input| match input {
            Input::Probe => self.probe.is_some(),
            Input::ClippedProbe => self.probe.is_some() && self.react_clip.is_some(),
            Input::PerturbedProbe => self.probe.is_some() && self.odin_step.is_some(),
            Input::PatchZeroShot => patches && !self.zero_shot.is_empty(),
            Input::PatchLoCoOp => patches && !self.locoop.is_empty(),
            input => {
                let mut prompts = self.prompts().into_iter();
                prompts.any(|(kind, rows)| kind == *input && !rows.is_empty())
            }
        };
        method.needs().iter().all(there)
    }

    /// What of it these kinds of similarities take, and nothing else: comparing costs as much as
    /// there is to compare with.
    pub fn only(&self, inputs: &[Input]) -> Self {
        let keep = |wanted: &[Input], rows: &Vec<f32>| {
            let needed = inputs.iter().any(|input| wanted.contains(input));
            if needed { rows.clone() } else { Vec::new() }
        };
        let clipped = inputs.contains(&Input::ClippedProbe);
        let moved = inputs.contains(&Input::PerturbedProbe);
        let probe = clipped || moved || inputs.contains(&Input::Probe);
        Self {
            embed_dim: self.embed_dim,
            logit_scale: self.logit_scale,
            positive: keep(&[Input::Positive], &self.positive),
            negative: keep(&[Input::Negative], &self.negative),
            zero_shot: keep(&[Input::ZeroShot, Input::PatchZeroShot], &self.zero_shot),
            no: keep(&[Input::No], &self.no),
            named: keep(&[Input::Named], &self.named),
            mined: keep(&[Input::Mined], &self.mined),
            conjugated: keep(&[Input::Conjugated], &self.conjugated),
            locoop: keep(&[Input::LoCoOp, Input::PatchLoCoOp], &self.locoop),
            probe: self.probe.clone().filter(|_| probe),
            react_clip: self.react_clip.filter(|_| clipped),
            odin_step: self.odin_step.filter(|_| moved),
        }
    }

    /// The prompts of some of the classes, by their positions; without what was made for all of them
    /// together: mined labels and the probe.
    pub fn of_classes(&self, places: &[usize]) -> Self {
        let (width, classes) = (self.embed_dim, self.classes());
        let rows = |values: &Vec<f32>| -> Vec<f32> {
            values
                .chunks_exact((classes * width).max(1))
                .flat_map(|group| {
                    places
                        .iter()
                        .filter_map(|&place| group.get(place * width..(place + 1) * width))
                        .flatten()
                })
                .copied()
                .collect()
        };
        Self {
            embed_dim: width,
            logit_scale: self.logit_scale,
            positive: rows(&self.positive),
            negative: rows(&self.negative),
            zero_shot: rows(&self.zero_shot),
            no: rows(&self.no),
            named: rows(&self.named),
            locoop: rows(&self.locoop),
            ..Self::default()
        }
    }

    /// The text features that whole images are compared with, by the kind of similarity they give.
    fn prompts(&self) -> [(Input, &Vec<f32>); 8] {
        [
            (Input::Positive, &self.positive),
            (Input::Negative, &self.negative),
            (Input::ZeroShot, &self.zero_shot),
            (Input::No, &self.no),
            (Input::Named, &self.named),
            (Input::Mined, &self.mined),
            (Input::Conjugated, &self.conjugated),
            (Input::LoCoOp, &self.locoop),
        ]
    }
}

impl Probe {
    /// `[images, classes]`: the logits of unit-length image features `[images, d]`.
    fn logits(&self, units: &[f32], width: usize) -> Vec<f32> {
        let mut logits = products(units, &self.weight, width);
        for row in logits.chunks_exact_mut(self.bias.len().max(1)) {
            let pairs = row.iter_mut().zip(&self.bias);
            pairs.for_each(|(logit, bias)| *logit += bias);
        }
        logits
    }
}

impl SimilarityBuffer {
    /// The values of one kind, all images together.
    fn of(&mut self, input: Input) -> &mut Vec<f32> {
        &mut self.values[input.index()]
    }

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
        let rows = SimilarityRows::new(self.rows, self.logit_scale);
        Input::ALL
            .iter()
            .zip(&self.values)
            .fold(rows, |rows, (&input, values)| rows.with(input, values))
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
    use super::super::{Input, methods};
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
            no: unit_rows(&mut generator, 3, width),
            named: unit_rows(&mut generator, 3, width),
            mined: unit_rows(&mut generator, 5, width),
            conjugated: unit_rows(&mut generator, 4, width),
            locoop: unit_rows(&mut generator, 3, width),
            react_clip: Some(0.25),
            odin_step: Some(0.002),
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
            assert!((similarities.get(Input::Positive)[class] - 1.0).abs() < 1e-6);
            assert_eq!(similarities.get(Input::Negative).len(), 6);
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
            for input in Input::ALL {
                assert_eq!(one.get(input).len(), row.get(input).len());
                for (one, of_many) in one.get(input).iter().zip(row.get(input)) {
                    assert!((one - of_many).abs() < 1e-6, "{input}, image {index}");
                }
            }
        }
        assert!(all.one().is_err());
    }

    #[test]
    fn patches_are_compared_beside_the_image() {
        let features = example(8);
        let mut generator = Generator::new(15);
        let (global, patches) = (
            unit_rows(&mut generator, 2, 8),
            unit_rows(&mut generator, 6, 8),
        );
        let images = ImageFeatures {
            global: &global,
            patches: &patches,
        };
        let all = features.compare(&images).unwrap();
        let second = all.rows().row(1).unwrap();
        let third_patch = features.similarities(&patches[40..48]).unwrap();
        let expected = third_patch.one().unwrap();
        assert_eq!(
            second.get(Input::PatchZeroShot)[6..],
            *expected.get(Input::ZeroShot)
        );
        assert_eq!(second.get(Input::PatchLoCoOp).len(), 9);
        let ragged = ImageFeatures {
            patches: &patches[..40],
            ..images
        };
        assert!(features.compare(&ragged).is_err());
    }

    #[test]
    fn a_clip_above_every_entry_changes_nothing() {
        let image = unit_rows(&mut Generator::new(16), 1, 8);
        let clipped = |clip| {
            let features = ClassFeatures {
                react_clip: Some(clip),
                ..example(8)
            };
            let buffer = features.similarities(&image).unwrap();
            let one = buffer.one().unwrap();
            (
                one.get(Input::ClippedProbe).to_vec(),
                one.get(Input::Probe).to_vec(),
            )
        };
        let (with, without) = clipped(1.0);
        for (with, without) in with.iter().zip(&without) {
            assert!((with - without).abs() < 1e-6);
        }
        assert_ne!(clipped(0.1).0, without);
    }

    #[test]
    fn a_method_keeps_what_it_needs_and_is_offered_where_it_has_it() {
        let features = example(8);
        let image = unit_rows(&mut Generator::new(17), 1, 8);
        let whole = features.similarities(&image).unwrap();
        for &method in methods() {
            let offered = features.offers(method, false);
            assert_eq!(offered, !["gl-mcm", "locoop-gl"].contains(&method.id()));
            if !offered {
                continue;
            }
            let settings = method.default_settings(20.0);
            let part = features.only(method.needs());
            assert!(part.offers(method, false));
            let of_part = part.similarities(&image).unwrap();
            assert_eq!(
                method.explain(&of_part.one().unwrap(), &settings),
                method.explain(&whole.one().unwrap(), &settings)
            );
        }
        assert!(features.offers(&super::super::GlMcm, true));
        assert!(!ClassFeatures::default().offers(&super::super::Mcm, true));
    }

    #[test]
    fn some_classes_keep_their_own_prompts() {
        let features = example(8);
        let some = features.of_classes(&[2, 0]);
        assert_eq!((some.classes(), some.probe.is_none()), (2, true));
        assert_eq!(some.positive[..8], features.positive[16..]);
        // Two contexts, each of the chosen classes in the chosen order.
        assert_eq!(some.negative[16..24], features.negative[40..48]);
        assert!(some.mined.is_empty());
        some.check().unwrap();
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let features = example(8);
        assert!(features.similarities(&[1.0; 7]).is_err());
        assert!(features.similarities_all(&[1.0; 9]).is_err());
        assert!(features.similarities(&[0.0; 8]).is_err());
        assert!(features.similarities(&[f32::NAN; 8]).is_err());
        let broken: [fn(&mut ClassFeatures); 10] = [
            |features| features.positive[3] = f32::INFINITY,
            |features| features.positive.iter_mut().for_each(|v| *v *= 2.0),
            |features| features.negative.truncate(8),
            |features| features.zero_shot.truncate(23),
            |features| features.probe = Some(Probe::default()),
            |features| features.mined.truncate(9),
            |features| features.react_clip = Some(f32::NAN),
            |features| features.odin_step = Some(f32::INFINITY),
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
