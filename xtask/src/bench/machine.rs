//! Where a measurement was made, and with what.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use super::child::Child;
use crate::run;

/// Times that a product is timed; the fastest counts, as nothing can make it too fast.
const PRODUCTS: usize = 5;

/// Machine, date and commit, for a table of results.
pub fn line(root: &Path) -> String {
    format!("{}, {}, commit {}", processor(), date(), commit(root))
}

/// GFLOP/s of a matrix product of `[rows, columns, depth]` in Burn and in PyTorch, in turns.
///
/// # Errors
/// When a program does not do its work.
pub fn product_rates(
    trainer: &Path,
    python: &Path,
    root: &Path,
    shape: [usize; 3],
) -> Result<[f64; 2]> {
    let sizes = shape.map(|size| size.to_string());
    let script = root.join("benches/reference/product.py");
    let mut burn = Child::start(
        Command::new(trainer)
            .args(["time-step", "product"])
            .args(&sizes),
    )?;
    let mut torch = Child::start(Command::new(python).arg(script).args(&sizes))?;
    let operations = 2.0 * shape.map(|size| size as f64).iter().product::<f64>();
    let mut rates = [0.0f64; 2];
    for _ in 0..PRODUCTS {
        for (rate, child) in rates.iter_mut().zip([&mut burn, &mut torch]) {
            *rate = rate.max(operations / child.time()?.seconds / 1e9);
        }
    }
    Ok(rates)
}

/// The value in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        (values[middle - 1] + values[middle]) / 2.0
    } else {
        values[middle]
    }
}

/// The processor's name and how many threads there are, as far as the system tells.
fn processor() -> String {
    let information = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = information
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .and_then(|line| line.split_once(':'))
        .map_or(std::env::consts::ARCH, |(_, name)| name.trim());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{name}, {threads} threads")
}

/// The commit of the working tree, with `+` when files differ from it.
fn commit(root: &Path) -> String {
    let git =
        |arguments: &[&str]| run::output(Command::new("git").current_dir(root).args(arguments));
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else {
        return "unknown".to_owned();
    };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]);
    if changed.is_some_and(|files| !files.is_empty()) {
        format!("{commit}+")
    } else {
        commit
    }
}

/// Today's date, UTC.
fn date() -> String {
    run::output(Command::new("date").args(["-u", "+%F"])).unwrap_or_default()
}

/// A Python that has PyTorch: the one named, else `$PYTHON`, else `python3`.
///
/// # Errors
/// When it has none.
pub fn python(python: Option<PathBuf>) -> Result<PathBuf> {
    let python = python
        .or_else(|| std::env::var_os("PYTHON").map(PathBuf::from))
        .unwrap_or_else(|| "python3".into());
    if run::output(Command::new(&python).args(["-c", "import torch"])).is_none() {
        bail!(
            "{} cannot import torch, which the references need; `pip install torch`, or name another with --python",
            python.display()
        );
    }
    Ok(python)
}

/// The trainer, built.
///
/// # Errors
/// When it does not build.
pub fn trainer(root: &Path) -> Result<PathBuf> {
    run::show(run::cargo().current_dir(root).args([
        "build",
        "--release",
        "--workspace",
        "--bin",
        "trainer",
    ]))?;
    let file = format!("trainer{}", std::env::consts::EXE_SUFFIX);
    Ok(run::target_folder(root).join("release").join(file))
}
