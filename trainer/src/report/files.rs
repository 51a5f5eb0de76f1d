//! A report on the disk.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::Report;
use super::gallery::gallery;
use super::html::write_html;
use crate::output::kind::FIGURES;
use crate::output::{self, FolderWriter};

/// The folder of the figures.
fn figures(folder: &Path) -> PathBuf {
    folder.join("figures")
}

/// Fails when [`write()`] could not put the figures into `folder`: hours may lie between the two.
///
/// # Errors
/// When `figures/` holds something else.
pub fn check_place(folder: &Path) -> Result<()> {
    FIGURES.check(&figures(folder))
}

/// Writes `report.json`, `report.html` and every figure, as SVG and PNG, below `figures/`.
pub fn write(folder: &Path, report: &Report) -> Result<()> {
    output::write_json(&folder.join("report.json"), report)?;
    output::write_file(&folder.join("report.html"), write_html(report).as_bytes())?;
    let figures = FolderWriter::new(&figures(folder), &FIGURES)?;
    for drawn in gallery(&report.figures)? {
        figures.write(&format!("{}.svg", drawn.name), &drawn.svg)?;
        figures.write(&format!("{}.png", drawn.name), &drawn.png)?;
    }
    figures.finish()
}
