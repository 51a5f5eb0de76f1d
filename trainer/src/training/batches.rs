//! Which images a step sees.

use burn::tensor::{Device, Int, Tensor, TensorData};
use shared::clip::normalize;

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

    /// Features `[batch, d]` and labels `[batch]` of step `step`: epoch after epoch in an order
    /// that the seed shuffles anew for each, so that a step's batch depends on nothing but the
    /// seed and its number.
    pub fn batch(&self, step: usize, size: usize, seed: u64) -> (Tensor<2>, Tensor<1, Int>) {
        let indices = self.batch_indices(step, size, seed);
        let labels: Vec<i32> = indices
            .iter()
            .map(|&index| self.labels[index] as i32)
            .collect();
        let rows: Vec<i32> = indices.iter().map(|&index| index as i32).collect();
        let device = self.features.device();
        let count = rows.len();
        let tensor = |values: Vec<i32>| {
            Tensor::<1, Int>::from_data(TensorData::new(values, [count]), &device)
        };
        (
            self.features.clone().select(0, tensor(rows)),
            tensor(labels),
        )
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
        let rows = |indices: Vec<i32>| {
            let count = indices.len();
            let indices: Tensor<1, Int> =
                Tensor::from_data(TensorData::new(indices, [count]), &device);
            self.features.clone().select(0, indices)
        };
        let first = rows(pairs.iter().map(|&(a, _)| a as i32).collect());
        let second = rows(pairs.iter().map(|&(_, b)| b as i32).collect());
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
}
