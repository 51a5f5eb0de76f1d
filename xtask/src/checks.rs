//! Every check of the project, and their sum.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{bundle, page, run, tools};

/// Tests that passed, tests that failed, and tests that said they were not run.
#[derive(Debug, Default, PartialEq)]
struct Totals {
    passed: u64,
    failed: u64,
    ignored: u64,
}

/// Runs the checks, says what each came to, and ends with the line `N passed, N failed`.
///
/// # Errors
/// When anything failed; everything is tried all the same.
pub fn run_all(root: &Path) -> Result<()> {
    let mut totals = Totals::default();
    let mut failures = Vec::new();
    let mut step = |name: &str, outcome: Result<()>| {
        if let Err(error) = outcome {
            println!("{name}: {error:#}");
            failures.push(name.to_owned());
        }
    };
    title("format");
    step(
        "format",
        run::show(cargo(root).args(["fmt", "--all", "--check"])),
    );
    title("clippy");
    let lint = [
        "clippy",
        "--release",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    step("clippy", run::show(cargo(root).args(lint)));
    title("fuzz targets");
    // They are a workspace of their own, without Burn, which no other step builds.
    let check = "check --bins --manifest-path fuzz/Cargo.toml";
    step(
        "fuzz targets",
        run::show(
            cargo(root)
                .env(
                    "CARGO_TARGET_DIR",
                    run::other_target_folder(root, "fuzz-check"),
                )
                .env("RUSTFLAGS", "-D warnings")
                .args(check.split_whitespace()),
        ),
    );
    title("build");
    // The command line's tests run the built program, which `cargo test` alone would not build.
    let build = ["build", "--release", "--package", "trainer"];
    step("build", run::show(cargo(root).args(build)));
    title("page");
    step(
        "page",
        bundle::find_or_train(root, None).and_then(|bundle| page::build(root, Some(&bundle))),
    );
    title("page's clippy");
    step("page's clippy", page::lint(root));
    title("browser");
    step("browser", browser());
    optional();
    title("tests");
    step("tests", tests(root, &mut totals));
    title("documentation");
    let document = ["doc", "--release", "--workspace", "--no-deps"];
    step(
        "documentation",
        run::show(
            cargo(root)
                .env("RUSTDOCFLAGS", "-D warnings")
                .args(document),
        ),
    );
    if totals.ignored > 0 {
        println!(
            "\n{} tests are marked `ignore` and were not run",
            totals.ignored
        );
    }
    if !failures.is_empty() {
        println!("\nFailed: {}", failures.join(", "));
    }
    // A step that is no test and fails counts as one, so that the sum never looks clean.
    let steps = failures
        .iter()
        .filter(|name| *name != "tests" || totals.failed == 0)
        .count() as u64;
    println!(
        "\n{} passed, {} failed",
        totals.passed,
        totals.failed + steps
    );
    if failures.is_empty() {
        Ok(())
    } else {
        bail!("{} of the checks failed", failures.len())
    }
}

fn title(name: &str) {
    println!("\n=== {name} ===");
}

fn cargo(root: &Path) -> Command {
    let mut command = run::cargo();
    command.current_dir(root);
    command
}

/// Chromium and its driver, which the page's tests need.
fn browser() -> Result<()> {
    let missing = |programs: &[&str]| !programs.iter().any(|program| run::exists(program));
    if missing(&["chromium", "chromium-browser", "google-chrome"]) || missing(&["chromedriver"]) {
        tools::apt(&["chromium", "chromium-driver"])?;
    }
    Ok(())
}

/// What makes some tests possible, and is no reason to fail where it cannot be had: those then say that
/// they checked nothing. A CPU that acts out a GPU, so that the wgpu path is compared with PyTorch, and
/// a clock that jumps at will.
fn optional() {
    let there = |folder: &str, file: &str| {
        let places = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut places = places.map(|place| place.path());
        places.any(|place| {
            place.join(file).exists()
                || place
                    .file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with(file))
        })
    };
    let packages: Vec<&str> = [
        ("mesa-vulkan-drivers", "/usr/share/vulkan/icd.d", "lvp_icd"),
        ("libfaketime", "/usr/lib", "faketime/libfaketimeMT.so.1"),
    ]
    .into_iter()
    .filter(|(_, folder, file)| !there(folder, file))
    .map(|(package, ..)| package)
    .collect();
    if !packages.is_empty()
        && run::exists("apt-get")
        && let Err(error) = tools::apt(&packages)
    {
        println!("{error:#}. The tests that need it say that they checked nothing.");
    }
}

fn tests(root: &Path, totals: &mut Totals) -> Result<()> {
    let mut command = cargo(root);
    command.args(["test", "--release", "--workspace", "--no-fail-fast"]);
    println!("  $ {}", run::line(&command));
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .context("cargo test could not be started")?;
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            println!("{line}");
            totals.add(&line);
        }
    }
    let status = child.wait()?;
    if status.success() {
        Ok(())
    } else {
        bail!("cargo test failed ({status})")
    }
}

impl Totals {
    /// Adds what a line `test result: ok. 3 passed; 0 failed; 1 ignored; …` says.
    fn add(&mut self, line: &str) {
        let Some(result) = line.trim().strip_prefix("test result: ") else {
            return;
        };
        let counts = result.split_once(". ").map_or("", |(_, counts)| counts);
        for part in counts.split(';') {
            let mut words = part.split_whitespace();
            let count = words
                .next()
                .and_then(|count| count.parse().ok())
                .unwrap_or(0);
            match words.next() {
                Some("passed") => self.passed += count,
                Some("failed") => self.failed += count,
                Some("ignored") => self.ignored += count,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_added_up() {
        let mut totals = Totals::default();
        for line in [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "test result: FAILED. 1 passed; 2 failed; 4 ignored; 0 measured; 0 filtered out; finished in 1.2s",
        ] {
            totals.add(line);
        }
        assert_eq!(
            totals,
            Totals {
                passed: 4,
                failed: 2,
                ignored: 4
            }
        );
    }
}
