//! A report on the disk.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::Report;
use super::gallery::gallery;
use super::html::write_html;
use crate::output::kind::FIGURES;
use crate::output::{self, FolderWriter};

const JSON: &str = "report.json";
/// A report of thousands of curves has tens of millions.
const MAX_REPORT_BYTES: u64 = 1 << 30;
const HTML: &str = "report.html";

/// The folder of the figures.
fn figures(folder: &Path) -> PathBuf {
    folder.join("figures")
}

/// What the commands that write reports put beside them, each its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportOf {
    /// `trainer train`, with a bundle.
    Train,
    /// `trainer bench`, with a table and rows.
    Bench,
}

/// Fails when [`write()`] could not put a report into `folder`, or would put it in the place of
/// something else: hours may lie between the two.
///
/// # Errors
/// When `figures/` holds something else, a report is there that this program did not write or that
/// another command did, or a folder lies where a file is to go.
pub fn check_place(folder: &Path, of: ReportOf) -> Result<()> {
    FIGURES.check(&figures(folder))?;
    let (json, html) = (folder.join(JSON), folder.join(HTML));
    for file in [&json, &html] {
        if file.is_dir() {
            bail!(
                "{} is a folder, and a report is to go there: give another --out, or move it away",
                file.display()
            );
        }
    }
    let (other, leaves) = match of {
        ReportOf::Train => ("bench", ["rows", "table.tex"]),
        ReportOf::Bench => ("train", ["bundle", "checkpoint"]),
    };
    if (json.exists() || html.exists()) && !is_report(&json) {
        bail!(
            "{} is not a report of this program, and would be lost: give another --out, or move it away",
            if json.exists() { json } else { html }.display()
        );
    }
    if let Some(left) = leaves.iter().find(|name| folder.join(name).exists()) {
        bail!(
            "{} holds `{left}`, which `{other}` wrote, and whose report would be lost: give another --out, or move it away",
            folder.display()
        );
    }
    Ok(())
}

/// Whether the file is a report, or the rest of one that a kill cut short.
fn is_report(json: &Path) -> bool {
    let Ok(bytes) = output::read_at_most(json, MAX_REPORT_BYTES) else {
        return false;
    };
    let fields = ["title", "methods", "reproduce"];
    serde_json::from_slice::<serde_json::Value>(&bytes)
        .is_ok_and(|report| fields.iter().all(|field| report.get(field).is_some()))
}

/// Writes `report.json`, `report.html` and every figure, as SVG and PNG, below `figures/`.
pub fn write(folder: &Path, report: &Report) -> Result<()> {
    output::write_json(&folder.join(JSON), report)?;
    output::write_file(&folder.join(HTML), write_html(report).as_bytes())?;
    let figures = FolderWriter::new(&figures(folder), &FIGURES)?;
    for drawn in gallery(&report.figures)? {
        figures.write(&format!("{}.svg", drawn.name), &drawn.svg)?;
        figures.write(&format!("{}.png", drawn.name), &drawn.png)?;
    }
    figures.finish()
}
