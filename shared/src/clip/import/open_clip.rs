//! `open_clip_config.json`, as open_clip writes it beside its weights.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{ImportError, parse, pixels};
use crate::clip::config::{
    Activation, ClipConfig, ImageTowerConfig, ResNetConfig, TextTowerConfig, VitConfig,
};
use crate::clip::preprocessing::Preprocessing;

const FILE: &str = "open_clip_config.json";

/// Settings of the image and text side that change what is computed and leave no trace in the
/// tensors, with the only value that this program computes.
const KNOWN: [(&str, &str, &[&str]); 8] = [
    ("vision_cfg", "pool_type", &["tok"]),
    ("vision_cfg", "norm_kwargs", &[]),
    ("vision_cfg", "act_kwargs", &[]),
    ("text_cfg", "pool_type", &["argmax", "eos"]),
    ("text_cfg", "no_causal_mask", &["false"]),
    ("text_cfg", "norm_kwargs", &[]),
    ("text_cfg", "act_kwargs", &[]),
    ("text_cfg", "proj_type", &["linear"]),
];

/// Reads an `open_clip_config.json` (or the bare model configuration of open_clip). Fields that
/// are left out take the defaults of `CLIPVisionCfg` and `CLIPTextCfg`.
///
/// # Errors
/// Not JSON, a field that is missing or of another type, or a setting that this program would
/// compute differently.
pub fn open_clip_config(name: &str, json: &str) -> Result<ClipConfig, ImportError> {
    let mut file: Map<String, Value> = parse(FILE, json)?;
    let preprocessing = file.remove("preprocess_cfg");
    let model = match file.remove("model_cfg") {
        Some(Value::Object(model)) => model,
        Some(_) => return refuse("model_cfg is no object".into()),
        None => file,
    };
    check_known(&model)?;
    let stored: Model = from_value(Value::Object(model))?;
    let (vision, text) = (stored.vision_cfg, stored.text_cfg);
    let activation = if stored.quick_gelu {
        Activation::QuickGelu
    } else {
        Activation::Gelu
    };
    let image_size = vision.image_size;
    let image = match vision.layers {
        Layers::Transformer(layers) => ImageTowerConfig::Vit(VitConfig {
            image_size,
            // Zero is refused with the other numbers that no tower can have.
            patch_size: vision.patch_size.unwrap_or(0),
            width: vision.width,
            layers,
            heads: vision.width.checked_div(vision.head_width).unwrap_or(0),
            mlp_width: (vision.width as f64 * vision.mlp_ratio) as usize,
            activation,
        }),
        Layers::ResNet(layers) => ImageTowerConfig::ModifiedResnet(ResNetConfig {
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
        preprocessing: match preprocessing {
            None | Some(Value::Null) => Preprocessing::openai(pixels(image_size)),
            Some(stored) => from_value::<Preprocess>(stored)?.read(pixels(image_size))?,
        },
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

/// Fails on towers of other makes, and on settings that would go unnoticed.
fn check_known(model: &Map<String, Value>) -> Result<(), ImportError> {
    let set = |side: &str, field: &str| {
        let value = model.get(side)?.get(field)?;
        let empty = value.as_object().is_some_and(Map::is_empty);
        (!value.is_null() && !empty).then(|| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    };
    for (side, field) in [
        ("vision_cfg", "timm_model_name"),
        ("text_cfg", "hf_model_name"),
    ] {
        if let Some(tower) = set(side, field) {
            return refuse(format!(
                "its {side} is `{tower}`, a tower that is none of CLIP's own: use a checkpoint with a ViT or ModifiedResNet and CLIP's text transformer"
            ));
        }
    }
    for (side, field, known) in KNOWN {
        if let Some(value) = set(side, field)
            && !known.contains(&value.as_str())
        {
            return refuse(format!(
                "{side}.{field} is {value}, which this program would compute differently: use another checkpoint"
            ));
        }
    }
    Ok(())
}

fn refuse<T>(cause: String) -> Result<T, ImportError> {
    Err(ImportError::configuration(FILE, cause))
}

fn from_value<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, ImportError> {
    serde_json::from_value(value).map_err(|error| ImportError::configuration(FILE, error))
}

#[derive(Deserialize)]
struct Model {
    embed_dim: usize,
    #[serde(default)]
    quick_gelu: bool,
    vision_cfg: Vision,
    text_cfg: Text,
}

#[derive(Deserialize)]
#[serde(default)]
struct Vision {
    image_size: usize,
    layers: Layers,
    width: usize,
    /// Null for a ModifiedResNet.
    patch_size: Option<usize>,
    head_width: usize,
    mlp_ratio: f64,
}

impl Default for Vision {
    fn default() -> Self {
        Self {
            image_size: 224,
            layers: Layers::Transformer(12),
            width: 768,
            patch_size: Some(16),
            head_width: 64,
            mlp_ratio: 4.0,
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Layers {
    Transformer(usize),
    ResNet([usize; 4]),
}

#[derive(Deserialize)]
#[serde(default)]
struct Text {
    context_length: usize,
    vocab_size: usize,
    width: usize,
    heads: usize,
    layers: usize,
    mlp_ratio: f64,
}

impl Default for Text {
    fn default() -> Self {
        Self {
            context_length: 77,
            vocab_size: 49_408,
            width: 512,
            heads: 8,
            layers: 12,
            mlp_ratio: 4.0,
        }
    }
}

/// What open_clip does with an image; the size is the model's.
#[derive(Deserialize)]
#[serde(default)]
struct Preprocess {
    #[serde(deserialize_with = "crate::single::three")]
    mean: [f32; 3],
    #[serde(deserialize_with = "crate::single::three")]
    std: [f32; 3],
    interpolation: String,
    resize_mode: String,
}

impl Default for Preprocess {
    fn default() -> Self {
        let openai = Preprocessing::openai(224);
        Self {
            mean: openai.mean,
            std: openai.std,
            interpolation: "bicubic".into(),
            resize_mode: "shortest".into(),
        }
    }
}

impl Preprocess {
    fn read(self, size: u32) -> Result<Preprocessing, ImportError> {
        for (field, value, known) in [
            ("interpolation", &self.interpolation, "bicubic"),
            ("resize_mode", &self.resize_mode, "shortest"),
        ] {
            if value != known {
                return refuse(format!(
                    "preprocess_cfg.{field} is {value}, and this program does {known}: use another checkpoint"
                ));
            }
        }
        Ok(Preprocessing {
            mean: self.mean,
            std: self.std,
            ..Preprocessing::openai(size)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_configurations_are_read() {
        // LAION's ViT-H/14 has heads of 80, EVA's sizes of ViT-g/14 a ratio that is no whole number.
        let huge = r#"{"model_cfg": {"embed_dim": 1024,
            "vision_cfg": {"image_size": 224, "layers": 32, "width": 1280, "head_width": 80, "patch_size": 14},
            "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 1024, "heads": 16, "layers": 24}},
            "preprocess_cfg": {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.5, 0.5, 0.5]}}"#;
        let config = open_clip_config("huge", huge).unwrap();
        let ImageTowerConfig::Vit(vit) = &config.image else {
            panic!("no ViT")
        };
        assert_eq!((vit.heads, vit.mlp_width, vit.layers), (16, 5120, 32));
        assert_eq!(vit.activation, Activation::Gelu);
        assert_eq!(config.preprocessing.std, [0.5; 3]);

        let giant = r#"{"embed_dim": 1024, "quick_gelu": true,
            "vision_cfg": {"layers": 40, "width": 1408, "head_width": 88, "mlp_ratio": 4.3637, "patch_size": 14},
            "text_cfg": {}}"#;
        let config = open_clip_config("giant", giant).unwrap();
        let ImageTowerConfig::Vit(vit) = &config.image else {
            panic!("no ViT")
        };
        assert_eq!((vit.heads, vit.mlp_width, vit.image_size), (16, 6144, 224));
        assert_eq!((config.text.layers, config.text.mlp_width), (12, 2048));
    }

    #[test]
    fn what_would_be_computed_differently_is_refused() {
        for (vision, text, preprocess, named) in [
            (r#""timm_model_name": "vit_base""#, "", "", "vit_base"),
            ("", r#""hf_model_name": "roberta-base""#, "", "roberta-base"),
            (r#""pool_type": "avg""#, "", "", "vision_cfg.pool_type"),
            ("", r#""no_causal_mask": true"#, "", "no_causal_mask"),
            ("", r#""norm_kwargs": {"eps": 1e-6}"#, "", "norm_kwargs"),
            ("", "", r#""resize_mode": "squash""#, "resize_mode"),
            ("", "", r#""interpolation": "bilinear""#, "interpolation"),
        ] {
            let json = format!(
                r#"{{"model_cfg": {{"embed_dim": 512, "vision_cfg": {{{vision}}}, "text_cfg": {{{text}}}}}, "preprocess_cfg": {{{preprocess}}}}}"#
            );
            let error = open_clip_config("m", &json).unwrap_err().to_string();
            assert!(error.contains(named) && error.contains(FILE), "{error}");
        }
        let harmless = r#"{"embed_dim": 512, "vision_cfg": {"pool_type": "tok", "timm_model_name": null},
            "text_cfg": {"norm_kwargs": {}, "no_causal_mask": false, "pool_type": "argmax"}}"#;
        open_clip_config("m", harmless).unwrap();
    }
}
