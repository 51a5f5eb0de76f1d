//! `trainer encode`: images → a file of features.

use std::path::{Path, PathBuf};

use super::import::model_directory;
use super::limits::ImageLimits;
use crate::data::{self, Split};
use crate::device::Devices;
use crate::features::{
    EncodeOptions, EncodeReport, FeaturePrecision, Resume, Shard, Worker, check_destination,
    encode, is_finished, merge, select, unfinished,
};
use crate::output::shown;
use crate::progress::{duration_text, say};
use anyhow::{Result, bail};
use clap::Args;

/// Turn images into a file of features, for `train` or for Python.
///
/// The file is safetensors with the tensors `features` [images, width], `labels`, `hashes` and
/// `files`; class names and the model's key are in its metadata (docs/features.md). Images that
/// cannot be read are named and left out. If the file exists already, features of the same model
/// and the same image bytes are taken over from it, so that encoding a folder again costs only what
/// is new.
///
/// Very many images: jobs that do not know of each other run `encode --shard 0/8 --resume` to
/// `7/8` with the same --data and --out, and `encode --merge --out FILE` joins what they wrote.
#[derive(Args, Debug)]
pub struct EncodeArguments {
    /// Model directory, made by `trainer import` or `trainer lit`, or OWNER/NAME on the hub
    #[arg(long, value_name = "DIR", required_unless_present = "merge")]
    pub model: Option<PathBuf>,

    /// Images: a folder of class folders (with train/ and test/ above, or not), a .csv or .jsonl
    /// table (columns path, label and, if wanted, split), or the ImageNet layout
    #[arg(long, value_name = "DIR", required_unless_present = "merge")]
    pub data: Option<PathBuf>,

    /// The file to write
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,

    /// Only this half of the data
    #[arg(long, value_enum)]
    pub split: Option<Split>,

    /// Only the images of shard I of N, counted from 0, into a file beside --out; which images
    /// these are follows from their names alone
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,

    /// Join the finished shards beside --out into it, and check that they are whole
    #[arg(
        long,
        conflicts_with_all = [
            "model", "data", "split", "shard", "resume", "precision", "batch", "device",
            "max_megapixels",
        ]
    )]
    pub merge: bool,

    /// What to compute on; auto takes a real GPU, else the CPU; several share every batch, such as
    /// wgpu:0,wgpu:1
    #[arg(long, default_value = "auto", value_name = "auto|wgpu|cpu")]
    pub device: Devices,

    /// How to keep the features
    #[arg(long, value_enum, default_value_t)]
    pub precision: FeaturePrecision,

    /// Images that go through the model together
    #[arg(long, default_value_t = 16, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub batch: u16,

    #[command(flatten)]
    pub limits: ImageLimits,

    /// Go on with what a killed run left beside the file; a shard that is finished stays as it is
    #[arg(long)]
    pub resume: bool,
}

/// Runs `trainer encode`.
pub fn run(arguments: EncodeArguments) -> Result<()> {
    check_place(&arguments.out)?;
    match (&arguments.model, &arguments.data) {
        (Some(model), Some(data)) => encode_images(&arguments, model, data),
        _ => merge_shards(&arguments.out),
    }
}

/// Fails where the file could not be put, or would be put in the place of something else.
///
/// # Errors
/// When `out` is a folder, or a file of something else.
fn check_place(out: &Path) -> Result<()> {
    if out.is_dir() {
        bail!(
            "{} is a folder: give the file that is to be written, as in --out {}",
            out.display(),
            out.join("features.safetensors").display()
        );
    }
    check_destination(out)
}

fn encode_images(arguments: &EncodeArguments, model: &Path, data: &Path) -> Result<()> {
    let model = model_directory(model)?;
    let mut dataset = data::open(data)?;
    if let Some(split) = arguments.split {
        dataset = dataset.split(split)?;
    }
    for warning in &dataset.warnings {
        say(&format!("note: {warning}"));
    }
    let part = arguments
        .shard
        .map(|shard| select(&mut dataset, shard))
        .transpose()?;
    let of_shard = part.as_ref().map_or(String::new(), |part| {
        format!("shard {} of {}: ", part.header.shard, part.header.total)
    });
    say(&format!(
        "data: {of_shard}{} images of {} classes in {} ({})",
        dataset.items.len(),
        dataset.classes.len(),
        shown(&dataset.root),
        dataset.source
    ));
    let out = match &part {
        Some(part) => part.header.shard.path(&arguments.out),
        None => arguments.out.clone(),
    };
    check_place(&out)?;
    if let Some(part) = &part
        && arguments.resume
        && is_finished(
            &out,
            &model.feature_key()?,
            arguments.precision,
            &arguments.limits.into(),
            part,
        )
    {
        say(&format!("{} is finished already", shown(&out)));
        return Ok(());
    }
    let devices = arguments.device.open_all()?;
    let towers = devices
        .iter()
        .map(|chosen| model.image_tower(&chosen.device))
        .collect::<Result<Vec<_>>>()?;
    let workers: Vec<Worker> = (towers.iter().zip(&devices))
        .map(|(loaded, chosen)| Worker {
            tower: &loaded.tower,
            device: &chosen.device,
        })
        .collect();
    let key = towers.first().map_or("", |loaded| loaded.key.as_str());
    let options = EncodeOptions {
        batch: usize::from(arguments.batch),
        precision: arguments.precision,
        limits: arguments.limits.into(),
        resume: Resume::asked(arguments.resume),
        part,
    };
    let report =
        encode(&dataset, &model.config, key, &workers, &out, &options).map_err(|error| {
            match unfinished(&out) {
                Some(_) => error.context(format!(
                    "{} is not finished; what was computed is kept beside it, and --resume goes on",
                    out.display()
                )),
                None => error,
            }
        })?;
    say_skipped(&report);
    let computed = report.images - report.reused;
    let reused = match report.reused {
        0 => String::new(),
        reused => format!(" ({reused} taken over, {computed} computed)"),
    };
    say(&format!(
        "{}: {} features{reused} in {}, {:.1} images/s",
        shown(&out),
        report.images,
        duration_text(report.seconds),
        report.images_per_second(),
    ));
    Ok(())
}

fn merge_shards(out: &Path) -> Result<()> {
    let merged = merge(out)?;
    say_left_out(
        merged.images,
        merged
            .skipped
            .iter()
            .map(|image| (image.name.as_str(), image.reason.as_str())),
    );
    say(&format!(
        "{}: {} features of {} shards",
        shown(out),
        merged.images,
        merged.shards
    ));
    Ok(())
}

/// How many images of the list at the end are named again; all were named when they were met.
const NAMED_AGAIN: usize = 20;

/// Lists the images that could not be read.
pub fn say_skipped(report: &EncodeReport) {
    let skipped = report.skipped.iter();
    say_left_out(
        report.images,
        skipped.map(|(name, reason)| (name.as_str(), reason.as_str())),
    );
}

fn say_left_out<'a>(images: u64, skipped: impl ExactSizeIterator<Item = (&'a str, &'a str)>) {
    let count = skipped.len();
    if count == 0 {
        return;
    }
    say(&format!(
        "{count} of {} images could not be read and are left out:",
        images as usize + count
    ));
    for (name, reason) in skipped.take(NAMED_AGAIN) {
        say(&format!("  {name}: {reason}"));
    }
    if count > NAMED_AGAIN {
        say(&format!("  and {} more, named above", count - NAMED_AGAIN));
    }
}
