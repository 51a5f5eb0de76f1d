//! `config.json` and `preprocessor_config.json` of Hugging Face `transformers`.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{ImportError, parse, pixels};
use crate::clip::config::{
    Activation, ClipConfig, ImageTowerConfig, LAYER_NORM_EPSILON, TextTowerConfig, VitConfig,
};
use crate::clip::preprocessing::Preprocessing;

const CONFIG: &str = "config.json";
const PREPROCESSOR: &str = "preprocessor_config.json";

/// What a channel's levels are divided by.
const LEVELS: f64 = 255.0;

/// PIL's number for bicubic.
const BICUBIC: u64 = 3;

/// Reads the `config.json` of a `transformers` CLIP model, and its `preprocessor_config.json`
/// where there is one.
///
/// Fields that are left out take the defaults of `CLIPConfig`. The older `text_config_dict` and
/// `vision_config_dict` overrule, field by field, what stands beside them; what they leave out stays
/// (`transformers` puts its defaults there).
///
/// # Errors
/// Not JSON, a field of another type, a model that is no CLIP, or a setting that this program
/// would compute differently.
pub fn transformers_config(
    name: &str,
    config: &str,
    preprocessor: Option<&str>,
) -> Result<ClipConfig, ImportError> {
    let mut stored: Map<String, Value> = parse(CONFIG, config)?;
    if let Some(kind) = stored.get("model_type").and_then(Value::as_str)
        && kind != "clip"
    {
        let cause = format!("it describes a model of the type `{kind}`, and only `clip` is known");
        return Err(ImportError::configuration(CONFIG, cause));
    }
    for tower in ["vision_config", "text_config"] {
        let overruling = stored.remove(&format!("{tower}_dict"));
        if let (Some(Value::Object(fields)), Some(over)) = (
            Some(stored.entry(tower).or_insert(Value::Object(Map::new()))),
            overruling.as_ref().and_then(Value::as_object),
        ) {
            fields.extend(over.clone());
        }
    }
    let stored: Stored = serde_json::from_value(Value::Object(stored))
        .map_err(|error| ImportError::configuration(CONFIG, error))?;
    let (vision, text) = (stored.vision_config, stored.text_config);
    for epsilon in [vision.layer_norm_eps, text.layer_norm_eps] {
        if (epsilon / LAYER_NORM_EPSILON - 1.0).abs() > 1e-3 {
            let cause =
                format!("layer_norm_eps is {epsilon:e}, and only {LAYER_NORM_EPSILON:e} is known");
            return Err(ImportError::configuration(CONFIG, cause));
        }
    }
    let preprocessing = match preprocessor {
        Some(json) => preprocessing(json)?,
        None => Preprocessing::openai(pixels(vision.image_size)),
    };
    Ok(ClipConfig {
        name: name.into(),
        embed_dim: stored.projection_dim,
        logit_scale: stored.logit_scale_init_value.exp(),
        preprocessing,
        image: ImageTowerConfig::Vit(VitConfig {
            image_size: vision.image_size,
            patch_size: vision.patch_size,
            width: vision.hidden_size,
            layers: vision.num_hidden_layers,
            heads: vision.num_attention_heads,
            mlp_width: vision.intermediate_size,
            activation: activation(&vision.hidden_act)?,
        }),
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

/// What `CLIPImageProcessor` does with an image, if it is what this program does: short side,
/// centre crop, values in 0..1, mean and deviation.
fn preprocessing(json: &str) -> Result<Preprocessing, ImportError> {
    let stored: Preprocessor = parse(PREPROCESSOR, json)?;
    let refuse = |cause: String| Err(ImportError::configuration(PREPROCESSOR, cause));
    // The newer name counts where both are given. The fields of other processors bear the same names
    // and mean other things: a plain number is both sides to ViT's.
    let kinds = [
        ("image_processor_type", &stored.image_processor_type),
        ("feature_extractor_type", &stored.feature_extractor_type),
    ];
    let kind = kinds
        .into_iter()
        .find_map(|(field, kind)| Some((field, kind.as_ref()?)));
    if let Some((field, kind)) = kind
        && !kind.starts_with("CLIP")
    {
        return refuse(format!(
            "{field} is {kind}, and only the fields of CLIP's own (CLIPImageProcessor) are known: put a CLIP model's file there, or take it away if images are to be prepared as for OpenAI's models"
        ));
    }
    for (step, done) in [
        ("do_resize", stored.do_resize),
        ("do_center_crop", stored.do_center_crop),
        ("do_rescale", stored.do_rescale),
        ("do_normalize", stored.do_normalize),
    ] {
        if !done {
            return refuse(format!("{step} is false, and this program always does it"));
        }
    }
    if stored.resample != BICUBIC {
        return refuse(format!(
            "resample is {}, and this program resizes with {BICUBIC} (bicubic)",
            stored.resample
        ));
    }
    if (stored.rescale_factor * LEVELS - 1.0).abs() > 1e-3 {
        return refuse(format!(
            "rescale_factor is {}, and this program divides by {LEVELS}",
            stored.rescale_factor
        ));
    }
    let openai = Preprocessing::openai(224);
    let size = match Side::read("crop_size", &stored.crop_size, openai.size)? {
        Side::Square(side) => side,
        Side::Box { height, width } if height == width => height,
        Side::Box { height, width } => {
            return refuse(format!("the crop of {width} × {height} is no square"));
        }
        Side::Short { shortest_edge } => shortest_edge,
    };
    let resize = match Side::read("size", &stored.size, openai.resize)? {
        Side::Square(side) => side,
        Side::Short { shortest_edge } => shortest_edge,
        Side::Box { height, width } => {
            return refuse(format!(
                "images are squeezed to {width} × {height}, and this program keeps their proportions"
            ));
        }
    };
    Ok(Preprocessing {
        size,
        resize,
        mean: stored.image_mean,
        std: stored.image_std,
    })
}

fn activation(name: &str) -> Result<Activation, ImportError> {
    match name {
        "quick_gelu" => Ok(Activation::QuickGelu),
        "gelu" => Ok(Activation::Gelu),
        other => {
            let cause = format!("unknown hidden_act `{other}`; known are quick_gelu and gelu");
            Err(ImportError::configuration(CONFIG, cause))
        }
    }
}

#[derive(Deserialize)]
struct Stored {
    #[serde(default = "default_projection")]
    projection_dim: usize,
    #[serde(
        default = "default_logit_scale",
        deserialize_with = "crate::single::one"
    )]
    logit_scale_init_value: f32,
    vision_config: Vision,
    text_config: Text,
}

/// Files on the hub leave out what equals the defaults of `CLIPVisionConfig`.
#[derive(Deserialize)]
#[serde(default)]
struct Vision {
    image_size: usize,
    patch_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    hidden_act: String,
    layer_norm_eps: f64,
}

impl Default for Vision {
    fn default() -> Self {
        Self {
            image_size: 224,
            patch_size: 32,
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            hidden_act: "quick_gelu".into(),
            layer_norm_eps: LAYER_NORM_EPSILON,
        }
    }
}

/// Files on the hub leave out what equals the defaults of `CLIPTextConfig`.
#[derive(Deserialize)]
#[serde(default)]
struct Text {
    max_position_embeddings: usize,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    hidden_act: String,
    layer_norm_eps: f64,
}

impl Default for Text {
    fn default() -> Self {
        Self {
            max_position_embeddings: 77,
            vocab_size: 49_408,
            hidden_size: 512,
            intermediate_size: 2048,
            num_hidden_layers: 12,
            num_attention_heads: 8,
            hidden_act: "quick_gelu".into(),
            layer_norm_eps: LAYER_NORM_EPSILON,
        }
    }
}

/// The defaults of `CLIPImageProcessor`.
#[derive(Deserialize)]
#[serde(default)]
struct Preprocessor {
    do_resize: bool,
    do_center_crop: bool,
    do_rescale: bool,
    rescale_factor: f64,
    do_normalize: bool,
    resample: u64,
    size: Value,
    crop_size: Value,
    image_processor_type: Option<String>,
    feature_extractor_type: Option<String>,
    #[serde(deserialize_with = "crate::single::three")]
    image_mean: [f32; 3],
    #[serde(deserialize_with = "crate::single::three")]
    image_std: [f32; 3],
}

impl Default for Preprocessor {
    fn default() -> Self {
        let openai = Preprocessing::openai(224);
        Self {
            do_resize: true,
            do_center_crop: true,
            do_rescale: true,
            rescale_factor: 1.0 / LEVELS,
            do_normalize: true,
            resample: BICUBIC,
            size: Value::Null,
            crop_size: Value::Null,
            image_processor_type: None,
            feature_extractor_type: None,
            image_mean: openai.mean,
            image_std: openai.std,
        }
    }
}

/// A size as `transformers` has written it over the years, in pixels.
enum Side {
    Square(u32),
    Short { shortest_edge: u32 },
    Box { height: u32, width: u32 },
}

impl Side {
    /// Reads what the field of this name holds; null is the default, as in `transformers`.
    fn read(field: &str, value: &Value, default: u32) -> Result<Self, ImportError> {
        let pixels = |value: &Value| value.as_u64().and_then(|side| u32::try_from(side).ok());
        let edge = |name: &str| pixels(value.get(name)?);
        // A bound on the long side would change the proportions of what comes out.
        let bounded = value
            .get("longest_edge")
            .is_some_and(|edge| !edge.is_null());
        let read = match (edge("shortest_edge"), edge("height"), edge("width")) {
            _ if value.is_null() => Some(Self::Square(default)),
            _ if value.is_number() => pixels(value).map(Self::Square),
            (Some(shortest_edge), None, None) if !bounded => Some(Self::Short { shortest_edge }),
            (None, Some(height), Some(width)) => Some(Self::Box { height, width }),
            _ => None,
        };
        read.ok_or_else(|| {
            ImportError::configuration(
                PREPROCESSOR,
                format!(
                    "{field} is {value}, and has to be a number of pixels, {{\"shortest_edge\": N}} or {{\"height\": N, \"width\": N}}"
                ),
            )
        })
    }
}

fn default_projection() -> usize {
    512
}

fn default_logit_scale() -> f32 {
    2.6592
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_fields_overrule_and_defaults_fill_in() {
        let config = r#"{
            "model_type": "clip", "projection_dim": 24,
            "vision_config": {"hidden_size": 7, "patch_size": 16},
            "vision_config_dict": {"hidden_size": 64, "num_attention_heads": 4},
            "text_config_dict": null
        }"#;
        let config = transformers_config("m", config, None).unwrap();
        let ImageTowerConfig::Vit(vit) = config.image else {
            panic!("no ViT")
        };
        assert_eq!((vit.width, vit.heads, vit.patch_size), (64, 4, 16));
        assert_eq!((config.text.width, config.embed_dim), (512, 24));
    }

    #[test]
    fn what_would_be_computed_differently_is_refused() {
        let says = |config: &str, preprocessor: Option<&str>| {
            let error = transformers_config("m", config, preprocessor).unwrap_err();
            error.to_string()
        };
        assert!(says(r#"{"model_type": "siglip"}"#, None).contains("siglip"));
        let epsilon = r#"{"vision_config": {"layer_norm_eps": 1e-6}}"#;
        assert!(says(epsilon, None).contains("layer_norm_eps"));
        let activation = r#"{"text_config": {"hidden_act": "swish"}}"#;
        assert!(says(activation, None).contains("swish"));
        for (preprocessor, named) in [
            (r#"{"resample": 2}"#, "resample"),
            (r#"{"do_center_crop": false}"#, "do_center_crop"),
            (r#"{"size": {"height": 224, "width": 224}}"#, "squeezed"),
            (r#"{"crop_size": {"height": 224, "width": 200}}"#, "square"),
            (r#"{"crop_size": {"longest_edge": 224}}"#, "crop_size is {"),
            (
                r#"{"size": {"shortest_edge": 224, "longest_edge": 300}}"#,
                "size is {",
            ),
            (r#"{"size": -1}"#, "size is -1"),
            (r#"{"do_rescale": false}"#, "do_rescale"),
            (r#"{"rescale_factor": 0.0078431}"#, "rescale_factor"),
            (
                r#"{"feature_extractor_type": "ViTFeatureExtractor", "size": 224}"#,
                "feature_extractor_type is ViTFeatureExtractor",
            ),
            (
                r#"{"image_processor_type": "ChineseCLIPImageProcessor",
                    "feature_extractor_type": "CLIPFeatureExtractor"}"#,
                "image_processor_type is Chinese",
            ),
        ] {
            let text = says("{}", Some(preprocessor));
            assert!(
                text.contains(named) && text.contains(PREPROCESSOR),
                "{text}"
            );
        }
    }

    #[test]
    fn preprocessing_is_read_as_it_was_ever_written() {
        for json in [
            r#"{"size": 256, "crop_size": 224, "image_mean": [0.5, 0.5, 0.5]}"#,
            r#"{"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224},
                "image_mean": [0.5, 0.5, 0.5]}"#,
            r#"{"size": 256, "crop_size": null, "image_mean": [0.5, 0.5, 0.5],
                "rescale_factor": 0.00392156862745098,
                "image_processor_type": "CLIPImageProcessorFast"}"#,
        ] {
            let read = preprocessing(json).unwrap();
            assert_eq!((read.resize, read.size), (256, 224));
            assert_eq!(read.mean, [0.5; 3]);
            assert_eq!(read.std, Preprocessing::openai(224).std);
        }
    }
}
