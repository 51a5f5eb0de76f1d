//! What folders of a kind hold, so that a folder of something else is never replaced.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

use super::explain;

/// What file managers leave in every folder, and nobody misses.
const LITTER: &[&str] = &[".DS_Store", "Thumbs.db", "desktop.ini"];

/// A kind of folder that this program writes as a whole.
pub struct FolderKind {
    /// With its article, as in "is not of a bundle".
    pub name: &'static str,
    /// Whether such a folder has a file of this name beside these others.
    pub holds: fn(&str, &BTreeSet<String>) -> bool,
}

impl FolderKind {
    /// Fails when `folder` holds anything that such a folder does not hold: it is somebody's own,
    /// and would be lost.
    ///
    /// # Errors
    /// Naming the first such entry, or when the folder cannot be read.
    pub fn check(&self, folder: &Path) -> Result<()> {
        if !folder.is_dir() {
            return Ok(());
        }
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
        Ok(())
    }
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
};

/// The figures of a report: each is there as SVG and as PNG, which a person's own rarely are.
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
};

#[cfg(test)]
mod tests {
    use super::*;

    fn told(kind: &FolderKind, entries: &[&str]) -> Result<()> {
        let folder = tempfile::tempdir().unwrap();
        for entry in entries {
            match entry.strip_suffix('/') {
                Some(within) => fs::create_dir(folder.path().join(within)).unwrap(),
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
}
