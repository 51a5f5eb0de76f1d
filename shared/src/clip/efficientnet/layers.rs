//! EfficientNet-Lite as Burn's operations, for every device that Burn knows.

use burn::tensor::Tensor;
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;

use super::{BlockShape, block_shapes};
use crate::clip::config::EfficientNetLiteConfig;
use crate::clip::weights::{WeightError, Weights};

/// Stem → inverted bottlenecks → 1×1 head.
#[derive(Debug, Clone)]
pub struct Layers {
    stem: Convolution,
    blocks: Vec<InvertedBottleneck>,
    head: Convolution,
}

impl Layers {
    /// Reads `stem`, `blocks.N` and `head` below `visual`.
    ///
    /// # Errors
    /// Names the first tensor that is missing or of another shape.
    pub fn load(visual: &Weights, config: &EfficientNetLiteConfig) -> Result<Self, WeightError> {
        let stem = Convolution::load(&visual.below("stem"), 3, config.stem_width, 3, 2, 1)?
            .with_same_padding();
        let shapes = block_shapes(config);
        let blocks = shapes
            .iter()
            .enumerate()
            .map(|(n, shape)| InvertedBottleneck::load(&visual.below(format!("blocks.{n}")), shape))
            .collect::<Result<_, _>>()?;
        let last = shapes.last().map_or(config.stem_width, |last| last.outputs);
        let head = Convolution::load(&visual.below("head"), last, config.head_width, 1, 1, 1)?;
        Ok(Self { stem, blocks, head })
    }

    /// `pixels`: `[batch, 3, size, size]` → `[batch, head_width, size / 32, size / 32]`.
    pub fn map(&self, pixels: Tensor<4>) -> Tensor<4> {
        let x = relu6(self.stem.forward(pixels));
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        relu6(self.head.forward(x))
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
    fn load(weights: &Weights, shape: &BlockShape) -> Result<Self, WeightError> {
        let &BlockShape {
            inputs,
            hidden,
            outputs,
            kernel,
            stride,
        } = shape;
        let expand = shape
            .expands()
            .then(|| Convolution::load(&weights.below("expand"), inputs, hidden, 1, 1, 1))
            .transpose()?;
        let depthwise = weights.below("depthwise");
        Ok(Self {
            expand,
            depthwise: Convolution::load(&depthwise, hidden, hidden, kernel, stride, hidden)?
                .with_same_padding(),
            project: Convolution::load(&weights.below("project"), hidden, outputs, 1, 1, 1)?,
            residual: shape.residual(),
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
