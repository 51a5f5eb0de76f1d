//! The page and the command line say the same.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::stage::{Stage, encoded, noise, page, sample};
use tests::program::trainer;
use xtask::webdriver::Options;

/// Largest difference of scores.
const TOLERANCE: f64 = 1e-3;

/// What `trainer predict` says, one JSON object a photo.
pub fn predicted(bundle: &Path, method: &str, photos: &[PathBuf]) -> Vec<Value> {
    let output = Command::new(trainer())
        .args(["predict", "--device", "cpu", "--method", method, "--bundle"])
        .arg(bundle)
        .args(photos)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Holds the cards of `photos` against what `predict` says.
pub fn compare(stage: &Stage, photos: &[PathBuf], seconds: u64) {
    let expected = predicted(&page().join("bundle"), "negprompt", photos);
    stage.show(photos, seconds);
    agree(stage, photos, expected);
}

/// Holds the cards of `photos`, which are there, against what `predict` says.
pub fn agree(stage: &Stage, photos: &[PathBuf], expected: Vec<Value>) {
    for (photo, expected) in photos.iter().zip(expected) {
        let file = photo.file_name().unwrap().to_string_lossy();
        let card = stage.card(&file);
        let score: f64 = card["score"].as_str().unwrap().parse().unwrap();
        let difference = (score - expected["score"].as_f64().unwrap()).abs();
        assert!(
            difference < TOLERANCE,
            "{file}: {score} in the page, {expected}"
        );
        assert_eq!(card["verdict"], expected["verdict"], "{file}");
        assert_eq!(
            card["class"], expected["top5"][0]["class"],
            "{file}: {expected}"
        );
        let script = "return [...document.querySelector(`.card[data-file=\"${arguments[0]}\"]`).querySelectorAll('.top li span:first-child')].map((name) => name.textContent)";
        let top = stage.browser.run_with(script, serde_json::json!([file]));
        let wanted: Vec<&Value> = expected["top5"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| &entry["class"])
            .collect();
        assert_eq!(
            top.as_array().unwrap().iter().collect::<Vec<_>>(),
            wanted,
            "{file}"
        );
    }
}

#[test]
fn the_cpu_backend_agrees_with_predict() {
    let stage = Stage::ready(&Options::default());
    let samples = [
        "astronaut.jpg",
        "bricks.jpg",
        "cat.jpg",
        "coffee.jpg",
        "galaxies.jpg",
        "photographer.jpg",
        "rocket.jpg",
    ];
    let mut photos: Vec<PathBuf> = samples.map(sample).to_vec();
    // Sizes that are scaled up, down, and very unevenly.
    photos.push(stage.file(
        "small.png",
        &encoded(&noise(90, 61, 3), image::ImageFormat::Png),
    ));
    photos.push(stage.file(
        "large.jpg",
        &encoded(&noise(2400, 1600, 4), image::ImageFormat::Jpeg),
    ));
    photos.push(stage.file(
        "strip.webp",
        &encoded(&noise(1200, 40, 5), image::ImageFormat::WebP),
    ));
    compare(&stage, &photos, 120);
}
