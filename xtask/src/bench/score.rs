//! Scoring many image features against k(1 + p) text features, beside the bare matrix product.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use clap::Args;

use serde_json::json;

use super::child::Child;
use super::machine::{self, median};
use crate::serve::Server;
use crate::webdriver::{Browser, Options};
use crate::{page, run};

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
    /// In headless Chromium, on one thread of WASM, instead of natively
    #[arg(long)]
    browser: bool,
    /// A Python with PyTorch
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,
}

/// Measures and prints.
///
/// # Errors
/// When the trainer does not build, or a program does not do its work.
pub fn run(root: &Path, arguments: Arguments) -> Result<()> {
    if arguments.browser {
        return in_browser(root, &arguments);
    }
    let python = machine::python(arguments.python)?;
    let trainer = machine::trainer(root)?;
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

/// The same in Chromium; the scoring and the product take turns.
fn in_browser(root: &Path, arguments: &Arguments) -> Result<()> {
    let folder = run::other_target_folder(root, "web").join("bench-score");
    std::fs::create_dir_all(&folder)?;
    page::build_bench(root, &folder)?;
    for (source, name) in [("score.html", "index.html"), ("score.js", "score.js")] {
        std::fs::copy(root.join("xtask/bench").join(source), folder.join(name))?;
    }
    let server = Server::start(&[("/", &folder)], 0)?;
    let browser = Browser::start(&Options::default());
    browser.open(&server.address());
    browser.wait("the program", 60, "return window.score !== undefined");
    println!("{}", machine::line(root));
    println!(
        "{} image features of width {WIDTH}, NegPrompt's score, p = {NEGATIVES}, WASM on one thread",
        arguments.images
    );
    for &classes in &arguments.classes {
        let shape = [arguments.images, classes * (1 + NEGATIVES), WIDTH];
        let mut times: [Vec<f64>; 2] = Default::default();
        for _ in 0..=RUNS {
            let of = |script: &str, values: serde_json::Value| {
                let took = browser.run_with(script, values);
                took.as_f64().unwrap_or(f64::NAN) / 1e3
            };
            let all = json!([classes, NEGATIVES, arguments.images, WIDTH]);
            times[0].push(of("return window.score(...arguments)", all));
            times[1].push(of("return window.product(...arguments)", json!(shape)));
        }
        // The first of each warms up.
        let [score, product] = times.map(|mut times| {
            times.remove(0);
            median(times)
        });
        let operations = 2.0 * shape.map(|size| size as f64).iter().product::<f64>() / 1e9;
        println!(
            "k={classes} seconds {score:.4} gflops {:.1} product-in-burn {:.1} share {:.2}",
            operations / score,
            operations / product,
            product / score
        );
    }
    Ok(())
}
