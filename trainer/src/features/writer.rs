//! Writing a feature file of any length with the memory of one batch.
//!
//! Room for the header is left at the start of `NAME.partial`; features are appended as they
//! come, and `NAME.journal` records which images they belong to. At the end labels, hashes and
//! names follow from the journal, the header is filled in, and the file is renamed to `NAME`.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use sha2::{Digest, Sha256};

use super::destination::{check_beside, check_destination};
use super::journal::{Entry, Journal, JournalReader, Outcome, checksum};
use super::key::{from_hexadecimal, hexadecimal};
use super::layout::{CacheHeader, HASH_BYTES, TextBytes};
use super::shard::Skipped;
use crate::output::{behind_links, create_folder, explain, is_special};

/// Bytes before the JSON header of a safetensors file: its length.
const LENGTH_BYTES: usize = 8;

/// A feature file that is not finished yet.
pub struct CacheWriter {
    destination: PathBuf,
    partial: PathBuf,
    journal_path: PathBuf,
    header: CacheHeader,
    file: BufWriter<File>,
    journal: Journal,
    row: Vec<u8>,
    images: u64,
}

/// Says for each image of an earlier run, in order, whether it is still to be used.
pub trait StillValid {
    /// Whether the next image of this run is the one that `entry` records.
    fn confirm(&mut self, entry: &Entry) -> bool;
}

impl<F: FnMut(&Entry) -> bool> StillValid for F {
    fn confirm(&mut self, entry: &Entry) -> bool {
        self(entry)
    }
}

impl CacheWriter {
    /// Starts a new file; what an earlier, unfinished run left is dropped.
    ///
    /// # Errors
    /// When something else lies there or beside it, or the system refuses.
    pub fn create(destination: &Path, header: CacheHeader) -> Result<Self> {
        check_header(&header)?;
        if is_special(destination) {
            bail!(
                "{} is a device or pipe, and a file of features is to be put there: choose another --out",
                destination.display()
            );
        }
        // A link stays, and the file that it leads to is replaced.
        let destination = &*behind_links(destination);
        let (partial, journal_path) = names_beside(destination);
        check_destination(destination)?;
        check_beside(&partial, &journal_path)?;
        if let Some(parent) = destination.parent()
            && !parent.as_os_str().is_empty()
        {
            create_folder(parent)?;
        }
        let mut file = open_locked(&partial, destination)?;
        let failed = |error| {
            let _ = fs::remove_file(&partial);
            explain(error, "write", &partial)
        };
        file.set_len(0).map_err(failed)?;
        // Zeros are no header: the file cannot be taken for a finished one.
        file.write_all(&vec![0; data_start(&header)])
            .map_err(failed)?;
        let journal = Journal::create(&journal_path, &header).inspect_err(|_| {
            let _ = fs::remove_file(&partial);
            let _ = fs::remove_file(&journal_path);
        })?;
        Ok(Self {
            destination: destination.to_path_buf(),
            file: BufWriter::new(file),
            partial,
            journal_path,
            header,
            journal,
            row: Vec::new(),
            images: 0,
        })
    }

    /// Goes on with what an earlier run left, as far as its record, its features and `valid`
    /// agree; from the first disagreement on, everything is dropped. Starts anew if there is
    /// nothing.
    ///
    /// # Errors
    /// When the earlier run used another model, other classes or another precision, or something else
    /// lies there or beside it.
    pub fn resume(
        destination: &Path,
        header: CacheHeader,
        valid: &mut impl StillValid,
    ) -> Result<Self> {
        check_header(&header)?;
        let destination = &*behind_links(destination);
        let (partial, journal_path) = names_beside(destination);
        check_destination(destination)?;
        check_beside(&partial, &journal_path)?;
        if !partial.exists() || !journal_path.exists() {
            return Self::create(destination, header);
        }
        let mut reader = match JournalReader::open(&journal_path) {
            Ok(reader) => reader,
            // Killed before the first line was whole: nothing is lost by starting anew.
            Err(_) => return Self::create(destination, header),
        };
        if let Some(difference) = unfit(destination, &header) {
            bail!(
                "{} was begun with {difference}: run without --resume to start anew",
                partial.display()
            );
        }
        let file = open_locked(&partial, destination)?;
        let failed = |error| explain(error, "read", &partial);
        let mut rows = BufReader::new(&file);
        rows.seek(SeekFrom::Start(data_start(&header) as u64))
            .map_err(failed)?;
        let mut row = vec![0; header.row_bytes()];
        let (mut images, mut position) = (0, reader.position);
        while let Some(entry) = reader.next()? {
            if !valid.confirm(&entry) {
                break;
            }
            if let Outcome::Feature(expected) = &entry.outcome {
                if rows.read_exact(&mut row).is_err() || &checksum(&row) != expected {
                    break;
                }
                images += 1;
            }
            position = reader.position;
        }
        drop(rows);
        let end = data_start(&header) as u64 + images * header.row_bytes() as u64;
        let failed = |error| explain(error, "write", &partial);
        file.set_len(end).map_err(failed)?;
        let mut file = file;
        file.seek(SeekFrom::Start(end)).map_err(failed)?;
        let journal = Journal::resume(&journal_path, position)?;
        Ok(Self {
            destination: destination.to_path_buf(),
            file: BufWriter::new(file),
            partial,
            journal_path,
            header,
            journal,
            row,
            images,
        })
    }

    /// Images written so far, those of the earlier run included.
    pub fn images(&self) -> u64 {
        self.images
    }

    /// Appends one image. `feature` has [`CacheHeader::width`] numbers.
    ///
    /// # Errors
    /// When a number is not finite, or the file cannot be written.
    pub fn push(
        &mut self,
        name: &str,
        label: Option<usize>,
        hash: &str,
        feature: &[f32],
    ) -> Result<()> {
        if feature.len() != self.header.width {
            bail!(
                "the image tower gave {} numbers for {name}, and its configuration says {}",
                feature.len(),
                self.header.width
            );
        }
        if let Some(value) = feature.iter().find(|value| !value.is_finite()) {
            bail!(
                "the image tower gave {value} for {name}: the model's weights are damaged, or they overflow in its precision; import it again with --precision f32"
            );
        }
        self.row.clear();
        self.header.precision.append(feature, &mut self.row);
        self.file
            .write_all(&self.row)
            .map_err(|error| stopped(error, &self.destination, &self.partial))?;
        self.images += 1;
        let outcome = Outcome::Feature(checksum(&self.row));
        self.record(name, label, hash, outcome)
    }

    /// Records an image that could not be read, so that a resumed run lists it too.
    pub fn skip(
        &mut self,
        name: &str,
        label: Option<usize>,
        hash: &str,
        reason: &str,
    ) -> Result<()> {
        self.record(name, label, hash, Outcome::Skipped(reason.to_owned()))
    }

    /// Hands everything to the system: what is flushed survives a kill of this program. Features
    /// go before their record.
    pub fn flush(&mut self) -> Result<()> {
        self.file
            .flush()
            .map_err(|error| stopped(error, &self.destination, &self.partial))?;
        self.journal.flush()
    }

    /// Completes the file and puts it in its place.
    pub fn finish(self) -> Result<()> {
        self.complete(None)
    }

    /// The same for a shard: `positions` are those of its images in the list of all, as they were
    /// pushed or skipped.
    pub fn finish_shard(self, positions: &[u32]) -> Result<()> {
        self.complete(Some(positions))
    }

    fn complete(mut self, positions: Option<&[u32]>) -> Result<()> {
        self.flush()?;
        let failed = |error| stopped(error, &self.destination, &self.partial);
        for_each_image(&self.journal_path, self.images, |entry| {
            self.file
                .write_all(&entry.label.to_le_bytes())
                .map_err(failed)
        })?;
        for_each_image(&self.journal_path, self.images, |entry| {
            let hash: [u8; HASH_BYTES] = from_hexadecimal(&entry.hash)
                .ok_or_else(|| anyhow!("{} has no hash in the record", entry.name))?;
            self.file.write_all(&hash).map_err(failed)
        })?;
        if let Some(positions) = positions {
            let mut next = positions.iter();
            for_each_entry(&self.journal_path, |entry| {
                let position = next.next().copied().and_then(|at| i32::try_from(at).ok());
                let position = position.ok_or_else(|| anyhow!("{} has no position", entry.name))?;
                match entry.outcome {
                    Outcome::Feature(_) => {
                        self.file.write_all(&position.to_le_bytes()).map_err(failed)
                    }
                    Outcome::Skipped(_) => Ok(()),
                }
            })?;
        }
        let mut texts = TextBytes::default();
        for_each_image(&self.journal_path, self.images, |entry| {
            // Names are joined by newlines, so none may hold one.
            let name = entry.name.replace('\n', "\\n");
            let separator: &[u8] = if texts.files == 0 { b"" } else { b"\n" };
            texts.files += (separator.len() + name.len()) as u64;
            self.file
                .write_all(separator)
                .and_then(|()| self.file.write_all(name.as_bytes()))
                .map_err(failed)
        })?;
        if let Some(positions) = positions {
            let mut next = positions.iter();
            for_each_entry(&self.journal_path, |entry| {
                let position = next.next().copied().unwrap_or_default();
                let Outcome::Skipped(reason) = &entry.outcome else {
                    return Ok(());
                };
                let name = entry.name.clone();
                let reason = reason.clone();
                let mut line = serde_json::to_vec(&Skipped {
                    position,
                    name,
                    reason,
                })?;
                line.push(b'\n');
                texts.skipped += line.len() as u64;
                self.file.write_all(&line).map_err(failed)
            })?;
        }
        let reserved = self.header.reserved_bytes();
        self.file.flush().map_err(failed)?;
        let file = self.file.get_mut();
        let checksum = hexadecimal(&hash_from(file, data_start(&self.header)).map_err(failed)?);
        let mut header = self.header.json(self.images, texts, &checksum).into_bytes();
        header.resize(reserved, b' ');
        file.seek(SeekFrom::Start(0))
            .and_then(|_| file.write_all(&(reserved as u64).to_le_bytes()))
            .and_then(|()| file.write_all(&header))
            .and_then(|()| file.sync_all())
            .map_err(failed)?;
        // Hours may have gone by since the first look.
        check_destination(&self.destination)?;
        fs::rename(&self.partial, &self.destination).map_err(failed)?;
        // The features are safe; a journal left behind is dropped by the next run.
        let _ = fs::remove_file(&self.journal_path);
        Ok(())
    }

    /// Drops the unfinished file: for a run that cannot come to anything.
    pub fn abandon(self) {
        let _ = fs::remove_file(&self.partial);
        let _ = fs::remove_file(&self.journal_path);
    }

    fn record(
        &mut self,
        name: &str,
        label: Option<usize>,
        hash: &str,
        outcome: Outcome,
    ) -> Result<()> {
        let label = label.map_or(Ok(-1), i32::try_from)?;
        self.journal.push(&Entry {
            name: name.to_owned(),
            hash: hash.to_owned(),
            label,
            outcome,
        })
    }
}

/// Where an unfinished file of this name lies, if a run was killed.
pub fn unfinished(destination: &Path) -> Option<PathBuf> {
    let (partial, journal) = names_beside(destination);
    let is_there = partial.exists() && journal.exists();
    (is_there && check_beside(&partial, &journal).is_ok()).then_some(partial)
}

/// What the unfinished file of this name was begun with that `header` differs in; none where there is
/// nothing to go on with, or it fits.
pub fn unfit(destination: &Path, header: &CacheHeader) -> Option<String> {
    let (_, journal) = names_beside(destination);
    let old = JournalReader::open(&journal).ok()?.header;
    (&old != header).then(|| difference(&old, header))
}

/// Says of a full disk what is kept, and how to go on with it.
fn stopped(error: io::Error, destination: &Path, partial: &Path) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => anyhow!(
            "the disk is full: free some space and run it again, `trainer encode` with --resume; what was computed stays in {} ({error})",
            partial.display()
        )
        .context(format!("cannot write {}", destination.display())),
        _ => explain(error, "write", destination),
    }
}

fn names_beside(destination: &Path) -> (PathBuf, PathBuf) {
    let destination = behind_links(destination);
    let beside = |suffix: &str| {
        let mut name = destination.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    (beside(".partial"), beside(".journal.partial"))
}

fn data_start(header: &CacheHeader) -> usize {
    LENGTH_BYTES + header.reserved_bytes()
}

fn check_header(header: &CacheHeader) -> Result<()> {
    if header.width == 0 {
        bail!("the model's features have no numbers: its configuration is wrong");
    }
    // Labels follow the features and must lie at a multiple of their four bytes.
    if !header.row_bytes().is_multiple_of(4) {
        bail!(
            "features of {} numbers cannot be kept in half precision: use --precision f32",
            header.width
        );
    }
    Ok(())
}

/// SHA-256 of everything from byte `start` on.
fn hash_from(file: &mut File, start: usize) -> io::Result<[u8; HASH_BYTES]> {
    file.seek(SeekFrom::Start(start as u64))?;
    let mut hash = Sha256::new();
    let mut bytes = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut bytes)?;
        if read == 0 {
            return Ok(hash.finalize().into());
        }
        hash.update(&bytes[..read]);
    }
}

/// Opens the unfinished file for this run alone.
fn open_locked(partial: &Path, destination: &Path) -> Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(partial)
        .map_err(|error| explain(error, "write", partial))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => bail!(
            "another run is writing {} at this moment: wait for it, or choose another --out",
            destination.display()
        ),
        // A file system without locks is no reason to refuse.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
    }
}

fn for_each_image(
    journal: &Path,
    images: u64,
    mut each: impl FnMut(&Entry) -> Result<()>,
) -> Result<()> {
    let mut reader = JournalReader::open(journal)?;
    let mut done = 0;
    while done < images {
        let entry = reader.expect_next()?;
        if matches!(entry.outcome, Outcome::Feature(_)) {
            each(&entry)?;
            done += 1;
        }
    }
    Ok(())
}

/// Every image of a journal that was just written, unreadable ones included.
fn for_each_entry(journal: &Path, mut each: impl FnMut(&Entry) -> Result<()>) -> Result<()> {
    let mut reader = JournalReader::open(journal)?;
    while let Some(entry) = reader.next()? {
        each(&entry)?;
    }
    Ok(())
}

fn difference(old: &CacheHeader, new: &CacheHeader) -> String {
    if old.key != new.key {
        format!("another model or preprocessing ({})", old.model)
    } else if old.classes != new.classes {
        "other classes".to_owned()
    } else if old.precision != new.precision {
        format!("--precision {}", old.precision.dtype().to_lowercase())
    } else if old.shard != new.shard {
        "another shard, or another list of images: some were added or removed since".to_owned()
    } else {
        "other settings".to_owned()
    }
}
