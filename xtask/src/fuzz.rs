//! `cargo xtask fuzz`: every fuzz target for a while, and a table of what they did.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::{run, tools};

/// Most findings of one target after which it is left alone: they are likely the same one.
const MOST_FINDINGS: usize = 5;
/// What an input may take before it counts as a finding: MiB in all, and MiB in one piece.
const LID: [&str; 2] = ["-rss_limit_mb=2048", "-malloc_limit_mb=512"];

/// What to run.
#[derive(clap::Args)]
pub struct Arguments {
    /// Seconds for each target.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Only these targets.
    #[arg(long, value_name = "NAME")]
    target: Vec<String>,
    /// Seconds that an input may take before it counts as a finding. They pass also while other
    /// programs have the processor: more beside a build.
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    timeout: u64,
}

/// What one target did.
#[derive(Debug, Default, PartialEq)]
struct Figures {
    /// Inputs tried.
    executions: u64,
    /// Seconds of a processor.
    processor: f64,
    /// Edges of the program that were reached.
    coverage: u64,
    /// Inputs kept because they reach something that no other does.
    corpus: u64,
    /// Inputs that were found to crash, hang or fill the memory.
    findings: usize,
}

/// Builds the targets, writes the seeds, and runs each target for `seconds`.
///
/// # Errors
/// When something cannot be built, or a target found something.
pub fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    let folder = root.join("fuzz");
    let all = targets(&folder)?;
    for name in &arguments.target {
        ensure!(
            all.contains(name),
            "there is no fuzz target `{name}`; there are {}",
            all.join(", ")
        );
    }
    let chosen = |name: &&String| arguments.target.is_empty() || arguments.target.contains(name);
    tools::cargo_fuzz(root)?;
    let built = build(root, &folder)?;
    // What the generators say of their files is kept for good, which here is no leak.
    run::show(
        Command::new(built.join("corpus"))
            .arg(folder.join("corpus"))
            .env("ASAN_OPTIONS", "detect_leaks=0"),
    )?;
    let mut found = Vec::new();
    println!(
        "{:<16} {:>12} {:>8} {:>9} {:>7} {:>7} {:>9}",
        "target", "executions", "CPU s", "each s", "edges", "corpus", "findings"
    );
    for name in all.iter().filter(chosen) {
        let figures = fuzz(&folder, &built, name, arguments)?;
        println!(
            "{name:<16} {:>12} {:>8.0} {:>9.0} {:>7} {:>7} {:>9}",
            figures.executions,
            figures.processor,
            figures.executions as f64 / figures.processor.max(0.01),
            figures.coverage,
            figures.corpus,
            figures.findings
        );
        if figures.findings > 0 {
            found.push(name.as_str());
        }
    }
    if !found.is_empty() {
        bail!(
            "findings in {}: the inputs lie below fuzz/artifacts; `cargo fuzz run TARGET FILE` shows what each does",
            found.join(", ")
        );
    }
    Ok(())
}

/// The names of the targets, in order.
fn targets(folder: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(folder.join("fuzz_targets")).context("fuzz/fuzz_targets")?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

/// Builds all targets with coverage and AddressSanitizer; the folder that they are in.
fn build(root: &Path, folder: &Path) -> Result<PathBuf> {
    let target = run::other_target_folder(root, "fuzz");
    let host = run::output(Command::new("rustc").args(["--print", "host-tuple"]))
        .context("rustc --print host-tuple")?;
    let mut command = run::cargo();
    command
        .current_dir(root)
        .args(["fuzz", "build", "--fuzz-dir"])
        .arg(folder)
        .args(["--target", &host])
        // The sanitizer's flag is unstable; this lets a stable compiler take it.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", &target);
    run::show(&mut command)?;
    Ok(target.join(host).join("release"))
}

fn fuzz(folder: &Path, built: &Path, name: &str, arguments: &Arguments) -> Result<Figures> {
    let artifacts = folder.join("artifacts").join(name);
    std::fs::create_dir_all(&artifacts)?;
    let end = Instant::now() + Duration::from_secs(arguments.seconds);
    let mut figures = Figures::default();
    while figures.findings < MOST_FINDINGS {
        let left = end.saturating_duration_since(Instant::now()).as_secs();
        if left == 0 {
            break;
        }
        // The shell says what its children took of the processor.
        let output = Command::new("sh")
            .args(["-c", "\"$0\" \"$@\"; status=$?; times; exit $status"])
            .arg(built.join(name))
            .arg(folder.join("corpus").join(name))
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .arg(format!("-max_total_time={left}"))
            .args(["-print_final_stats=1", "-max_len=65536"])
            .args(LID)
            .arg(format!("-timeout={}", arguments.timeout))
            .env("ASAN_OPTIONS", "detect_odr_violation=0")
            .stdin(Stdio::null())
            .output()
            .context("sh")?;
        let said = String::from_utf8_lossy(&output.stderr);
        let times = String::from_utf8_lossy(&output.stdout);
        figures.add(&said, &times);
        if !output.status.success() {
            figures.findings += 1;
            std::fs::write(
                artifacts.join(format!("finding-{}.txt", figures.findings)),
                output.stderr,
            )?;
        }
    }
    Ok(figures)
}

impl Figures {
    /// Takes in what libFuzzer said, and what `times` printed.
    fn add(&mut self, said: &str, times: &str) {
        let number = |word: Option<&str>| word.and_then(|word| word.parse().ok()).unwrap_or(0);
        for line in said.lines() {
            if let Some(count) = line.strip_prefix("stat::number_of_executed_units:") {
                self.executions += number(Some(count.trim()));
            }
            // #1024 pulse cov: 312 ft: 700 corp: 58/3Kb exec/s: 512 …
            if line.starts_with('#') {
                let words: Vec<&str> = line.split_whitespace().collect();
                let after = |key: &str| {
                    let at = words.iter().position(|word| *word == key)?;
                    words.get(at + 1)?.split('/').next()
                };
                self.coverage = self.coverage.max(number(after("cov:")));
                self.corpus = self.corpus.max(number(after("corp:")));
            }
        }
        // The second line is of the children: `1m2.03s 0m0.50s`.
        let children = times.lines().last().unwrap_or_default();
        self.processor += children.split_whitespace().map(seconds_of).sum::<f64>();
    }
}

/// Reads `1m2.03s`.
fn seconds_of(text: &str) -> f64 {
    let read = |text: &str| text.parse::<f64>().ok();
    text.strip_suffix('s')
        .and_then(|text| text.split_once('m'))
        .and_then(|(minutes, seconds)| Some(60.0 * read(minutes)? + read(seconds)?))
        .unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_what_the_fuzzer_says() {
        let said = "INFO: seed corpus: files: 12\n#12\tINITED cov: 200 ft: 300 corp: 10/5Kb exec/s: 0 rss: 60Mb\n\
                    #4096\tpulse  cov: 312 ft: 700 corp: 58/3Kb lim: 80 exec/s: 512 rss: 90Mb\n\
                    stat::number_of_executed_units: 5000\n";
        let mut figures = Figures::default();
        figures.add(said, "0m0.00s 0m0.00s\n1m2.50s 0m0.25s\n");
        figures.add(said, "0m0.00s 0m0.00s\n0m1.00s 0m0.00s\n");
        let expected = Figures {
            executions: 10_000,
            processor: 63.75,
            coverage: 312,
            corpus: 58,
            findings: 0,
        };
        assert_eq!(figures, expected);
    }

    #[test]
    fn every_target_is_declared() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
        let declared = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let names = targets(&folder).unwrap();
        assert!(names.len() >= 15);
        for name in names {
            assert!(declared.contains(&format!("name = \"{name}\"")), "{name}");
        }
    }
}
