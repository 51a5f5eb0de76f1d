//! A step of stage 2 beside the reference's computation and beside this project's idea in plain
//! PyTorch (`benches/reference`), in turns on the same machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use clap::Args;

use super::child::Child;
use super::machine::{self, median};

/// Negative prompts a class, context tokens, images in a batch.
const NEGATIVES: usize = 2;
const CONTEXT_TOKENS: usize = 16;
const BATCH: usize = 64;
/// ViT-B/16's text tower: width, blocks, positions; its joint width is the same.
const WIDTH: u64 = 512;
const LAYERS: u64 = 12;
const POSITIONS: u64 = 77;
/// Rows, columns and depth of the product that stands for the machine's own limit.
const PRODUCT: usize = 4096;
/// Of this project's steps, and of the second reference's, so many a round.
const STEPS: usize = 3;

/// What `cargo xtask bench prompts` takes.
#[derive(Args)]
pub struct Arguments {
    /// Numbers of classes
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1000])]
    classes: Vec<usize>,
    /// Times that the programs take turns
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// Classes, at most, that the reference runs; the time of a longer list is so many times that
    /// of this part. 100 take about 12 GB
    #[arg(long, default_value_t = 100, value_name = "CLASSES")]
    measured: usize,
    /// A Python with PyTorch
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,
}

/// Measures and prints.
///
/// # Errors
/// When the trainer does not build, or a program does not do its work.
pub fn run(root: &Path, arguments: Arguments) -> Result<()> {
    let python = machine::python(arguments.python)?;
    let trainer = machine::trainer(root)?;
    println!("{}", machine::line(root));
    println!(
        "ViT-B/16's text tower, random weights; p = {NEGATIVES}, M = {CONTEXT_TOKENS}, batch {BATCH}, suffixes of 4 to 6 tokens"
    );
    let reference = |script: &str| {
        let mut command = Command::new(&python);
        command.arg(root.join("benches/reference").join(script));
        command
    };
    let limit = {
        let [burn, torch] = machine::product_rates(&trainer, &python, root, [PRODUCT; 3])?;
        println!(
            "limit: a product of {PRODUCT}×{PRODUCT}×{PRODUCT} in f32 runs at {burn:.0} GFLOP/s in Burn, {torch:.0} in PyTorch"
        );
        burn.max(torch)
    };
    for &classes in &arguments.classes {
        let problem = [
            ("--classes", classes),
            ("--negatives", NEGATIVES),
            ("--context-tokens", CONTEXT_TOKENS),
            ("--batch", BATCH),
        ]
        .map(|(name, value)| [name.to_owned(), value.to_string()])
        .concat();
        let measured = arguments.measured.min(classes);
        let mut ours = Child::start(
            Command::new(&trainer)
                .args(["time-step", "step", "--delta", "0", "--epsilon", "0"])
                .args(&problem),
        )?;
        let mut shared = Child::start(reference("prompts_shared.py").args(&problem))?;
        let mut plain = Child::start(
            reference("prompts_plain.py")
                .args(&problem)
                .args(["--measured", &measured.to_string()]),
        )?;
        let done = ours.time()?.multiplications.unwrap_or(0);
        shared.time()?;
        let whole = classes as f64 / measured as f64;
        let mut times: [Vec<f64>; 3] = Default::default();
        for _ in 0..arguments.rounds.max(1) {
            for _ in 0..STEPS {
                times[0].push(ours.time()?.seconds);
            }
            for _ in 0..STEPS {
                times[1].push(shared.time()?.seconds);
            }
            times[2].push(plain.time()?.seconds * whole);
        }
        let [step, of_shared, of_plain] = times.map(median);
        let gibibytes = |child: &Child| {
            child
                .peak_memory()
                .map_or(f64::NAN, |bytes| bytes as f64 / 1_073_741_824.0)
        };
        let memory = [&ours, &shared, &plain].map(gibibytes);
        let paper = [on_paper(classes), on_paper(classes), plainly(classes)];
        println!();
        println!("k = {classes}");
        for (name, seconds, memory, paper) in [
            ("this project", step, memory[0], paper[0]),
            ("the same idea in PyTorch", of_shared, memory[1], paper[1]),
            ("the reference's computation", of_plain, memory[2], paper[2]),
        ] {
            println!(
                "  {name:<28} {seconds:9.3} s {memory:7.2} GiB {:9.1} G multiplications with weights on paper, {:4.0} GFLOP/s",
                paper as f64 / 1e9,
                2.0 * paper as f64 / seconds / 1e9
            );
        }
        if done != paper[0] {
            println!(
                "  this project did {:.1} G: activations beyond its memory bound are computed twice",
                done as f64 / 1e9
            );
        }
        if measured < classes {
            println!(
                "  the reference ran {measured} of {classes} classes, and its time is {} times that; its memory is that part's alone, all {classes} would take about {:.0} GiB",
                classes / measured,
                memory[2] * whole
            );
        }
        println!(
            "k={classes} ours {step:.3} reference {of_plain:.3} torch-shared {of_shared:.3} memory-share {:.3} of-limit {:.2} over-torch-shared {:.2} ratio {:.1}",
            memory[0] / (memory[2] * whole),
            2.0 * done as f64 / step / 1e9 / limit,
            of_shared / step,
            of_plain / step
        );
    }
    Ok(())
}

/// Tokens of all suffixes, 4, 5, 6, 4, … a class.
fn suffix_tokens(classes: usize) -> u64 {
    (0..classes as u64).map(|class| 4 + class % 3).sum()
}

/// Multiplications with weights in the reference's step: all prompts, all positions, forward and
/// back to the input.
fn plainly(classes: usize) -> u64 {
    let prompts = (classes * (1 + NEGATIVES)) as u64;
    let square = WIDTH * WIDTH;
    2 * prompts * (POSITIONS * LAYERS * 12 * square + square)
}

/// The same for the shared prefix and the suffixes behind it.
fn on_paper(classes: usize) -> u64 {
    let square = WIDTH * WIDTH;
    let contexts = NEGATIVES as u64;
    let prefix = contexts * (1 + CONTEXT_TOKENS as u64);
    let suffixes = contexts * suffix_tokens(classes);
    let ends = contexts * classes as u64;
    // Of a prefix's last block only keys and values are used, of a suffix's all but these only at
    // [EOS]; the projection follows.
    let of_prefix = prefix * ((LAYERS - 1) * 12 + 2) * square;
    let of_suffixes = suffixes * ((LAYERS - 1) * 12 + 2) * square + ends * (10 + 1) * square;
    // Back the same, but that nobody asks for the gradient of the suffixes' embeddings.
    2 * (of_prefix + of_suffixes) - suffixes * 3 * square
}
