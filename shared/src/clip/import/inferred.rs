//! The configuration of a checkpoint that comes without one, from the shapes of its tensors.

use super::{Checkpoint, ImportError, pixels};
use crate::bundle::Tensors;
use crate::clip::config::{
    Activation, ClipConfig, EfficientNetLiteConfig, ImageTowerConfig, ResNetConfig,
    TextTowerConfig, VitConfig,
};
use crate::clip::preprocessing::Preprocessing;

/// Infers the configuration from the shapes alone, as OpenAI's `build_model` does: heads are
/// `width / 64`, the activation is QuickGELU.
///
/// # Errors
/// A tensor that the inference needs is missing.
pub fn infer_config(name: &str, checkpoint: &Checkpoint) -> Result<ClipConfig, ImportError> {
    let shapes = Shapes {
        tensors: &checkpoint.tensors,
    };
    if checkpoint.tensors.contains_key("visual.stem.weight") {
        return infer_efficientnet(name, &shapes);
    }
    // CLIPN's checkpoints say nothing of it: they began from LAION's weights, which have GELU.
    let activation = match checkpoint.no_text {
        Some(_) => Activation::Gelu,
        None => Activation::QuickGelu,
    };
    let [context_length, text_width] = shapes.of("positional_embedding")?;
    let [vocabulary_size, _] = shapes.of("token_embedding.weight")?;
    let [_, embed_dim] = shapes.of("text_projection")?;
    let [mlp_width, _] = shapes.of("transformer.resblocks.0.mlp.c_fc.weight")?;
    let image = if checkpoint.tensors.contains_key("visual.proj") {
        let [width, _, patch_size, _] = shapes.of("visual.conv1.weight")?;
        let [tokens, _] = shapes.of("visual.positional_embedding")?;
        let [mlp_width, _] = shapes.of("visual.transformer.resblocks.0.mlp.c_fc.weight")?;
        ImageTowerConfig::Vit(VitConfig {
            image_size: tokens.saturating_sub(1).isqrt().saturating_mul(patch_size),
            patch_size,
            width,
            layers: shapes.count("visual.transformer.resblocks.", ".ln_1.weight"),
            heads: (width / 64).max(1),
            mlp_width,
            activation,
        })
    } else {
        let [width, ..]: [usize; 4] = shapes.of("visual.layer1.0.conv1.weight")?;
        let [tokens, _] = shapes.of("visual.attnpool.positional_embedding")?;
        let layers = [1, 2, 3, 4]
            .map(|stage| shapes.count(&format!("visual.layer{stage}."), ".conv1.weight"));
        ImageTowerConfig::ModifiedResnet(ResNetConfig {
            image_size: tokens.saturating_sub(1).isqrt().saturating_mul(32),
            layers,
            width,
            heads: (width / 2).max(1),
        })
    };
    Ok(ClipConfig {
        name: name.into(),
        embed_dim,
        logit_scale: checkpoint.logit_scale.unwrap_or(100.0),
        preprocessing: Preprocessing::openai(pixels(image.image_size())),
        image,
        text: TextTowerConfig {
            context_length,
            vocabulary_size,
            width: text_width,
            layers: shapes.count("transformer.resblocks.", ".ln_1.weight"),
            heads: (text_width / 64).max(1),
            mlp_width,
            activation,
        },
    })
}

/// EfficientNet-Lite holds no text tower: the text side of the result is empty (no layers)
/// until a text tower is tuned against it.
fn infer_efficientnet(name: &str, shapes: &Shapes) -> Result<ClipConfig, ImportError> {
    const LITE: [(f64, f64, usize); 5] = [
        (1.0, 1.0, 224),
        (1.0, 1.1, 240),
        (1.1, 1.2, 260),
        (1.2, 1.4, 280),
        (1.4, 1.8, 300),
    ];
    let blocks = shapes.count("visual.blocks.", ".project.weight");
    let last = format!("visual.blocks.{}.project.weight", blocks.saturating_sub(1));
    let [width, ..]: [usize; 4] = shapes.of(&last)?;
    let config = LITE
        .into_iter()
        .map(|(width, depth, size)| EfficientNetLiteConfig::lite(width, depth, size))
        .find(|lite| {
            lite.stages.iter().map(|stage| stage.repeats).sum::<usize>() == blocks
                && lite
                    .stages
                    .last()
                    .is_some_and(|stage| stage.output == width)
        })
        .ok_or_else(|| ImportError::Configuration {
            file: name.into(),
            cause: format!(
                "{blocks} blocks ending in {width} channels are none of EfficientNet-Lite0 to Lite4"
            ),
        })?;
    Ok(ClipConfig {
        name: name.into(),
        embed_dim: config.head_width,
        logit_scale: 1.0,
        preprocessing: Preprocessing::efficientnet_lite(),
        image: ImageTowerConfig::EfficientnetLite(config),
        text: TextTowerConfig {
            context_length: 0,
            vocabulary_size: 0,
            width: 0,
            layers: 0,
            heads: 1,
            mlp_width: 0,
            activation: Activation::QuickGelu,
        },
    })
}

struct Shapes<'a> {
    tensors: &'a Tensors,
}

impl Shapes<'_> {
    fn of<const D: usize>(&self, name: &str) -> Result<[usize; D], ImportError> {
        let tensor = self
            .tensors
            .get(name)
            .ok_or_else(|| ImportError::Incomplete {
                present: self.tensors.keys().next().cloned().unwrap_or_default(),
                missing: name.into(),
            })?;
        tensor
            .shape
            .as_slice()
            .try_into()
            .map_err(|_| ImportError::Shape {
                name: name.into(),
                found: tensor.shape.clone(),
                fits: format!("a tensor of {D} dimensions"),
            })
    }

    fn count(&self, prefix: &str, suffix: &str) -> usize {
        self.tensors
            .keys()
            .filter(|name| {
                name.strip_prefix(prefix)
                    .and_then(|rest| rest.strip_suffix(suffix))
                    .is_some_and(|index| index.bytes().all(|byte| byte.is_ascii_digit()))
            })
            .count()
    }
}
