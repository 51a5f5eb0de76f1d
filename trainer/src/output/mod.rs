//! Files and folders that are either written whole or not at all.
//!
//! Everything is written beside its destination, flushed to the disk, and renamed over it at the
//! end. Whatever stops the program in between leaves the destination as it was; what a killed run
//! left beside it is removed by the next one.

pub mod kind;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, anyhow, bail, ensure};
use sha2::{Digest, Sha256};

use kind::FolderKind;

/// The most bytes of a file that is read whole: several times the largest CLIP in f32.
const MAX_FILE_BYTES: u64 = 16 << 30;
/// Bytes of the hash behind a sealed file.
const SEAL_BYTES: usize = 32;
/// Ends the name of what is not finished.
const PARTIAL: &str = ".partial";
/// Ends the name of the folder that holds what is being replaced.
const REPLACED: &str = ".replaced";
/// More links from one to the next than anybody makes: they lead in a circle.
const MOST_LINKS: usize = 40;

/// Writes `bytes` to `path`, replacing what was there only once everything is on the disk.
/// Missing parent folders are made.
///
/// A device or pipe (`/dev/stdout`) is written to and never replaced, also where it leads to a
/// file; a link stays, and the file that it leads to is replaced.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    if is_special(path) {
        // What was written to the same file before, such as a table on the screen, stays.
        return OpenOptions::new()
            .append(true)
            .open(path)
            .and_then(|mut open| open.write_all(bytes))
            .map_err(|error| explain(error, "write", path));
    }
    let path = &*behind_links(path);
    let parent = parent_of(path);
    create_folder(&parent)?;
    sweep(path);
    let mut beside = tempfile::Builder::new()
        .prefix(&hidden_prefix(path))
        .suffix(PARTIAL)
        .tempfile_in(&parent)
        .map_err(|error| explain(error, "write", path))?;
    // Says that it is in use; a file system without locks is no reason to refuse.
    let _ = beside.as_file().try_lock();
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
    /// What may be replaced; with none, everything of the old folder that has no successor is kept.
    kind: Option<&'static FolderKind>,
    beside: tempfile::TempDir,
    /// Held while the folder is in use; see [`sweep`].
    _lock: Option<File>,
}

impl FolderWriter {
    /// Starts a folder that will become `destination`. Missing parents are made.
    ///
    /// # Errors
    /// When `destination` is there and holds what no folder of this kind does.
    pub fn new(destination: &Path, kind: &'static FolderKind) -> Result<Self> {
        kind.check(destination)?;
        Self::begin(destination, Some(kind))
    }

    /// Starts a folder that will become `destination`, together with everything that lies in it
    /// and is not written anew.
    pub fn keeping(destination: &Path) -> Result<Self> {
        Self::begin(destination, None)
    }

    fn begin(destination: &Path, kind: Option<&'static FolderKind>) -> Result<Self> {
        // `x/.` is `x`, which the system would not rename under that name.
        let destination = &*behind_links(destination).components().collect::<PathBuf>();
        if destination.exists() && !destination.is_dir() {
            bail!(
                "{} is a file, and a folder is to be written there: move it away or choose another place",
                destination.display()
            );
        }
        let parent = parent_of(destination);
        create_folder(&parent)?;
        sweep(destination);
        let beside = tempfile::Builder::new()
            .prefix(&hidden_prefix(destination))
            .suffix(PARTIAL)
            .tempdir_in(&parent)
            .map_err(|error| explain(error, "write", destination))?;
        let lock = File::open(beside.path()).ok();
        if let Some(lock) = &lock {
            let _ = lock.try_lock();
        }
        Ok(Self {
            destination: destination.to_path_buf(),
            kind,
            beside,
            _lock: lock,
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
    ///
    /// # Errors
    /// When it came to hold something else meanwhile, or the system refuses.
    pub fn finish(self) -> Result<()> {
        let Self {
            destination,
            kind,
            beside,
            _lock,
        } = self;
        match kind {
            Some(kind) => kind.check(&destination)?,
            None if destination.is_dir() => keep_others(&destination, beside.path())?,
            None => {}
        }
        let parent = parent_of(&destination);
        allow_entering(beside.path());
        if exchange(beside.path(), &destination) {
            // What lies beside is the old folder now, and goes away here.
            sync_folder(&parent);
            return Ok(());
        }
        // `rename` cannot replace a folder that holds files, so the old one steps aside first,
        // and comes back if the new one cannot take its place.
        let aside = if destination.exists() {
            let aside = tempfile::Builder::new()
                .prefix(&hidden_prefix(&destination))
                .suffix(REPLACED)
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
    read_at_most(path, MAX_FILE_BYTES)
}

/// Reads a whole file that has no business being larger than `most` bytes; the size is looked at
/// before memory is taken for it.
pub fn read_at_most(path: &Path, most: u64) -> Result<Vec<u8>> {
    let file = open_file(path, "read")?;
    let length = file
        .metadata()
        .map_err(|error| explain(error, "read", path))?
        .len();
    let mut bytes = Vec::new();
    let room = usize::try_from(length).ok().filter(|_| length <= most);
    ensure!(
        room.is_some_and(|room| bytes.try_reserve_exact(room).is_ok()),
        "{} has {length} bytes, which is more than {}: it is something else, or damaged; make or fetch it again",
        path.display(),
        if length > most {
            format!("the {most} that such a file may have")
        } else {
            "there is memory for".to_owned()
        }
    );
    file.take(most)
        .read_to_end(&mut bytes)
        .map_err(|error| explain(error, "read", path))?;
    Ok(bytes)
}

/// Opens an ordinary file for reading. Opening a pipe would wait for whoever writes to it, and a
/// device has no end.
pub fn open_file(path: &Path, action: &str) -> Result<File> {
    let failed = |error| explain(error, action, path);
    let metadata = fs::metadata(path).map_err(failed)?;
    if metadata.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    if !metadata.is_file() {
        return Err(anyhow!(
            "it is a pipe, device or socket, and an ordinary file is needed: copy its content to one"
        )
        .context(format!("cannot {action} {}", path.display())));
    }
    File::open(path).map_err(failed)
}

/// Fails when something else than a file has the name of one that is to be written in place: opening a
/// pipe would wait for whoever reads it.
///
/// # Errors
/// Names what is there.
pub fn require_plain(path: &Path) -> Result<()> {
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => bail!(
            "{} is no ordinary file, and one is to be written there: move it away",
            path.display()
        ),
        _ => Ok(()),
    }
}

/// Writes `bytes` with their SHA-256 behind them, for [`read_sealed`].
pub fn write_sealed(path: &Path, mut bytes: Vec<u8>) -> Result<()> {
    let seal = Sha256::digest(&bytes);
    bytes.extend_from_slice(&seal);
    write_file(path, &bytes)
}

/// Reads what [`write_sealed`] wrote, and nothing else.
pub fn read_sealed(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = read_file(path)?;
    let content = bytes.len().saturating_sub(SEAL_BYTES);
    let seal = bytes.split_off(content);
    ensure!(
        seal.as_slice() == Sha256::digest(&bytes).as_slice(),
        "{} is damaged: start afresh, without --resume",
        path.display()
    );
    Ok(bytes)
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
        _ => {
            "the system refuses it: check the path, the disk and the permissions, then run it again"
        }
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

/// The last part of a path: all that files which are passed on (bundles, reports, tables) say of
/// where a user's files are. Of `/home/ann/..` it is the dots.
pub fn last_name(path: &Path) -> String {
    let last = path.components().next_back();
    last.map_or_else(String::new, |last| {
        last.as_os_str().to_string_lossy().into_owned()
    })
}

/// Fails when [`write_file()`] could not write `path`: before work whose result is to go there.
///
/// # Errors
/// When a folder has that name, a part of the path is a file, or the system lets nothing be written.
pub fn check_file_place(path: &Path) -> Result<()> {
    if is_special(path) {
        return Ok(());
    }
    let path = &*behind_links(path);
    let failed = |error| explain(error, "write", path);
    if path.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    // The folders that are missing are made when there is something to write.
    let parent = parent_of(path);
    let there = parent.ancestors().find(|folder| folder.exists());
    let there = match there {
        Some(folder) if !folder.is_dir() => {
            return Err(failed(io::ErrorKind::NotADirectory.into()));
        }
        Some(folder) => folder,
        None => Path::new("."),
    };
    tempfile::tempfile_in(there).map(drop).map_err(failed)
}

/// Whether both paths lead to one file, be it there or not.
pub fn are_one_file(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| {
        let path = behind_links(path);
        let parent = parent_of(&path);
        let parent = (parent.canonicalize())
            .or_else(|_| std::path::absolute(&parent))
            .unwrap_or(parent);
        parent.join(path.file_name().unwrap_or_default())
    };
    place(one) == place(other)
}

/// Whether `path`, be it there or not, is `folder` itself or lies somewhere in it.
pub fn is_within(path: &Path, folder: &Path) -> bool {
    let Ok(folder) = folder.canonicalize() else {
        return false;
    };
    let path = behind_links(path);
    let path = std::path::absolute(&path).unwrap_or(path);
    // What is missing of the path is in the nearest folder that is there.
    (path.ancestors())
        .find_map(|there| there.canonicalize().ok())
        .is_some_and(|there| there.starts_with(&folder))
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

/// Whether something is there that is neither a file nor a folder, or that stands for something that
/// the system has opened: `/dev/stdout` is a link to whatever the output goes to.
pub fn is_special(path: &Path) -> bool {
    let of_system = || {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let below = |folder: &str| path.starts_with(folder);
        cfg!(unix) && (below("/dev") && !below("/dev/shm") || below("/proc")) && !path.is_dir()
    };
    fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
        || of_system()
}

/// What `path` leads to, be it there or not.
pub fn behind_links(path: &Path) -> PathBuf {
    let mut path = path.to_path_buf();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&path) {
            // A target may be told from the folder that its link is in.
            Ok(target) => path = parent_of(&path).join(target),
            Err(_) => break,
        }
    }
    path
}

/// Puts everything of the folder `old` that `new` lacks into it, at no cost where the file system
/// gives a file a second name.
fn keep_others(old: &Path, new: &Path) -> Result<()> {
    let failed = |error| explain(error, "keep what lies in", old);
    for entry in fs::read_dir(old).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (from, to) = (entry.path(), new.join(entry.file_name()));
        if entry.file_type().map_err(failed)?.is_dir() {
            if to.is_file() {
                bail!(
                    "{} is a folder, and a file is to be written there: move it away",
                    from.display()
                );
            }
            fs::create_dir_all(&to).map_err(failed)?;
            keep_others(&from, &to)?;
        } else if fs::symlink_metadata(&to).is_err() && fs::hard_link(&from, &to).is_err() {
            fs::copy(&from, &to).map_err(|error| explain(error, "keep", &from))?;
        }
    }
    Ok(())
}

/// Lets two folders change places in one step, where the system can: there is no moment then at
/// which the destination is missing.
#[cfg(target_os = "linux")]
fn exchange(new: &Path, destination: &Path) -> bool {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    destination.is_dir() && renameat_with(CWD, new, CWD, destination, RenameFlags::EXCHANGE).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn exchange(_new: &Path, _destination: &Path) -> bool {
    false
}

/// Removes what killed runs left beside `destination`, and puts a folder back that was moved aside
/// when its successor did not come. What a run that is still alive writes is locked, and stays.
fn sweep(destination: &Path) {
    let prefix = hidden_prefix(destination);
    let Ok(entries) = fs::read_dir(parent_of(destination)) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let Some(rest) = name.strip_prefix(&prefix) else {
            continue;
        };
        // `tempfile` puts six letters between the two.
        let ours = |suffix: &str| rest.strip_suffix(suffix).is_some_and(|mid| mid.len() == 6);
        let path = entry.path();
        if ours(REPLACED) && !destination.exists() {
            let _ = fs::rename(path.join("old"), destination);
        }
        if !(ours(PARTIAL) || ours(REPLACED)) || is_special(&path) {
            continue;
        }
        let free = File::open(&path).is_ok_and(|open| open.try_lock().is_ok());
        if !free {
            continue;
        }
        // A left-over that cannot be removed is only untidy.
        let _ = if path.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
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

    const ANYTHING: FolderKind = FolderKind {
        name: "a test",
        holds: |_, _| true,
        is_own: |_| true,
    };

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
        let first = FolderWriter::new(&path, &ANYTHING).unwrap();
        first.write("a", b"1").unwrap();
        first.write("b", b"2").unwrap();
        first.finish().unwrap();

        let second = FolderWriter::new(&path, &ANYTHING).unwrap();
        second.write("c", b"3").unwrap();
        drop(second);
        assert!(path.join("b").exists() && !path.join("c").exists());

        let third = FolderWriter::new(&path, &ANYTHING).unwrap();
        third.write("c", b"3").unwrap();
        third.finish().unwrap();
        assert!(path.join("c").exists() && !path.join("a").exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_of_something_else_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("photos");
        fs::create_dir(&path).unwrap();
        let begun = FolderWriter::new(&path, &kind::BUNDLE).unwrap();
        fs::write(path.join("holiday.jpg"), b"1").unwrap();
        // Also when it came while the folder was written.
        for error in [
            begun.finish().unwrap_err(),
            FolderWriter::new(&path, &kind::BUNDLE).err().unwrap(),
        ] {
            assert!(error.to_string().contains("`holiday.jpg`"), "{error}");
        }
        assert_eq!(fs::read(path.join("holiday.jpg")).unwrap(), b"1");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_lies_in_a_folder_is_kept_on_request() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        fs::create_dir_all(path.join("notes/old")).unwrap();
        fs::write(path.join("notes/old/a.txt"), b"kept").unwrap();
        fs::write(path.join("config.json"), b"old").unwrap();
        let writer = FolderWriter::keeping(&path).unwrap();
        writer.write("config.json", b"new").unwrap();
        writer.finish().unwrap();
        assert_eq!(fs::read(path.join("notes/old/a.txt")).unwrap(), b"kept");
        assert_eq!(fs::read(path.join("config.json")).unwrap(), b"new");
    }

    #[cfg(unix)]
    #[test]
    fn links_stay_and_what_they_lead_to_is_written() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let (link, file) = (folder.path().join("latest"), folder.path().join("a.json"));
        symlink("a.json", &link).unwrap();
        write_file(&link, b"new").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());

        let (link, there) = (folder.path().join("bundle"), folder.path().join("there"));
        fs::create_dir(&there).unwrap();
        symlink("there", &link).unwrap();
        let writer = FolderWriter::new(&link, &ANYTHING).unwrap();
        writer.write("a", b"1").unwrap();
        writer.finish().unwrap();
        assert_eq!(fs::read(there.join("a")).unwrap(), b"1");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn places_that_cannot_be_written_to_are_told_beforehand() {
        let folder = tempfile::tempdir().unwrap();
        let below = |name: &str| folder.path().join(name);
        fs::create_dir(below("photos")).unwrap();
        fs::write(below("file"), b"").unwrap();
        for free in ["file", "new.json", "photos/new.json", "a/b/new.json"] {
            check_file_place(&below(free)).unwrap();
        }
        for (taken, said) in [
            ("photos", "it is a folder"),
            ("file/a.json", "a part of this path is a file"),
            ("file/a/b.json", "a part of this path is a file"),
        ] {
            let error = check_file_place(&below(taken)).unwrap_err();
            let error = format!("{error:#}");
            assert!(
                error.contains(said) && error.contains("cannot write"),
                "{error}"
            );
        }
        // Nothing is made by asking.
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        assert_eq!(fs::read_dir(below("photos")).unwrap().count(), 0);
    }

    #[test]
    fn one_file_is_known_however_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let below = |name: &str| folder.path().join(name);
        fs::create_dir(below("photos")).unwrap();
        for (one, other) in [("a", "a"), ("a", "photos/../a"), ("absent/a", "absent/./a")] {
            assert!(are_one_file(&below(one), &below(other)), "{one} {other}");
        }
        assert!(are_one_file(Path::new("absent"), Path::new("./absent")));
        assert!(!are_one_file(&below("a"), &below("photos/a")));
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("a", below("link")).unwrap();
            assert!(are_one_file(&below("a"), &below("link")));
        }
    }

    #[test]
    fn the_folders_above_are_left_out() {
        for (path, last) in [
            ("/home/ann/photos/", "photos"),
            ("photos", "photos"),
            ("/home/ann/..", ".."),
            ("/home/ann/.", "ann"),
            ("..", ".."),
            (".", "."),
            ("", ""),
        ] {
            assert_eq!(last_name(Path::new(path)), last, "{path}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_the_system_has_opened_is_written_to_in_place() {
        use std::os::fd::AsRawFd;
        let folder = tempfile::tempdir().unwrap();
        let mut file = File::create(folder.path().join("table")).unwrap();
        file.write_all(b"table ").unwrap();
        let opened = format!("/proc/self/fd/{}", file.as_raw_fd());
        write_file(Path::new(&opened), b"report").unwrap();
        assert_eq!(
            fs::read(folder.path().join("table")).unwrap(),
            b"table report"
        );
        assert!(is_special(Path::new("/dev/stdout")));
    }

    #[test]
    fn left_overs_of_killed_runs_go_and_those_of_live_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bundle");
        let make = |name: &str| {
            fs::create_dir(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join("a"), b"half").unwrap();
        };
        make(".bundle.abcdef.partial");
        make(".bundle2.abcdef.partial");
        let alive = FolderWriter::new(&path, &ANYTHING).unwrap();
        let second = FolderWriter::new(&path, &ANYTHING).unwrap();
        second.write("c", b"3").unwrap();
        second.finish().unwrap();
        let mut names: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| {
                !name.contains(&*alive.beside.path().file_name().unwrap().to_string_lossy())
            })
            .collect();
        names.sort();
        assert_eq!(names, [".bundle2.abcdef.partial", "bundle"]);
        assert!(alive.beside.path().exists());
    }

    #[test]
    fn a_folder_that_stepped_aside_for_nobody_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bundle");
        fs::create_dir_all(folder.path().join(".bundle.abcdef.replaced/old")).unwrap();
        fs::write(folder.path().join(".bundle.abcdef.replaced/old/a"), b"1").unwrap();
        drop(FolderWriter::new(&path, &ANYTHING).unwrap());
        assert_eq!(fs::read(path.join("a")).unwrap(), b"1");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_seal_shows_every_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stage");
        write_sealed(&path, b"contexts".to_vec()).unwrap();
        assert_eq!(read_sealed(&path).unwrap(), b"contexts");
        let whole = fs::read(&path).unwrap();
        for damage in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[damage] ^= 1;
            fs::write(&path, &bytes).unwrap();
            let error = read_sealed(&path).unwrap_err().to_string();
            assert!(
                error.contains("stage") && error.contains("--resume"),
                "{error}"
            );
            fs::write(&path, &whole[..damage]).unwrap();
            assert!(read_sealed(&path).is_err());
        }
    }

    #[test]
    fn a_file_larger_than_it_may_be_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let file = File::create(&path).unwrap();
        // Nothing of it is on the disk.
        file.set_len(1 << 40).unwrap();
        let error = read_file(&path).unwrap_err().to_string();
        assert!(
            error.contains("config.json has 1099511627776 bytes"),
            "{error}"
        );
        fs::write(&path, b"12345").unwrap();
        assert!(read_at_most(&path, 4).is_err());
        assert_eq!(read_at_most(&path, 5).unwrap(), b"12345");
    }

    #[cfg(unix)]
    #[test]
    fn devices_are_neither_read_nor_replaced() {
        let error = format!("{:#}", read_file(Path::new("/dev/zero")).unwrap_err());
        assert!(
            error.contains("/dev/zero") && error.contains("ordinary file"),
            "{error}"
        );
        write_file(Path::new("/dev/null"), b"x").unwrap();
        assert!(is_special(Path::new("/dev/null")));
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
        assert!(FolderWriter::new(&path, &ANYTHING).is_err());
    }
}
