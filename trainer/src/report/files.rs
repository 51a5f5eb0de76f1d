//! A report on the disk.

use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Result, bail};

use super::Report;
use super::gallery::gallery;
use super::html::write_html;
use crate::output::kind::{FIGURES, has_fields};
use crate::output::{self, FolderWriter};

const JSON: &str = "report.json";
const HTML: &str = "report.html";
/// What `trainer bench` puts beside its report.
const TABLE: &str = "table.tex";

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
    let table = folder.join(TABLE);
    let of_bench = (of == ReportOf::Bench).then_some(&table);
    for file in [&json, &html].into_iter().chain(of_bench) {
        if file.is_dir() {
            bail!(
                "{} is a folder, and a report is to go there: give another --out, or move it away",
                file.display()
            );
        }
    }
    let (other, leaves) = match of {
        ReportOf::Train => ("bench", ["rows", TABLE]),
        ReportOf::Bench => ("train", ["bundle", "checkpoint"]),
    };
    if (json.exists() || html.exists()) && !is_report(&json) {
        bail!(
            "{} is not a report of this program, and would be lost: give another --out, or move it away",
            if json.exists() { json } else { html }.display()
        );
    }
    // Each is written after the report, so without one they are somebody's own.
    let figures = figures(folder);
    let is_filled = figures
        .read_dir()
        .is_ok_and(|mut entries| entries.next().is_some());
    let own = of_bench
        .filter(|table| table.exists())
        .or(is_filled.then_some(&figures));
    if let Some(own) = own.filter(|_| !is_report(&json)) {
        bail!(
            "{} lies beside no report of this program, so it is not its own, and would be lost: give another --out, or move it away",
            own.display()
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
    has_fields(json, &["title", "methods", "reproduce"])
}

/// Removes the report of an earlier run from `folder`, before what it is about is replaced: a kill
/// between the two must not leave a report of something else.
///
/// # Errors
/// Where [`check_place()`] fails by now, or the system refuses.
pub fn retire(folder: &Path, of: ReportOf) -> Result<()> {
    check_place(folder, of)?;
    // The figures first: without their report nobody could tell whose they are.
    let removed = |path: PathBuf, result: io::Result<()>| match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(output::explain(error, "replace", &path))
        }
        _ => Ok(()),
    };
    let figures = figures(folder);
    let all = fs::read_dir(&figures).into_iter().flatten().flatten();
    for path in all.map(|entry| entry.path()) {
        let result = fs::remove_file(&path);
        removed(path, result)?;
    }
    for path in [folder.join(HTML), folder.join(JSON)] {
        let result = fs::remove_file(&path);
        removed(path, result)?;
    }
    Ok(())
}

/// Writes `report.json`, `report.html` and every figure, as SVG and PNG, below `figures/`.
pub fn write(folder: &Path, report: &Report) -> Result<()> {
    output::write_json(&folder.join(JSON), report)?;
    output::write_file(
        &folder.join(HTML),
        write_html(report, Some(JSON)).as_bytes(),
    )?;
    let figures = FolderWriter::new(&figures(folder), &FIGURES)?;
    for drawn in gallery(&report.figures)? {
        figures.write(&format!("{}.svg", drawn.name), &drawn.svg)?;
        figures.write(&format!("{}.png", drawn.name), &drawn.png)?;
    }
    figures.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_and_a_table_are_replaced_beside_a_report_only() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path();
        let put = |name: &str, bytes: &str| fs::write(folder.join(name), bytes).unwrap();
        fs::create_dir(folder.join("figures")).unwrap();
        check_place(folder, ReportOf::Train).unwrap();
        for name in ["overview.svg", "overview.png"] {
            put(&format!("figures/{name}"), "mine");
        }
        for of in [ReportOf::Train, ReportOf::Bench] {
            let error = check_place(folder, of).unwrap_err().to_string();
            assert!(error.contains("figures lies beside no report"), "{error}");
            assert!(retire(folder, of).is_err());
        }
        assert!(folder.join("figures/overview.svg").exists());
        let report = r#"{"title":"","methods":[],"reproduce":[]}"#;
        put("report.json", report);
        check_place(folder, ReportOf::Train).unwrap();
        retire(folder, ReportOf::Train).unwrap();
        let left: Vec<_> = fs::read_dir(folder).unwrap().flatten().collect();
        assert!(left.iter().all(|entry| entry.file_name() == "figures"));
        check_place(folder, ReportOf::Train).unwrap();

        put("table.tex", "mine");
        let error = check_place(folder, ReportOf::Bench).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("table.tex lies beside no report")
        );
        put("report.json", report);
        check_place(folder, ReportOf::Bench).unwrap();
    }
}
