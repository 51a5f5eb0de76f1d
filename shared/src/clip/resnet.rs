//! CLIP's modified ResNet, batch norm folded at import.
//!
//! Three things differ from a plain ResNet: a stem of three convolutions, an
//! average pool before every strided convolution, and attention pooling.
//! Reference: `ModifiedResNet` in OpenAI's `clip/model.py`.

use burn::nn::Linear;
use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use burn::tensor::module::{attention, avg_pool2d};
use burn::tensor::ops::{AttentionModuleOptions, AvgPoolOptions};

use super::config::ResNetConfig;
use super::efficientnet::Convolution;
use super::weights::{WeightError, Weights};

/// Stem → four stages of bottlenecks → attention pool.
#[derive(Debug, Clone)]
pub struct ModifiedResNet {
    stem: [Convolution; 3],
    blocks: Vec<Bottleneck>,
    pool: AttentionPool,
}

impl ModifiedResNet {
    /// Reads the tower under OpenAI's names below `visual`, each convolution with the
    /// bias that its folded batch norm became.
    ///
    /// # Errors
    /// Names the first tensor that is missing or of another shape.
    pub fn load(
        weights: &Weights,
        config: &ResNetConfig,
        embed_dim: usize,
    ) -> Result<Self, WeightError> {
        let visual = weights.below("visual");
        let width = config.width;
        let stem = [
            Convolution::load(&visual.below("conv1"), 3, width / 2, 3, 2, 1)?,
            Convolution::load(&visual.below("conv2"), width / 2, width / 2, 3, 1, 1)?,
            Convolution::load(&visual.below("conv3"), width / 2, width, 3, 1, 1)?,
        ];
        let mut blocks = Vec::new();
        let mut inputs = width;
        for (stage, &repeats) in config.layers.iter().enumerate() {
            let planes = width << stage;
            for index in 0..repeats {
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                let block = visual.below(format!("layer{}.{index}", stage + 1));
                blocks.push(Bottleneck::load(&block, inputs, planes, stride)?);
                inputs = planes * 4;
            }
        }
        let side = config.image_size / 32;
        let pool = AttentionPool::load(
            &visual.below("attnpool"),
            side,
            inputs,
            config.heads,
            embed_dim,
        )?;
        Ok(Self { stem, blocks, pool })
    }

    /// `pixels`: `[batch, 3, size, size]` → image features `[batch, embed_dim]`, not normalised.
    pub fn forward(&self, pixels: Tensor<4>) -> Tensor<2> {
        self.pool.forward(self.map(pixels))
    }

    /// `pixels`: `[batch, 3, size, size]` → features of patches `[batch, patches, embed_dim]`, not
    /// normalised: each position's value, through the pool's output projection.
    pub fn patches(&self, pixels: Tensor<4>) -> Tensor<3> {
        let pool = &self.pool;
        let tokens = pool.tokens(self.map(pixels));
        let positions = tokens.dims()[1] - 1;
        pool.output
            .forward(pool.value.forward(tokens.narrow(1, 1, positions)))
    }

    /// The last map, `[batch, width, rows, columns]`.
    fn map(&self, pixels: Tensor<4>) -> Tensor<4> {
        let x = self
            .stem
            .iter()
            .fold(pixels, |x, convolution| relu(convolution.forward(x)));
        let x = halve(x, 2);
        self.blocks.iter().fold(x, |x, block| block.forward(x))
    }
}

/// 1×1, 3×3, (average pool), 1×1, with a residual.
#[derive(Debug, Clone)]
struct Bottleneck {
    reduce: Convolution,
    spatial: Convolution,
    expand: Convolution,
    downsample: Option<Convolution>,
    stride: usize,
}

impl Bottleneck {
    fn load(
        weights: &Weights,
        inputs: usize,
        planes: usize,
        stride: usize,
    ) -> Result<Self, WeightError> {
        let outputs = planes * 4;
        let downsample = (stride > 1 || inputs != outputs)
            .then(|| Convolution::load(&weights.below("downsample.0"), inputs, outputs, 1, 1, 1))
            .transpose()?;
        Ok(Self {
            reduce: Convolution::load(&weights.below("conv1"), inputs, planes, 1, 1, 1)?,
            spatial: Convolution::load(&weights.below("conv2"), planes, planes, 3, 1, 1)?,
            expand: Convolution::load(&weights.below("conv3"), planes, outputs, 1, 1, 1)?,
            downsample,
            stride,
        })
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let hidden = relu(self.reduce.forward(x.clone()));
        let hidden = relu(self.spatial.forward(hidden));
        let hidden = self.expand.forward(halve(hidden, self.stride));
        let identity = match &self.downsample {
            Some(downsample) => downsample.forward(halve(x, self.stride)),
            None => x,
        };
        relu(hidden + identity)
    }
}

/// Average pool by `stride`, nothing at stride 1.
fn halve(x: Tensor<4>, stride: usize) -> Tensor<4> {
    if stride == 1 {
        return x;
    }
    avg_pool2d(x, AvgPoolOptions::new([stride; 2]))
}

/// One query (the mean) attends to the mean and every position.
#[derive(Debug, Clone)]
struct AttentionPool {
    positional_embedding: Tensor<3>,
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    heads: usize,
}

impl AttentionPool {
    fn load(
        weights: &Weights,
        side: usize,
        width: usize,
        heads: usize,
        embed_dim: usize,
    ) -> Result<Self, WeightError> {
        Ok(Self {
            positional_embedding: weights
                .tensor("positional_embedding", [side * side + 1, width])?
                .unsqueeze(),
            query: weights.below("q_proj").linear(width, width)?,
            key: weights.below("k_proj").linear(width, width)?,
            value: weights.below("v_proj").linear(width, width)?,
            output: weights.below("c_proj").linear(width, embed_dim)?,
            heads,
        })
    }

    /// The mean and every position, with their positional embeddings: `[batch, 1 + positions, width]`.
    fn tokens(&self, x: Tensor<4>) -> Tensor<3> {
        let [batch, width, rows, columns] = x.dims();
        let positions = x.reshape([batch, width, rows * columns]).swap_dims(1, 2);
        let mean = positions.clone().mean_dim(1);
        Tensor::cat(vec![mean, positions], 1) + self.positional_embedding.clone()
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let [batch, width, _, _] = x.dims();
        let tokens = self.tokens(x);
        let heads = |x: Tensor<3>| {
            let [batch, tokens, width] = x.dims();
            x.reshape([batch, tokens, self.heads, width / self.heads])
                .swap_dims(1, 2)
        };
        let pooled = attention(
            heads(self.query.forward(tokens.clone().narrow(1, 0, 1))),
            heads(self.key.forward(tokens.clone())),
            heads(self.value.forward(tokens)),
            None,
            None,
            AttentionModuleOptions::default(),
        );
        self.output
            .forward(pooled.swap_dims(1, 2).reshape([batch, width]))
    }
}
