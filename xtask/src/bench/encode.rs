//! ViT-B/32's image tower on the CPU beside PyTorch's, in turns on one machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use clap::Args;

use super::child::Child;
use super::machine::{self, median};

/// Sizes of the matrix product that stands for the machine's own limit.
const PRODUCT: usize = 2048;

/// What `cargo xtask bench encode` takes.
#[derive(Args)]
pub struct Arguments {
    /// Numbers of images at once
    #[arg(long, value_delimiter = ',', default_values_t = [1, 8])]
    batches: Vec<usize>,
    /// Times that each is run, in turn
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// A Python with PyTorch; for --photos one with onnx, onnxruntime, pillow, numpy, safetensors
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,
    /// Instead: the compact model over this folder of photos, from file to feature, beside
    /// onnxruntime with the same network
    #[arg(long, value_name = "DIR")]
    photos: Option<PathBuf>,
}

/// Measures and prints.
///
/// # Errors
/// When the trainer does not build, or a program does not do its work.
pub fn run(root: &Path, arguments: Arguments) -> Result<()> {
    if let Some(photos) = arguments.photos {
        let python = arguments.python.unwrap_or_else(|| "python3".into());
        let photos = std::path::absolute(photos)?;
        return super::files::files(root, &photos, &python.to_string_lossy(), arguments.rounds);
    }
    let python = machine::python(arguments.python)?;
    let trainer = machine::trainer(root)?;
    println!("{}", machine::line(root));
    let [burn, torch] = machine::product_rates(&trainer, &python, root, [PRODUCT; 3])?;
    println!(
        "limit: a product of {PRODUCT}×{PRODUCT}×{PRODUCT} in f32 runs at {burn:.0} GFLOP/s in Burn, {torch:.0} in PyTorch"
    );
    println!(
        "ViT-B/32 image tower, random weights, f32; seconds a batch, medians of {}",
        arguments.rounds
    );
    println!("| batch | this project | PyTorch | ratio |");
    println!("|---|---|---|---|");
    for &batch in &arguments.batches {
        let size = ["--batch".to_owned(), batch.to_string()];
        let script = root.join("benches/reference/encode_torch.py");
        let mut ours = Child::start(
            Command::new(&trainer)
                .args(["time-step", "encode"])
                .args(&size),
        )?;
        let mut theirs = Child::start(Command::new(&python).arg(script).args(&size))?;
        let mut times: [Vec<f64>; 2] = Default::default();
        for round in 0..=arguments.rounds.max(1) {
            let pair = [ours.time()?.seconds, theirs.time()?.seconds];
            // The first of each is for caches and thread pools.
            if round > 0 {
                times[0].push(pair[0]);
                times[1].push(pair[1]);
            }
        }
        let [ours, theirs] = times.map(median);
        println!(
            "| {batch} | {ours:.3} | {theirs:.3} | {:.2} |",
            theirs / ours
        );
    }
    Ok(())
}
