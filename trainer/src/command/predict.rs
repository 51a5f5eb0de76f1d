//! `trainer predict`: photos → one verdict a line.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;
use shared::bundle::MethodEntry;
use shared::score::{ImageFeatures, Method, Verdict};

use super::limits::ImageLimits;
use crate::data::{self, Item};
use crate::detector::Detector;
use crate::device::Devices;
use crate::progress::{moves_text, say};

/// Say for each photo whether it belongs to the classes, and to which.
///
/// One JSON object a line, in the order of the photos: file, verdict (in or out), class, score,
/// threshold, p_value, none and top5. The score is higher for photos that belong, in the method's own
/// units as on the page and in report.json (log-odds for methods whose score is a probability).
/// p_value is how often a photo of the known classes gets a score this low: below 0.05 it is
/// unusual. It counts the photo itself too, so that with few calibration images a photo just below
/// the threshold has a little more. In top5, probability stands beside none, the probability of
/// "none of these", and may be small for a photo that belongs: the threshold is where 95 % of such
/// photos are kept, wherever that is. share is the same among the classes alone. A file that is no
/// image gives a line with file and error, and the exit status is 1 at the end.
#[derive(Args, Debug)]
pub struct PredictArguments {
    /// Bundle directory, made by `trainer train` or `trainer export`
    #[arg(long, value_name = "DIR", default_value = "out/default/bundle")]
    pub bundle: PathBuf,

    /// Photos, and folders of photos
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<PathBuf>,

    /// Score by this method instead of the bundle's first (negprompt, mcm, max-logit, …)
    #[arg(long, value_name = "ID")]
    pub method: Option<String>,

    /// Take this threshold instead of the bundle's, in the units of `score`
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub threshold: Option<f64>,

    /// What to compute on; auto takes a real GPU, else the CPU
    #[arg(long, default_value = "auto", value_name = "auto|wgpu|cpu")]
    pub device: Devices,

    /// Images that go through the model together
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub batch: u16,

    #[command(flatten)]
    pub limits: ImageLimits,
}

/// One line of the output.
#[derive(Serialize)]
struct Line<'a> {
    file: &'a str,
    verdict: Verdict,
    class: &'a str,
    score: f64,
    threshold: f64,
    p_value: f64,
    /// The probability of "none of these"; 0 for methods without negatives.
    none: f64,
    top5: Vec<Candidate<'a>>,
}

#[derive(Serialize)]
struct Candidate<'a> {
    class: &'a str,
    /// Beside "none of these".
    probability: f64,
    /// Among the classes, as the page's card shows it.
    share: f64,
}

#[derive(Serialize)]
struct ErrorLine<'a> {
    file: &'a str,
    error: &'a str,
}

/// Runs `trainer predict`.
pub fn run(arguments: PredictArguments) -> Result<()> {
    let device = arguments.device.open()?;
    let detector = Detector::open(&arguments.bundle, &device.device)?;
    let (entry, method) = detector.method(arguments.method.as_deref())?;
    let threshold = match arguments.threshold {
        Some(threshold) if !threshold.is_finite() => {
            bail!("--threshold {threshold} is not a number to compare with")
        }
        Some(threshold) => threshold,
        None => entry.threshold,
    };
    let mut output = Output {
        detector: &detector,
        entry,
        method,
        threshold,
        lines: std::io::stdout(),
        failed: 0,
        done: 0,
    };
    let limits = arguments.limits.into();
    let batch = usize::from(arguments.batch);
    for path in &arguments.images {
        match items_at(path) {
            Ok(items) => detector.features(&items, batch, &limits, [method], |item, found| {
                output.image(&item.path, found)
            })?,
            Err(error) => output.error(path, &format!("{error:#}"))?,
        }
    }
    let Output { failed, done, .. } = output;
    if failed > 0 {
        bail!("{failed} of {done} files could not be used; each has a line with its error");
    }
    Ok(())
}

/// A photo, or the photos of a folder in order.
fn items_at(path: &Path) -> Result<Vec<Item>> {
    if !path.is_dir() {
        // Whatever is wrong with a file is said on its line.
        return Ok(vec![Item {
            path: path.to_path_buf(),
            name: path.display().to_string(),
            label: None,
            split: None,
        }]);
    }
    let dataset = data::open_unlabelled(path)?;
    for warning in &dataset.warnings {
        say(&format!("note: {warning}"));
    }
    Ok(dataset.items)
}

struct Output<'a> {
    detector: &'a Detector,
    entry: &'a MethodEntry,
    method: &'static dyn Method,
    /// In the method's own units.
    threshold: f64,
    lines: std::io::Stdout,
    failed: usize,
    done: usize,
}

impl<'a> Output<'a> {
    fn image(&mut self, path: &Path, found: Result<ImageFeatures, String>) -> Result<()> {
        let file = file_text(path);
        let judged = match found {
            Ok(image) => self
                .verdict(&file, &image)
                .map_err(|error| format!("{error:#}")),
            Err(reason) => Err(reason),
        };
        match judged {
            Ok(line) => self.line(&line),
            Err(reason) => self.error(path, &reason),
        }
    }

    /// The line of an image. Whatever is wrong with its numbers is that image's error, not the
    /// end of the others.
    fn verdict<'b>(&self, file: &'b str, image: &ImageFeatures) -> Result<Line<'b>>
    where
        'a: 'b,
    {
        let detector = self.detector;
        let similarities = detector.classes.compare(image)?;
        let settings = &self.entry.settings;
        let explained = self.method.explain(&similarities.one()?, settings)?;
        let name = |class: usize| {
            let name = detector.manifest.classes.get(class);
            name.map_or("?", String::as_str)
        };
        Ok(Line {
            file,
            verdict: Verdict::from_score(explained.score, self.threshold),
            class: name(explained.predicted),
            score: explained.score,
            threshold: self.threshold,
            p_value: self.entry.p_value(explained.score)?,
            none: explained.none,
            top5: explained
                .top
                .iter()
                .zip(explained.shares())
                .map(|(top, share)| Candidate {
                    share,
                    class: name(top.class),
                    probability: top.probability,
                })
                .collect(),
        })
    }

    fn error(&mut self, path: &Path, error: &str) -> Result<()> {
        self.failed += 1;
        let file = file_text(path);
        self.line(&ErrorLine { file: &file, error })
    }

    fn line<T: Serialize>(&mut self, line: &T) -> Result<()> {
        self.done += 1;
        let text = terminal_safe(&serde_json::to_string(line)?) + "\n";
        self.lines
            .write_all(text.as_bytes())
            .and_then(|()| self.lines.flush())
            .context("cannot write the results")
    }
}

/// A path as it is written, or with bytes that are no UTF-8 as escapes, so that no two are alike.
fn file_text(path: &Path) -> String {
    path.to_str()
        .map_or_else(|| data::name_text(path.as_os_str()), str::to_owned)
}

/// The same JSON with every order to a terminal as an escape. JSON has escapes of its own for some, and
/// outside of strings there is none.
fn terminal_safe(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for character in json.chars() {
        if moves_text(character) {
            safe.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            safe.push(character);
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_the_same_and_moves_no_cursor() {
        let name = "a\u{9b}31m\u{7f}\u{202e}gpj.\u{1b}\n\"ß";
        let json = terminal_safe(&serde_json::to_string(name).unwrap());
        assert!(!json.chars().any(moves_text), "{json:?}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), name);
    }
}
