//! One configuration for every CLIP this project runs, stored as `config.json`
//! in a model directory.

mod check;
mod size;

use serde::{Deserialize, Serialize};

pub use check::ConfigError;
pub use size::LargestBuffers;

use super::preprocessing::Preprocessing;

/// The ε of a layer norm in OpenAI's models and nearly all others. Those with another one (CLIPA has
/// 1e-6) are refused where their configuration says so.
pub const LAYER_NORM_EPSILON: f64 = 1e-5;

/// A CLIP model: an image tower and a text tower that share one embedding space.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct ClipConfig {
    /// Published name of the checkpoint (`ViT-B/16`) or of the directory it came from.
    pub name: String,
    /// Joint embedding width `d`.
    pub embed_dim: usize,
    /// The scale on cosine similarities, already exponentiated (about 100 for OpenAI's models).
    #[serde(deserialize_with = "crate::single::one")]
    pub logit_scale: f32,
    /// The image tower.
    pub image: ImageTowerConfig,
    /// The text tower.
    pub text: TextTowerConfig,
    /// What a decoded photo goes through before the image tower.
    pub preprocessing: Preprocessing,
}

/// The image towers; each variant's constructor is named after the published checkpoint.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ImageTowerConfig {
    /// Vision transformer.
    Vit(VitConfig),
    /// CLIP's modified ResNet with attention pooling.
    ModifiedResnet(ResNetConfig),
    /// EfficientNet-Lite, the tower of the compact model.
    EfficientnetLite(EfficientNetLiteConfig),
}

impl ImageTowerConfig {
    /// Side of the square input, in pixels.
    pub fn image_size(&self) -> usize {
        match self {
            Self::Vit(vit) => vit.image_size,
            Self::ModifiedResnet(resnet) => resnet.image_size,
            Self::EfficientnetLite(efficientnet) => efficientnet.image_size,
        }
    }
}

/// Activation inside the transformer's multilayer perceptron.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// `x · sigmoid(1.702 x)`, OpenAI's models.
    #[default]
    QuickGelu,
    /// The exact Gaussian error linear unit, most of open_clip's models.
    Gelu,
}

/// Vision transformer of *Learning Transferable Visual Models From Natural Language Supervision*.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct VitConfig {
    /// Side of the square input, in pixels.
    pub image_size: usize,
    /// Side of a patch, in pixels.
    pub patch_size: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Number of residual attention blocks.
    pub layers: usize,
    /// Attention heads; OpenAI's models have `width / 64`, larger ones of others fewer.
    pub heads: usize,
    /// Width of the hidden layer of the multilayer perceptron.
    pub mlp_width: usize,
    /// Activation of the multilayer perceptron.
    pub activation: Activation,
}

/// CLIP's modified ResNet: three-convolution stem, anti-aliased strides, attention pooling.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct ResNetConfig {
    /// Side of the square input, in pixels.
    pub image_size: usize,
    /// Bottleneck blocks in each of the four stages.
    pub layers: [usize; 4],
    /// Width of the stem (64 for RN50 and RN101).
    pub width: usize,
    /// Heads of the attention pool; OpenAI's models have `width * 32 / 64`.
    pub heads: usize,
}

/// One stage of EfficientNet-Lite: `repeats` inverted bottlenecks of equal output width.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Stage {
    /// Number of blocks; the first has the stride and the input width.
    pub repeats: usize,
    /// Depthwise kernel size, in pixels.
    pub kernel: usize,
    /// Stride of the first block.
    pub stride: usize,
    /// Expansion ratio of the hidden width.
    pub expand: usize,
    /// Channels in.
    pub input: usize,
    /// Channels out.
    pub output: usize,
}

/// EfficientNet-Lite: EfficientNet without squeeze-and-excitation, with ReLU6.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct EfficientNetLiteConfig {
    /// Side of the square input, in pixels.
    pub image_size: usize,
    /// Channels of the stem (32 in every Lite variant).
    pub stem_width: usize,
    /// The stages in order.
    pub stages: Vec<Stage>,
    /// Channels of the last convolution, the width of the pooled feature.
    pub head_width: usize,
    /// Whether a linear map with bias takes the pooled feature into the joint space.
    /// Without one the joint space is the pooled feature itself.
    pub projection: bool,
}

/// CLIP's causal text transformer.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct TextTowerConfig {
    /// Most tokens in a prompt, `[SOS]` and `[EOS]` included (77 for OpenAI's models).
    pub context_length: usize,
    /// Number of token embeddings.
    pub vocabulary_size: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Number of residual attention blocks.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of the hidden layer of the multilayer perceptron.
    pub mlp_width: usize,
    /// Activation of the multilayer perceptron.
    pub activation: Activation,
}

impl TextTowerConfig {
    /// OpenAI's text tower of the given width; heads are `width / 64`, 12 layers.
    pub fn openai(width: usize) -> Self {
        Self {
            context_length: 77,
            vocabulary_size: 49_408,
            width,
            layers: 12,
            heads: width / 64,
            mlp_width: width * 4,
            activation: Activation::QuickGelu,
        }
    }
}

impl VitConfig {
    /// OpenAI's family: `heads = width / 64`, a four times wider hidden layer, QuickGELU.
    pub fn openai(image_size: usize, patch_size: usize, width: usize, layers: usize) -> Self {
        Self {
            image_size,
            patch_size,
            width,
            layers,
            heads: width / 64,
            mlp_width: width * 4,
            activation: Activation::QuickGelu,
        }
    }
}

impl EfficientNetLiteConfig {
    /// EfficientNet-Lite0 at 224 pixels, without a projection.
    pub fn lite0() -> Self {
        Self::lite(1.0, 1.0, 224)
    }

    /// EfficientNet-Lite0 to Lite4, without a projection.
    pub fn family() -> [Self; 5] {
        [
            Self::lite0(),
            Self::lite(1.0, 1.1, 240),
            Self::lite(1.1, 1.2, 260),
            Self::lite(1.2, 1.4, 280),
            Self::lite(1.4, 1.8, 300),
        ]
    }

    /// Scaled by the family's rule: widths scaled and rounded to multiples of 8, depths rounded up;
    /// stem and head keep their width, the first and last stage their depth.
    ///
    /// Source: `efficientnet_lite_builder.py` of the TensorFlow TPU models.
    pub fn lite(width_coefficient: f64, depth_coefficient: f64, image_size: usize) -> Self {
        // repeats, kernel, stride, expand, input, output
        const BASE: [[usize; 6]; 7] = [
            [1, 3, 1, 1, 32, 16],
            [2, 3, 2, 6, 16, 24],
            [2, 5, 2, 6, 24, 40],
            [3, 3, 2, 6, 40, 80],
            [3, 5, 1, 6, 80, 112],
            [4, 5, 2, 6, 112, 192],
            [1, 3, 1, 6, 192, 320],
        ];
        let width = |channels: usize| round_to_eight(channels as f64 * width_coefficient);
        let last = BASE.len() - 1;
        let stages = BASE
            .iter()
            .enumerate()
            .map(
                |(index, &[repeats, kernel, stride, expand, input, output])| Stage {
                    repeats: if index == 0 || index == last {
                        repeats
                    } else {
                        (repeats as f64 * depth_coefficient).ceil() as usize
                    },
                    kernel,
                    stride,
                    expand,
                    input: if index == 0 { 32 } else { width(input) },
                    output: width(output),
                },
            )
            .collect();
        Self {
            image_size,
            stem_width: 32,
            stages,
            head_width: 1280,
            projection: false,
        }
    }
}

/// Nearest multiple of 8 that is not more than 10 % below `channels`, as EfficientNet rounds.
fn round_to_eight(channels: f64) -> usize {
    let rounded = (((channels + 4.0) as usize) / 8 * 8).max(8);
    if (rounded as f64) < 0.9 * channels {
        rounded + 8
    } else {
        rounded
    }
}

impl ClipConfig {
    /// OpenAI RN50.
    pub fn rn50() -> Self {
        Self::openai_resnet("RN50", 1024, 224, [3, 4, 6, 3], 64, 512)
    }

    /// OpenAI RN101.
    pub fn rn101() -> Self {
        Self::openai_resnet("RN101", 512, 224, [3, 4, 23, 3], 64, 512)
    }

    /// OpenAI ViT-B/32.
    pub fn vit_b_32() -> Self {
        Self::openai_vit("ViT-B/32", 512, VitConfig::openai(224, 32, 768, 12), 512)
    }

    /// OpenAI ViT-B/16, the paper's model.
    pub fn vit_b_16() -> Self {
        Self::openai_vit("ViT-B/16", 512, VitConfig::openai(224, 16, 768, 12), 512)
    }

    /// OpenAI ViT-L/14.
    pub fn vit_l_14() -> Self {
        Self::openai_vit("ViT-L/14", 768, VitConfig::openai(224, 14, 1024, 24), 768)
    }

    /// OpenAI ViT-L/14 at 336 pixels.
    pub fn vit_l_14_336() -> Self {
        Self::openai_vit(
            "ViT-L/14@336px",
            768,
            VitConfig::openai(336, 14, 1024, 24),
            768,
        )
    }

    /// Looks a published configuration up by name; `None` for an unknown one.
    pub fn published(name: &str) -> Option<Self> {
        Self::all_published().find(|config| config.name.eq_ignore_ascii_case(name))
    }

    /// Every published configuration.
    pub fn all_published() -> impl Iterator<Item = Self> {
        [
            Self::rn50,
            Self::rn101,
            Self::vit_b_32,
            Self::vit_b_16,
            Self::vit_l_14,
            Self::vit_l_14_336,
        ]
        .into_iter()
        .map(|make| make())
    }

    fn openai_vit(name: &str, embed_dim: usize, vit: VitConfig, text_width: usize) -> Self {
        Self {
            name: name.into(),
            embed_dim,
            logit_scale: 100.0,
            preprocessing: Preprocessing::openai(vit.image_size as u32),
            image: ImageTowerConfig::Vit(vit),
            text: TextTowerConfig::openai(text_width),
        }
    }

    fn openai_resnet(
        name: &str,
        embed_dim: usize,
        image_size: usize,
        layers: [usize; 4],
        width: usize,
        text_width: usize,
    ) -> Self {
        Self {
            name: name.into(),
            embed_dim,
            logit_scale: 100.0,
            preprocessing: Preprocessing::openai(image_size as u32),
            image: ImageTowerConfig::ModifiedResnet(ResNetConfig {
                image_size,
                layers,
                width,
                heads: width * 32 / 64,
            }),
            text: TextTowerConfig::openai(text_width),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_configurations_are_found_by_name() {
        let config = ClipConfig::published("vit-b/16").expect("published");
        assert_eq!(config, ClipConfig::vit_b_16());
        assert!(ClipConfig::published("ViT-Z/3").is_none());
    }

    #[test]
    fn lite0_keeps_the_published_widths() {
        let lite0 = EfficientNetLiteConfig::lite0();
        let outputs: Vec<_> = lite0.stages.iter().map(|stage| stage.output).collect();
        assert_eq!(outputs, [16, 24, 40, 80, 112, 192, 320]);
        assert_eq!(
            lite0
                .stages
                .iter()
                .map(|stage| stage.repeats)
                .sum::<usize>(),
            16
        );
    }

    #[test]
    fn configuration_survives_json() {
        for config in [ClipConfig::rn50(), ClipConfig::vit_l_14_336()] {
            let json = serde_json::to_string(&config).expect("serialises");
            assert_eq!(
                serde_json::from_str::<ClipConfig>(&json).expect("parses"),
                config
            );
        }
    }
}
