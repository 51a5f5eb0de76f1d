//! `trainer import`: a published checkpoint → a model directory.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use burn::tensor::Device;
use clap::Args;
use shared::bundle::{Precision, Tensors, decode_tensors, encode_tensors, generated_pixels};
use shared::clip::{ClipConfig, ImageTower, TextTower, Tokenizer, Weights};

use crate::checkpoint::{self, LoadedCheckpoint};
use crate::features::forward_pixels;
use crate::model::{self, ModelContent};
use crate::output::shown;
use crate::progress::say;

/// Turn a published checkpoint into a model directory.
///
/// Takes CLIP checkpoints of `transformers` (a directory with config.json and model.safetensors),
/// state dicts of OpenAI's models and open_clip (.pt, .bin, .safetensors, with
/// open_clip_config.json beside them where there is one), and EfficientNet-Lite (.pth), which has
/// an image tower only and gets a text tower by `trainer lit`. Pickle files are read without
/// being executed.
#[derive(Args, Debug)]
pub struct ImportArguments {
    /// The checkpoint: a file, or a directory with the weights and their configuration
    #[arg(value_name = "CHECKPOINT")]
    pub checkpoint: PathBuf,

    /// The model directory to write
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,

    /// How to keep the weights: f32, f16 or int8 (per channel)
    #[arg(long, default_value = "f16", value_name = "f32|f16|int8")]
    pub precision: Precision,

    /// Name of the model in tables and reports [default: the checkpoint's own file name]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}

/// Runs `trainer import`.
pub fn run(arguments: ImportArguments) -> Result<()> {
    let name = arguments
        .name
        .clone()
        .unwrap_or_else(|| name_of(&arguments.checkpoint));
    let loaded = checkpoint::load(&arguments.checkpoint, &name)?;
    let device = Device::flex();
    let of = || shown(&arguments.checkpoint);
    // Every tensor is checked against the configuration before anything is written.
    let tower =
        ImageTower::load(&loaded.checkpoint.tensors, &loaded.config, &device).with_context(of)?;
    let has_text = loaded.config.text.layers > 0;
    if has_text {
        let weights = Weights::new(&loaded.checkpoint.tensors, &device);
        TextTower::load(&weights, &loaded.config.text, loaded.config.embed_dim).with_context(of)?;
    }
    let vocabulary = has_text.then(|| vocabulary(&loaded)).transpose()?.flatten();
    let loss = precision_loss(&tower, &loaded, arguments.precision, &device)?;
    drop(tower);

    let card = card(&loaded, arguments.precision, loss);
    let LoadedCheckpoint {
        config, checkpoint, ..
    } = loaded;
    let classifier = checkpoint.classifier.map(|classifier| {
        Tensors::from([
            ("weight".to_owned(), classifier.weight),
            ("bias".to_owned(), classifier.bias),
        ])
    });
    model::write(
        &arguments.out,
        ModelContent {
            config: &config,
            tensors: checkpoint.tensors,
            precision: arguments.precision,
            vocabulary,
            words: None,
            classifier,
            card: &card,
        },
    )?;
    say(&format!(
        "{}: {} ({}), image features change by {:.2} % through it",
        shown(&arguments.out),
        config.name,
        arguments.precision,
        loss * 100.0
    ));
    if !has_text {
        say("it has an image tower only; `trainer lit` gives it a text tower");
    } else if vocabulary.is_none() {
        say(&format!(
            "note: its text tower has {} tokens, which are not OpenAI's: images can be encoded, prompts cannot until its merges lie in {}",
            config.text.vocabulary_size,
            arguments.out.join(model::VOCABULARY_FILE).display()
        ));
    }
    Ok(())
}

fn name_of(path: &Path) -> String {
    let name = if path.is_dir() {
        path.file_name()
    } else {
        path.file_stem()
    };
    name.map_or_else(
        || "CLIP".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}

/// OpenAI's merges, if they are what the text tower was trained with.
fn vocabulary(loaded: &LoadedCheckpoint) -> Result<Option<&'static str>> {
    let openai = Tokenizer::openai()?;
    let fits = openai.vocabulary_size() == loaded.config.text.vocabulary_size;
    Ok(fits.then(Tokenizer::openai_merges))
}

/// How far the image features of generated pixels move when the weights are kept in `precision`:
/// the norm of the difference over the norm, the larger of two images.
fn precision_loss(
    tower: &ImageTower,
    loaded: &LoadedCheckpoint,
    precision: Precision,
    device: &Device,
) -> Result<f64> {
    let image: Tensors = loaded
        .checkpoint
        .tensors
        .iter()
        .filter(|(name, _)| name.starts_with("visual."))
        .map(|(name, tensor)| (name.clone(), tensor.clone()))
        .collect();
    let kept = decode_tensors(model::IMAGE_FILE, &encode_tensors(&image, precision)?)?;
    let kept = ImageTower::load(&kept, &loaded.config, device)?;
    let exact = generated_features(tower, &loaded.config, device)?;
    let moved = generated_features(&kept, &loaded.config, device)?;
    let loss = exact
        .chunks_exact(loaded.config.embed_dim.max(1))
        .zip(moved.chunks_exact(loaded.config.embed_dim.max(1)))
        .map(|(exact, moved)| relative_difference(exact, moved))
        .fold(0.0, f64::max);
    Ok(loss)
}

/// Features of two generated images, `[2, embed_dim]`.
fn generated_features(
    tower: &ImageTower,
    config: &ClipConfig,
    device: &Device,
) -> Result<Vec<f32>> {
    let size = config.preprocessing.size as usize;
    let pixels = [1, 2]
        .iter()
        .flat_map(|&seed| generated_pixels(seed, size))
        .collect();
    forward_pixels(tower, &config.preprocessing, device, pixels, 2)
}

/// `|a - b| / |a|` over two vectors.
pub fn relative_difference(a: &[f32], b: &[f32]) -> f64 {
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    let difference = square(&mut a.iter().zip(b).map(|(a, b)| f64::from(a - b)));
    let length = square(&mut a.iter().map(|&a| f64::from(a)));
    (difference / length.max(f64::MIN_POSITIVE)).sqrt()
}

fn card(loaded: &LoadedCheckpoint, precision: Precision, loss: f64) -> String {
    let config = &loaded.config;
    let files: Vec<_> = loaded
        .files
        .iter()
        .filter_map(|file| file.file_name())
        .map(|name| format!("`{}`", name.to_string_lossy()))
        .collect();
    let parameters: usize = loaded
        .checkpoint
        .tensors
        .values()
        .map(|tensor| tensor.values.len())
        .sum();
    let text = if config.text.layers > 0 {
        format!(
            "{} layers, width {}, {} tokens",
            config.text.layers, config.text.width, config.text.vocabulary_size
        )
    } else {
        "none".to_owned()
    };
    format!(
        "# {}\n\nImported by `trainer import` from {}.\n\n\
         | | |\n|---|---|\n| parameters | {parameters} |\n| precision | {precision} |\n\
         | cost of the precision | image features move by {:.3} % |\n| joint width | {} |\n\
         | logit scale | {:.4} |\n| image size | {} pixels |\n| text tower | {text} |\n\n\
         The licence, the training data and the limits of this model are those of the checkpoint.\n",
        config.name,
        files.join(", "),
        loss * 100.0,
        config.embed_dim,
        config.logit_scale,
        config.image.image_size(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_relative_to_the_first() {
        assert_eq!(relative_difference(&[3.0, 4.0], &[3.0, 4.0]), 0.0);
        assert!((relative_difference(&[3.0, 4.0], &[3.0, 3.0]) - 0.2).abs() < 1e-9);
    }
}
