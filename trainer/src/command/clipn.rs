//! `trainer clipn`: a "no" text tower for a model, from images with captions.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use shared::bundle::Precision;

use super::import::model_directory;
use super::limits::ImageLimits;
use crate::clipn::{Course, Run, run as learn};
use crate::device::Devices;
use crate::embedded;

/// Give a model CLIPN's "no" text tower, learned from images with captions.
///
/// The model that is written is the one that was given with a second text tower and learned "no"
/// prompts; `bench` and `train` then score CLIPN with them instead of hand-written "no" prompts.
/// Checkpoints that CLIPN's authors released go through `import`.
#[derive(Args, Debug)]
pub struct ClipnArguments {
    /// Model directory, or OWNER/NAME on the hub; the compact model that comes with the program when
    /// left out
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,

    /// Images with their captions: a text file of the same name beside each (0001.jpg, 0001.txt), or
    /// metadata.jsonl with lines like {"file_name": "0001.jpg", "text": "a red bicycle"}
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,

    /// The model directory to write
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,

    /// Where the features of the images and checkpoints are kept
    #[arg(long, value_name = "DIR", default_value = "out/clipn")]
    pub work: PathBuf,

    /// Learned "no" prompts; 0 learns the tower alone, which then reads hand-written "no" prompts
    #[arg(long, default_value_t = 16, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=1024))]
    pub prompts: u16,

    /// Steps of learning
    #[arg(long, default_value_t = 400, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub steps: u32,

    /// Pairs of image and caption in a batch
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u16).range(2..=4096))]
    pub batch: u16,

    /// Highest learning rate; it rises over the first steps and falls as a cosine
    #[arg(long, default_value_t = 3e-4, value_name = "RATE")]
    pub rate: f64,

    /// Seed of every draw
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,

    /// How to keep the tower: f32, f16 or int8 (per channel)
    #[arg(long, default_value = "f16", value_name = "f32|f16|int8")]
    pub precision: Precision,

    /// Go on from the last checkpoint of a killed run
    #[arg(long)]
    pub resume: bool,

    /// What to compute on; auto takes a real GPU, else the CPU
    #[arg(long, default_value = "auto", value_name = "auto|wgpu|cpu")]
    pub device: Devices,

    #[command(flatten)]
    pub limits: ImageLimits,
}

/// Runs `trainer clipn`.
pub fn run(arguments: ClipnArguments) -> Result<()> {
    let model = match &arguments.model {
        Some(path) => model_directory(path)?,
        None => embedded::compact_model()?,
    };
    learn(&Run {
        model,
        data: arguments.data,
        out: arguments.out,
        work: arguments.work,
        prompts: usize::from(arguments.prompts),
        course: Course {
            steps: arguments.steps as usize,
            batch: usize::from(arguments.batch),
            rate: arguments.rate,
            seed: arguments.seed,
        },
        precision: arguments.precision,
        limits: arguments.limits.into(),
        resume: arguments.resume,
        device: arguments.device.open()?.device,
    })
}
