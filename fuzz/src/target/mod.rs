//! One function a target: it reads bytes as one kind of file, and asserts what has to hold of what
//! was accepted. What is refused only has to be refused: no panic, no hang, no memory by claim.

mod bundles;
mod pictures;
mod tables;
mod tensors;
mod words;

pub use bundles::{bundle, bundle_manifest};
pub use pictures::image;
pub use tables::{class_list, concepts, synset_names, table};
pub use tensors::{checkpoint, configuration, feature_file, journal, safetensors, state_dict};
pub use words::{tokenizer, vocabulary};

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A folder of this process, in memory where there is such a place.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let memory = Path::new("/dev/shm");
        let made = match memory.is_dir() {
            true => tempfile::tempdir_in(memory),
            false => tempfile::tempdir(),
        };
        made.expect("a folder")
    });
    folder.path()
}

/// Writes the bytes to a file of this process.
fn put(name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder().join(name);
    std::fs::write(&path, bytes).expect("a file");
    path
}
