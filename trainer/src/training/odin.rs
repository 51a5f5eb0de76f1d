//! ODIN as published: its step is taken by the pixels, back through the image tower.
//!
//! Source: Liang et al., *Enhancing The Reliability of Out-of-distribution Image Detection in Neural
//! Networks*, ICLR 2018, and its authors' code.

use anyhow::{Context, Result, anyhow};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};
use shared::clip::preprocess::DecodeLimits;
use shared::clip::{ImageTower, Preprocessing, normalize};
use shared::score::{ODIN_STEP, ODIN_TEMPERATURE, Probe};

use super::experiment::ImageSet;
use crate::data::Item;
use crate::features::{forward_pixels, in_batches, prepare};
use crate::model::ModelDirectory;
use crate::progress::Progress;

/// Images that go through the tower and back together.
const TOGETHER: usize = 8;

/// The way from an image to the feature of the image moved towards the class that a probe names.
pub struct PixelStep<'a> {
    preprocessing: &'a Preprocessing,
    limits: DecodeLimits,
    device: Device,
    tower: ImageTower,
    /// The same tower in operations that carry gradients.
    differentiable: ImageTower,
}

impl<'a> PixelStep<'a> {
    /// # Errors
    /// When the model's image tower cannot be read.
    pub fn open(model: &'a ModelDirectory, device: &Device, limits: DecodeLimits) -> Result<Self> {
        Ok(Self {
            preprocessing: &model.config.preprocessing,
            limits,
            device: device.clone(),
            tower: model.image_tower(device)?.tower,
            differentiable: model.image_tower(&device.clone().autodiff())?.tower,
        })
    }

    /// Features `[images, d]` of a set's images after the step, not normalised.
    ///
    /// # Errors
    /// Names an image that can no longer be read.
    pub fn features(&self, set: &ImageSet, probe: &Probe) -> Result<Vec<f32>> {
        let items: Vec<Item> = set
            .paths
            .iter()
            .zip(&set.files)
            .map(|(path, name)| Item {
                path: path.clone(),
                name: name.clone(),
                label: None,
                split: None,
            })
            .collect();
        let label = format!("ODIN's step on the pixels of {}", set.name);
        let progress = Progress::new(label, "images", items.len() as u64);
        let classifier = Classifier::new(probe, &self.device.clone().autodiff());
        let mut features = Vec::with_capacity(set.features.len());
        in_batches(
            &items,
            TOGETHER,
            |item| {
                prepare(&item.path, self.preprocessing, &self.limits)
                    .map_err(|reason| anyhow!("{}: {reason}", item.path.display()))
            },
            |items, prepared| {
                let pixels = prepared.into_iter().collect::<Result<Vec<_>>>()?.concat();
                let moved = self.moved(pixels, items.len(), &classifier)?;
                features.extend(forward_pixels(
                    &self.tower,
                    self.preprocessing,
                    &self.device,
                    moved,
                    items.len(),
                )?);
                progress.advance(items.len() as u64);
                Ok(())
            },
        )?;
        progress.finish();
        Ok(features)
    }

    /// Preprocessed images `[images, 3, size, size]` after the step.
    fn moved(
        &self,
        mut pixels: Vec<f32>,
        images: usize,
        classifier: &Classifier,
    ) -> Result<Vec<f32>> {
        let size = self.preprocessing.size as usize;
        let data = TensorData::new(pixels.clone(), [images, 3, size, size]);
        let data = Tensor::<4>::from_data(data, &self.device);
        let uphill = uphill(&self.differentiable, classifier, data)?;
        let uphill = uphill
            .into_data()
            .try_into_vec_as::<f32>()
            .map_err(|error| anyhow!("the gradient of pixels cannot be read ({error:?})"))?;
        let planes = pixels
            .chunks_exact_mut(size * size)
            .zip(uphill.chunks_exact(size * size));
        for (plane, (pixels, uphill)) in planes.enumerate() {
            // Preprocessing divides by the deviation of the channel, and so its steps.
            let step = ODIN_STEP / self.preprocessing.std[plane % 3];
            for (pixel, uphill) in pixels.iter_mut().zip(uphill) {
                if *uphill != 0.0 {
                    *pixel += step.copysign(*uphill);
                }
            }
        }
        Ok(pixels)
    }
}

/// A linear probe where gradients are computed.
struct Classifier {
    /// `[d, k]`.
    weight: Tensor<2>,
    /// `[1, k]`.
    bias: Tensor<2>,
}

impl Classifier {
    fn new(probe: &Probe, device: &Device) -> Self {
        let classes = probe.bias.len();
        let shape = [
            classes,
            probe.weight.len().checked_div(classes).unwrap_or(0),
        ];
        let weight = TensorData::new(probe.weight.clone(), shape);
        let bias = TensorData::new(probe.bias.clone(), [1, classes]);
        Self {
            weight: Tensor::<2>::from_data(weight, device).transpose(),
            bias: Tensor::from_data(bias, device),
        }
    }
}

/// `∇_x ln softmax_b(logits / T)` of each image, `b` the class that the probe names, `[images, 3, size, size]`
/// as `pixels`.
fn uphill(tower: &ImageTower, classifier: &Classifier, pixels: Tensor<4>) -> Result<Tensor<4>> {
    let pixels = pixels.autodiff().require_grad();
    let units = normalize(tower.forward(pixels.clone()));
    let logits = units.matmul(classifier.weight.clone()) + classifier.bias.clone();
    let named = logits.clone().argmax(1);
    let shares = log_softmax(logits / ODIN_TEMPERATURE, 1);
    let gradients = shares.gather(1, named).sum().backward();
    pixels
        .grad(&gradients)
        .context("the image tower carries no gradient to its pixels")
}

#[cfg(test)]
mod tests {
    use shared::bundle::decode_tensors;

    use super::*;
    use crate::{checkpoint, embedded};

    /// Beside PyTorch, which differentiated the same tower in double precision
    /// (`tests/fixtures/make_odin.py`).
    #[test]
    fn gradient_and_moved_features_agree_with_pytorch() {
        let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
        let bytes = std::fs::read(fixtures.join("odin/pixels.safetensors")).unwrap();
        let expected = decode_tensors("pixels.safetensors", &bytes).unwrap();
        let of = |name: &str| expected[name].values.clone();
        let loaded = checkpoint::load(&fixtures.join("clip/transformers"), "small").unwrap();
        let (config, tensors) = (loaded.config, loaded.checkpoint.tensors);
        let device = Device::flex();
        let tower = |device: &Device| ImageTower::load(&tensors, &config, device).unwrap();
        let step = PixelStep {
            preprocessing: &config.preprocessing,
            limits: DecodeLimits::default(),
            tower: tower(&device),
            differentiable: tower(&device.clone().autodiff()),
            device,
        };
        let probe = Probe {
            weight: of("probe.weight"),
            bias: of("probe.bias"),
        };
        let classifier = Classifier::new(&probe, &step.device.clone().autodiff());
        let shape = &expected["pixels"].shape;
        let shape = [shape[0], shape[1], shape[2], shape[3]];
        let pixels = TensorData::new(of("pixels"), shape);
        let pixels = Tensor::<4>::from_data(pixels, &step.device);
        let gradient = uphill(&step.differentiable, &classifier, pixels).unwrap();
        let gradient: Vec<f32> = gradient.into_data().iter().collect();
        assert_close("gradient", &gradient, &of("gradient"), 1e-4);

        let moved = step.moved(of("pixels"), shape[0], &classifier).unwrap();
        let moved = forward_pixels(
            &step.tower,
            step.preprocessing,
            &step.device,
            moved,
            shape[0],
        );
        let (moved, unmoved) = (moved.unwrap(), of("features"));
        let change = |features: &[f32]| -> Vec<f32> {
            let pairs = features.iter().zip(&unmoved);
            pairs.map(|(moved, unmoved)| moved - unmoved).collect()
        };
        // Of the change, not of the features, beside which it is small.
        assert_close(
            "change of the features",
            &change(&moved),
            &change(&of("moved_features")),
            1e-2,
        );
    }

    /// Of the compact model, along the gradient: by how much the score itself grows there.
    #[test]
    fn the_compact_tower_carries_its_gradient_to_the_pixels() {
        let model = embedded::compact_model().unwrap();
        let step = PixelStep::open(&model, &Device::flex(), DecodeLimits::default()).unwrap();
        let (size, width) = (step.preprocessing.size as usize, model.config.embed_dim);
        let wave = |rate: f32| move |n: usize| (n as f32 * rate).sin();
        let probe = Probe {
            weight: (0..3 * width).map(wave(0.7)).map(|x| 5.0 * x).collect(),
            bias: vec![0.0, 0.1, -0.1],
        };
        let classifier = Classifier::new(&probe, &step.device.clone().autodiff());
        let pixels: Vec<f32> = (0..3 * size * size).map(wave(0.013)).collect();
        let shape = [1, 3, size, size];
        let data = Tensor::<4>::from_data(TensorData::new(pixels.clone(), shape), &step.device);
        let gradient = uphill(&step.differentiable, &classifier, data).unwrap();
        let gradient: Vec<f32> = gradient.into_data().iter().collect();
        let norm = gradient
            .iter()
            .map(|x| f64::from(*x).powi(2))
            .sum::<f64>()
            .sqrt();
        // ReLU6 bends: ten times as far it is 3 % less steep.
        let far = 0.001;
        let logits = |sign: f64| -> Vec<f64> {
            let moved = pixels.iter().zip(&gradient);
            let moved = moved.map(|(x, up)| x + (sign * far * f64::from(*up) / norm) as f32);
            let (tower, device) = (&step.tower, &step.device);
            let feature =
                forward_pixels(tower, step.preprocessing, device, moved.collect(), 1).unwrap();
            let length = feature
                .iter()
                .map(|x| f64::from(*x).powi(2))
                .sum::<f64>()
                .sqrt();
            let rows = probe.weight.chunks_exact(width).zip(&probe.bias);
            rows.map(|(row, bias)| {
                let product = row.iter().zip(&feature);
                let product: f64 = product.map(|(w, x)| f64::from(w * x)).sum();
                product / length + f64::from(*bias)
            })
            .collect()
        };
        let there = logits(0.0);
        let named = (0..3)
            .max_by(|a, b| there[*a].total_cmp(&there[*b]))
            .unwrap();
        let score = |sign: f64| {
            let logits = logits(sign);
            let sum: f64 = logits.iter().map(|x| (x / 1000.0).exp()).sum();
            logits[named] / 1000.0 - sum.ln()
        };
        let slope = (score(1.0) - score(-1.0)) / (2.0 * far);
        assert!(
            (slope / norm - 1.0).abs() < 0.03,
            "{slope:e} beside {norm:e}"
        );
    }

    fn assert_close(what: &str, got: &[f32], expected: &[f32], tolerance: f32) {
        assert_eq!(got.len(), expected.len(), "{what}");
        let largest = expected.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        let pairs = got.iter().zip(expected);
        let worst = pairs.fold(0.0f32, |most, (got, x)| most.max((got - x).abs()));
        assert!(
            largest > 0.0 && worst <= tolerance * largest,
            "{what}: {worst:e} of {largest:e}"
        );
    }
}
