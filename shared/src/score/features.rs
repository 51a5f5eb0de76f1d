use std::ops::Range;

use super::ScoreError;
use super::compare::{BLOCK, Comparison, Laid};
use super::error::check_finite;
use super::{Input, Method, Similarities, SimilarityRows};
use crate::simd::parallel;

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

/// The features of the patches of the images at these places, `[images, patches, d]`.
pub type Patches<'a> = dyn Fn(Range<usize>) -> Vec<f32> + Sync + 'a;

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
        let rows = images.global.len() / self.embed_dim.max(1);
        let mut comparison = Comparison::default();
        Laid::new(self, rows, images.patches.len() / self.embed_dim.max(1)).compare(
            images,
            0,
            &mut comparison,
        )?;
        Ok(comparison.similarities)
    }

    /// What `of` makes of many images `[images, d]`, in order. It gets the similarities of a block
    /// of them at a time, and must give one result an image; the blocks are shared out among the
    /// machine's threads, and the memory is that of one block a thread, however many images there
    /// are.
    ///
    /// `patches`, if the methods need them: the features of the patches of the images at these
    /// places, `[images, patches, d]`.
    ///
    /// # Errors
    /// As [`compare`](Self::compare) and as `of`, for the first block that fails.
    pub fn each_block<T: Send>(
        &self,
        image_features: &[f32],
        patches: Option<&Patches<'_>>,
        of: impl Fn(&SimilarityRows<'_>) -> Result<Vec<T>, ScoreError> + Sync,
    ) -> Result<Vec<T>, ScoreError> {
        let width = self.embed_dim.max(1);
        let images = image_features.len() / width;
        let laid = Laid::new(self, images, if patches.is_some() { images } else { 0 });
        let mut blocks: Vec<_> = image_features.chunks(BLOCK * width).enumerate().collect();
        let parts = parallel::each(
            &mut blocks,
            |(block, global), comparison: &mut Comparison| {
                let first = *block * BLOCK;
                let places = first..first + global.len() / width;
                let patches = patches.map(|patches| patches(places)).unwrap_or_default();
                let images = ImageFeatures {
                    global,
                    patches: &patches,
                };
                laid.compare(&images, first, comparison)?;
                of(&comparison.similarities.rows())
            },
        );
        let mut all = Vec::with_capacity(images);
        for part in parts {
            all.extend(part?);
        }
        Ok(all)
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

    /// Several class lists as one, in order; with the kinds of prompts that all of them have, and without
    /// what was made for all classes of a list together.
    pub fn join(parts: &[&Self]) -> Self {
        let Some(first) = parts.first() else {
            return Self::default();
        };
        let width = first.embed_dim;
        let rows = |of: fn(&Self) -> &Vec<f32>| {
            let size = |part: &Self| part.classes() * width;
            let contexts = |part: &&Self| of(part).len() / size(part).max(1);
            let fewest = parts.iter().map(contexts).min().unwrap_or(0);
            let mut joined = Vec::new();
            // Context by context, as scores take them.
            for context in 0..fewest {
                for part in parts {
                    joined.extend_from_slice(&of(part)[context * size(part)..][..size(part)]);
                }
            }
            joined
        };
        Self {
            embed_dim: width,
            logit_scale: first.logit_scale,
            positive: rows(|part| &part.positive),
            negative: rows(|part| &part.negative),
            zero_shot: rows(|part| &part.zero_shot),
            no: rows(|part| &part.no),
            named: rows(|part| &part.named),
            locoop: rows(|part| &part.locoop),
            ..Self::default()
        }
    }

    /// The text features that whole images are compared with, by the kind of similarity they give.
    pub(super) fn prompts(&self) -> [(Input, &Vec<f32>); 8] {
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

impl SimilarityBuffer {
    /// For so many images; the values are still to be written.
    pub(super) fn restart(&mut self, rows: usize, logit_scale: f32) {
        (self.rows, self.logit_scale) = (rows, logit_scale);
        self.values.iter_mut().for_each(Vec::clear);
    }

    /// The values of one kind, all images together.
    pub(super) fn of(&mut self, input: Input) -> &mut Vec<f32> {
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

/// The Euclidean length.
pub(super) fn length(vector: &[f32]) -> f64 {
    let square = |value: &f32| f64::from(*value) * f64::from(*value);
    vector.iter().map(square).sum::<f64>().sqrt()
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
        let images = unit_rows(&mut Generator::new(14), 2 * BLOCK + 5, 21);
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
    fn blocks_equal_all_at_once() {
        let (width, together) = (21, 3);
        let features = example(width);
        let count = 2 * BLOCK + 5;
        let mut generator = Generator::new(16);
        let images = unit_rows(&mut generator, count, width);
        let patches = unit_rows(&mut generator, count * together, width);
        let all = features
            .compare(&ImageFeatures {
                global: &images,
                patches: &patches,
            })
            .unwrap();
        let gather = |places: Range<usize>| {
            let size = together * width;
            patches[places.start * size..places.end * size].to_vec()
        };
        for input in Input::ALL {
            let rows = |rows: &SimilarityRows<'_>| {
                (0..rows.rows)
                    .map(|index| Ok(rows.row(index)?.get(input).to_vec()))
                    .collect()
            };
            let of_blocks = features.each_block(&images, Some(&gather), rows);
            assert_eq!(of_blocks, rows(&all.rows()), "{input}");
        }
        let mut broken = images.clone();
        broken[(BLOCK + 7) * width..(BLOCK + 8) * width].fill(0.0);
        let error = features.each_block(&broken, None, |rows| Ok(vec![(); rows.rows]));
        assert_eq!(error, Err(ScoreError::ZeroFeature { row: BLOCK + 7 }));
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
    fn lists_are_joined_context_by_context() {
        let features = example(8);
        let parts = [[2, 0].as_slice(), &[1]].map(|places| features.of_classes(places));
        let joined = ClassFeatures::join(&[&parts[0], &parts[1]]);
        assert_eq!(joined, features.of_classes(&[2, 0, 1]));
        let without = ClassFeatures {
            locoop: Vec::new(),
            ..parts[1].clone()
        };
        let joined = ClassFeatures::join(&[&parts[0], &without]);
        assert_eq!((joined.classes(), joined.locoop.len()), (3, 0));
        assert_eq!(ClassFeatures::join(&[]), ClassFeatures::default());
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
