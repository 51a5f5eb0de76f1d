//! The record beside an unfinished feature file: which images it holds, so that a killed run can
//! go on.
//!
//! One JSON object a line. The first is the [`CacheHeader`] of the run; each further one is an
//! image, in order, appended after its feature. A line carries a checksum of the feature, so a
//! feature that never reached the disk, or a line torn in the middle, is found and dropped.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::key::hexadecimal;
use super::layout::CacheHeader;
use crate::output::{explain, open_file, require_plain};

/// The most bytes of a line: the first holds the names of all classes.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// What happened to one image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub name: String,
    /// SHA-256 of the image file, in hexadecimal; empty when the file could not be read at all.
    pub hash: String,
    /// −1 when the class is not known.
    pub label: i32,
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The feature was written; [`checksum`] of its bytes.
    Feature(String),
    /// The image could not be read, and why.
    Skipped(String),
}

/// The first half of the SHA-256 of a feature's bytes.
pub fn checksum(row: &[u8]) -> String {
    hexadecimal(&Sha256::digest(row)[..16])
}

/// A journal being written.
pub struct Journal {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Journal {
    pub fn create(path: &Path, header: &CacheHeader) -> Result<Self> {
        require_plain(path)?;
        let file = File::create(path).map_err(|error| explain(error, "write", path))?;
        let mut journal = Self {
            path: path.to_path_buf(),
            file: BufWriter::new(file),
        };
        journal.line(header)?;
        journal.flush()?;
        Ok(journal)
    }

    /// Goes on after the first `bytes` bytes; what stands behind them is cut off.
    pub fn resume(path: &Path, bytes: u64) -> Result<Self> {
        let failed = |error| explain(error, "write", path);
        require_plain(path)?;
        let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
        file.set_len(bytes).map_err(failed)?;
        let file = OpenOptions::new().append(true).open(path).map_err(failed)?;
        Ok(Self {
            path: path.to_path_buf(),
            file: BufWriter::new(file),
        })
    }

    pub fn push(&mut self, entry: &Entry) -> Result<()> {
        self.line(entry)
    }

    pub fn flush(&mut self) -> Result<()> {
        self.file
            .flush()
            .map_err(|error| explain(error, "write", &self.path))
    }

    fn line<T: Serialize>(&mut self, value: &T) -> Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.file
            .write_all(&line)
            .map_err(|error| explain(error, "write", &self.path))
    }
}

/// A journal being read.
pub struct JournalReader {
    path: PathBuf,
    file: BufReader<File>,
    /// Bytes read so far, up to the end of the last whole line.
    pub position: u64,
    pub header: CacheHeader,
}

impl JournalReader {
    /// # Errors
    /// When the file cannot be opened, or does not begin like a journal.
    pub fn open(path: &Path) -> Result<Self> {
        let mut file = BufReader::new(open_file(path, "read")?);
        let line = read_line(&mut file, path)?;
        let header = serde_json::from_slice(&line)
            .with_context(|| format!("{} is no record of an unfinished run", path.display()))?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
            position: line.len() as u64,
            header,
        })
    }

    /// The next image; none at the end and at a line that was torn.
    pub fn next(&mut self) -> Result<Option<Entry>> {
        let line = read_line(&mut self.file, &self.path)?;
        if line.last() != Some(&b'\n') {
            return Ok(None);
        }
        match serde_json::from_slice(&line) {
            Ok(entry) => {
                self.position += line.len() as u64;
                Ok(Some(entry))
            }
            Err(_) => Ok(None),
        }
    }

    /// The next image of a journal that was just written: a torn line is an error.
    pub fn expect_next(&mut self) -> Result<Entry> {
        match self.next()? {
            Some(entry) => Ok(entry),
            None => bail!(
                "{} was changed while it was written: run again without --resume",
                self.path.display()
            ),
        }
    }
}

/// A line, or as much of it as a line may have: a file of another kind, such as one that is all zeros,
/// has no end of a line.
fn read_line(file: &mut impl BufRead, path: &Path) -> Result<Vec<u8>> {
    let mut line = Vec::new();
    file.take(MAX_LINE_BYTES)
        .read_until(b'\n', &mut line)
        .map_err(|error| explain(error, "read", path))?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::FeaturePrecision;

    /// Opening a pipe would wait for ever, and a hole of gigabytes has no line.
    #[cfg(unix)]
    #[test]
    fn a_journal_is_a_plain_file_with_lines() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let error = format!("{:#}", JournalReader::open(&pipe).err().unwrap());
        assert!(error.contains("ordinary file"), "{error}");
        assert!(Journal::resume(&pipe, 0).is_err());

        let hole = folder.path().join("hole");
        File::create(&hole).unwrap().set_len(3 << 30).unwrap();
        let line = read_line(&mut BufReader::new(File::open(&hole).unwrap()), &hole).unwrap();
        assert_eq!(line.len() as u64, MAX_LINE_BYTES);
        let error = format!("{:#}", JournalReader::open(&hole).err().unwrap());
        assert!(error.contains("no record of an unfinished run"), "{error}");
    }

    #[test]
    fn a_torn_line_ends_the_journal() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        let header = CacheHeader {
            classes: vec![],
            model: "m".into(),
            key: "k".into(),
            width: 4,
            precision: FeaturePrecision::F16,
            shard: None,
        };
        let entry = Entry {
            name: "a\nb".into(),
            hash: String::new(),
            label: -1,
            outcome: Outcome::Skipped("why".into()),
        };
        let mut journal = Journal::create(&path, &header).unwrap();
        journal.push(&entry).unwrap();
        journal.push(&entry).unwrap();
        drop(journal);
        let length = std::fs::metadata(&path).unwrap().len();
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(length - 3).unwrap();

        let mut reader = JournalReader::open(&path).unwrap();
        assert_eq!(reader.header, header);
        assert_eq!(reader.next().unwrap(), Some(entry.clone()));
        let position = reader.position;
        assert_eq!(reader.next().unwrap(), None);

        let mut journal = Journal::resume(&path, position).unwrap();
        journal.push(&entry).unwrap();
        drop(journal);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), length);
    }
}
