//! The image towers behind one door.

use burn::tensor::{Device, Tensor};

use super::config::{ClipConfig, ImageTowerConfig};
use super::efficientnet::EfficientNetLite;
use super::resnet::ModifiedResNet;
use super::vit::VisionTransformer;
use super::weights::{WeightError, Weights};
use crate::bundle::Tensors;

/// One of the image towers, frozen.
#[derive(Debug, Clone)]
// There is one tower in a process: its size beside another variant's costs nothing.
#[expect(clippy::large_enum_variant)]
pub enum ImageTower {
    /// Vision transformer.
    Vit(VisionTransformer),
    /// CLIP's modified ResNet.
    ModifiedResnet(ModifiedResNet),
    /// EfficientNet-Lite.
    EfficientnetLite(EfficientNetLite),
}

impl ImageTower {
    /// Reads the tower that `config` describes from tensors in canonical naming.
    ///
    /// # Errors
    /// Names the first tensor that is missing or of another shape.
    pub fn load(
        tensors: &Tensors,
        config: &ClipConfig,
        device: &Device,
    ) -> Result<Self, WeightError> {
        let weights = Weights::new(tensors, device);
        Ok(match &config.image {
            ImageTowerConfig::Vit(vit) => {
                Self::Vit(VisionTransformer::load(&weights, vit, config.embed_dim)?)
            }
            ImageTowerConfig::ModifiedResnet(resnet) => {
                Self::ModifiedResnet(ModifiedResNet::load(&weights, resnet, config.embed_dim)?)
            }
            ImageTowerConfig::EfficientnetLite(efficientnet) => Self::EfficientnetLite(
                EfficientNetLite::load(&weights, efficientnet, config.embed_dim)?,
            ),
        })
    }

    /// `pixels`: preprocessed `[batch, 3, size, size]` → image features `[batch, embed_dim]`,
    /// not normalised.
    pub fn forward(&self, pixels: Tensor<4>) -> Tensor<2> {
        match self {
            Self::Vit(tower) => tower.forward(pixels),
            Self::ModifiedResnet(tower) => tower.forward(pixels),
            Self::EfficientnetLite(tower) => tower.forward(pixels),
        }
    }
}

/// Rows scaled to unit length, `[rows, d]` → `[rows, d]`. A zero row stays zero.
pub fn normalize(features: Tensor<2>) -> Tensor<2> {
    let norm = features.clone().square().sum_dim(1).sqrt().clamp_min(1e-12);
    features / norm
}
