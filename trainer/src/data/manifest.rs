//! A table of images: CSV or TSV with a header, or one JSON object a line.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;

use super::annotated::{self, Annotated};
use super::walk::name_text;
use super::{Dataset, Source, Split, taken_together};
use crate::output::{explain, open_file};

/// The most bytes of a table: ten times ImageNet's.
const MAX_TABLE_BYTES: u64 = 1 << 30;
/// The most rows of a table: more than the images of ImageNet-21k. Each takes far more memory than the
/// two bytes that it may have in the file.
const MAX_ROWS: usize = 1 << 24;
/// The most bytes of a line: paths and names are a few hundred.
const MAX_LINE_BYTES: u64 = 1 << 20;

/// Columns `path`, `label` (may be empty) and, if wanted, `split`. Paths are taken from the folder
/// that the table lies in.
pub struct Manifest;

impl Source for Manifest {
    fn id(&self) -> &'static str {
        "manifest"
    }

    fn describes(&self) -> &'static str {
        "a .csv or .tsv file with the columns path,label[,split], or a .jsonl file with the same keys; paths are taken from the file's own folder"
    }

    fn recognises(&self, path: &Path) -> bool {
        path.is_file() && Format::of(path).is_some()
    }

    fn read(&self, path: &Path) -> Result<Dataset> {
        let mut rows = Rows::of(path, MAX_ROWS);
        match Format::of(path) {
            Some(Format::Separated(separator)) => read_separated(path, separator, &mut rows)?,
            Some(Format::JsonLines) => read_json_lines(path, &mut rows)?,
            None => bail!("{} is neither .csv, .tsv nor .jsonl", path.display()),
        }
        let Rows {
            folder,
            images,
            first,
            present,
            halves,
            ..
        } = rows;
        let Some((line, first)) = first else {
            bail!(
                "{} lists no image: it has no row; write one for each image",
                path.display()
            );
        };
        if !present {
            bail!(
                "none of the {} images of {} is there, the first being `{}` (line {line}): check the paths; relative paths are taken from {}",
                images.len(),
                path.display(),
                beginning(&first),
                if folder.as_os_str().is_empty() {
                    "the current folder".to_owned()
                } else {
                    folder.display().to_string()
                }
            );
        }
        let mut dataset = annotated::dataset(path, "manifest", images);
        for (half, names) in &halves {
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            let taken = taken_together(path, &names, *half);
            dataset.warnings.extend(taken);
        }
        Ok(dataset)
    }
}

/// What the rows of a table have come to so far. A row is turned into an image as it is read: of
/// millions, both would not fit into memory.
struct Rows<'a> {
    path: &'a Path,
    folder: &'a Path,
    most: usize,
    images: Vec<Annotated>,
    /// Line and path of the first row.
    first: Option<(u64, String)>,
    /// Whether any of the images is there.
    present: bool,
    /// What the halves are called.
    halves: BTreeMap<Split, BTreeSet<String>>,
}

impl<'a> Rows<'a> {
    fn of(path: &'a Path, most: usize) -> Self {
        Self {
            path,
            folder: path.parent().unwrap_or(Path::new("")),
            most,
            images: Vec::new(),
            first: None,
            present: false,
            halves: BTreeMap::new(),
        }
    }

    fn take(&mut self, line: u64, row: Row) -> Result<()> {
        if self.images.len() == self.most {
            bail!(
                "{} has more than {} rows, the most that a table may have: split it",
                self.path.display(),
                self.most
            );
        }
        let image = row
            .annotated(self.folder)
            .with_context(|| at(self.path, line))?;
        self.present = self.present || image.path.exists();
        if let (Some(half), Some(name)) = (image.split, &row.split) {
            let names = self.halves.entry(half).or_default();
            let name = name.trim().to_lowercase();
            if !names.contains(&name) {
                names.insert(name);
            }
        }
        self.images.push(image);
        if self.first.is_none() {
            self.first = Some((line, row.path));
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Format {
    Separated(u8),
    JsonLines,
}

impl Format {
    fn of(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_string_lossy().to_lowercase();
        match extension.as_str() {
            "csv" => Some(Self::Separated(b',')),
            "tsv" => Some(Self::Separated(b'\t')),
            "jsonl" | "ndjson" => Some(Self::JsonLines),
            _ => None,
        }
    }
}

#[derive(Debug, Deserialize)]
struct Row {
    path: String,
    #[serde(default)]
    label: Option<Label>,
    #[serde(default)]
    split: Option<String>,
}

/// JSON tables may number their classes.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Label {
    Number(i64),
    Name(String),
}

impl Row {
    fn annotated(&self, folder: &Path) -> Result<Annotated> {
        if self.path.trim().is_empty() {
            bail!("the path is empty: write one, or leave the row out");
        }
        let split = match self.split.as_deref().map(str::trim) {
            None | Some("") => None,
            Some(name) => Some(Split::parse(name).ok_or_else(|| {
                anyhow!("`{name}` is no split: write train or test, or leave it empty")
            })?),
        };
        let class = match &self.label {
            Some(Label::Number(number)) => Some(number.to_string()),
            Some(Label::Name(name)) => Some(name.trim().to_owned()).filter(|n| !n.is_empty()),
            None => None,
        };
        Ok(Annotated {
            path: folder.join(self.path.trim()),
            name: name_of(self.path.trim()),
            class,
            split,
        })
    }
}

/// The name of the image at a path of the table, with `/` on every system.
fn name_of(path: &str) -> String {
    if cfg!(windows) {
        name_text(path.replace('\\', "/").as_ref())
    } else {
        // A backslash is part of a file's name here.
        name_text(path.as_ref())
    }
}

fn read_separated(path: &Path, separator: u8, rows: &mut Rows) -> Result<()> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(separator)
        .trim(csv::Trim::All)
        .flexible(true)
        .from_reader(open_table(path)?);
    let headers = reader.headers().with_context(|| unreadable(path))?.clone();
    if !headers.iter().any(|header| header == "path") {
        bail!(
            "{} has no column `path`: its first line must name the columns (path,label or path,label,split), and reads `{}`",
            path.display(),
            beginning(&headers.iter().collect::<Vec<_>>().join(","))
        );
    }
    let column = |name: &str| headers.iter().position(|header| header == name);
    let (path_at, label_at, split_at) = (column("path"), column("label"), column("split"));
    let mut record = csv::StringRecord::new();
    while reader
        .read_record(&mut record)
        .with_context(|| unreadable(path))?
    {
        let line = record.position().map_or(0, csv::Position::line);
        // Labels stay text: `007` is a name, not a number.
        let field = |at: Option<usize>| at.and_then(|at| record.get(at)).map(str::to_owned);
        let row = Row {
            path: field(path_at).unwrap_or_default(),
            label: field(label_at).map(Label::Name),
            split: field(split_at),
        };
        rows.take(line, row)?;
    }
    Ok(())
}

fn read_json_lines(path: &Path, rows: &mut Rows) -> Result<()> {
    let mut file = BufReader::new(open_table(path)?);
    let mut line = String::new();
    for number in 1.. {
        line.clear();
        let read = (&mut file)
            .take(MAX_LINE_BYTES)
            .read_line(&mut line)
            .context("the line is no UTF-8 text; save the table as UTF-8")
            .with_context(|| at(path, number))?;
        if read == 0 {
            break;
        }
        if read as u64 == MAX_LINE_BYTES {
            bail!(
                "{}: the line is longer than {MAX_LINE_BYTES} bytes; write one object a line",
                at(path, number)
            );
        }
        let line = line.trim_start_matches('\u{feff}').trim();
        if line.is_empty() {
            continue;
        }
        let row = serde_json::from_str(line)
            .context("each line must be an object like {\"path\": \"a.jpg\", \"label\": \"cat\"}")
            .with_context(|| at(path, number))?;
        rows.take(number, row)?;
    }
    Ok(())
}

/// Opens a table that may be of any origin.
fn open_table(path: &Path) -> Result<File> {
    let file = open_file(path, "read")?;
    let bytes = file
        .metadata()
        .map_err(|error| explain(error, "read", path))?
        .len();
    if bytes > MAX_TABLE_BYTES {
        bail!(
            "{} has {bytes} bytes, and a table may have {MAX_TABLE_BYTES}: split it",
            path.display()
        );
    }
    Ok(file)
}

fn unreadable(path: &Path) -> String {
    format!(
        "cannot read {} as a table: save it again as CSV in UTF-8",
        path.display()
    )
}

/// As much of a stranger's text as an error can bear.
fn beginning(text: &str) -> String {
    const LENGTH: usize = 80;
    let mut beginning: String = text.chars().take(LENGTH).collect();
    if beginning.len() < text.len() {
        beginning.push('…');
    }
    beginning
}

fn at(path: &Path, line: u64) -> String {
    format!("{}, line {line}", path.display())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::data::{open, test_images::put};

    #[test]
    fn a_table_without_labels_says_which_column_it_lacks() {
        let folder = tempfile::tempdir().unwrap();
        put(&folder.path().join("a.png"), 1);
        let table = folder.path().join("table.csv");
        fs::write(&table, "path,class\na.png,ant\n").unwrap();
        let error = open(&table).unwrap().require_classes().unwrap_err();
        assert!(error.to_string().contains("a column `label`"), "{error}");
    }

    #[test]
    fn reads_csv_with_labels_and_splits() {
        let folder = tempfile::tempdir().unwrap();
        put(&folder.path().join("img/a.png"), 1);
        let table = folder.path().join("table.csv");
        let text = "\u{feff}label, path,split\ndog,img/b.png,train\ncat,img/a.png,val\n\"ant, red\",c.png,\n,d.png,test\n";
        fs::write(&table, text).unwrap();
        let dataset = open(&table).unwrap();
        assert_eq!(dataset.classes, ["ant, red", "cat", "dog"]);
        assert_eq!(dataset.items.len(), 4);
        let a = &dataset.items[2];
        assert_eq!((a.name.as_str(), a.label), ("img/a.png", Some(1)));
        assert_eq!(a.split, Some(Split::Test));
        assert_eq!(dataset.items[1].label, None);
        let said = dataset.warnings.join("\n");
        assert!(
            said.contains("test and val are taken together, as the test half"),
            "{said}"
        );
        fs::write(&table, text.replace("test\n", "VAL\n")).unwrap();
        assert!(open(&table).unwrap().warnings.is_empty());
    }

    #[test]
    fn reads_json_lines_with_numbered_labels() {
        let folder = tempfile::tempdir().unwrap();
        put(&folder.path().join("a.png"), 1);
        let table = folder.path().join("t.jsonl");
        fs::write(
            &table,
            "{\"path\":\"a.png\",\"label\":3}\n\n{\"path\":\"b.png\",\"label\":\"x\"}\n",
        )
        .unwrap();
        let dataset = open(&table).unwrap();
        assert_eq!(dataset.classes, ["3", "x"]);
    }

    #[test]
    fn a_table_has_a_bounded_number_of_rows() {
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path().join("t.csv");
        fs::write(&table, "path\na\nb\nc\n").unwrap();
        let read = |most| {
            let mut rows = Rows::of(&table, most);
            read_separated(&table, b',', &mut rows).map(|()| rows.images.len())
        };
        assert_eq!(read(3).unwrap(), 3);
        let error = read(2).unwrap_err().to_string();
        assert!(
            error.contains("more than 2 rows") && error.contains("split it"),
            "{error}"
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_backslash_and_a_slash_are_two_names() {
        let folder = tempfile::tempdir().unwrap();
        put(&folder.path().join("a/b.png"), 1);
        put(&folder.path().join("a\\b.png"), 2);
        let table = folder.path().join("t.csv");
        fs::write(&table, "path,label\na/b.png,x\na\\b.png,y\n").unwrap();
        let dataset = open(&table).unwrap();
        assert_ne!(dataset.items[0].name, dataset.items[1].name);
        assert!(dataset.items.iter().all(|item| item.path.is_file()));
    }

    #[test]
    fn errors_name_the_line_and_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        put(&folder.path().join("a.png"), 1);
        let table = folder.path().join("t.csv");
        let failure = |text: &str| {
            fs::write(&table, text).unwrap();
            format!("{:#}", open(&table).unwrap_err())
        };
        assert!(failure("a.png,cat\n").contains("has no column `path`"));
        assert!(failure("path,label,split\na.png,cat,some\n").contains("line 2"));
        assert!(failure("path,label\nz.png,cat\n").contains("relative paths are taken from"));
        assert!(failure("path,label\n").contains("no row"));
        let table = folder.path().join("t.jsonl");
        fs::write(&table, "{\"path\":\"a.png\"}\nnot json\n").unwrap();
        let text = format!("{:#}", open(&table).unwrap_err());
        assert!(text.contains("line 2"), "{text}");
    }
}
