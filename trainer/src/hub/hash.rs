//! The cache names a file's content by its hash: SHA-256 for large files, Git's SHA-1 for small
//! ones. So every file can be checked at any time, without the hub.

use std::fs;
use std::io::Read;
use std::path::Path;

use anyhow::{Result, bail};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::features::hexadecimal;
use crate::output::{explain, open_file};

/// What a content's name says about it.
enum Kind {
    Sha256,
    /// SHA-1 of `blob LENGTH\0` and the content.
    GitBlob,
}

/// Fails when the content of a cached file is not what its name in the cache says.
///
/// A mirror may name contents in another way; then there is nothing to check by.
///
/// # Errors
/// Names the file and both hashes.
pub fn verify(path: &Path) -> Result<()> {
    let content = fs::canonicalize(path).map_err(|error| explain(error, "open", path))?;
    let name = content.file_name().unwrap_or_default().to_string_lossy();
    verify_as(path, &name)
}

/// The same for a file that does not lie under the content's name yet.
pub fn verify_as(path: &Path, name: &str) -> Result<()> {
    let Some(kind) = kind(name) else {
        return Ok(());
    };
    let found = hash_of(path, &kind)?;
    if found != name {
        bail!(
            "{} is damaged: its hash is {found}, and the hub's is {name}",
            path.display()
        );
    }
    Ok(())
}

/// Whether content under this name can be checked by it.
pub fn names_content(name: &str) -> bool {
    kind(name).is_some()
}

/// Whether this is a commit's hash.
pub fn is_commit(text: &str) -> bool {
    text.len() == 40 && is_hexadecimal(text)
}

fn kind(name: &str) -> Option<Kind> {
    match name.len() {
        64 if is_hexadecimal(name) => Some(Kind::Sha256),
        40 if is_hexadecimal(name) => Some(Kind::GitBlob),
        _ => None,
    }
}

fn is_hexadecimal(text: &str) -> bool {
    text.bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn hash_of(path: &Path, kind: &Kind) -> Result<String> {
    match kind {
        Kind::Sha256 => digest(path, Sha256::new()),
        Kind::GitBlob => {
            let length = fs::metadata(path)
                .map_err(|error| explain(error, "read", path))?
                .len();
            digest(path, Sha1::new_with_prefix(format!("blob {length}\0")))
        }
    }
}

fn digest<D: Digest>(path: &Path, mut hash: D) -> Result<String> {
    let mut file = open_file(path, "read")?;
    let mut bytes = vec![0; 1 << 16];
    loop {
        let read = file
            .read(&mut bytes)
            .map_err(|error| explain(error, "read", path))?;
        if read == 0 {
            return Ok(hexadecimal(&hash.finalize()));
        }
        hash.update(&bytes[..read]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `sha256sum` and `git hash-object` of the same five bytes.
    const NAMES: [&str; 2] = [
        "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
        "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0",
    ];

    #[test]
    fn content_is_held_against_its_name() {
        let folder = tempfile::tempdir().unwrap();
        for name in NAMES {
            let path = folder.path().join(name);
            fs::write(&path, "hello").unwrap();
            verify(&path).unwrap();
            fs::write(&path, "hellp").unwrap();
            let error = verify(&path).unwrap_err().to_string();
            assert!(error.contains("damaged") && error.contains(name), "{error}");
        }
        let other = folder.path().join("65a1-5f2");
        fs::write(&other, "hello").unwrap();
        verify(&other).unwrap();
        assert!(names_content(NAMES[0]) && !names_content("65a1-5f2"));
    }
}
