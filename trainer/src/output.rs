//! Files and folders that are either written whole or not at all.
//!
//! Everything is written beside its destination, flushed to the disk, and renamed over it at the
//! end. Whatever stops the program in between leaves the destination as it was.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, anyhow, bail};

/// Writes `bytes` to `path`, replacing what was there only once everything is on the disk.
/// Missing parent folders are made.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let parent = parent_of(path);
    create_folder(&parent)?;
    let mut beside = tempfile::Builder::new()
        .prefix(&hidden_prefix(path))
        .suffix(".partial")
        .tempfile_in(&parent)
        .map_err(|error| explain(error, "write", path))?;
    beside
        .write_all(bytes)
        .and_then(|()| beside.as_file().sync_all())
        .map_err(|error| explain(error, "write", path))?;
    allow_reading(beside.path());
    beside
        .persist(path)
        .map_err(|error| explain(error.error, "write", path))?;
    sync_folder(&parent);
    Ok(())
}

/// A folder being written beside its destination. Dropped without [`FolderWriter::finish`], it
/// disappears and the destination stays as it was.
pub struct FolderWriter {
    destination: PathBuf,
    beside: tempfile::TempDir,
}

impl FolderWriter {
    /// Starts a folder that will become `destination`. Missing parents are made.
    pub fn new(destination: &Path) -> Result<Self> {
        if destination.exists() && !destination.is_dir() {
            bail!(
                "{} is a file, and a folder is to be written there: move it away or choose another place",
                destination.display()
            );
        }
        let parent = parent_of(destination);
        create_folder(&parent)?;
        let beside = tempfile::Builder::new()
            .prefix(&hidden_prefix(destination))
            .suffix(".partial")
            .tempdir_in(&parent)
            .map_err(|error| explain(error, "write", destination))?;
        Ok(Self {
            destination: destination.to_path_buf(),
            beside,
        })
    }

    /// Writes one file of the folder; `name` may hold `/` for a folder within.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.beside.path().join(name);
        let shown = self.destination.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|error| explain(error, "write", &shown))?;
        }
        let mut file = File::create(&path).map_err(|error| explain(error, "write", &shown))?;
        file.write_all(bytes)
            .and_then(|()| file.sync_all())
            .map_err(|error| explain(error, "write", &shown))
    }

    /// Puts the folder in its place. A folder that was there before is replaced as a whole.
    pub fn finish(self) -> Result<()> {
        let Self {
            destination,
            beside,
        } = self;
        let parent = parent_of(&destination);
        allow_entering(beside.path());
        // `rename` cannot replace a folder that holds files, so the old one steps aside first,
        // and comes back if the new one cannot take its place.
        let aside = if destination.exists() {
            let aside = tempfile::Builder::new()
                .prefix(&hidden_prefix(&destination))
                .suffix(".replaced")
                .tempdir_in(&parent)
                .map_err(|error| explain(error, "replace", &destination))?;
            let old = aside.path().join("old");
            fs::rename(&destination, &old)
                .map_err(|error| explain(error, "replace", &destination))?;
            Some((aside, old))
        } else {
            None
        };
        let new = beside.keep();
        if let Err(error) = fs::rename(&new, &destination) {
            if let Some((_, old)) = &aside {
                // Nothing better can be done if this fails as well; the error below is reported.
                let _ = fs::rename(old, &destination);
            }
            let _ = fs::remove_dir_all(&new);
            return Err(explain(error, "write", &destination));
        }
        sync_folder(&parent);
        Ok(())
    }
}

/// Makes a folder with its parents, with an error that says why it could not be made.
pub fn create_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|error| explain(error, "make the folder", path))
}

/// Reads a whole file, with an error that says what is wrong with the path.
pub fn read_file(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| explain(error, "read", path))
}

/// Turns an input/output error into one that names the file, the cause and the way out.
///
/// `action` completes "cannot … PATH": `read`, `write`, `replace`.
pub fn explain(error: io::Error, action: &str, path: &Path) -> Error {
    let shown = path.display();
    let way_out = match error.kind() {
        io::ErrorKind::NotFound => "there is nothing at this path: check how it is spelled",
        io::ErrorKind::PermissionDenied => {
            "this account may not do that there: change the permissions or choose another place"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "the disk is full: free some space or choose another place; nothing half-written was left under that name"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "the file system is read-only: choose another place with --out"
        }
        io::ErrorKind::IsADirectory => "it is a folder, and a file is needed",
        io::ErrorKind::NotADirectory => {
            "a part of this path is a file, not a folder: check how it is spelled"
        }
        io::ErrorKind::AlreadyExists => "something else has that name: choose another place",
        io::ErrorKind::FileTooLarge => "the file system takes no file this large",
        io::ErrorKind::InvalidFilename => "the file system takes no file of this name",
        _ => return anyhow!(error).context(format!("cannot {action} {shown}")),
    };
    anyhow!("{way_out} ({error})").context(format!("cannot {action} {shown}"))
}

/// Canonical text of a path for messages and records: as given, without a trailing separator.
pub fn shown(path: &Path) -> String {
    let text = path.display().to_string();
    let trimmed = text.trim_end_matches(['/', '\\']);
    if trimmed.is_empty() {
        text
    } else {
        trimmed.to_owned()
    }
}

/// Fails when `path` names something that exists and is not a folder, or nothing at all.
pub fn require_folder(path: &Path, what: &str) -> Result<()> {
    let metadata =
        fs::metadata(path).map_err(|error| explain(error, &format!("open {what}"), path))?;
    if !metadata.is_dir() {
        bail!("{what} must be a folder, and {} is a file", path.display());
    }
    Ok(())
}

/// The folder that holds `path`; the current one for a bare name.
fn parent_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// Names what a left-over would have belonged to.
fn hidden_prefix(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!(".{name}.")
}

/// A rename is on the disk only once its folder is. Not every file system can do this, and the
/// file itself is safe by then: a failure here is no error.
fn sync_folder(path: &Path) {
    if let Ok(folder) = File::open(path) {
        let _ = folder.sync_all();
    }
}

/// Temporary files are private; what is published gets the usual permissions.
#[cfg(unix)]
fn allow_reading(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o644));
}

#[cfg(not(unix))]
fn allow_reading(_path: &Path) {}

#[cfg(unix)]
fn allow_entering(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o755));
}

#[cfg(not(unix))]
fn allow_entering(_path: &Path) {}

/// Writes a value as JSON ([`crate::report::to_json`]), whole or not at all.
pub fn write_json<T: serde::Serialize>(path: &Path, value: &T) -> Result<()> {
    let text = crate::report::to_json(value)
        .with_context(|| format!("cannot write {} as JSON", path.display()))?;
    write_file(path, &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_replaces_the_old_one_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("within/report.json");
        write_file(&path, b"old").unwrap();
        write_file(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(
            fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1,
            "nothing but the file itself may be left"
        );
    }

    #[test]
    fn a_folder_that_is_not_finished_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bundle");
        let first = FolderWriter::new(&path).unwrap();
        first.write("a", b"1").unwrap();
        first.write("deep/b", b"2").unwrap();
        first.finish().unwrap();

        let second = FolderWriter::new(&path).unwrap();
        second.write("c", b"3").unwrap();
        drop(second);
        assert!(path.join("deep/b").exists() && !path.join("c").exists());

        let third = FolderWriter::new(&path).unwrap();
        third.write("c", b"3").unwrap();
        third.finish().unwrap();
        assert!(path.join("c").exists() && !path.join("a").exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn errors_name_the_path_the_cause_and_the_way_out() {
        let error = read_file(Path::new("/no/such/file")).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("cannot read /no/such/file"), "{text}");
        assert!(text.contains("check how it is spelled"), "{text}");

        let full = io::Error::from(io::ErrorKind::StorageFull);
        let text = format!("{:#}", explain(full, "write", Path::new("x")));
        assert!(text.contains("the disk is full"), "{text}");
    }

    #[test]
    fn a_folder_is_not_written_over_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bundle");
        fs::write(&path, b"").unwrap();
        assert!(FolderWriter::new(&path).is_err());
    }
}
