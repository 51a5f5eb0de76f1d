//! The vision transformer in Burn's operations.

use burn::nn::LayerNorm;
use burn::tensor::Tensor;
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;

use super::{blocks, tokens};
use crate::clip::config::VitConfig;
use crate::clip::transformer::Block;
use crate::clip::weights::{WeightError, Weights};

/// A tower wherever Burn runs.
#[derive(Debug, Clone)]
pub struct Layers {
    patch_embedding: Tensor<4>,
    class_embedding: Tensor<3>,
    positional_embedding: Tensor<3>,
    ln_pre: LayerNorm,
    blocks: Vec<Block>,
    ln_post: LayerNorm,
    projection: Tensor<2>,
    patch_size: usize,
}

impl Layers {
    pub fn load(
        visual: &Weights,
        config: &VitConfig,
        embed_dim: usize,
    ) -> Result<Self, WeightError> {
        let &VitConfig {
            patch_size, width, ..
        } = config;
        Ok(Self {
            patch_embedding: visual.tensor("conv1.weight", [width, 3, patch_size, patch_size])?,
            class_embedding: visual
                .tensor("class_embedding", [width])?
                .reshape([1, 1, width]),
            positional_embedding: visual
                .tensor("positional_embedding", [tokens(config), width])?
                .unsqueeze(),
            ln_pre: visual.below("ln_pre").layer_norm(width)?,
            blocks: blocks(visual, config).collect::<Result<_, WeightError>>()?,
            ln_post: visual.below("ln_post").layer_norm(width)?,
            projection: visual.tensor("proj", [width, embed_dim])?,
            patch_size,
        })
    }

    /// As [`VisionTransformer::forward`](super::VisionTransformer::forward).
    pub fn forward(&self, pixels: Tensor<4>) -> Tensor<2> {
        let x = self.embed(pixels);
        let [batch, _, width] = x.dims();
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        let class = x.narrow(1, 0, 1).reshape([batch, width]);
        self.ln_post.forward(class).matmul(self.projection.clone())
    }

    /// As [`VisionTransformer::patches`](super::VisionTransformer::patches).
    pub fn patches(&self, pixels: Tensor<4>) -> Tensor<3> {
        let x = self.embed(pixels);
        let last = self.blocks.len().saturating_sub(1);
        let (together, apart) = self.blocks.split_at(last);
        let x = together.iter().fold(x, |x, block| block.forward(x));
        let x = apart.iter().fold(x, |x, block| {
            let value = block.project(x.clone()).value;
            block.finish(x, value)
        });
        let [batch, tokens, width] = x.dims();
        let patches = self.ln_post.forward(x.narrow(1, 1, tokens - 1));
        let flat = patches.reshape([batch * (tokens - 1), width]);
        let features = flat.matmul(self.projection.clone());
        let [_, embed_dim] = features.dims();
        features.reshape([batch, tokens - 1, embed_dim])
    }

    /// `pixels` → the class token and the patches with their positions, `[batch, tokens, width]`.
    fn embed(&self, pixels: Tensor<4>) -> Tensor<3> {
        let stride = [self.patch_size; 2];
        let options = ConvOptions::new(stride, [0, 0], [1, 1], 1);
        let patches = conv2d(pixels, self.patch_embedding.clone(), None, options);
        let [batch, width, rows, columns] = patches.dims();
        let patches = patches
            .reshape([batch, width, rows * columns])
            .swap_dims(1, 2);
        let class = self.class_embedding.clone().expand([batch, 1, width]);
        let x = Tensor::cat(vec![class, patches], 1) + self.positional_embedding.clone();
        self.ln_pre.forward(x)
    }
}
