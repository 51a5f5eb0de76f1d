//! What folders of a kind hold, so that a folder of something else is never replaced.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

use super::{explain, read_at_most};

/// What file managers leave in every folder, and nobody misses.
const LITTER: &[&str] = &[".DS_Store", "Thumbs.db", "desktop.ini"];

/// The most bytes of a JSON file that is looked into.
const MOST_JSON_BYTES: u64 = 1 << 30;

/// A kind of folder that this program writes as a whole.
pub struct FolderKind {
    /// With its article, as in "is not of a bundle".
    pub name: &'static str,
    /// Whether such a folder has a file of this name beside these others.
    pub holds: fn(&str, &BTreeSet<String>) -> bool,
    /// Whether a folder that holds only such files also says itself that it is one: others have
    /// files of these names as well.
    pub is_own: fn(&Path) -> bool,
}

impl FolderKind {
    /// Fails when `folder` holds anything that such a folder does not hold: it is somebody's own,
    /// and would be lost.
    ///
    /// # Errors
    /// Naming the first such entry, or when the folder cannot be read, or cannot be replaced: the
    /// current folder under the name `.`, and where a file system begins.
    pub fn check(&self, folder: &Path) -> Result<()> {
        if !folder.is_dir() {
            return Ok(());
        }
        check_replaceable(folder)?;
        let failed = |error| explain(error, "read", folder);
        let (mut files, mut others) = (BTreeSet::new(), BTreeSet::new());
        for entry in fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // A link to a file is not a file: what this program writes holds none.
            match entry.file_type().map_err(failed)?.is_file() {
                true => files.insert(name),
                false => others.insert(name),
            };
        }
        let strange =
            |name: &&String| !LITTER.contains(&name.as_str()) && !(self.holds)(name, &files);
        if let Some(first) = others.first().or_else(|| files.iter().find(strange)) {
            bail!(
                "{} holds `{first}`, which is not of {}, and would be lost: give another --out, or move it away",
                folder.display(),
                self.name
            );
        }
        let first = files.iter().find(|name| !LITTER.contains(&name.as_str()));
        if let Some(first) = first.filter(|_| !(self.is_own)(folder)) {
            bail!(
                "{} holds `{first}`, but nothing says that it is {} of this program, and it would be lost: give another --out, or move it away",
                folder.display(),
                self.name
            );
        }
        Ok(())
    }
}

/// Fails where no other folder can take the place of this one.
fn check_replaceable(folder: &Path) -> Result<()> {
    // Whoever stands in a folder that is replaced stays in the old one, which is gone.
    if folder.file_name().is_none() {
        bail!(
            "{} is to be replaced as a whole, and cannot be from within: give --out a folder by its name",
            folder.display()
        );
    }
    if is_mount_point(folder) {
        bail!(
            "{} is where a disk or volume is mounted, which cannot be replaced: give --out a folder within it",
            folder.display()
        );
    }
    Ok(())
}

#[cfg(unix)]
fn is_mount_point(folder: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
    let Ok(folder) = folder.canonicalize() else {
        return false;
    };
    let outer = folder.parent().and_then(device);
    outer.is_none_or(|outer| device(&folder).is_some_and(|own| own != outer))
}

#[cfg(not(unix))]
fn is_mount_point(_folder: &Path) -> bool {
    false
}

/// The JSON object in a file of this program; none if there is none.
fn json(path: &Path) -> Option<serde_json::Value> {
    let value = serde_json::from_slice(&read_at_most(path, MOST_JSON_BYTES).ok()?).ok()?;
    matches!(value, serde_json::Value::Object(_)).then_some(value)
}

/// Whether the file is a JSON object with all of these fields.
pub fn has_fields(path: &Path, fields: &[&str]) -> bool {
    json(path).is_some_and(|object| fields.iter().all(|field| object.get(field).is_some()))
}

/// A bundle: its manifest, and files named by what they are for and their hash.
pub const BUNDLE: FolderKind = FolderKind {
    name: "a bundle",
    holds: |name, _| {
        name == shared::bundle::MANIFEST_FILE
            || name
                .strip_suffix(".safetensors")
                .or_else(|| name.strip_suffix(".txt"))
                .and_then(|stem| stem.rsplit_once('-'))
                .is_some_and(|(_, hash)| {
                    hash.len() == 16 && hash.bytes().all(|digit| digit.is_ascii_hexdigit())
                })
    },
    is_own: |folder| {
        let manifest = json(&folder.join(shared::bundle::MANIFEST_FILE));
        manifest.is_some_and(|manifest| manifest["format"] == shared::bundle::FORMAT)
    },
};

/// The figures of a report: each is there as SVG and as PNG. A person's own may be as well, so they
/// are only looked at where a report lies beside them.
pub const FIGURES: FolderKind = FolderKind {
    name: "the figures of a report",
    holds: |name, all| {
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        match name.rsplit_once('.') {
            Some((stem, ending)) if stem.bytes().all(plain) => match ending {
                "svg" => all.contains(&format!("{stem}.png")),
                "png" => all.contains(&format!("{stem}.svg")),
                _ => false,
            },
            _ => false,
        }
    },
    is_own: |_| true,
};

#[cfg(test)]
mod tests {
    use super::*;

    fn told(kind: &FolderKind, entries: &[&str]) -> Result<()> {
        let folder = tempfile::tempdir().unwrap();
        for entry in entries {
            match entry.strip_suffix('/') {
                Some(within) => fs::create_dir(folder.path().join(within)).unwrap(),
                None if *entry == "bundle.json" => {
                    let manifest = format!(r#"{{"format":"{}"}}"#, shared::bundle::FORMAT);
                    fs::write(folder.path().join(entry), manifest).unwrap();
                }
                None => fs::write(folder.path().join(entry), b"").unwrap(),
            }
        }
        kind.check(folder.path())
    }

    #[test]
    fn a_folder_of_something_else_is_told_by_its_first_stranger() {
        let bundle = ["bundle.json", "words-ba7816bf8f01cfea.txt", ".DS_Store"];
        told(&BUNDLE, &bundle).unwrap();
        told(&BUNDLE, &[]).unwrap();
        BUNDLE.check(Path::new("no/such/folder")).unwrap();
        for stranger in ["report.json", "holiday.jpg", "thesis-final.txt", "bundle/"] {
            let error = told(&BUNDLE, &["bundle.json", stranger]).unwrap_err();
            let name = stranger.trim_end_matches('/');
            let expected = format!("holds `{name}`, which is not of a bundle");
            assert!(error.to_string().contains(&expected), "{error}");
        }
        told(&FIGURES, &["map.svg", "map.png"]).unwrap();
        assert!(told(&FIGURES, &["map.svg", "map.png", "photo.png"]).is_err());
        assert!(told(&FIGURES, &["Figure_1.svg", "Figure_1.png"]).is_err());
    }

    #[test]
    fn names_alone_make_no_bundle() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("notes-0123456789abcdef.txt"), b"mine").unwrap();
        for manifest in [None, Some(r#"{"entry":"main.js"}"#), Some("[]")] {
            if let Some(manifest) = manifest {
                fs::write(folder.path().join("bundle.json"), manifest).unwrap();
            }
            let error = BUNDLE.check(folder.path()).unwrap_err().to_string();
            assert!(
                error.contains("nothing says that it is a bundle"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_folder_that_cannot_be_replaced_is_refused_at_once() {
        let error = BUNDLE.check(Path::new(".")).unwrap_err().to_string();
        assert!(error.contains("from within"), "{error}");
        if cfg!(target_os = "linux") {
            let error = BUNDLE.check(Path::new("/proc")).unwrap_err().to_string();
            assert!(error.contains("is mounted"), "{error}");
        }
    }
}
