//! Where a checkpoint's configuration comes from: its `config.json`, its
//! `open_clip_config.json`, or the shapes of its tensors.

use serde::Deserialize;

use super::{Checkpoint, ImportError};
use crate::bundle::Tensors;
use crate::clip::config::{
    Activation, ClipConfig, EfficientNetLiteConfig, ImageTowerConfig, ResNetConfig,
    TextTowerConfig, VitConfig,
};
use crate::clip::preprocess::Preprocessing;

/// Reads the `config.json` of a `transformers` CLIP model.
///
/// # Errors
/// Not JSON, or a field that is missing or of another type.
pub fn transformers_config(name: &str, json: &str) -> Result<ClipConfig, ImportError> {
    let stored: TransformersConfig = parse("config.json", json)?;
    let (vision, text) = (stored.vision_config, stored.text_config);
    let image = ImageTowerConfig::Vit(VitConfig {
        image_size: vision.image_size,
        patch_size: vision.patch_size,
        width: vision.hidden_size,
        layers: vision.num_hidden_layers,
        heads: vision.num_attention_heads,
        mlp_width: vision.intermediate_size,
        activation: activation(&vision.hidden_act)?,
    });
    Ok(ClipConfig {
        name: name.into(),
        embed_dim: stored.projection_dim,
        logit_scale: stored.logit_scale_init_value.exp(),
        preprocessing: Preprocessing::openai(pixels(vision.image_size)),
        image,
        text: TextTowerConfig {
            context_length: text.max_position_embeddings,
            vocabulary_size: text.vocab_size,
            width: text.hidden_size,
            layers: text.num_hidden_layers,
            heads: text.num_attention_heads,
            mlp_width: text.intermediate_size,
            activation: activation(&text.hidden_act)?,
        },
    })
}

/// Reads an `open_clip_config.json` (or the bare model configuration of open_clip).
///
/// # Errors
/// Not JSON, or a field that is missing or of another type.
pub fn open_clip_config(name: &str, json: &str) -> Result<ClipConfig, ImportError> {
    const FILE: &str = "open_clip_config.json";
    let wrapped: OpenClipFile = parse(FILE, json)?;
    let stored = match wrapped {
        OpenClipFile::Hub { model_cfg } => model_cfg,
        OpenClipFile::Bare(model) => model,
    };
    let (vision, text) = (stored.vision_cfg, stored.text_cfg);
    let activation = if stored.quick_gelu {
        Activation::QuickGelu
    } else {
        Activation::Gelu
    };
    let image_size = vision.image_size;
    let image = match vision.layers {
        OpenClipLayers::Transformer(layers) => ImageTowerConfig::Vit(VitConfig {
            image_size,
            patch_size: vision
                .patch_size
                .ok_or_else(|| ImportError::Configuration {
                    file: FILE.into(),
                    cause: "vision_cfg has no patch_size".into(),
                })?,
            width: vision.width,
            layers,
            heads: vision.width.checked_div(vision.head_width).unwrap_or(0),
            mlp_width: (vision.width as f64 * vision.mlp_ratio) as usize,
            activation,
        }),
        OpenClipLayers::ResNet(layers) => ImageTowerConfig::ModifiedResnet(ResNetConfig {
            image_size,
            layers,
            width: vision.width,
            heads: (vision.width.saturating_mul(32))
                .checked_div(vision.head_width)
                .unwrap_or(0),
        }),
    };
    Ok(ClipConfig {
        name: name.into(),
        embed_dim: stored.embed_dim,
        logit_scale: 100.0,
        preprocessing: Preprocessing::openai(pixels(image_size)),
        image,
        text: TextTowerConfig {
            context_length: text.context_length,
            vocabulary_size: text.vocab_size,
            width: text.width,
            layers: text.layers,
            heads: text.heads,
            mlp_width: (text.width as f64 * text.mlp_ratio) as usize,
            activation,
        },
    })
}

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
            activation: Activation::QuickGelu,
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
            activation: Activation::QuickGelu,
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

/// A side that does not fit becomes one that [`ClipConfig::check`] refuses.
fn pixels(side: usize) -> u32 {
    u32::try_from(side).unwrap_or(u32::MAX)
}

fn parse<'a, T: Deserialize<'a>>(file: &str, json: &'a str) -> Result<T, ImportError> {
    serde_json::from_str(json).map_err(|error| ImportError::Configuration {
        file: file.into(),
        cause: error.to_string(),
    })
}

fn activation(name: &str) -> Result<Activation, ImportError> {
    match name {
        "quick_gelu" => Ok(Activation::QuickGelu),
        "gelu" => Ok(Activation::Gelu),
        other => Err(ImportError::Configuration {
            file: "config.json".into(),
            cause: format!("unknown hidden_act `{other}`; known are quick_gelu and gelu"),
        }),
    }
}

#[derive(Deserialize)]
struct TransformersConfig {
    #[serde(default = "default_projection")]
    projection_dim: usize,
    #[serde(default = "default_logit_scale")]
    logit_scale_init_value: f32,
    #[serde(default)]
    vision_config: TransformersVision,
    #[serde(default)]
    text_config: TransformersText,
}

/// Files on the hub leave out what equals the defaults of `CLIPVisionConfig`.
#[derive(Deserialize)]
#[serde(default)]
struct TransformersVision {
    image_size: usize,
    patch_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    hidden_act: String,
}

impl Default for TransformersVision {
    fn default() -> Self {
        Self {
            image_size: 224,
            patch_size: 32,
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            hidden_act: "quick_gelu".into(),
        }
    }
}

/// Files on the hub leave out what equals the defaults of `CLIPTextConfig`.
#[derive(Deserialize)]
#[serde(default)]
struct TransformersText {
    max_position_embeddings: usize,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    hidden_act: String,
}

impl Default for TransformersText {
    fn default() -> Self {
        Self {
            max_position_embeddings: 77,
            vocab_size: 49_408,
            hidden_size: 512,
            intermediate_size: 2048,
            num_hidden_layers: 12,
            num_attention_heads: 8,
            hidden_act: "quick_gelu".into(),
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OpenClipFile {
    Hub { model_cfg: OpenClipModel },
    Bare(OpenClipModel),
}

#[derive(Deserialize)]
struct OpenClipModel {
    embed_dim: usize,
    #[serde(default)]
    quick_gelu: bool,
    vision_cfg: OpenClipVision,
    text_cfg: OpenClipText,
}

#[derive(Deserialize)]
struct OpenClipVision {
    image_size: usize,
    layers: OpenClipLayers,
    width: usize,
    #[serde(default)]
    patch_size: Option<usize>,
    #[serde(default = "default_head_width")]
    head_width: usize,
    #[serde(default = "default_mlp_ratio")]
    mlp_ratio: f64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OpenClipLayers {
    Transformer(usize),
    ResNet([usize; 4]),
}

#[derive(Deserialize)]
struct OpenClipText {
    context_length: usize,
    vocab_size: usize,
    width: usize,
    heads: usize,
    layers: usize,
    #[serde(default = "default_mlp_ratio")]
    mlp_ratio: f64,
}

fn default_projection() -> usize {
    512
}

fn default_logit_scale() -> f32 {
    2.6592
}

fn default_head_width() -> usize {
    64
}

fn default_mlp_ratio() -> f64 {
    4.0
}
