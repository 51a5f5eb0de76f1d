//! Scoring many image features against k(1 + p) text features, beside the bare matrix product.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use clap::Args;

use super::child::Child;
use super::machine::{self, median};

const NEGATIVES: usize = 2;
/// Joint width.
const WIDTH: usize = 512;
/// Times that the scoring is timed.
const RUNS: usize = 7;

/// What `cargo xtask bench score` takes.
#[derive(Args)]
pub struct Arguments {
    /// Numbers of classes
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1000, 10_000])]
    classes: Vec<usize>,
    /// Image features
    #[arg(long, default_value_t = 5000)]
    images: usize,
    /// A Python with PyTorch
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,
}

/// Measures and prints.
///
/// # Errors
/// When the trainer does not build, or a program does not do its work.
pub fn run(root: &Path, arguments: Arguments) -> Result<()> {
    let trainer = machine::trainer(root)?;
    let python = machine::python(arguments.python)?;
    println!("{}", machine::line(root));
    println!(
        "{} image features of width {WIDTH}, NegPrompt's score, p = {NEGATIVES}",
        arguments.images
    );
    for classes in arguments.classes {
        let shape = [arguments.images, classes * (1 + NEGATIVES), WIDTH];
        let [burn, torch] = machine::product_rates(&trainer, &python, root, shape)?;
        let mut score = Child::start(
            Command::new(&trainer)
                .args(["time-step", "score", "--classes", &classes.to_string()])
                .args(["--negatives", &NEGATIVES.to_string()])
                .args(["--images", &arguments.images.to_string()]),
        )?;
        score.time()?;
        let mut times = Vec::new();
        for _ in 0..RUNS {
            times.push(score.time()?.seconds);
        }
        let seconds = median(times);
        let operations = 2.0 * shape.map(|size| size as f64).iter().product::<f64>();
        let rate = operations / seconds / 1e9;
        println!(
            "k={classes} seconds {seconds:.4} gflops {rate:.0} product-in-burn {burn:.0} product-in-torch {torch:.0} share {:.2}",
            rate / burn
        );
    }
    Ok(())
}
