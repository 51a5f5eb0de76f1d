//! The configuration of a checkpoint that comes without one, from the shapes of its tensors.

use super::{Checkpoint, ImportError, pixels};
use crate::bundle::Tensors;
use crate::clip::config::{
    Activation, ClipConfig, EfficientNetLiteConfig, ImageTowerConfig, ResNetConfig,
    TextTowerConfig, VitConfig,
};
use crate::clip::preprocessing::Preprocessing;

/// Image towers whose heads are not of 64 channels: width, channels a head, and the name. Nothing in
/// the tensors shows it.
const OTHER_HEADS: [(usize, usize, &str); 4] = [
    (1280, 80, "ViT-H"),
    (1408, 88, "ViT-g"),
    (1664, 104, "ViT-bigG"),
    (1792, 112, "ViT-e"),
];

/// Infers the configuration from the shapes, as OpenAI's `build_model` does: heads are `width / 64`,
/// and the activation is QuickGELU unless the names of the tensors told of another
/// ([`Checkpoint::activation`]). An EfficientNet-Lite has only its image side inferred, see below.
///
/// # Errors
/// A tensor that the inference needs is missing or of another number of dimensions, there is no text
/// tower, an EfficientNet of no known size, or an image tower of a width that in known models goes
/// with heads of another size.
pub fn infer_config(name: &str, checkpoint: &Checkpoint) -> Result<ClipConfig, ImportError> {
    let shapes = Shapes {
        tensors: &checkpoint.tensors,
    };
    if checkpoint.tensors.contains_key("visual.stem.weight") {
        return infer_efficientnet(name, &shapes);
    }
    if !checkpoint.tensors.contains_key("token_embedding.weight") {
        return Err(ImportError::configuration(
            name,
            "it holds no text tower of CLIP's own (no `token_embedding.weight`): import a whole CLIP model, image and text tower; if this should be one, it is cut short, fetch it again",
        ));
    }
    let activation = checkpoint.activation.unwrap_or_default();
    let [context_length, text_width] = shapes.of("positional_embedding")?;
    let [vocabulary_size, _] = shapes.of("token_embedding.weight")?;
    let [_, embed_dim] = shapes.of("text_projection")?;
    let [mlp_width, _] = shapes.of("transformer.resblocks.0.mlp.c_fc.weight")?;
    let image = if checkpoint.tensors.contains_key("visual.proj") {
        let [width, _, patch_size, _] = shapes.of("visual.conv1.weight")?;
        if let Some((_, channels, model)) = OTHER_HEADS.iter().find(|(known, ..)| *known == width) {
            return Err(ImportError::configuration(
                name,
                format!(
                    "no configuration lies beside the weights, and an image tower of width {width} ({model}) has heads of {channels} channels, not of 64 as OpenAI's: put the model's open_clip JSON beside it as open_clip_config.json"
                ),
            ));
        }
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
    let blocks = shapes.count("visual.blocks.", ".project.weight");
    let last = format!("visual.blocks.{}.project.weight", blocks.saturating_sub(1));
    let [width, ..]: [usize; 4] = shapes.of(&last)?;
    let config = EfficientNetLiteConfig::family()
        .into_iter()
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
        preprocessing: Preprocessing::efficientnet_lite(pixels(config.image_size)),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::TensorValues;

    /// Names and shapes of a small model with an image tower of this width; nothing reads values.
    fn checkpoint(width: usize, activation: Option<Activation>) -> Checkpoint {
        let shapes: [(&str, &[usize]); 9] = [
            ("positional_embedding", &[77, 128]),
            ("token_embedding.weight", &[49_408, 128]),
            ("text_projection", &[128, 96]),
            ("transformer.resblocks.0.mlp.c_fc.weight", &[512, 128]),
            ("transformer.resblocks.0.ln_1.weight", &[128]),
            ("visual.proj", &[width, 96]),
            ("visual.conv1.weight", &[width, 3, 16, 16]),
            ("visual.positional_embedding", &[197, width]),
            (
                "visual.transformer.resblocks.0.mlp.c_fc.weight",
                &[4 * width, width],
            ),
        ];
        let tensors = shapes.map(|(name, shape)| {
            let tensor = TensorValues {
                shape: shape.to_vec(),
                values: Vec::new(),
            };
            (name.to_owned(), tensor)
        });
        Checkpoint {
            tensors: Tensors::from(tensors),
            logit_scale: None,
            no_text: None,
            activation,
            classifier: None,
        }
    }

    #[test]
    fn the_activation_is_what_the_names_told() {
        for (told, inferred) in [
            (None, Activation::QuickGelu),
            (Some(Activation::Gelu), Activation::Gelu),
        ] {
            let config = infer_config("m", &checkpoint(192, told)).unwrap();
            let ImageTowerConfig::Vit(vit) = &config.image else {
                panic!("{config:?}")
            };
            assert_eq!(vit.activation, inferred);
            assert_eq!(config.text.activation, inferred);
            assert_eq!((vit.heads, config.text.heads, vit.image_size), (3, 2, 224));
        }
    }

    #[test]
    fn widths_of_models_with_other_heads_are_refused() {
        for (width, channels, model) in OTHER_HEADS {
            let error = infer_config("m", &checkpoint(width, None)).unwrap_err();
            let text = error.to_string();
            for part in [model, &channels.to_string(), "open_clip_config.json"] {
                assert!(text.contains(part), "{text}");
            }
        }
    }

    #[test]
    fn every_lite_is_told_by_its_blocks_and_fits_its_own_preprocessing() {
        let sides = [(224, 256), (240, 272), (260, 292), (280, 312), (300, 332)];
        for (lite, (size, resize)) in EfficientNetLiteConfig::family().into_iter().zip(sides) {
            let blocks = lite.stages.iter().map(|stage| stage.repeats).sum();
            let width = lite.stages.last().unwrap().output;
            let names = (0..blocks).map(|block| format!("visual.blocks.{block}.project.weight"));
            let tensor = TensorValues {
                shape: vec![width, 6 * width, 1, 1],
                values: Vec::new(),
            };
            let tensors: Tensors = names
                .chain(["visual.stem.weight".to_owned()])
                .map(|name| (name, tensor.clone()))
                .collect();
            let checkpoint = Checkpoint {
                tensors,
                logit_scale: None,
                no_text: None,
                activation: None,
                classifier: None,
            };
            let config = infer_config("m", &checkpoint).unwrap();
            config.check().unwrap();
            let (crop, short) = (config.preprocessing.size, config.preprocessing.resize);
            assert_eq!((crop, short), (size, resize));
            assert_eq!(config.image, ImageTowerConfig::EfficientnetLite(lite));
        }
    }

    #[test]
    fn an_image_tower_alone_is_not_called_damaged_only() {
        let mut checkpoint = checkpoint(192, None);
        checkpoint.tensors.remove("token_embedding.weight");
        let text = infer_config("m", &checkpoint).unwrap_err().to_string();
        assert!(text.contains("no text tower of CLIP's own"), "{text}");
    }
}
