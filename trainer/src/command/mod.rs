//! The command line. Doc comments here and in the commands' own files are the `--help` texts.

pub mod bench;
pub mod clipn;
pub mod encode;
pub mod eval;
pub mod export;
pub mod import;
pub mod limits;
pub mod lit;
pub mod predict;
pub mod time_step;
pub mod train;
pub mod tune;
mod typed;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Learns negative prompts for CLIP, so that it knows what it does not know.
///
/// Without a command it is `train`: with no arguments at all it learns on the data that come with
/// the program and writes a report and a bundle to out/default.
#[derive(Parser, Debug)]
#[command(name = "trainer", version, args_conflicts_with_subcommands = true)]
pub struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    train: train::TrainArguments,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Learn negative prompts, measure them, write a report and a bundle (the default)
    Train(train::TrainArguments),
    /// Measure every method on the same images over several seeds
    Bench(bench::BenchArguments),
    /// Compare ways of learning by in-distribution images alone, with classes left out
    Tune(tune::TuneArguments),
    /// Turn images into a file of features, for `train` or for Python
    Encode(encode::EncodeArguments),
    /// Turn a published checkpoint into a model directory
    Import(import::ImportArguments),
    /// Make the compact model: a text tower for a locked image tower
    Lit(lit::LitArguments),
    /// Give a model CLIPN's "no" text tower, from images with captions
    Clipn(clipn::ClipnArguments),
    /// Measure a bundle on folders of images
    Eval(eval::EvalArguments),
    /// Say for each photo whether it belongs to the classes, and to which
    Predict(predict::PredictArguments),
    /// Write the bundle of a finished run in another precision
    Export(export::ExportArguments),
    #[command(hide = true)]
    TimeStep(time_step::TimeArguments),
}

impl CommandLine {
    /// Does what the command line says.
    pub fn run(self) -> Result<()> {
        match self.command {
            None => train::run(self.train),
            Some(Command::Train(arguments)) => train::run(arguments),
            Some(Command::Bench(arguments)) => bench::run(arguments),
            Some(Command::Tune(arguments)) => tune::run(arguments),
            Some(Command::Encode(arguments)) => encode::run(arguments),
            Some(Command::Import(arguments)) => import::run(arguments),
            Some(Command::Lit(arguments)) => lit::run(arguments),
            Some(Command::Clipn(arguments)) => clipn::run(arguments),
            Some(Command::Eval(arguments)) => eval::run(arguments),
            Some(Command::Predict(arguments)) => predict::run(arguments),
            Some(Command::Export(arguments)) => export::run(arguments),
            Some(Command::TimeStep(arguments)) => time_step::run(arguments),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn train_is_the_default() {
        let line = CommandLine::try_parse_from(["trainer"]).unwrap();
        assert!(line.command.is_none());
    }
}
