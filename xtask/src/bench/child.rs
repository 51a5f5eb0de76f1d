//! A program that does its work once for every line it is sent (`trainer time-step`, and
//! `benches/reference`).

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child as Process, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::run;

/// A running program, ready to work.
pub struct Child {
    name: String,
    process: Process,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// Linux counts processor time in hundredths of a second.
const TICKS: f64 = 100.0;

/// What one run took.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// By the clock.
    pub seconds: f64,
    /// Of all its threads, which other programs disturb less; not a number where the system does
    /// not tell.
    pub processor_seconds: f64,
    /// Multiplications with weights, where the program counts them.
    pub multiplications: Option<u64>,
}

impl Child {
    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// When it cannot be started, or ends before it is ready.
    pub fn start(command: &mut Command) -> Result<Self> {
        let name = run::line(command);
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("`{name}` could not be started"))?;
        let (Some(input), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
            bail!("`{name}` has no standard input or output");
        };
        let mut child = Self {
            name,
            process,
            input,
            output: BufReader::new(output),
        };
        child.read()?;
        Ok(child)
    }

    /// Lets it work once.
    ///
    /// # Errors
    /// When it ends instead.
    pub fn time(&mut self) -> Result<Timing> {
        let before = self.processor_seconds();
        writeln!(self.input)
            .and_then(|()| self.input.flush())
            .with_context(|| format!("`{}` has stopped", self.name))?;
        let report = self.read()?;
        Ok(Timing {
            seconds: report["seconds"]
                .as_f64()
                .with_context(|| format!("`{}` gave no time: {report}", self.name))?,
            processor_seconds: self.processor_seconds() - before,
            multiplications: report["multiplications"].as_u64(),
        })
    }

    fn processor_seconds(&self) -> f64 {
        let stat = Path::new("/proc").join(self.process.id().to_string());
        let ticks = std::fs::read_to_string(stat.join("stat"))
            .ok()
            .and_then(|stat| {
                // User and system time, the 14th and 15th field; the second is a name in parentheses.
                let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
                let of = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
                Some(of(14)? + of(15)?)
            });
        ticks.map_or(f64::NAN, |ticks| ticks / TICKS)
    }

    /// The most memory it ever had, in bytes; `None` where the system does not tell.
    pub fn peak_memory(&self) -> Option<u64> {
        let status = Path::new("/proc").join(self.process.id().to_string());
        let status = std::fs::read_to_string(status.join("status")).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kibibytes * 1024)
    }

    fn read(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        if line.is_empty() {
            bail!(
                "`{}` ended before its work was done; what it says stands above",
                self.name
            );
        }
        serde_json::from_str(&line).with_context(|| format!("`{}` printed {line}", self.name))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
