//! The image towers behind one door.

use burn::tensor::{Device, Tensor};

use super::config::{ClipConfig, ImageTowerConfig};
use super::direct::takes_loops;
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
        Self::from_weights(&Weights::new(tensors, device), config)
    }

    /// Whether the tower of `config` takes weights that are on `device` already, tensor by tensor.
    /// EfficientNet-Lite's loops for the CPU read them in memory.
    pub fn takes_placed(config: &ClipConfig, device: &Device) -> bool {
        let own_loops = matches!(config.image, ImageTowerConfig::EfficientnetLite(_));
        !own_loops || !takes_loops(device)
    }

    /// Whether the tower shares the images of a batch out among the machine's threads itself, several
    /// to a thread: best given all of them at once, as a vision transformer's loops for the CPU are.
    pub fn shares_out(&self) -> bool {
        matches!(self, Self::Vit(tower) if tower.shares_out())
    }

    /// The same from weights that may be on their device already.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn from_weights(weights: &Weights, config: &ClipConfig) -> Result<Self, WeightError> {
        let d = config.embed_dim;
        Ok(match &config.image {
            ImageTowerConfig::Vit(vit) => Self::Vit(VisionTransformer::load(weights, vit, d)?),
            ImageTowerConfig::ModifiedResnet(resnet) => {
                Self::ModifiedResnet(ModifiedResNet::load(weights, resnet, d)?)
            }
            ImageTowerConfig::EfficientnetLite(efficientnet) => {
                Self::EfficientnetLite(EfficientNetLite::load(weights, efficientnet, d)?)
            }
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

impl ImageTower {
    /// `pixels`: preprocessed `[batch, 3, size, size]` → features of patches
    /// `[batch, patches, embed_dim]` in the joint space, not normalised: for GL-MCM and LoCoOp.
    ///
    /// In a ViT every patch passes the last block as if it saw itself alone, so that it stays local;
    /// in a ModifiedResNet it passes the attention pool's value and output projections; both as in
    /// MaskCLIP (Zhou et al., *Extract Free Dense Labels from CLIP*, ECCV 2022). In EfficientNet-Lite
    /// it is a pixel of the last map, projected: the mean over patches is the image's feature.
    pub fn patches(&self, pixels: Tensor<4>) -> Tensor<3> {
        match self {
            Self::Vit(tower) => tower.patches(pixels),
            Self::ModifiedResnet(tower) => tower.patches(pixels),
            Self::EfficientnetLite(tower) => tower.patches(pixels),
        }
    }
}

/// Rows scaled to unit length, `[rows, d]` → `[rows, d]`. A zero row stays zero.
pub fn normalize(features: Tensor<2>) -> Tensor<2> {
    let norm = features.clone().square().sum_dim(1).sqrt().clamp_min(1e-12);
    features / norm
}
