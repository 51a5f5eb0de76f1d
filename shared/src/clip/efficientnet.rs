//! EfficientNet-Lite, the image tower of the compact model, batch norm folded at import.
//!
//! Reference: `efficientnet_lite` in the TensorFlow TPU models, and its PyTorch
//! port `efficientnet-lite-pytorch`.

use burn::nn::Linear;
use burn::tensor::Tensor;
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;

use super::config::{EfficientNetLiteConfig, Stage};
use super::weights::{WeightError, Weights};

/// Stem → inverted bottlenecks → 1×1 head → average pool → optional projection.
#[derive(Debug, Clone)]
pub struct EfficientNetLite {
    stem: Convolution,
    blocks: Vec<InvertedBottleneck>,
    head: Convolution,
    projection: Option<Linear>,
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
        let stem = Convolution::load(&visual.below("stem"), 3, config.stem_width, 3, 2, 1)?
            .with_same_padding();
        let mut blocks = Vec::new();
        for stage in &config.stages {
            for repeat in 0..stage.repeats {
                let block = visual.below(format!("blocks.{}", blocks.len()));
                blocks.push(InvertedBottleneck::load(&block, stage, repeat == 0)?);
            }
        }
        let last = config
            .stages
            .last()
            .map_or(config.stem_width, |stage| stage.output);
        let head = Convolution::load(&visual.below("head"), last, config.head_width, 1, 1, 1)?;
        let projection = config
            .projection
            .then(|| visual.below("proj").linear(config.head_width, embed_dim))
            .transpose()?;
        Ok(Self {
            stem,
            blocks,
            head,
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

    /// `pixels`: `[batch, 3, size, size]` → the pooled feature `[batch, head_width]` before
    /// any projection, which the tower's own classifier reads.
    pub fn pooled(&self, pixels: Tensor<4>) -> Tensor<2> {
        let x = relu6(self.stem.forward(pixels));
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        let map = relu6(self.head.forward(x));
        let [batch, width, rows, columns] = map.dims();
        map.reshape([batch, width, rows * columns])
            .mean_dim(2)
            .reshape([batch, width])
    }
}

/// 1×1 expansion, depthwise, 1×1 projection, with a residual where the shapes agree.
#[derive(Debug, Clone)]
struct InvertedBottleneck {
    expand: Option<Convolution>,
    depthwise: Convolution,
    project: Convolution,
    residual: bool,
}

impl InvertedBottleneck {
    fn load(weights: &Weights, stage: &Stage, first: bool) -> Result<Self, WeightError> {
        let inputs = if first { stage.input } else { stage.output };
        let stride = if first { stage.stride } else { 1 };
        let hidden = inputs * stage.expand;
        let expand = (stage.expand != 1)
            .then(|| Convolution::load(&weights.below("expand"), inputs, hidden, 1, 1, 1))
            .transpose()?;
        let depthwise = weights.below("depthwise");
        Ok(Self {
            expand,
            depthwise: Convolution::load(&depthwise, hidden, hidden, stage.kernel, stride, hidden)?
                .with_same_padding(),
            project: Convolution::load(&weights.below("project"), hidden, stage.output, 1, 1, 1)?,
            residual: stride == 1 && inputs == stage.output,
        })
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let hidden = match &self.expand {
            Some(expand) => relu6(expand.forward(x.clone())),
            None => x.clone(),
        };
        let hidden = relu6(self.depthwise.forward(hidden));
        let output = self.project.forward(hidden);
        if self.residual { output + x } else { output }
    }
}

/// `min(max(x, 0), 6)`.
fn relu6(x: Tensor<4>) -> Tensor<4> {
    x.clamp(0.0, 6.0)
}

/// A square convolution with bias (batch norm folded in).
#[derive(Debug, Clone)]
pub struct Convolution {
    weight: Tensor<4>,
    bias: Tensor<1>,
    stride: usize,
    groups: usize,
    same_padding: bool,
}

impl Convolution {
    /// Reads `weight` `[outputs, inputs / groups, kernel, kernel]` and `bias` `[outputs]`.
    /// Pads by `kernel / 2` on every side unless [`with_same_padding`](Self::with_same_padding).
    pub fn load(
        weights: &Weights,
        inputs: usize,
        outputs: usize,
        kernel: usize,
        stride: usize,
        groups: usize,
    ) -> Result<Self, WeightError> {
        Ok(Self {
            weight: weights.tensor("weight", [outputs, inputs / groups, kernel, kernel])?,
            bias: weights.tensor("bias", [outputs])?,
            stride,
            groups,
            same_padding: false,
        })
    }

    /// TensorFlow's `SAME` padding: at stride 2 the odd pixel goes to the bottom and right.
    pub fn with_same_padding(mut self) -> Self {
        self.same_padding = true;
        self
    }

    /// `x`: `[batch, inputs, height, width]` → `[batch, outputs, height / stride, width / stride]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let kernel = self.weight.dims()[2];
        let [_, _, height, width] = x.dims();
        let pad = |size: usize| {
            if self.same_padding {
                let total =
                    ((size.div_ceil(self.stride) - 1) * self.stride + kernel).saturating_sub(size);
                (total / 2, total - total / 2)
            } else {
                (kernel / 2, kernel / 2)
            }
        };
        let padding = [pad(height), pad(width)];
        let options = ConvOptions::new_with_padding([self.stride; 2], padding, [1, 1], self.groups);
        conv2d(x, self.weight.clone(), Some(self.bias.clone()), options)
    }
}
