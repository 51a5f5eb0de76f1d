//! Where a feature file is to go: never in the place of somebody's file of something else.

use std::fs::File;
use std::io::Read;
use std::path::Path;

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
            None => {
                let tensors = header.as_object().is_some_and(|header| !header.is_empty());
                tensors && header["features"].is_null()
            }
        },
        None => path
            .extension()
            .is_none_or(|ending| ending != "safetensors"),
    }
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
        for name in ["f.safetensors", "f.bin"] {
            assert!(!is_other(name, &own) && !is_other(name, b""), "{name}");
            assert!(is_other(name, &model) && is_other(name, &array), "{name}");
        }
        assert!(!is_other("f.safetensors", b"\0\0cut short"));
        assert!(is_other("table.csv", b"name,age\n") && is_other("notes", b"mine"));
        assert!(!is_of_something_else(&folder.path().join("absent")));
    }
}
