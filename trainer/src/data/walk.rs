//! Finding images in folders, in an order that depends on the names alone.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Item, Split};
use crate::output::explain;

/// Extensions of files that are taken for images. Some of them cannot be decoded here (AVIF,
/// HEIC): such a file is then named among the skipped ones instead of being overlooked.
pub const EXTENSIONS: &[&str] = &[
    "jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp", "tif", "tiff", "pbm", "pgm", "ppm",
    "pnm", "pam", "avif", "heic", "heif", "jxl", "jp2",
];

/// Whether a file of this name is taken for an image.
pub fn is_image_name(path: &Path) -> bool {
    path.extension().is_some_and(|extension| {
        EXTENSIONS
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known))
    })
}

/// A name as text that no other name has: features are found by it, and feature files have a name a
/// line. Line breaks, backslashes and bytes that are no UTF-8 are escapes in it: `\n`, `\\`, `\xf0`.
pub fn name_text(name: &OsStr) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.as_encoded_bytes().utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\n' => text.push_str("\\n"),
                '\\' => text.push_str("\\\\"),
                other => text.push(other),
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// What a walk found below a folder.
#[derive(Debug, Default)]
pub struct Found {
    /// Path and name below the folder that was walked, in order.
    images: Vec<(PathBuf, String)>,
    /// Other files by extension, with how many there are.
    others: BTreeMap<String, usize>,
}

impl Found {
    /// The images as items of one class and half.
    pub fn into_items(self, label: Option<usize>, split: Option<Split>) -> Vec<Item> {
        self.images
            .into_iter()
            .map(|(path, name)| Item {
                path,
                name,
                label,
                split,
            })
            .collect()
    }

    /// How many images there are.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// Adds what another walk found, with `prefix/` before its names.
    pub fn absorb_others(&mut self, other: &Self) {
        for (extension, count) in &other.others {
            *self.others.entry(extension.clone()).or_default() += count;
        }
    }

    /// Puts `folder/` before every name.
    pub fn within(mut self, folder: &str) -> Self {
        for (_, name) in &mut self.images {
            name.insert(0, '/');
            name.insert_str(0, folder);
        }
        self
    }

    /// One line about files that are not taken for images, if there are any.
    pub fn warnings(&self, root: &Path) -> Vec<String> {
        if self.others.is_empty() {
            return Vec::new();
        }
        let total: usize = self.others.values().sum();
        let kinds: Vec<_> = self
            .others
            .iter()
            .map(|(extension, count)| format!("{count} {extension}"))
            .collect();
        vec![format!(
            "{}: {total} file{} left out, not an image by the name ({})",
            root.display(),
            if total == 1 { "" } else { "s" },
            kinds.join(", ")
        )]
    }
}

/// Lists every image at any depth below `root`. Links are followed, each folder once; hidden
/// files and folders are passed over.
pub fn images_below(root: &Path) -> Result<Found> {
    let mut found = Found::default();
    walk(root, "", &mut HashSet::new(), &mut found)?;
    Ok(found)
}

/// The folders directly below `root` in order, with their names; hidden ones left out.
pub fn folders_in(root: &Path) -> Result<Vec<(PathBuf, String)>> {
    let mut folders = Vec::new();
    for (path, name) in entries(root)? {
        if path.is_dir() {
            folders.push((path, name_text(&name)));
        }
    }
    Ok(folders)
}

/// The images directly in `root`, not in folders below it.
pub fn images_in(root: &Path) -> Result<Found> {
    let mut found = Found::default();
    for (path, name) in entries(root)? {
        if !path.is_dir() {
            sort_in(path, name_text(&name), &mut found);
        }
    }
    Ok(found)
}

fn walk(
    folder: &Path,
    prefix: &str,
    visited: &mut HashSet<Identity>,
    found: &mut Found,
) -> Result<()> {
    // A link to a folder above would be walked for ever, and a few folders that link to each other
    // twice would be walked along millions of ways.
    let folder_itself = identity(folder).map_err(|error| explain(error, "open", folder))?;
    if !visited.insert(folder_itself) {
        return Ok(());
    }
    for (path, name) in entries(folder)? {
        let name = format!("{prefix}{}", name_text(&name));
        if path.is_dir() {
            walk(&path, &format!("{name}/"), visited, found)?;
        } else {
            sort_in(path, name, found);
        }
    }
    Ok(())
}

/// What is the same for every way to a folder. The system knows it at once; a path without links is
/// found by looking at every folder above, which takes minutes where there are thousands.
#[cfg(unix)]
type Identity = (u64, u64);
#[cfg(not(unix))]
type Identity = PathBuf;

#[cfg(unix)]
fn identity(folder: &Path) -> io::Result<Identity> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(folder)?;
    Ok((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn identity(folder: &Path) -> io::Result<Identity> {
    fs::canonicalize(folder)
}

fn sort_in(path: PathBuf, name: String, found: &mut Found) {
    if is_image_name(&path) {
        found.images.push((path, name));
    } else {
        let kind = path.extension().map_or_else(
            || "without extension".to_owned(),
            |extension| format!(".{}", extension.to_string_lossy().to_lowercase()),
        );
        *found.others.entry(kind).or_default() += 1;
    }
}

/// What a folder holds, sorted by name, without hidden entries.
fn entries(folder: &Path) -> Result<Vec<(PathBuf, OsString)>> {
    let listing = fs::read_dir(folder).map_err(|error| explain(error, "open", folder))?;
    let mut entries = Vec::new();
    for entry in listing {
        let entry = entry.map_err(|error| explain(error, "list", folder))?;
        let name = entry.file_name();
        let hidden = name.to_string_lossy().starts_with('.') || name == "__MACOSX";
        if !hidden && name != "Thumbs.db" && name != "desktop.ini" {
            entries.push((entry.path(), name));
        }
    }
    entries.sort_by(|a, b| a.1.cmp(&b.1));
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::test_images::put;

    #[test]
    fn finds_images_at_any_depth_in_order_and_counts_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        put(&folder.path().join("b/2.png"), 1);
        put(&folder.path().join("b/1.PNG"), 2);
        put(&folder.path().join("a.jpg"), 3);
        put(&folder.path().join(".hidden/x.png"), 4);
        fs::write(folder.path().join("notes.txt"), "").unwrap();
        let found = images_below(folder.path()).unwrap();
        let names: Vec<_> = found.images.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, ["a.jpg", "b/1.PNG", "b/2.png"]);
        assert!(found.warnings(folder.path())[0].contains("1 .txt"));
    }

    /// Eight photos whose names differ in a byte that is no UTF-8, and two whose names a line break
    /// and a backslash would make one.
    #[cfg(target_os = "linux")]
    #[test]
    fn names_stay_distinct_as_text_and_open_by_their_path() {
        use std::os::unix::ffi::OsStrExt;
        let folder = tempfile::tempdir().unwrap();
        for byte in 0xf0..=0xf7 {
            let name = [b'x', byte, b'.', b'j', b'p', b'g'];
            put(&folder.path().join(OsStr::from_bytes(&name)), 1);
        }
        for name in ["a\nb.jpg", "a\\nb.jpg", "x\\xf0.jpg"] {
            put(&folder.path().join(name), 2);
        }
        let found = images_below(folder.path()).unwrap();
        let names: HashSet<_> = found.images.iter().map(|(_, name)| name).collect();
        assert_eq!(names.len(), 11, "{names:?}");
        for name in ["x\\xf0.jpg", "x\\\\xf0.jpg", "a\\nb.jpg", "a\\\\nb.jpg"] {
            assert!(names.contains(&name.to_owned()), "{name} in {names:?}");
        }
        assert!(found.images.iter().all(|(path, _)| path.is_file()));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_a_folder_above_ends_the_walk() {
        let folder = tempfile::tempdir().unwrap();
        put(&folder.path().join("a/1.png"), 1);
        std::os::unix::fs::symlink(folder.path(), folder.path().join("a/up")).unwrap();
        assert_eq!(images_below(folder.path()).unwrap().len(), 1);
    }

    /// Forty folders, each with two links to the next: 2^40 ways to the last.
    #[cfg(unix)]
    #[test]
    fn links_that_multiply_are_followed_once() {
        let folder = tempfile::tempdir().unwrap();
        let level = |number: usize| folder.path().join(format!("{number}"));
        for number in 0..40 {
            fs::create_dir(level(number)).unwrap();
        }
        for number in 0..39 {
            for link in ["a", "b"] {
                std::os::unix::fs::symlink(level(number + 1), level(number).join(link)).unwrap();
            }
        }
        put(&level(39).join("1.png"), 1);
        assert_eq!(images_below(&level(0)).unwrap().len(), 1);
    }
}
