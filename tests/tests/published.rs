//! OpenAI's own example, where its checkpoint is on this machine: the README of openai/CLIP gives
//! what ViT-B/32 makes of `CLIP.png`.
//!
//! `NEGPROMPT_CLIP_CHECKPOINT` is what `trainer import` takes (a folder or file with the weights of
//! ViT-B/32, or `openai/clip-vit-base-patch32` where there is a network), `NEGPROMPT_CLIP_IMAGE` the
//! path of that repository's `CLIP.png`. Without them the test says that it checked nothing.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use burn::tensor::{Device, Tensor, TensorData};
use shared::bundle::{Tensors, decode_tensors};
use shared::clip::preprocess::{DecodeLimits, decode, preprocess};
use shared::clip::{ClipConfig, ImageTower, TextTower, Tokenizer, Weights, normalize};
use tests::program;

const CHECKPOINT: &str = "NEGPROMPT_CLIP_CHECKPOINT";
const IMAGE: &str = "NEGPROMPT_CLIP_IMAGE";

/// Of the README, on a GPU in half precision.
const EXPECTED: [(&str, f32); 3] = [
    ("a diagram", 0.9927937),
    ("a dog", 0.00421068),
    ("a cat", 0.00299572),
];
const TOLERANCE: f32 = 2e-3;

#[test]
fn the_published_example_comes_out_as_published() {
    let (Some(checkpoint), Some(image)) = (std::env::var_os(CHECKPOINT), std::env::var_os(IMAGE))
    else {
        // Written past the test harness, which keeps a passing test's output to itself.
        let message = format!(
            "published: NOT CHECKED, as {CHECKPOINT} and {IMAGE} name no checkpoint of ViT-B/32 and no CLIP.png\n"
        );
        let written = std::io::stderr().write_all(message.as_bytes());
        written.expect("standard error");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let model = folder.path().join("model");
    let imported = Command::new(program::trainer())
        .args(["import", "--precision", "f32", "--out"])
        .args([model.as_os_str(), &checkpoint])
        .status()
        .expect("the trainer runs");
    assert!(imported.success());

    let device = Device::flex();
    let config = std::fs::read(model.join("config.json")).expect("a configuration");
    let config: ClipConfig = serde_json::from_slice(&config).expect("a configuration");
    let image = std::fs::read(image).expect("the image");
    let image = decode(&image, &DecodeLimits::default()).expect("an image");
    let size = config.preprocessing.size as usize;
    let pixels = preprocess(&image, &config.preprocessing);
    let pixels = Tensor::<4>::from_data(TensorData::new(pixels, [1, 3, size, size]), &device);
    let tower = ImageTower::load(&tensors(&model, "image.safetensors"), &config, &device);
    let image = normalize(tower.expect("an image tower").forward(pixels));

    let text = tensors(&model, "text.safetensors");
    let text = TextTower::load(
        &Weights::new(&text, &device),
        &config.text,
        config.embed_dim,
    );
    let tokenizer = Tokenizer::openai().expect("OpenAI's vocabulary");
    let prompts: Vec<Vec<u32>> = EXPECTED
        .iter()
        .map(|(text, _)| tokenizer.tokenize(text, config.text.context_length))
        .collect();
    let text = normalize(text.expect("a text tower").forward(&prompts));
    let logits = (image.matmul(text.transpose()) * config.logit_scale).into_data();
    let logits = logits.try_into_vec::<f32>().expect("numbers");
    let largest = logits.iter().copied().fold(f32::MIN, f32::max);
    let exponentials: Vec<f32> = logits.iter().map(|logit| (logit - largest).exp()).collect();
    let sum: f32 = exponentials.iter().sum();
    for ((text, expected), exponential) in EXPECTED.iter().zip(exponentials) {
        let probability = exponential / sum;
        println!("{text}: {probability}, published {expected}");
        assert!((probability - expected).abs() <= TOLERANCE, "{text}");
    }
}

fn tensors(model: &Path, file: &str) -> Tensors {
    let bytes = std::fs::read(model.join(file)).expect("weights");
    decode_tensors(file, &bytes).expect("weights")
}
