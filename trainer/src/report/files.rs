//! A report on the disk.

use std::path::Path;

use anyhow::Result;

use super::Report;
use super::gallery::gallery;
use super::html::write_html;
use crate::output::{self, FolderWriter};

/// Writes `report.json`, `report.html` and every figure, as SVG and PNG, below `figures/`.
pub fn write(folder: &Path, report: &Report) -> Result<()> {
    output::write_json(&folder.join("report.json"), report)?;
    output::write_file(&folder.join("report.html"), write_html(report).as_bytes())?;
    let figures = FolderWriter::new(&folder.join("figures"))?;
    for drawn in gallery(&report.figures)? {
        figures.write(&format!("{}.svg", drawn.name), &drawn.svg)?;
        figures.write(&format!("{}.png", drawn.name), &drawn.png)?;
    }
    figures.finish()
}
