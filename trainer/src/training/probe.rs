//! A linear probe over image features: the logits behind MSP, MaxLogit and Energy.

use anyhow::{Context, Result, bail};
use burn::optim::{AdamConfig, Optimizer};
use burn::tensor::{Device, Int, Tensor, TensorData};
use shared::prompt::loss::cross_entropy;
use shared::score::Probe;

use super::batches::LabelledFeatures;
use crate::progress::Progress;

/// Full-batch steps; the loss is flat well before.
const STEPS: usize = 200;
/// Highest learning rate.
const RATE: f64 = 0.05;
/// Scale on the unit-length features, so that weights of ordinary size can separate classes.
const FEATURE_SCALE: f32 = 20.0;
/// Weight of the squared norm of the weights in the loss.
const DECAY: f64 = 1e-4;

/// Multinomial logistic regression on unit-length features, full batch, Adam, L2 penalty.
///
/// The problem is convex: start and seed do not matter, and none is drawn.
pub fn train(images: &LabelledFeatures, classes: usize, device: &Device) -> Result<Probe> {
    let [_, width] = images.features.dims();
    let labels: Vec<i32> = images.labels.iter().map(|&label| label as i32).collect();
    let count = labels.len();
    let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [count]), device);
    let inputs = images.features.clone() * FEATURE_SCALE;
    let optimizer = AdamConfig::new().build();
    let plain = device.clone().inner();
    let mut weight = Tensor::<2>::zeros([width, classes], &plain);
    let mut bias = Tensor::<2>::zeros([1, classes], &plain);
    let (mut weight_state, mut bias_state) = (None, None);
    let progress = Progress::new("linear probe", "steps", STEPS as u64);
    for step in 0..STEPS {
        let rate = RATE * 0.5 * (1.0 + (std::f64::consts::PI * step as f64 / STEPS as f64).cos());
        let tracked_weight = Tensor::from_inner(weight.clone()).require_grad();
        let tracked_bias = Tensor::from_inner(bias.clone()).require_grad();
        let logits = inputs.clone().matmul(tracked_weight.clone()) + tracked_bias.clone();
        let penalty = tracked_weight.clone().square().sum() * DECAY;
        let loss = cross_entropy(logits, labels.clone()) + penalty;
        let gradients = loss.backward();
        let missing = "the probe's loss does not depend on its parameters";
        let weight_gradient = tracked_weight.grad(&gradients).context(missing)?;
        let bias_gradient = tracked_bias.grad(&gradients).context(missing)?;
        (weight, weight_state) = optimizer.step(rate, weight, weight_gradient, weight_state);
        (bias, bias_state) = optimizer.step(rate, bias, bias_gradient, bias_state);
        progress.advance(1);
    }
    let read = |tensor: Tensor<2>| {
        tensor
            .into_data()
            .try_into_vec::<f32>()
            .context("reading the probe from the device")
    };
    let probe = Probe {
        weight: read(weight.transpose() * FEATURE_SCALE)?,
        bias: read(bias)?,
    };
    if !probe
        .weight
        .iter()
        .chain(&probe.bias)
        .all(|value| value.is_finite())
    {
        bail!("the linear probe did not converge to finite weights; check the image features");
    }
    Ok(probe)
}
