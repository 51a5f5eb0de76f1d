//! One file of a repository: from the cache if it is there and whole, else from the hub, going on
//! where a broken download stopped.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, anyhow, bail};

use super::client::{Content, DOCUMENT, Failure};
use super::{Hub, hash, repository};
use crate::output::{create_folder, explain, require_plain};
use crate::progress::{Progress, say};

/// Attempts in a row that bring nothing before a download is given up.
const ATTEMPTS: u32 = 5;

/// Before the second attempt; each further wait is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// What large counts of bytes are told in.
const MEGABYTE: u64 = 1_000_000;

/// Where a file that is being received ends.
#[derive(Clone, Copy)]
struct Until {
    /// The bytes that the hub told.
    size: u64,
    /// When it must have arrived, if it is a small one.
    time: Option<Instant>,
}

impl Hub<'_> {
    /// The path of a file of version `commit`, its content checked.
    pub(super) fn obtain(&self, name: &str, commit: &str) -> Result<PathBuf> {
        let path = self.snapshot_folder(commit).join(name);
        if path.is_file() {
            match hash::verify(&path) {
                Ok(()) => return Ok(path),
                Err(error) => {
                    say(&format!("note: {error}; it is fetched again"));
                    remove(&path)?;
                }
            }
        }
        let content = self.insist(|| self.client.describe(self.repository, commit, name))?;
        self.check(&content, name)?;
        let blob = self.folder().join("blobs").join(&content.etag);
        let _turn = self.lock(&content.etag)?;
        // Another program may have fetched it while this one waited, or for another version.
        if !(blob.is_file() && hash::verify(&blob).is_ok()) {
            let partial = blob.with_extension("incomplete");
            self.download(name, commit, &content, &partial)?;
            self.accept(name, &content, &partial, &blob)?;
        }
        link(&blob, &path)?;
        Ok(path)
    }

    /// What the answer names becomes a path below the cache: it must be a name, and no way out of it.
    fn check(&self, content: &Content, name: &str) -> Result<()> {
        let etag = &content.etag;
        if !repository::is_plain_name(etag) {
            bail!(
                "{} gives a strange name to the content of {name} ({etag}): choose another HF_ENDPOINT",
                self.environment.shown_endpoint()
            );
        }
        if !hash::names_content(etag) {
            say(&format!(
                "note: {} gives no hash for {name}: only its length can be checked",
                self.environment.shown_endpoint()
            ));
        }
        Ok(())
    }

    /// Appends to `partial` what is missing.
    fn download(&self, name: &str, commit: &str, content: &Content, partial: &Path) -> Result<()> {
        let failed = |error| explain(error, "write", partial);
        if let Some(folder) = partial.parent() {
            create_folder(folder)?;
        }
        require_plain(partial)?;
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(partial)
            .map_err(failed)?;
        let mut has = file.metadata().map_err(failed)?.len();
        if has > content.size {
            // Of something else.
            file.set_len(0).map_err(failed)?;
            has = 0;
        }
        if has > 0 {
            say(&format!(
                "{name}: going on after {:.1} of {:.1} MB",
                has as f64 / MEGABYTE as f64,
                content.size as f64 / MEGABYTE as f64
            ));
        }
        let label = format!("fetching {}/{name}", self.repository.name());
        let progress = Progress::new(label, "MB", content.size.div_ceil(MEGABYTE));
        progress.skip(has / MEGABYTE);
        let until = Until {
            size: content.size,
            // Weights may take hours; what describes them is small.
            time: name.ends_with(".json").then(|| Instant::now() + DOCUMENT),
        };
        let mut failures = 0;
        while has < content.size {
            let before = has;
            let outcome = self.receive(name, commit, &mut file, &mut has, &progress, until)?;
            failures = if has > before { 1 } else { failures + 1 };
            if has < content.size {
                let failure = outcome
                    .err()
                    .unwrap_or_else(|| Failure::Unreachable("the connection broke off".to_owned()));
                self.wait(&failure, failures)?;
            }
        }
        progress.finish();
        file.sync_all().map_err(failed)
    }

    /// Takes what one request brings. The outer error is one that asking again does not mend.
    fn receive(
        &self,
        name: &str,
        commit: &str,
        file: &mut File,
        has: &mut u64,
        progress: &Progress,
        until: Until,
    ) -> Result<Result<(), Failure>> {
        let (start, mut body) = match self.client.fetch(self.repository, commit, name, *has) {
            Ok(answer) => answer,
            Err(failure) => return Ok(Err(failure)),
        };
        let failed = |error: io::Error| {
            anyhow!("{error}").context(format!("{name} cannot be written to the cache"))
        };
        if start != *has {
            file.set_len(start).map_err(failed)?;
            *has = start;
        }
        let mut bytes = vec![0; 1 << 16];
        loop {
            let read = match body.read(&mut bytes) {
                Ok(0) => return Ok(Ok(())),
                Ok(read) => read,
                Err(error) => return Ok(Err(Failure::Unreachable(error.to_string()))),
            };
            if read as u64 > until.size - (*has).min(until.size) {
                // Nothing can be gone on with.
                file.set_len(0).map_err(failed)?;
                return Err(self.not_whole(
                    name,
                    anyhow!("it sends more than the {} bytes that it told", until.size),
                ));
            }
            if until.time.is_some_and(|time| Instant::now() > time) {
                bail!(
                    "{name} of {} has come for {} seconds and is not whole: run it again, or choose another HF_ENDPOINT; what has arrived is kept",
                    self.repository,
                    DOCUMENT.as_secs()
                );
            }
            file.write_all(&bytes[..read]).map_err(failed)?;
            let before = *has / MEGABYTE;
            *has += read as u64;
            progress.advance(*has / MEGABYTE - before);
        }
    }

    /// Puts a file that has arrived into its place, if it is what it should be.
    fn accept(&self, name: &str, content: &Content, partial: &Path, blob: &Path) -> Result<()> {
        let length = fs::metadata(partial)
            .map_err(|error| explain(error, "read", partial))?
            .len();
        let checked = if length == content.size {
            hash::verify_as(partial, &content.etag)
        } else {
            Err(anyhow!(
                "it has {length} bytes, and the hub said {}",
                content.size
            ))
        };
        if let Err(error) = checked {
            // Nothing can be gone on with.
            let _ = fs::remove_file(partial);
            return Err(self.not_whole(name, error));
        }
        fs::rename(partial, blob).map_err(|error| explain(error, "write", blob))
    }

    fn not_whole(&self, name: &str, cause: Error) -> Error {
        cause.context(format!(
            "{name} of {} did not arrive whole, or {} sends something else: run it again, or choose another HF_ENDPOINT; nothing of it was kept",
            self.repository,
            self.environment.shown_endpoint()
        ))
    }

    /// Asks until there is an answer, or asking again is of no use.
    fn insist<T>(&self, ask: impl Fn() -> Result<T, Failure>) -> Result<T> {
        let mut failures = 0;
        loop {
            match ask() {
                Ok(answer) => return Ok(answer),
                Err(failure) => {
                    failures += 1;
                    self.wait(&failure, failures)?;
                }
            }
        }
    }

    fn wait(&self, failure: &Failure, failures: u32) -> Result<()> {
        if !failure.may_pass() || failures >= ATTEMPTS {
            return Err(failure.explain(self.repository, self.environment));
        }
        std::thread::sleep(FIRST_WAIT * 2u32.pow(failures - 1));
        Ok(())
    }

    /// The lock that `huggingface_hub` takes as well while it fetches this content.
    fn lock(&self, etag: &str) -> Result<File> {
        let folder = self.folder();
        let name = folder.file_name().unwrap_or_default();
        let path = (self.environment.cache).join(".locks").join(name);
        create_folder(&path)?;
        let path = path.join(format!("{etag}.lock"));
        require_plain(&path)?;
        let file = File::create(&path).map_err(|error| explain(error, "write", &path))?;
        match file.try_lock() {
            // A file system without locks is no reason to refuse.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                say("another program is fetching it at this moment: waiting for it");
                file.lock()
                    .with_context(|| format!("{} cannot be locked", path.display()))?;
                Ok(file)
            }
        }
    }
}

/// Lets a version's file be the content `blob`, in place of whatever was there.
fn link(blob: &Path, path: &Path) -> Result<()> {
    if let Some(folder) = path.parent() {
        create_folder(folder)?;
    }
    if path.symlink_metadata().is_ok() {
        fs::remove_file(path).map_err(|error| explain(error, "replace", path))?;
    }
    #[cfg(unix)]
    let linked = {
        let name = blob.file_name().unwrap_or_default();
        std::os::unix::fs::symlink(Path::new("../../blobs").join(name), path)
    };
    #[cfg(not(unix))]
    let linked: io::Result<()> = Err(io::ErrorKind::Unsupported.into());
    // Without links the file itself goes there, as `huggingface_hub` does it.
    linked
        .or_else(|_| fs::rename(blob, path))
        .map_err(|error| explain(error, "write", path))
}

/// Removes a damaged file from the cache: its content and the link to it.
fn remove(path: &Path) -> Result<()> {
    let content = fs::canonicalize(path).map_err(|error| explain(error, "open", path))?;
    for file in [content.as_path(), path] {
        match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| {
                    format!("{} is damaged and cannot be removed", file.display())
                });
            }
            _ => {}
        }
    }
    Ok(())
}
