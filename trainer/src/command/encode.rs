//! `trainer encode`: images → a file of features.

use std::path::PathBuf;

use super::limits::ImageLimits;
use crate::data::{self, Split};
use crate::device::DeviceChoice;
use crate::features::{EncodeOptions, EncodeReport, FeaturePrecision, encode, unfinished};
use crate::model::ModelDirectory;
use crate::output::shown;
use crate::progress::{duration_text, say};
use anyhow::Result;
use clap::Args;

/// Turn images into a file of features, for `train` or for Python.
///
/// The file is safetensors with the tensors `features` [images, width], `labels`, `hashes` and
/// `files`; class names and the model's key are in its metadata. Images that cannot be read are
/// named and left out. If the file exists already, features of the same model and the same image
/// bytes are taken over from it, so that encoding a folder again costs only what is new.
#[derive(Args, Debug)]
pub struct EncodeArguments {
    /// Model directory, made by `trainer import` or `trainer lit`
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,

    /// Images: a folder of class folders (with train/ and test/ above, or not), a .csv or .jsonl
    /// table (columns path, label and, if wanted, split), or the ImageNet layout
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,

    /// The file to write
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,

    /// Only this half of the data
    #[arg(long, value_enum)]
    pub split: Option<Split>,

    /// What to compute on; auto takes a real GPU, else the CPU
    #[arg(long, value_enum, default_value_t)]
    pub device: DeviceChoice,

    /// How to keep the features
    #[arg(long, value_enum, default_value_t)]
    pub precision: FeaturePrecision,

    /// Images that go through the model together
    #[arg(long, default_value_t = 16, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub batch: u16,

    #[command(flatten)]
    pub limits: ImageLimits,

    /// Go on with what a killed run left beside the file
    #[arg(long)]
    pub resume: bool,
}

/// Runs `trainer encode`.
pub fn run(arguments: EncodeArguments) -> Result<()> {
    let model = ModelDirectory::open(&arguments.model)?;
    let mut dataset = data::open(&arguments.data)?;
    if let Some(split) = arguments.split {
        dataset = dataset.split(split)?;
    }
    for warning in &dataset.warnings {
        say(&format!("note: {warning}"));
    }
    say(&format!(
        "data: {} images of {} classes in {} ({})",
        dataset.items.len(),
        dataset.classes.len(),
        shown(&dataset.root),
        dataset.source
    ));
    let device = arguments.device.open()?;
    let loaded = model.image_tower(&device.device)?;
    let options = EncodeOptions {
        batch: usize::from(arguments.batch),
        precision: arguments.precision,
        limits: arguments.limits.into(),
        resume: arguments.resume,
    };
    let report = encode(
        &dataset,
        &model.config,
        &loaded.key,
        &loaded.tower,
        &device.device,
        &arguments.out,
        &options,
    )
    .map_err(|error| match unfinished(&arguments.out) {
        Some(_) => error.context(format!(
            "{} is not finished; what was computed is kept beside it, and --resume goes on",
            arguments.out.display()
        )),
        None => error,
    })?;
    say_skipped(&report);
    let computed = report.images - report.reused;
    let reused = match report.reused {
        0 => String::new(),
        reused => format!(" ({reused} taken over, {computed} computed)"),
    };
    say(&format!(
        "{}: {} features{reused} in {}, {:.1} images/s",
        shown(&arguments.out),
        report.images,
        duration_text(report.seconds),
        report.images_per_second(),
    ));
    Ok(())
}

/// How many images of the list at the end are named again; all were named when they were met.
const NAMED_AGAIN: usize = 20;

/// Lists the images that could not be read.
pub fn say_skipped(report: &EncodeReport) {
    let skipped = &report.skipped;
    if skipped.is_empty() {
        return;
    }
    say(&format!(
        "{} of {} images could not be read and are left out:",
        skipped.len(),
        report.images as usize + skipped.len()
    ));
    for (name, reason) in skipped.iter().take(NAMED_AGAIN) {
        say(&format!("  {name}: {reason}"));
    }
    if skipped.len() > NAMED_AGAIN {
        say(&format!(
            "  and {} more, named above",
            skipped.len() - NAMED_AGAIN
        ));
    }
}
