//! Which images a step sees.

use burn::tensor::{Device, Int, Tensor, TensorData};
use shared::clip::normalize;
use shared::prompt::ContextEncoder;

use super::config::TrainingConfig;

/// Labelled image features, unit length, on a device.
pub struct LabelledFeatures {
    /// `[images, d]`, unit rows.
    pub features: Tensor<2>,
    /// Class of each image.
    pub labels: Vec<usize>,
}

impl LabelledFeatures {
    /// Puts features `[images, d]` (row by row, of any length) on `device`, as unit rows.
    pub fn new(features: &[f32], labels: &[usize], device: &Device) -> Self {
        let images = labels.len();
        let width = features.len().checked_div(images).unwrap_or(0);
        let data = TensorData::new(unit_rows(features, width), [images, width]);
        Self {
            features: Tensor::from_data(data, device),
            labels: labels.to_vec(),
        }
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// The batch of step `step`: epoch after epoch in an order that the seed shuffles anew for
    /// each, so that a step's batch depends on nothing but the seed and its number.
    pub fn batch(&self, step: usize, size: usize, seed: u64) -> Batch {
        let rows = batch_indices(self.len(), step, size, seed);
        let labels = rows.iter().map(|&row| self.labels[row]).collect();
        let rows = indices(&rows, &self.features.device());
        Batch {
            features: self.features.clone().select(0, rows),
            labels,
        }
    }

    /// The images of [`Self::batch`], as positions.
    pub fn batch_indices(&self, step: usize, size: usize, seed: u64) -> Vec<usize> {
        batch_indices(self.len(), step, size, seed)
    }

    /// Up to `size` unit features `[size, d]`, each the direction of the mean of two images of
    /// different classes: images of none of the classes, made of in-distribution images alone.
    pub fn mixed_batch(&self, step: usize, size: usize, seed: u64) -> Tensor<2> {
        let seed = seed ^ (step as u64).wrapping_mul(0xA076_1D64_78BD_642F);
        let pairs = mixed_pairs(&self.labels, size, seed);
        let device = self.features.device();
        let rows = |rows: Vec<usize>| self.features.clone().select(0, indices(&rows, &device));
        let first = rows(pairs.iter().map(|&(a, _)| a).collect());
        let second = rows(pairs.iter().map(|&(_, b)| b).collect());
        normalize(first + second)
    }
}

/// Rows of `width` numbers scaled to unit length.
pub fn unit_rows(rows: &[f32], width: usize) -> Vec<f32> {
    let mut unit = rows.to_vec();
    for row in unit.chunks_exact_mut(width.max(1)) {
        let square = row.iter().map(|value| value * value).sum::<f32>();
        let length = square.sqrt().max(1e-12);
        row.iter_mut().for_each(|value| *value /= length);
    }
    unit
}

/// The images of one step.
pub struct Batch {
    /// `[batch, d]`, unit rows.
    pub features: Tensor<2>,
    /// Class of each image.
    pub labels: Vec<usize>,
}

impl Batch {
    /// The classes that this step's softmax runs over, `None` for all, and the labels `[batch]`
    /// as places among them.
    pub fn classes(
        &self,
        encoder: &ContextEncoder,
        step: usize,
        config: &TrainingConfig,
    ) -> (Option<Vec<usize>>, Tensor<1, Int>) {
        let device = self.features.device();
        let every = encoder.prompts().classes();
        match config.class_sample {
            Some(size) if size < every => {
                let seed = config.seed ^ 4 ^ (step as u64).wrapping_mul(0x9FB2_1C65_1E98_DF25);
                let classes = class_sample(&self.labels, every, size, seed);
                let place = |label| classes.partition_point(|&class| class < label);
                let places: Vec<usize> = self.labels.iter().copied().map(place).collect();
                let labels = indices(&places, &device);
                (Some(classes), labels)
            }
            _ => (None, indices(&self.labels, &device)),
        }
    }
}

/// The classes of `labels` and others drawn at random, `size` in all or as many as `labels` has, in
/// rising order.
fn class_sample(labels: &[usize], classes: usize, size: usize, seed: u64) -> Vec<usize> {
    let mut sample = labels.to_vec();
    sample.sort_unstable();
    sample.dedup();
    let missing = size.saturating_sub(sample.len());
    let others = shuffled(classes, seed)
        .into_iter()
        .filter(|class| !labels.contains(class))
        .take(missing);
    sample.extend(others);
    sample.sort_unstable();
    sample
}

/// Row numbers as an index tensor `[n]`.
pub fn indices(rows: &[usize], device: &Device) -> Tensor<1, Int> {
    let rows: Vec<i32> = rows.iter().map(|&row| row as i32).collect();
    let count = rows.len();
    Tensor::from_data(TensorData::new(rows, [count]), device)
}

/// Two images of different classes, as indices.
fn mixed_pairs(labels: &[usize], count: usize, seed: u64) -> Vec<(usize, usize)> {
    let (first, second) = (shuffled(labels.len(), seed), shuffled(labels.len(), !seed));
    first
        .into_iter()
        .zip(second)
        .filter(|&(a, b)| labels[a] != labels[b])
        .take(count)
        .collect()
}

/// Indices of the batch of `step`; the last batch of an epoch may be smaller.
fn batch_indices(images: usize, step: usize, size: usize, seed: u64) -> Vec<usize> {
    let size = size.clamp(1, images.max(1));
    let batches = images.div_ceil(size).max(1);
    let order = shuffled(
        images,
        seed ^ ((step / batches) as u64).wrapping_mul(0xD134_2543_DE82_EF95),
    );
    order
        .into_iter()
        .skip(step % batches * size)
        .take(size)
        .collect()
}

/// `0..count` in an order drawn from `seed` (Fisher–Yates over SplitMix64).
pub fn shuffled(count: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    let mut state = seed;
    for last in (1..count).rev() {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        order.swap(last, (z % (last as u64 + 1)) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_sees_every_image_once() {
        let mut seen: Vec<usize> = (0..4)
            .flat_map(|step| batch_indices(10, step, 3, 5))
            .collect();
        assert_ne!(seen, (0..10).collect::<Vec<_>>());
        seen.sort_unstable();
        assert_eq!(seen, (0..10).collect::<Vec<_>>());
        assert_ne!(batch_indices(10, 0, 3, 5), batch_indices(10, 4, 3, 5));
    }

    #[test]
    fn a_class_sample_holds_the_classes_of_the_batch() {
        let labels = [7, 3, 7, 90];
        let sample = class_sample(&labels, 100, 10, 1);
        assert_eq!(sample.len(), 10);
        assert!(sample.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(labels.iter().all(|label| sample.contains(label)));
        assert_ne!(sample, class_sample(&labels, 100, 10, 2));
        // A batch of more classes than the sample keeps them all.
        assert_eq!(class_sample(&labels, 100, 2, 1), [3, 7, 90]);
    }
}
