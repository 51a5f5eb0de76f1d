//! The vision transformer on a GPU, in kernels of this project's own.

use burn::tensor::Tensor;

use super::{blocks, tokens};
use crate::clip::config::VitConfig;
use crate::clip::gpu::{self, Block, LayerNorm, Linear, Patches, Then, Values};
use crate::clip::weights::{WeightError, Weights};

/// The tower where its kernels [fit](gpu::fits).
#[derive(Debug, Clone)]
pub struct Kernels {
    patches: Patches,
    patch_embedding: Linear,
    /// `[tokens, width]`, the class embedding added to the first.
    positions: Values,
    ln_pre: LayerNorm,
    blocks: Vec<Block>,
    ln_post: LayerNorm,
    projection: Linear,
    tokens: usize,
    embed_dim: usize,
}

impl Kernels {
    /// From the weights below `visual`.
    pub fn load(
        visual: &Weights,
        config: &VitConfig,
        embed_dim: usize,
    ) -> Result<Self, WeightError> {
        let &VitConfig {
            image_size,
            patch_size,
            width,
            ..
        } = config;
        let patches = Patches {
            image_size,
            patch_size,
        };
        let tokens = tokens(config);
        let filled = 3 * patch_size * patch_size;
        let kernel = visual.tensor::<4>("conv1.weight", [width, 3, patch_size, patch_size])?;
        let mut kernel = kernel.reshape([width, filled]).transpose();
        if patches.columns() > filled {
            let zeros = Tensor::zeros([patches.columns() - filled, width], visual.device());
            kernel = Tensor::cat(vec![kernel, zeros], 0);
        }
        let class = visual.tensor::<1>("class_embedding", [width])?;
        let positions = visual.tensor::<2>("positional_embedding", [tokens, width])?;
        let [of_class, of_patches] = [(0, 1), (1, tokens - 1)]
            .map(|(first, count)| positions.clone().narrow(0, first, count));
        let positions = Tensor::cat(vec![of_class + class.unsqueeze(), of_patches], 0);
        let blocks = blocks(visual, config)
            .map(|block| Ok(Block::new(&block?)))
            .collect::<Result<_, WeightError>>()?;
        Ok(Self {
            patches,
            patch_embedding: Linear::of(kernel, None),
            positions: gpu::values(positions),
            ln_pre: LayerNorm::new(&visual.below("ln_pre").layer_norm(width)?),
            blocks,
            ln_post: LayerNorm::new(&visual.below("ln_post").layer_norm(width)?),
            projection: Linear::of(visual.tensor("proj", [width, embed_dim])?, None),
            tokens,
            embed_dim,
        })
    }

    /// As [`VisionTransformer::forward`](super::VisionTransformer::forward).
    pub fn forward(&self, pixels: Tensor<4>) -> Tensor<2> {
        let images = pixels.dims()[0];
        let x = self.blocks.iter().fold(self.embed(pixels), |x, block| {
            block.forward(&x, images, self.tokens)
        });
        let class = self.ln_post.forward_some(&x, images, self.tokens);
        self.project(&class).narrow(0, 0, images)
    }

    /// As [`VisionTransformer::patches`](super::VisionTransformer::patches).
    pub fn patches(&self, pixels: Tensor<4>) -> Tensor<3> {
        let (images, tokens) = (pixels.dims()[0], self.tokens);
        let last = self.blocks.len().saturating_sub(1);
        let (together, apart) = self.blocks.split_at(last);
        let x = self.embed(pixels);
        let x = together
            .iter()
            .fold(x, |x, block| block.forward(&x, images, tokens));
        let x = apart.iter().fold(x, |x, block| block.forward_apart(&x));
        self.project(&self.ln_post.forward(&x))
            .narrow(0, 0, images * tokens)
            .reshape([images, tokens, self.embed_dim])
            .narrow(1, 1, tokens - 1)
    }

    /// `pixels` → the tokens of all images with their positions and normalised, in whole tiles of rows.
    fn embed(&self, pixels: Tensor<4>) -> Values {
        let cut = self.patches.launch(&gpu::values(pixels));
        let add = Then::AddPositions {
            tokens: self.tokens,
        };
        let embedded = self
            .patch_embedding
            .forward(&cut, add, Some(&self.positions));
        self.ln_pre.forward(&embedded)
    }

    /// `normed` `[rows, width]` → the joint space, `[rows, embed_dim]`.
    fn project(&self, normed: &Values) -> Tensor<2> {
        gpu::tensor(self.projection.forward(normed, Then::Nothing, None))
    }
}
