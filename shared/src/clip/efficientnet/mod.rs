//! EfficientNet-Lite, the image tower of the compact model, batch norm folded at import.
//!
//! Reference: `efficientnet_lite` in the TensorFlow TPU models, and its PyTorch
//! port `efficientnet-lite-pytorch`.
//!
//! The convolutions are written twice: as Burn's operations (`layers`), which run on a GPU and
//! carry gradients, and as fused loops for the CPU (`direct`), natively and in WASM, which are
//! several times as fast there. Which one runs is decided by the device, here and nowhere else;
//! both are held against the same PyTorch fixtures.

mod depthwise;
mod direct;
mod layers;
mod pointwise;

use burn::nn::Linear;
use burn::tensor::{Tensor, TensorData};

use super::config::EfficientNetLiteConfig;
use super::direct::takes_loops;
use super::weights::{WeightError, Weights};
use direct::Direct;
pub use layers::Convolution;
use layers::Layers;

/// Stem → inverted bottlenecks → 1×1 head → average pool → optional projection.
#[derive(Debug, Clone)]
pub struct EfficientNetLite {
    convolutions: Convolutions,
    projection: Option<Linear>,
}

#[derive(Debug, Clone)]
enum Convolutions {
    Layers(Box<Layers>),
    Direct(Direct),
}

impl EfficientNetLite {
    /// Reads the tower under this project's names below `visual`: `stem`,
    /// `blocks.N.{expand,depthwise,project}`, `head`, `proj`, each `weight` and `bias`.
    ///
    /// # Errors
    /// Names the first tensor that is missing or of another shape.
    pub fn load(
        weights: &Weights,
        config: &EfficientNetLiteConfig,
        embed_dim: usize,
    ) -> Result<Self, WeightError> {
        let visual = weights.below("visual");
        let convolutions = if takes_loops(weights.device()) {
            Convolutions::Direct(Direct::load(&visual, config)?)
        } else {
            Convolutions::Layers(Box::new(Layers::load(&visual, config)?))
        };
        let projection = config
            .projection
            .then(|| visual.below("proj").linear(config.head_width, embed_dim))
            .transpose()?;
        Ok(Self {
            convolutions,
            projection,
        })
    }

    /// `pixels`: `[batch, 3, size, size]` → image features `[batch, embed_dim]`, not normalised.
    pub fn forward(&self, pixels: Tensor<4>) -> Tensor<2> {
        let pooled = self.pooled(pixels);
        match &self.projection {
            Some(projection) => projection.forward(pooled),
            None => pooled,
        }
    }

    /// `pixels`: `[batch, 3, size, size]` → the pixels of the last map in the joint space,
    /// `[batch, rows · columns, embed_dim]`, not normalised.
    pub fn patches(&self, pixels: Tensor<4>) -> Tensor<3> {
        let maps = match &self.convolutions {
            Convolutions::Layers(layers) => {
                let map = layers.map(pixels);
                let [batch, width, rows, columns] = map.dims();
                map.reshape([batch, width, rows * columns]).swap_dims(1, 2)
            }
            Convolutions::Direct(direct) => {
                let ([batch, _, size, _], device) = (pixels.dims(), pixels.device());
                let pixels: Vec<f32> = pixels.into_data().iter().collect();
                let maps = direct.maps(&pixels, size);
                let patches = maps.len() / (batch * direct.width()).max(1);
                let shape = [batch, patches, direct.width()];
                Tensor::from_data(TensorData::new(maps, shape), &device)
            }
        };
        match &self.projection {
            Some(projection) => projection.forward(maps),
            None => maps,
        }
    }

    /// `pixels`: `[batch, 3, size, size]` → the pooled feature `[batch, head_width]` before
    /// any projection, which the tower's own classifier reads.
    pub fn pooled(&self, pixels: Tensor<4>) -> Tensor<2> {
        match &self.convolutions {
            Convolutions::Layers(layers) => {
                let map = layers.map(pixels);
                let [batch, width, rows, columns] = map.dims();
                map.reshape([batch, width, rows * columns])
                    .mean_dim(2)
                    .reshape([batch, width])
            }
            Convolutions::Direct(direct) => {
                let ([batch, _, size, _], device) = (pixels.dims(), pixels.device());
                let pixels: Vec<f32> = pixels.into_data().iter().collect();
                let pooled = direct.pooled(&pixels, size);
                Tensor::from_data(TensorData::new(pooled, [batch, direct.width()]), &device)
            }
        }
    }
}

/// One inverted bottleneck.
struct BlockShape {
    inputs: usize,
    /// Channels between expansion and projection.
    hidden: usize,
    outputs: usize,
    kernel: usize,
    stride: usize,
}

impl BlockShape {
    fn expands(&self) -> bool {
        self.hidden != self.inputs
    }

    fn residual(&self) -> bool {
        self.stride == 1 && self.inputs == self.outputs
    }
}

/// The blocks of all stages, in order.
fn block_shapes(config: &EfficientNetLiteConfig) -> Vec<BlockShape> {
    let repeats = |repeats: usize| (0..repeats).map(|repeat| repeat == 0);
    config
        .stages
        .iter()
        .flat_map(|stage| repeats(stage.repeats).map(move |first| (stage, first)))
        .map(|(stage, first)| {
            let inputs = if first { stage.input } else { stage.output };
            BlockShape {
                inputs,
                hidden: inputs * stage.expand,
                outputs: stage.output,
                kernel: stage.kernel,
                stride: if first { stage.stride } else { 1 },
            }
        })
        .collect()
}
