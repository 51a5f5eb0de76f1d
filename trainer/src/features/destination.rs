//! Where a feature file is to go: never in the place of somebody's file of something else.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Result, bail};
use serde_json::Value;

use super::layout::FORMAT;

/// No header of a safetensors file is longer.
const MOST_HEADER_BYTES: u64 = 100_000_000;

/// Whether there is a file at `path` that would be lost: safetensors of something else, or what is no
/// safetensors by its name either. Of a feature file, also of a damaged one, nothing is lost.
pub fn is_of_something_else(path: &Path) -> bool {
    if !path
        .metadata()
        .is_ok_and(|file| file.is_file() && file.len() > 0)
    {
        return false;
    }
    match header(path) {
        Some(header) => match header["__metadata__"]["format"].as_str() {
            Some(format) => format != FORMAT,
            // Every feature file has said so from the first on; others name their tensors as ours.
            None => header.as_object().is_some_and(|header| !header.is_empty()),
        },
        None => path
            .extension()
            .is_none_or(|ending| ending != "safetensors"),
    }
}

/// Fails where a feature file would take the place of something else.
///
/// # Errors
/// Naming the file.
pub fn check_destination(path: &Path) -> Result<()> {
    if is_of_something_else(path) {
        bail!(
            "{} is there already, is no feature file, and would be lost: give another --out, or move it away",
            path.display()
        );
    }
    Ok(())
}

/// Fails where what a run keeps beside its unfinished feature file would take the place of something
/// else, or go through a link to somewhere else.
///
/// # Errors
/// Naming the file.
pub fn check_beside(partial: &Path, journal: &Path) -> Result<()> {
    let of_journal = |start: &[u8]| JOURNAL.starts_with(start) || start.starts_with(JOURNAL);
    let has_journal =
        start_of(journal).is_some_and(|start| !start.is_empty() && of_journal(&start));
    // Until the header is written, zeros stand in its place.
    let of_partial = |start: &[u8]| {
        has_journal || start.iter().all(|&byte| byte == 0) || !is_of_something_else(partial)
    };
    for (path, is_own) in [
        (partial, &of_partial as &dyn Fn(&[u8]) -> bool),
        (journal, &of_journal),
    ] {
        let is_there = path.symlink_metadata().is_ok();
        if is_there && !start_of(path).is_some_and(|start| is_own(&start)) {
            bail!(
                "{} is not what an unfinished run of this program left, and would be lost: give another --out, or move it away",
                path.display()
            );
        }
    }
    Ok(())
}

/// What the first line of a journal begins with.
const JOURNAL: &[u8] = br#"{"classes":"#;

/// The first bytes of a file; none of a link, or of what is no file.
fn start_of(path: &Path) -> Option<Vec<u8>> {
    if !path.symlink_metadata().ok()?.is_file() {
        return None;
    }
    let mut start = Vec::new();
    let file = File::open(path).ok()?;
    file.take(256).read_to_end(&mut start).ok()?;
    Some(start)
}

/// The JSON object at the start of a safetensors file.
fn header(path: &Path) -> Option<Value> {
    let mut file = File::open(path).ok()?;
    let mut length = [0; 8];
    file.read_exact(&mut length).ok()?;
    let mut header = Vec::new();
    let length = u64::from_le_bytes(length).min(MOST_HEADER_BYTES);
    file.take(length).read_to_end(&mut header).ok()?;
    let header: Value = serde_json::from_slice(&header).ok()?;
    header.is_object().then_some(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_something_else_are_told_from_damaged_features() {
        let folder = tempfile::tempdir().unwrap();
        let is_other = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            is_of_something_else(&path)
        };
        let stored = |header: &str| {
            let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
            bytes.extend(header.as_bytes());
            bytes
        };
        let own = stored(r#"{"__metadata__":{"format":"negprompt-features"}}"#);
        let model = stored(r#"{"__metadata__":{"format":"pt"},"weight":{}}"#);
        let array = stored(r#"{"weight":{}}"#);
        let others = stored(r#"{"features":{},"labels":{}}"#);
        for name in ["f.safetensors", "f.bin"] {
            assert!(is_other(name, &others), "{name}");
            assert!(!is_other(name, &own) && !is_other(name, b""), "{name}");
            assert!(is_other(name, &model) && is_other(name, &array), "{name}");
        }
        assert!(!is_other("f.safetensors", b"\0\0cut short"));
        assert!(is_other("table.csv", b"name,age\n") && is_other("notes", b"mine"));
        assert!(!is_of_something_else(&folder.path().join("absent")));
    }

    #[test]
    fn what_lies_beside_is_told_from_what_a_killed_run_left() {
        let folder = tempfile::tempdir().unwrap();
        let (partial, journal) = (folder.path().join("f.partial"), folder.path().join("j"));
        let told = |of_partial: &[u8], of_journal: &[u8]| {
            std::fs::write(&partial, of_partial).unwrap();
            std::fs::write(&journal, of_journal).unwrap();
            check_beside(&partial, &journal)
        };
        told(b"", b"").unwrap();
        told(&[0; 4096], br#"{"cla"#).unwrap();
        told(b"cut short", br#"{"classes":[],"model"#).unwrap();
        for (of_partial, of_journal) in [(&b"a download"[..], &b""[..]), (b"", b"dear diary")] {
            assert!(told(of_partial, of_journal).is_err());
        }
        #[cfg(unix)]
        {
            std::fs::remove_file(&partial).unwrap();
            std::fs::write(&journal, b"").unwrap();
            std::os::unix::fs::symlink(&journal, &partial).unwrap();
            assert!(check_beside(&partial, &journal).is_err());
        }
    }
}
