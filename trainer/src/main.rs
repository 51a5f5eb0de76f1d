//! `trainer`: learns negative prompts for CLIP and exports a bundle for out-of-distribution
//! detection.

mod agreement;
mod bench;
mod checkpoint;
mod clipn;
mod command;
mod containment;
mod data;
mod detector;
mod device;
mod embedded;
mod features;
mod hub;
mod lit;
mod model;
mod output;
mod progress;
mod report;
mod training;

use std::io;
use std::process::ExitCode;

use anyhow::Error;
use clap::Parser;

fn main() -> ExitCode {
    explain_panics();
    match command::CommandLine::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads the output has had enough, as `head` does.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            progress::say(&format!("error: {}", with_causes(&error)));
            ExitCode::FAILURE
        }
    }
}

/// The error and what caused it, one a line.
fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // Some errors repeat their cause in their own text.
        if !text.contains(&cause) {
            text.push_str("\n  because: ");
            text.push_str(&cause);
        }
    }
    text
}

fn is_broken_pipe(error: &Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// A panic is a fault of this program. It is told in one line, as an error, and not at all where
/// it is caught and counted as one unreadable image.
fn explain_panics() {
    std::panic::set_hook(Box::new(|panic| {
        if containment::panics_are_contained() {
            return;
        }
        let place = panic.location().map_or(String::new(), |at| {
            format!(" at {}:{}", at.file(), at.line())
        });
        let what = panic.payload_as_str().unwrap_or("unknown cause");
        progress::say(&format!(
            "error: a fault in this program{place}: {what}\n  please report it with the command that led to it"
        ));
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_follow_the_error_once() {
        let error = anyhow::anyhow!("disk full")
            .context("cannot write x")
            .context("cannot write x: export failed");
        let text = with_causes(&error);
        assert_eq!(text.matches("disk full").count(), 1, "{text}");
        assert_eq!(text.matches("because").count(), 1, "{text}");
    }

    #[test]
    fn a_closed_pipe_is_found_below_other_causes() {
        let error = Error::from(io::Error::from(io::ErrorKind::BrokenPipe)).context("cannot print");
        assert!(is_broken_pipe(&error));
    }
}
