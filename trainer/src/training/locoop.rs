//! LoCoOp: CoOp that keeps its prompts away from the patches of an image that do not show the class.
//!
//! Source: Miyai et al., *LoCoOp: Few-Shot Out-of-Distribution Detection via Prompt Learning*,
//! NeurIPS 2023.

use anyhow::{Context, Result};
use burn::tensor::{Tensor, TensorData};
use shared::clip::normalize;
use shared::prompt::{ContextEncoder, loss};

use super::batches::{LabelledFeatures, indices};
use super::config::TrainingConfig;
use super::experiment::ImageSet;
use super::learner::ContextLearner;
use super::positive::unit;

/// Weight of the entropy of patches, λ, as in the paper.
const WEIGHT: f64 = 0.25;

/// Share of the classes among which a patch must name the image's class to belong to it: the paper's
/// K is 200 of 1,000.
const NEAREST: f64 = 0.2;

/// One step of `L = CE − λ · mean entropy of the patches whose K nearest classes leave out the label`.
pub fn advance(
    learner: &mut ContextLearner,
    encoder: &mut ContextEncoder,
    images: &LabelledFeatures,
    set: &ImageSet,
    logit_scale: f32,
    config: &TrainingConfig,
) -> Result<f32> {
    let (step, seed) = (learner.step(), config.seed);
    let chosen = images.batch_indices(step, config.batch, seed);
    let batch = images.batch(step, config.batch, seed);
    let patches = set
        .patches
        .as_ref()
        .context("LoCoOp needs features of patches")?;
    let [_, width] = batch.features.dims();
    let values = patches.gather(&chosen);
    let of_image = values.len() / (chosen.len() * width).max(1);
    let rows = chosen.len() * of_image;
    let data = TensorData::new(values, [rows, width]);
    let device = batch.features.device();
    let patches = normalize(Tensor::<2>::from_data(data, &device));
    let labels = indices(&batch.labels, &device);
    // Which classes are nearest to a patch is asked of all of them.
    encoder.select(None);
    learner.advance(|contexts| {
        encoder.loss_gradient(contexts, |text| {
            let text = unit(text).squeeze_dim::<2>(0);
            let logits = batch.features.matmul(text.clone().transpose()) * logit_scale;
            let of_patches = patches.matmul(text.transpose()) * logit_scale;
            let strangers = strangers(&of_patches, &batch.labels, of_image);
            let entropy = loss::patch_entropy(of_patches, strangers);
            loss::cross_entropy(logits, labels) - entropy * WEIGHT
        })
    })
}

/// 1 for each patch whose nearest classes leave out its image's label, else 0: `[rows]`.
fn strangers(logits: &Tensor<2>, labels: &[usize], of_image: usize) -> Tensor<1> {
    let [rows, classes] = logits.dims();
    let nearest = ((NEAREST * classes as f64).round() as usize).max(1);
    let values: Vec<f32> = logits.clone().inner().into_data().iter::<f32>().collect();
    let marks: Vec<f32> = values
        .chunks_exact(classes.max(1))
        .enumerate()
        .map(|(row, logits)| {
            let own = logits[labels[row / of_image.max(1)]];
            let nearer = logits.iter().filter(|&&logit| logit > own).count();
            if nearer >= nearest { 1.0 } else { 0.0 }
        })
        .collect();
    Tensor::from_data(TensorData::new(marks, [rows]), &logits.device())
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn a_patch_is_strange_when_its_label_is_not_among_the_nearest() {
        // Ten classes: the label must be one of the two nearest.
        let row = |own: f32| -> Vec<f32> {
            let mut row = vec![0.1, 0.2, 0.3, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
            row[9] = own;
            row
        };
        let values = [row(0.25), row(0.15), row(0.9), row(-1.0)].concat();
        let device = Device::flex().autodiff();
        let logits = Tensor::<2>::from_data(TensorData::new(values, [4, 10]), &device);
        let marks: Vec<f32> = strangers(&logits, &[9, 9], 2)
            .into_data()
            .iter::<f32>()
            .collect();
        assert_eq!(marks, [0.0, 1.0, 0.0, 1.0]);
    }
}
