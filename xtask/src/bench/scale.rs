//! Time and memory of a step of stage 2 against everything that it could grow with.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use clap::Args;

use super::child::Child;
use super::machine::{self, median};

/// Steps that are timed, after one that is not; one alone where that took longer than [`LONG`]
/// seconds.
const STEPS: usize = 3;
const LONG: f64 = 15.0;

/// One thing that is varied while the others keep their places in [`BASE`].
struct Axis {
    option: &'static str,
    name: &'static str,
    values: &'static [usize],
    /// `--activation-memory` in GiB, if not the default.
    memory: Option<&'static str>,
    /// Whether the time is to grow in proportion; it is to stay as it is otherwise.
    linear: bool,
}

/// Where everything stands that is not varied.
const BASE: [(&str, usize); 5] = [
    ("--classes", 100),
    ("--negatives", 2),
    ("--context-tokens", 16),
    ("--batch", 64),
    ("--images", 1600),
];

/// More than anything here keeps: 7 GiB.
const ALL: Option<&str> = Some("1000");
const NOTHING: Option<&str> = Some("0");

const AXES: [Axis; 7] = [
    Axis {
        option: "--classes",
        name: "classes k",
        values: &[10, 30, 100, 300, 1000, 3000, 10_000],
        memory: None,
        linear: true,
    },
    Axis {
        option: "--classes",
        name: "k, all kept",
        values: &[100, 300, 1000, 3000],
        memory: ALL,
        linear: true,
    },
    Axis {
        option: "--classes",
        name: "k, nothing kept",
        values: &[100, 300, 1000, 3000],
        memory: NOTHING,
        linear: true,
    },
    Axis {
        option: "--negatives",
        name: "negatives p",
        values: &[1, 2, 4, 8, 16],
        memory: None,
        linear: true,
    },
    Axis {
        option: "--context-tokens",
        name: "context tokens M",
        values: &[4, 8, 16, 32, 64],
        memory: None,
        linear: false,
    },
    Axis {
        option: "--batch",
        name: "batch",
        values: &[16, 64, 256, 1024],
        memory: None,
        linear: false,
    },
    Axis {
        option: "--images",
        name: "images",
        values: &[1000, 10_000, 100_000],
        memory: None,
        linear: false,
    },
];

/// What `cargo xtask bench scale` takes.
#[derive(Args)]
pub struct Arguments {
    /// Only the axes whose name begins with this, without a plot
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Where the plot goes
    #[arg(long, default_value = "benches/scale.svg", value_name = "FILE")]
    plot: PathBuf,
}

struct Point {
    value: usize,
    seconds: f64,
    processor_seconds: f64,
    gibibytes: f64,
}

/// Measures, prints a table and draws the curves.
///
/// # Errors
/// When the trainer does not build, does not do its work, or the plot cannot be written.
pub fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    let trainer = machine::trainer(root)?;
    println!("{}", machine::line(root));
    let mut curves = Vec::new();
    let chosen = |axis: &&Axis| {
        let only = arguments.only.as_deref().unwrap_or_default();
        axis.name.starts_with(only)
    };
    for axis in AXES.iter().filter(chosen) {
        println!();
        println!(
            "| {} | seconds a step | processor seconds | GiB | slope |",
            axis.name
        );
        println!("|---:|---:|---:|---:|---:|");
        let mut points: Vec<Point> = Vec::new();
        for &value in axis.values {
            let point = measure(&trainer, axis, value)?;
            let slope = points.last().map_or(String::new(), |before| {
                format!("{:.2}", slope(before, &point))
            });
            println!(
                "| {value} | {:.3} | {:.2} | {:.2} | {slope} |",
                point.seconds, point.processor_seconds, point.gibibytes
            );
            points.push(point);
        }
        curves.push(points);
    }
    if arguments.only.is_some() {
        return Ok(());
    }
    let plot = root.join(&arguments.plot);
    std::fs::write(&plot, draw(&curves))?;
    println!();
    println!("plot: {}", plot.display());
    Ok(())
}

fn measure(trainer: &Path, axis: &Axis, value: usize) -> Result<Point> {
    let mut command = Command::new(trainer);
    command.args(["time-step", "step"]);
    for (name, base) in BASE {
        let value = if name == axis.option { value } else { base };
        command.arg(name).arg(value.to_string());
    }
    if let Some(memory) = axis.memory {
        command.args(["--activation-memory", memory]);
    }
    let mut child = Child::start(&mut command)?;
    let warm = child.time()?;
    let steps = if warm.seconds > LONG { 1 } else { STEPS };
    let (mut times, mut processor) = (Vec::new(), Vec::new());
    for _ in 0..steps {
        let timing = child.time()?;
        times.push(timing.seconds);
        processor.push(timing.processor_seconds);
    }
    let bytes = child.peak_memory().unwrap_or(0);
    Ok(Point {
        value,
        seconds: median(times),
        processor_seconds: median(processor),
        gibibytes: bytes as f64 / 1_073_741_824.0,
    })
}

/// Of the processor time, on logarithmic axes: 1 is linear.
fn slope(from: &Point, to: &Point) -> f64 {
    (to.processor_seconds / from.processor_seconds).ln()
        / (to.value as f64 / from.value as f64).ln()
}

/// Side of a panel, and what stands between two.
const SIDE: f64 = 190.0;
const MARGIN: f64 = 46.0;

/// A panel an axis on logarithmic scales: time, memory, and dashed the expected slope of the time.
fn draw(curves: &[Vec<Point>]) -> String {
    let step = SIDE + MARGIN;
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {:.0} {:.0}" font-family="sans-serif" font-size="10"><rect width="100%" height="100%" fill="#fff"/>"##,
        step * curves.len() as f64 + MARGIN,
        SIDE + 2.0 * MARGIN
    );
    let values = || {
        let points = curves.iter().flatten();
        points.flat_map(|point| [point.processor_seconds, point.gibibytes])
    };
    let lowest = values().fold(f64::INFINITY, f64::min).max(1e-4);
    let (lowest, highest) = (
        lowest.log10().floor(),
        values().fold(0.0, f64::max).log10().ceil(),
    );
    let y = |value: f64| {
        MARGIN + SIDE * (1.0 - (value.max(1e-4).log10() - lowest) / (highest - lowest))
    };
    for (index, (axis, points)) in AXES.iter().zip(curves).enumerate() {
        let (Some(first), Some(last)) = (points.first(), points.last()) else {
            continue;
        };
        let left = MARGIN + step * index as f64;
        let whole = (last.value as f64 / first.value as f64).ln();
        let x = |value: usize| left + SIDE * (value as f64 / first.value as f64).ln() / whole;
        let _ = write!(
            svg,
            r##"<rect x="{left:.1}" y="{MARGIN}" width="{SIDE}" height="{SIDE}" fill="none" stroke="#bbb"/><text x="{:.1}" y="{:.1}" text-anchor="middle">{}</text>"##,
            left + SIDE / 2.0,
            MARGIN + SIDE + 32.0,
            axis.name
        );
        for point in points {
            let _ = write!(
                svg,
                r##"<text x="{:.1}" y="{:.1}" text-anchor="middle" fill="#666">{}</text>"##,
                x(point.value),
                MARGIN + SIDE + 14.0,
                point.value
            );
        }
        for power in lowest as i32..=highest as i32 {
            let place = y(10f64.powi(power));
            let _ = write!(
                svg,
                r##"<line x1="{left:.1}" x2="{:.1}" y1="{place:.1}" y2="{place:.1}" stroke="#eee"/><text x="{:.1}" y="{:.1}" text-anchor="end" fill="#666">{}</text>"##,
                left + SIDE,
                left - 4.0,
                place + 3.0,
                10f64.powi(power)
            );
        }
        let line = |of: &dyn Fn(&Point) -> f64| {
            let place = |point: &Point| format!("{:.1},{:.1}", x(point.value), y(of(point)));
            points.iter().map(place).collect::<Vec<_>>().join(" ")
        };
        // Through the last point, where the fixed costs weigh least.
        let expected = |point: &Point| {
            let share = point.value as f64 / last.value as f64;
            last.processor_seconds * if axis.linear { share } else { 1.0 }
        };
        for (places, colour, dashes) in [
            (line(&expected), "#888", "4 3"),
            (line(&|point| point.processor_seconds), "#0b62a4", "none"),
            (line(&|point| point.gibibytes), "#c0392b", "none"),
        ] {
            let _ = write!(
                svg,
                r##"<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="1.6" stroke-dasharray="{dashes}"/>"##
            );
        }
    }
    let _ = write!(
        svg,
        r##"<text x="{MARGIN}" y="20"><tspan fill="#0b62a4">processor seconds a step</tspan> · <tspan fill="#c0392b">GiB at most</tspan> · <tspan fill="#888">expected time (dashed)</tspan></text></svg>"##
    );
    svg
}
