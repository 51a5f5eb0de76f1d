//! The list of entries of a PyTorch archive, which is a zip file.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Result, bail};

use crate::output::{explain, open_file};

/// The most bytes of a list of entries: room for a million.
const MAX_LIST_BYTES: u64 = 128 << 20;
/// Bytes of the end record without its comment, and the most of a comment.
const END_BYTES: usize = 22;
const MAX_COMMENT_BYTES: u64 = u16::MAX as u64;
/// Bytes of the record that says where the end record for large files is, and of that one.
const LOCATOR_BYTES: usize = 20;
const LARGE_END_BYTES: usize = 56;
/// Bytes of an entry of the list before its name.
const ENTRY_BYTES: usize = 46;

/// Fails when two entries of an archive have one name: readers differ in which of them they take, so
/// that this program would read other weights than PyTorch. PyTorch looks names up without regard to
/// case.
///
/// What is no archive, or a broken one, is left to who reads it.
///
/// # Errors
/// Names the entry, or says that the file cannot be read.
pub fn require_distinct_names(path: &Path) -> Result<()> {
    let mut file = open_file(path, "read the checkpoint")?;
    let list = match list_of_entries(&mut file) {
        Ok(Some(list)) => list,
        Ok(None) => return Ok(()),
        Err(error) => return Err(explain(error, "read the checkpoint", path)),
    };
    let mut seen = HashSet::new();
    let mut rest = list.as_slice();
    while rest.starts_with(b"PK\x01\x02") {
        let length = |at| number(rest, at, 2).map(|length| length as usize);
        let (Some(name), Some(extra), Some(comment)) = (length(28), length(30), length(32)) else {
            break;
        };
        let Some(name) = rest.get(ENTRY_BYTES..ENTRY_BYTES + name) else {
            break;
        };
        if !seen.insert(name.to_ascii_lowercase()) {
            bail!(
                "{} has two entries of the name `{}`, and programs differ in which of them they read: fetch it again, or save its state_dict() again with torch.save",
                path.display(),
                String::from_utf8_lossy(name).escape_debug()
            );
        }
        let next = ENTRY_BYTES + name.len() + extra + comment;
        rest = rest.get(next..).unwrap_or_default();
    }
    Ok(())
}

/// The bytes of the list of entries; none where there is no such list.
fn list_of_entries(file: &mut File) -> io::Result<Option<Vec<u8>>> {
    let length = file.seek(SeekFrom::End(0))?;
    let most = MAX_COMMENT_BYTES + (END_BYTES + LOCATOR_BYTES) as u64;
    let tail = read_at(file, length.saturating_sub(most), most)?;
    let end = tail
        .windows(END_BYTES)
        .rposition(|bytes| bytes.starts_with(b"PK\x05\x06"));
    let Some(end) = end else {
        return Ok(None);
    };
    let locator = end
        .checked_sub(LOCATOR_BYTES)
        .and_then(|start| tail.get(start..end))
        .filter(|bytes| bytes.starts_with(b"PK\x06\x07"));
    let place = match locator.and_then(|locator| number(locator, 8, 8)) {
        Some(large_end) => {
            let record = read_at(file, large_end, LARGE_END_BYTES as u64)?;
            number(&record, 40, 8).zip(number(&record, 48, 8))
        }
        None => number(&tail, end + 12, 4).zip(number(&tail, end + 16, 4)),
    };
    match place {
        Some((bytes, start)) if bytes <= MAX_LIST_BYTES => read_at(file, start, bytes).map(Some),
        _ => Ok(None),
    }
}

/// As many of `bytes` bytes from `start` on as there are.
fn read_at(file: &mut File, start: u64, bytes: u64) -> io::Result<Vec<u8>> {
    let mut read = Vec::new();
    if i64::try_from(start).is_ok() {
        file.seek(SeekFrom::Start(start))?;
        file.take(bytes).read_to_end(&mut read)?;
    }
    Ok(read)
}

/// A little-endian number of `bytes` bytes.
fn number(record: &[u8], at: usize, bytes: usize) -> Option<u64> {
    let digits = record.get(at..at + bytes)?.iter().rev();
    Some(digits.fold(0, |number, &digit| number << 8 | u64::from(digit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list of entries with these names, and the end record.
    fn archive(names: &[&str], large: bool) -> Vec<u8> {
        let mut list = Vec::new();
        for name in names {
            let mut entry = vec![0; ENTRY_BYTES];
            entry[..4].copy_from_slice(b"PK\x01\x02");
            entry[28] = name.len() as u8;
            entry[30] = 3;
            list.extend(entry);
            list.extend(name.as_bytes());
            list.extend([7; 3]);
        }
        let start = b"PK\x03\x04....".to_vec();
        let (offset, bytes) = (start.len() as u64, list.len() as u64);
        let mut file = [start, list].concat();
        if large {
            let record = file.len() as u64;
            let mut end = vec![0; LARGE_END_BYTES];
            end[..4].copy_from_slice(b"PK\x06\x06");
            end[40..48].copy_from_slice(&bytes.to_le_bytes());
            end[48..].copy_from_slice(&offset.to_le_bytes());
            file.extend(end);
            file.extend(b"PK\x06\x07\0\0\0\0");
            file.extend(record.to_le_bytes());
            file.extend([1, 0, 0, 0]);
        }
        let mut end = vec![0; END_BYTES];
        end[..4].copy_from_slice(b"PK\x05\x06");
        let small = |number: u64| if large { u32::MAX } else { number as u32 };
        end[12..16].copy_from_slice(&small(bytes).to_le_bytes());
        end[16..20].copy_from_slice(&small(offset).to_le_bytes());
        file.extend(end);
        file
    }

    #[test]
    fn two_entries_of_one_name_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.pt");
        let check = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            require_distinct_names(&path)
        };
        for large in [false, true] {
            let fine = archive(&["a/data.pkl", "a/data/0", "a/data/1"], large);
            check(&fine).unwrap();
            for twice in ["a/data/0", "A/data/0"] {
                let names = ["a/data.pkl", "a/data/0", twice];
                let error = check(&archive(&names, large)).unwrap_err().to_string();
                assert!(
                    error.contains(twice) && error.contains("torch.save"),
                    "{error}"
                );
            }
            // Broken ones are another reader's to explain.
            for cut in 0..fine.len() {
                check(&fine[..cut]).unwrap();
            }
        }
        check(b"\x80\x02").unwrap();
    }
}
