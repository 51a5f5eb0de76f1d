//! CLIP's vision transformer.
//!
//! Reference: `VisionTransformer` in OpenAI's `clip/model.py`.
//!
//! It is written three times: in Burn's operations (`layers`), which run anywhere; in kernels for a GPU
//! (`kernels`); and in loops for the CPU (`direct`), which take half to three quarters of the time there.
//! Which one runs is decided by the device, and by widths that the kernels do not take, here and nowhere
//! else; all are held against the same PyTorch fixtures.

mod direct;
mod kernels;
mod layers;

use burn::tensor::{Tensor, TensorData};

use self::direct::Direct;
use self::kernels::Kernels;
use self::layers::Layers;
use super::config::VitConfig;
use super::direct::{takes_loops, values};
use super::gpu;
use super::transformer::Block;
use super::weights::{WeightError, Weights};

/// Patches → class token and positions → transformer → projection of the class token.
#[derive(Debug, Clone)]
pub struct VisionTransformer {
    tower: Tower,
}

#[derive(Debug, Clone)]
enum Tower {
    Layers(Box<Layers>),
    Kernels(Box<Kernels>),
    Direct(Box<Direct>),
}

/// The blocks below `visual`, each loaded when it is asked for: those that are laid out anew are not there
/// twice.
fn blocks<'a>(
    visual: &'a Weights,
    config: &'a VitConfig,
) -> impl Iterator<Item = Result<Block, WeightError>> + 'a {
    (0..config.layers).map(|layer| {
        let block = visual.below(format!("transformer.resblocks.{layer}"));
        let VitConfig {
            width,
            heads,
            mlp_width,
            activation,
            ..
        } = *config;
        Block::load(&block, width, heads, mlp_width, activation)
    })
}

/// Tokens of an image, the class token among them.
fn tokens(config: &VitConfig) -> usize {
    (config.image_size / config.patch_size).pow(2) + 1
}

impl VisionTransformer {
    /// Reads the tower under OpenAI's names below `visual`.
    ///
    /// # Errors
    /// Names the first tensor that is missing or of another shape.
    pub fn load(
        weights: &Weights,
        config: &VitConfig,
        embed_dim: usize,
    ) -> Result<Self, WeightError> {
        let visual = weights.below("visual");
        let tower = if takes_loops(weights.device()) {
            Tower::Direct(Box::new(Direct::load(&visual, config, embed_dim)?))
        } else if gpu::fits(weights.device(), config, embed_dim) {
            Tower::Kernels(Box::new(Kernels::load(&visual, config, embed_dim)?))
        } else {
            Tower::Layers(Box::new(Layers::load(&visual, config, embed_dim)?))
        };
        Ok(Self { tower })
    }

    /// Whether images are shared out among the machine's threads here.
    pub fn shares_out(&self) -> bool {
        matches!(self.tower, Tower::Direct(_))
    }

    /// `pixels`: `[batch, 3, size, size]` → image features `[batch, embed_dim]`, not normalised.
    pub fn forward(&self, pixels: Tensor<4>) -> Tensor<2> {
        match &self.tower {
            Tower::Layers(layers) => layers.forward(pixels),
            Tower::Kernels(kernels) => kernels.forward(pixels),
            Tower::Direct(direct) => {
                let (batch, device) = (pixels.dims()[0], pixels.device());
                let features = direct.features(&values(pixels), batch);
                let shape = [batch, direct.embed_dim()];
                Tensor::from_data(TensorData::new(features, shape), &device)
            }
        }
    }

    /// `pixels`: `[batch, 3, size, size]` → features of patches `[batch, patches, embed_dim]`, not
    /// normalised: in the last block every token sees itself alone.
    pub fn patches(&self, pixels: Tensor<4>) -> Tensor<3> {
        match &self.tower {
            Tower::Layers(layers) => layers.patches(pixels),
            Tower::Kernels(kernels) => kernels.patches(pixels),
            Tower::Direct(direct) => {
                let (batch, device) = (pixels.dims()[0], pixels.device());
                let features = direct.patches(&values(pixels), batch);
                let shape = [batch, direct.patches_an_image(), direct.embed_dim()];
                Tensor::from_data(TensorData::new(features, shape), &device)
            }
        }
    }
}
