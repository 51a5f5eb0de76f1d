//! Images a second from file to feature, beside onnxruntime with the same network.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::run;

/// What Python needs for the comparison.
const PACKAGES: &str = "onnx onnxruntime pillow numpy safetensors";

/// Runs `trainer encode` with the compact model and the same network in onnxruntime over a folder of
/// photos in turn, `rounds` times, and prints the median images a second of both.
///
/// # Errors
/// When Python or one of its packages is missing, or one of the two fails.
pub fn files(root: &Path, photos: &Path, python: &str, rounds: usize) -> Result<()> {
    run::show(
        run::cargo()
            .current_dir(root)
            .args(["build", "--release", "--package", "trainer"]),
    )?;
    let (mut ours, mut files, mut network) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds.max(1) {
        ours.push(time_trainer(root, photos)?);
        let theirs = time_runtime(root, photos, python)?;
        files.push(rate(&theirs["files"])?);
        let batches = theirs["network"].as_object().context("no network timing")?;
        let best = batches.values().filter_map(Value::as_f64);
        network.push(best.fold(0.0, f64::max));
    }
    let [ours, files, network] = [ours, files, network].map(median);
    println!("images a second, medians of {rounds}, the compact model's image tower:");
    println!("  trainer encode, file to feature on disk   {ours:>8.1}");
    println!("  onnxruntime, file to feature (Pillow)     {files:>8.1}");
    println!("  onnxruntime, the network alone            {network:>8.1}");
    println!(
        "encode: ratio {:.2} to onnxruntime from files, {:.2} to its network alone",
        ours / files,
        ours / network
    );
    Ok(())
}

fn time_trainer(root: &Path, photos: &Path) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("features.safetensors");
    let mut command = Command::new(run::target_folder(root).join("release/trainer"));
    command
        .current_dir(root)
        .args(["encode", "--device", "cpu"]);
    command.arg("--model").arg("models/compact");
    command.arg("--data").arg(photos).arg("--out").arg(&out);
    let since = Instant::now();
    let output = command.output().context("trainer cannot be started")?;
    let seconds = since.elapsed().as_secs_f64();
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr));
    }
    let bytes = std::fs::read(&out)?;
    let tensors = safetensors::SafeTensors::deserialize(&bytes)?;
    Ok(tensors.tensor("features")?.shape()[0] as f64 / seconds)
}

fn time_runtime(root: &Path, photos: &Path, python: &str) -> Result<Value> {
    let mut command = Command::new(python);
    command
        .current_dir(root)
        .arg("benches/reference/encode_onnxruntime.py")
        .arg("models/compact")
        .arg(photos);
    let output = command
        .output()
        .with_context(|| format!("`{python}` cannot be started; name another with --python"))?;
    if !output.status.success() {
        bail!(
            "{}\nIt needs: {python} -m pip install {PACKAGES}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    serde_json::from_slice(&output.stdout).context("the script printed no JSON")
}

fn rate(value: &Value) -> Result<f64> {
    value.as_f64().context("a rate is missing")
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
