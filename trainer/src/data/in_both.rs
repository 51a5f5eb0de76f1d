//! Images that are known and strange at once.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::Dataset;

/// How much of a file's end is read of all files; the others are read whole where these agree.
const END_BYTES: u64 = 4096;

/// What is said of a set of which `known` images are in-distribution images as well; nothing of none.
pub fn note_of_both(name: &str, known: usize, images: usize) -> Option<String> {
    (known > 0).then(|| {
        format!(
            "{known} of the {images} images of `{name}` are among the in-distribution images as well: no method can tell those apart."
        )
    })
}

/// The notes on all sets. Images are the same where their files are, byte for byte; files that cannot
/// be read are none.
pub fn notes_of_both(id: &Dataset, sets: &[(String, Dataset)]) -> Vec<String> {
    let mut of_end: HashMap<Digested, Vec<&Path>> = HashMap::new();
    for item in &id.items {
        if let Ok(end) = digest(&item.path, END_BYTES) {
            of_end.entry(end).or_default().push(&item.path);
        }
    }
    let mut whole: HashMap<&Path, Option<Digested>> = HashMap::new();
    let mut is_known = |path: &Path| {
        let Some(alike) = digest(path, END_BYTES)
            .ok()
            .and_then(|end| of_end.get(&end))
        else {
            return false;
        };
        let Ok(content) = digest(path, u64::MAX) else {
            return false;
        };
        alike.iter().any(|&path| {
            let known = whole
                .entry(path)
                .or_insert_with(|| digest(path, u64::MAX).ok());
            *known == Some(content)
        })
    };
    sets.iter()
        .filter_map(|(name, set)| {
            let known = set.items.iter().filter(|item| is_known(&item.path)).count();
            note_of_both(name, known, set.items.len())
        })
        .collect()
}

/// A file's length, and a hash of its end.
type Digested = (u64, [u8; 32]);

fn digest(path: &Path, most: u64) -> io::Result<Digested> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(most)))?;
    let mut hash = Sha256::new();
    let mut chunk = [0; 1 << 14];
    let mut left = most.min(length);
    while left > 0 {
        let most = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = file.read(&mut chunk[..most])?;
        if read == 0 {
            break;
        }
        hash.update(&chunk[..read]);
        left -= read as u64;
    }
    Ok((length, hash.finalize().into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{open, open_unlabelled};

    #[test]
    fn images_that_are_known_and_strange_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        // Only names and bytes count here: the same end, and another beginning.
        let put = |name: &str, first: u8| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, [&[first], [7; 9000].as_slice()].concat()).unwrap();
        };
        for (number, name) in ["id/ant/0.png", "id/bee/0.png", "id/bee/1.png"]
            .iter()
            .enumerate()
        {
            put(name, number as u8);
        }
        put("scenes/0.png", 9);
        put("scenes/1.png", 1);
        put("others/0.png", 10);
        let id = open(&folder.path().join("id")).unwrap();
        let set = |name: &str| {
            let images = open_unlabelled(&folder.path().join(name)).unwrap();
            (name.to_owned(), images)
        };
        let notes = notes_of_both(&id, &[set("others"), set("scenes"), set("id")]);
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(notes[0].starts_with("1 of the 2 images of `scenes` are among"));
        assert!(notes[1].starts_with("3 of the 3 images of `id` are among"));
    }
}
