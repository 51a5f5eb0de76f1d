//! One image file, from its bytes to the tower's input.

use std::cell::Cell;
use std::fs::File;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use sha2::{Digest, Sha256};
use shared::clip::preprocess::{DecodeLimits, Preprocessing, decode, preprocess};

use crate::output::explain;

/// No photo is larger than this; a file that is would only take all the memory.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// Reads, decodes and preprocesses an image file into the tower's input, `[3, size, size]`. The
/// error says why it cannot be used; the caller names the file.
pub fn prepare(
    path: &Path,
    preprocessing: &Preprocessing,
    limits: &DecodeLimits,
) -> Result<Vec<f32>, String> {
    to_pixels(&read_image_file(path)?, preprocessing, limits)
}

/// The bytes of an image file.
pub fn read_image_file(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error| {
        let text = format!("{:#}", explain(error, "read", path));
        // The caller names the file already.
        text.strip_prefix(&format!("cannot read {}: ", path.display()))
            .map_or(text.clone(), |cause| format!("cannot be read: {cause}"))
    };
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let mut bytes = Vec::with_capacity(length.min(MAX_FILE_BYTES) as usize);
    let read = file
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if read as u64 > MAX_FILE_BYTES {
        return Err("the file is larger than 1 GiB, which no photo is".to_owned());
    }
    Ok(bytes)
}

/// Decodes and preprocesses; a decoder that fails on damaged data fails this image only.
pub fn to_pixels(
    bytes: &[u8],
    preprocessing: &Preprocessing,
    limits: &DecodeLimits,
) -> Result<Vec<f32>, String> {
    contain(|| {
        let image = decode(bytes, limits).map_err(|error| error.to_string())?;
        Ok(preprocess(&image, preprocessing))
    })
    .unwrap_or_else(|| Err("the decoder failed on it; save it again as JPEG or PNG".to_owned()))
}

/// SHA-256 of a file's bytes.
pub fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

thread_local! {
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic on this thread is caught and reported as one image's error, so that nothing
/// is to be printed about it.
pub fn panics_are_contained() -> bool {
    CONTAINED.get()
}

/// Runs `work`; none if it panicked.
fn contain<T>(work: impl FnOnce() -> T) -> Option<T> {
    let before = CONTAINED.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    CONTAINED.set(before);
    outcome.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_do_not_repeat_the_path() {
        let preprocessing = Preprocessing::openai(8);
        let limits = DecodeLimits::default();
        let reason = prepare(Path::new("/no/such.jpg"), &preprocessing, &limits).err();
        let reason = reason.unwrap();
        assert!(reason.starts_with("cannot be read: "), "{reason}");
        assert!(!reason.contains("/no/such"), "{reason}");
    }

    #[test]
    fn a_text_is_no_image() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jpg");
        std::fs::write(&path, "hello").unwrap();
        let reason = prepare(&path, &Preprocessing::openai(8), &DecodeLimits::default());
        assert!(reason.err().unwrap().contains("not an image"));
    }

    #[test]
    fn a_panic_is_contained() {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let caught: Option<()> = contain(|| panic!("a decoder's fault"));
        std::panic::set_hook(hook);
        assert!(caught.is_none());
        assert!(!panics_are_contained());
    }
}
