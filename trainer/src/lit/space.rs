//! The joint space: an image projection and class prototypes whose cosines say what the locked
//! tower's own classifier says.
//!
//! It starts in closed form, from the leading singular directions of the classifier's rows, and
//! is then distilled from the classifier (*Distilling the Knowledge in a Neural Network*, 2015)
//! on features that photos of its classes might have, together with cross-entropy on labelled
//! photos. No photo of ImageNet is needed.

use anyhow::{Context, Result, bail};
use burn::optim::{AdamWConfig, AdamWState, Optimizer};
use burn::tensor::activation::{log_softmax, softmax};
use burn::tensor::{Device, Tensor};
use shared::clip::normalize;

use super::matrix::{leading_directions, log_sum_exp, matrix, rows, values};
use super::random::Random;
use crate::progress::Progress;

/// Synthetic and real features in a batch.
const SYNTHETIC: usize = 192;
const REAL: usize = 128;
/// Cosine scale at the start.
const START_SCALE: f32 = 20.0;
/// Share of the target that is spread over all classes.
const SMOOTHING: f32 = 0.1;
/// Share of the labelled photos that, when the image projection is fitted to the text, are replaced by
/// the mean of their class with the scatter of another photo: classes are taken to scatter alike,
/// as in linear discriminant analysis. The photos themselves are known by heart by then. (Measured with
/// one text tower: held-out photos 90.5 % without, 91.0 % with, 91.5 % with the weight below as well;
/// ImageNet's names 79.9, 80.0 and 80.1 %. Text towers trained against such features, too, know
/// the names less well: 78.8 %.)
const CROSSED: f64 = 0.5;
/// Weight of the labelled photos' cross-entropy then.
const CROSSED_WEIGHT: f32 = 2.0;
/// Tower logit of the class that a synthetic feature is made for, and its standard deviation.
/// Real photos of ImageNet have 9.7 on average.
const LEVEL: (f32, f32) = (10.0, 2.0);
/// Rounds of orthogonal iteration.
const ITERATIONS: usize = 60;

/// Image side and class prototypes of the joint space.
#[derive(Clone, Debug)]
pub struct Space {
    /// `[width, d]`, applied to the pooled feature minus [`Teacher::mean`].
    pub projection: Tensor<2>,
    /// `[1, d]`.
    pub offset: Tensor<2>,
    /// `[prototypes, rank]`, not normalised: the other coordinates of a text feature are zero.
    pub prototypes: Tensor<2>,
    /// `[1, 1]`, logarithm of the scale on cosines.
    pub log_scale: Tensor<2>,
}

impl Space {
    /// The same on a device that records gradients, as constants.
    pub fn constant(&self) -> Self {
        Self {
            projection: Tensor::from_inner(self.projection.clone()),
            offset: Tensor::from_inner(self.offset.clone()),
            prototypes: Tensor::from_inner(self.prototypes.clone()),
            log_scale: Tensor::from_inner(self.log_scale.clone()),
        }
    }
}

/// What the space is fitted to.
pub struct Teacher {
    /// Classifier, `[classes, width]` and `[1, classes]`.
    weight: Tensor<2>,
    bias: Tensor<2>,
    /// Mean of the labelled photos' features, `[1, width]`.
    pub mean: Tensor<2>,
    /// Labelled photos, `[photos, width]`, and their prototypes.
    pub photos: Tensor<2>,
    labels: Vec<usize>,
    /// Means of the photographed classes, `[photographed, width]`.
    class_means: Tensor<2>,
    /// Differences to the mean of their class, `[photos, width]`.
    residuals: Tensor<2>,
    /// `Σ w_t` of each class, `[classes, width]`, and `w_t · Σ w_t`.
    directions: Tensor<2>,
    gains: Vec<f32>,
    biases: Vec<f32>,
    /// Prototype of each photographed class.
    pub photographed: Vec<usize>,
    /// (classifier class, prototype) that resemble each other.
    like: Vec<(usize, usize)>,
    classes: usize,
    prototypes: usize,
}

/// What [`Teacher::new`] needs besides tensors.
pub struct Labels {
    /// Class among the photographed ones, one a photo.
    pub photos: Vec<usize>,
    /// Prototype of each photographed class.
    pub photographed: Vec<usize>,
    /// (classifier class, prototype) that resemble each other.
    pub like: Vec<(usize, usize)>,
}

impl Labels {
    /// Fails unless every photographed class that the classifier of `classes` rows does not know has a
    /// photo: nothing else tells where it lies.
    ///
    /// # Errors
    /// Names the class.
    pub fn check(&self, names: &[&str], classes: usize) -> Result<()> {
        for (class, (&row, name)) in self.photographed.iter().zip(names).enumerate() {
            if row >= classes && !self.photos.contains(&class) {
                bail!(
                    "the photographed class `{name}` of the concept corpus has no photo to learn from: put a folder `{name}` with photos into --data, or take its line out of the corpus"
                );
            }
        }
        Ok(())
    }
}

impl Teacher {
    /// `weight` `[classes, width]`, `bias` `[classes]`, `features` `[photos, width]`.
    pub fn new(
        weight: Vec<f32>,
        bias: Vec<f32>,
        features: Vec<f32>,
        labels: Labels,
        device: &Device,
    ) -> Result<Self> {
        let classes = bias.len();
        let width = weight.len() / classes.max(1);
        let count = labels.photos.len();
        let groups = labels.photographed.len();
        let mut means = vec![0.0f32; groups * width];
        let mut sizes = vec![0.0f32; groups];
        for (feature, &class) in features.chunks_exact(width).zip(&labels.photos) {
            sizes[class] += 1.0;
            for (mean, value) in means[class * width..(class + 1) * width]
                .iter_mut()
                .zip(feature)
            {
                *mean += value;
            }
        }
        for (mean, size) in means.chunks_exact_mut(width).zip(&sizes) {
            mean.iter_mut().for_each(|value| *value /= size.max(1.0));
        }
        let photos = matrix(features, count, width, device);
        let class_means = matrix(means, groups, width, device);
        let weight = matrix(weight, classes, width, device);
        let mean = photos.clone().mean_dim(0);
        let residuals = photos.clone() - rows(&class_means, &labels.photos);
        let centred = photos.clone() - mean.clone();
        let covariance = centred.clone().transpose().matmul(centred) / (count.max(2) - 1) as f32;
        let directions = (weight.clone() - weight.clone().mean_dim(0)).matmul(covariance);
        let gains = values((weight.clone() * directions.clone()).sum_dim(1))?;
        let prototypes = labels
            .photographed
            .iter()
            .map(|row| row + 1)
            .max()
            .unwrap_or(0)
            .max(classes);
        Ok(Self {
            bias: matrix(bias.clone(), 1, classes, device),
            weight,
            mean,
            labels: labels.photos,
            photos,
            class_means,
            residuals,
            directions,
            gains,
            biases: bias,
            photographed: labels.photographed,
            like: labels.like,
            classes,
            prototypes,
        })
    }

    /// The closed-form start, with text features in the first `rank` of `d` coordinates.
    pub fn start(&self, rank: usize, d: usize, random: &mut Random) -> Result<Space> {
        let device = self.weight.device();
        let centred = self.weight.clone() - self.weight.clone().mean_dim(0);
        if rank < 2 || d <= rank || d > self.classes.min(self.weight.dims()[1]) {
            bail!(
                "a joint space of width {d} with text rank {rank} does not fit {} classes",
                self.classes
            );
        }
        let directions = leading_directions(&centred, d - 1, ITERATIONS, random)?;
        let width = self.weight.dims()[1];
        let constant = Tensor::<2>::zeros([width, 1], &device);
        let leading = directions.clone().narrow(1, 0, rank - 1);
        let rest = directions.narrow(1, rank - 1, d - rank);
        let projection = Tensor::cat(vec![leading.clone(), constant, rest], 1);
        // One coordinate is the same for all images, so that prototypes can carry the biases.
        let mut offset = vec![0.0; d];
        offset[rank - 1] = 3.0;
        let offset = matrix(offset, 1, d, &device);
        let bias = self.bias.clone() + self.mean.clone().matmul(self.weight.clone().transpose());
        let bias = (bias.clone() - bias.mean_dim(1)).transpose() / 10.0;
        let classes = Tensor::cat(vec![centred.matmul(leading), bias], 1);

        let length: f32 = classes
            .clone()
            .square()
            .sum_dim(1)
            .sqrt()
            .mean()
            .into_scalar();
        let images =
            (self.photos.clone() - self.mean.clone()).matmul(projection.clone()) + offset.clone();
        let images = images.narrow(1, 0, rank);
        let mut own = Vec::new();
        for (class, &row) in self.photographed.iter().enumerate() {
            if row >= self.classes {
                let photos: Vec<usize> = (0..self.labels.len())
                    .filter(|&photo| self.labels[photo] == class)
                    .collect();
                if photos.is_empty() {
                    bail!("the photographed class number {class} has no photo to learn from");
                }
                own.push(rows(&images, &photos).mean_dim(0));
            }
        }
        let prototypes = if own.is_empty() {
            classes
        } else {
            let own = Tensor::cat(own, 0) - images.mean_dim(0);
            Tensor::cat(vec![classes, normalize(own) * length], 0)
        };
        Ok(Space {
            projection,
            offset,
            prototypes,
            log_scale: matrix(vec![START_SCALE.ln()], 1, 1, &device),
        })
    }

    /// Features as photos of random classes of the classifier might have: the mean, a real
    /// photo's difference to its class, and so far along `Σ w_t` that the classifier's logit of
    /// class t comes to [`LEVEL`]. → `[count, width]` and the classes.
    pub fn synthetic(&self, count: usize, random: &mut Random) -> Result<(Tensor<2>, Vec<usize>)> {
        let classes = random.indices(count, self.classes);
        let photos = random.indices(count, self.labels.len());
        let base = rows(&self.residuals, &photos) + self.mean.clone();
        let logits = values((base.clone() * rows(&self.weight, &classes)).sum_dim(1))?;
        let steps = logits
            .iter()
            .zip(&classes)
            .map(|(logit, &class)| {
                let level = LEVEL.0 + LEVEL.1 * random.normal();
                ((level - logit - self.biases[class]) / self.gains[class].max(1e-6)).max(0.0)
            })
            .collect();
        let steps = matrix(steps, count, 1, &base.device());
        let features = (base + rows(&self.directions, &classes) * steps).clamp(0.0, 6.0);
        Ok((features, classes))
    }

    /// Fits `space` in `steps` steps. With `text` (unit rows `[prototypes, d]`, one drawn at each
    /// step) only the image side learns, against those features instead of the prototypes.
    ///
    /// # Errors
    /// When the loss is not finite.
    pub fn fit(
        &self,
        mut space: Space,
        text: &[Tensor<2>],
        steps: usize,
        rate: f64,
        random: &mut Random,
    ) -> Result<Space> {
        let optimizer = AdamWConfig::new()
            .with_epsilon(1e-8)
            .with_weight_decay(0.0)
            .build();
        let mut states: [Option<AdamWState<2>>; 4] = Default::default();
        // The offset and the scale are single numbers beside matrices of thousands.
        let rates = if text.is_empty() {
            [1.0, 1.0, 1.0, 5.0]
        } else {
            [1.0, 1.0, 0.0, 10.0]
        };
        let label = if text.is_empty() {
            "joint space"
        } else {
            "image projection"
        };
        let progress = Progress::new(label, "steps", steps as u64);
        let fitted_to_text = !text.is_empty();
        for step in 0..steps {
            let pace = rate * schedule(step, steps, 30.0);
            let tracked = [
                &space.projection,
                &space.offset,
                &space.prototypes,
                &space.log_scale,
            ]
            .map(|tensor| Tensor::from_inner(tensor.clone()).require_grad());
            let [projection, offset, prototypes, log_scale] = tracked.clone();
            let of = Space {
                projection,
                offset,
                prototypes,
                log_scale,
            };
            let text = match text {
                [] => normalize(of.prototypes.clone()),
                several => Tensor::from_inner(several[random.below(several.len())].clone()),
            };
            let loss = self.loss(&of, text, fitted_to_text, random)?;
            let value: f32 = loss.clone().into_scalar();
            if !value.is_finite() {
                bail!("the loss of the {label} is {value} at step {}", step + 1);
            }
            let gradients = loss.backward();
            let parameters = [
                &mut space.projection,
                &mut space.offset,
                &mut space.prototypes,
                &mut space.log_scale,
            ];
            for (index, parameter) in parameters.into_iter().enumerate() {
                if rates[index] > 0.0 {
                    let gradient = tracked[index]
                        .grad(&gradients)
                        .context("the loss ignores a parameter")?;
                    let (new, state) = optimizer.step(
                        pace * rates[index],
                        parameter.clone(),
                        gradient,
                        states[index].take(),
                    );
                    *parameter = new;
                    states[index] = state;
                }
            }
            progress.note(format!("loss {value:.3}"));
            progress.advance(1);
        }
        Ok(space)
    }

    /// What the images of `space` and the unit text features `[prototypes, d]` (or of any width
    /// up to `d`) say together, against what they should: Kullback–Leibler divergence (up to a
    /// constant) from the classifier, cross-entropy of the labelled photos among themselves, and
    /// what keeps the photographed classes' own prototypes away from features of other classes.
    ///
    /// All tensors of `space` and `text` are on a device that records gradients. With `crossed`, a
    /// share of the labelled photos lends its scatter to other classes ([`CROSSED`]).
    pub fn loss(
        &self,
        space: &Space,
        text: Tensor<2>,
        crossed: bool,
        random: &mut Random,
    ) -> Result<Tensor<1>> {
        let device = space.projection.device();
        let tracked = |tensor: Tensor<2>| Tensor::from_inner(tensor);
        let photos = random.indices(REAL, self.labels.len());
        let (synthetic, made_for) = self.synthetic(SYNTHETIC, random)?;
        let labelled = match crossed {
            true => self.crossed(&photos, random),
            false => rows(&self.photos, &photos),
        };
        let features = Tensor::cat(vec![synthetic, labelled], 0);
        let target = softmax(
            features.clone().matmul(self.weight.clone().transpose()) + self.bias.clone(),
            1,
        );
        let images = self.image_features(space, tracked(features));
        let rank = text.dims()[1];
        let scaled = images.narrow(1, 0, rank) * space.log_scale.clone().exp();
        let logits = scaled.clone().matmul(text.clone().transpose());
        let batch = (SYNTHETIC + REAL) as f32;
        let classes = logits.clone().narrow(1, 0, self.classes);
        let distilled = -(tracked(target) * log_softmax(classes.clone(), 1)).sum() / batch;

        let among = scaled.narrow(0, SYNTHETIC, REAL);
        let among = among.matmul(rows(&text, &self.photographed).transpose());
        let groups = self.photographed.len();
        let mut wanted = vec![SMOOTHING / groups as f32; REAL * groups];
        for (row, &photo) in photos.iter().enumerate() {
            wanted[row * groups + self.labels[photo]] += 1.0 - SMOOTHING;
        }
        let wanted = matrix(wanted, REAL, groups, &device);
        let labelled = -(wanted * log_softmax(among, 1)).sum() / REAL as f32;

        let mut excused = vec![0.0; SYNTHETIC * self.prototypes];
        for (row, class) in made_for.iter().enumerate() {
            for (_, prototype) in self.like.iter().filter(|(of, _)| of == class) {
                excused[row * self.prototypes + prototype] = -1e9;
            }
        }
        let excused = matrix(excused, SYNTHETIC, self.prototypes, &device);
        let all = log_sum_exp(logits.narrow(0, 0, SYNTHETIC) + excused);
        let apart = (all - log_sum_exp(classes.narrow(0, 0, SYNTHETIC))).mean();
        let weight = if crossed { CROSSED_WEIGHT } else { 1.0 };
        Ok(distilled + labelled * weight + apart)
    }

    /// `photos`' own features, or, of a share of [`CROSSED`], those that their class might have as
    /// well, `[photos, width]`.
    fn crossed(&self, photos: &[usize], random: &mut Random) -> Tensor<2> {
        let own: Vec<usize> = photos.iter().map(|&photo| self.labels[photo]).collect();
        let lent: Vec<usize> = photos
            .iter()
            .map(|&photo| match random.uniform() < CROSSED {
                true => random.below(self.labels.len()),
                false => photo,
            })
            .collect();
        (rows(&self.class_means, &own) + rows(&self.residuals, &lent)).clamp(0.0, 6.0)
    }

    /// Pooled features `[n, width]` → unit image features `[n, d]`.
    pub fn image_features(&self, space: &Space, pooled: Tensor<2>) -> Tensor<2> {
        let mean = if pooled.device() == self.mean.device() {
            self.mean.clone()
        } else {
            Tensor::from_inner(self.mean.clone())
        };
        normalize((pooled - mean).matmul(space.projection.clone()) + space.offset.clone())
    }
}

/// A linear rise over `warm_up` steps, times half a cosine.
pub fn schedule(step: usize, steps: usize, warm_up: f64) -> f64 {
    let rise = ((step + 1) as f64 / warm_up.max(1.0)).min(1.0);
    rise * 0.5 * (1.0 + (std::f64::consts::PI * step as f64 / steps.max(1) as f64).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASSES: usize = 8;
    const WIDTH: usize = 12;

    /// A classifier whose last two classes have photos, one of them under a prototype of its own.
    fn teacher() -> Teacher {
        let device = Device::flex();
        let mut random = Random::new(5, 0);
        let weight = random.normals(CLASSES * WIDTH, 1.0);
        let photos: Vec<_> = (0..40).map(|photo| photo % 2).collect();
        let features = photos
            .iter()
            .flat_map(|class| {
                (0..WIDTH)
                    .map(|at| 1.0 + at.abs_diff(6 * class) as f32 * 0.1)
                    .collect::<Vec<_>>()
            })
            .map(|value| (value + 0.3 * random.normal()).clamp(0.0, 6.0))
            .collect();
        let labels = Labels {
            photos,
            photographed: vec![7, 8],
            like: vec![(3, 8)],
        };
        Teacher::new(weight, vec![0.1; CLASSES], features, labels, &device).unwrap()
    }

    #[test]
    fn fitting_brings_the_loss_down_and_repeats() {
        let teacher = teacher();
        let fitted = || {
            let mut random = Random::new(1, 0);
            let start = teacher.start(5, 7, &mut random).unwrap();
            assert_eq!(start.prototypes.dims(), [9, 5]);
            teacher.fit(start, &[], 30, 2e-2, &mut random).unwrap()
        };
        let loss = |space: &Space| {
            let autodiff = |tensor: &Tensor<2>| Tensor::from_inner(tensor.clone()).require_grad();
            let space = Space {
                projection: autodiff(&space.projection),
                offset: autodiff(&space.offset),
                prototypes: autodiff(&space.prototypes),
                log_scale: autodiff(&space.log_scale),
            };
            let text = normalize(space.prototypes.clone());
            let loss = teacher
                .loss(&space, text, false, &mut Random::new(9, 9))
                .unwrap();
            loss.into_scalar::<f32>()
        };
        let start = teacher.start(5, 7, &mut Random::new(1, 0)).unwrap();
        let end = fitted();
        assert!(
            loss(&end) < loss(&start),
            "{} is not below {}",
            loss(&end),
            loss(&start)
        );
        assert_eq!(
            values(end.projection).unwrap(),
            values(fitted().projection).unwrap()
        );
    }

    #[test]
    fn synthetic_features_are_of_their_class() {
        let teacher = teacher();
        let (features, classes) = teacher.synthetic(50, &mut Random::new(2, 0)).unwrap();
        let before = teacher
            .mean
            .clone()
            .matmul(teacher.weight.clone().transpose());
        let before = values(before).unwrap();
        let after = values(features.matmul(teacher.weight.clone().transpose())).unwrap();
        let nearer = classes
            .iter()
            .zip(after.chunks_exact(CLASSES))
            .filter(|(class, row)| row[**class] > before[**class])
            .count();
        assert!(nearer > 35, "{nearer} of 50");
    }

    #[test]
    fn a_class_without_photos_is_named() {
        let labels = Labels {
            photos: vec![0, 0],
            photographed: vec![5, 1, 6],
            like: Vec::new(),
        };
        let names = ["owl", "bee", "bat"];
        let error = labels.check(&names, 5).unwrap_err().to_string();
        assert!(
            error.contains("`bat`") && error.contains("--data"),
            "{error}"
        );
        assert!(labels.check(&names, 7).is_ok());
    }

    #[test]
    fn a_space_that_does_not_fit_is_refused() {
        let error = teacher().start(20, 30, &mut Random::new(1, 0)).unwrap_err();
        assert!(
            error.to_string().contains("does not fit 8 classes"),
            "{error}"
        );
    }
}
