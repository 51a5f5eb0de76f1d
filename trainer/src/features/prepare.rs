//! One image file, from its bytes to the tower's input.

use std::io::{Cursor, Read};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use image::ImageReader;
use sha2::{Digest, Sha256};
use shared::clip::preprocess::{DecodeLimits, ImageError, Preprocessing, decode, preprocess};

use crate::containment::contain;
use crate::output::{explain, open_file};

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
    let told = |error: anyhow::Error| {
        let text = format!("{error:#}");
        // The caller names the file already.
        text.strip_prefix(&format!("cannot read {}: ", path.display()))
            .map_or(text.clone(), |cause| format!("cannot be read: {cause}"))
    };
    let failed = |error| told(explain(error, "read", path));
    let file = open_file(path, "read").map_err(told)?;
    let length = file.metadata().map_err(failed)?.len();
    if length > MAX_FILE_BYTES {
        return Err(
            "the file is larger than 1 GiB, which no photo is; save it anew as JPEG".to_owned(),
        );
    }
    let mut bytes = Vec::with_capacity(length as usize);
    file.take(MAX_FILE_BYTES)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok(bytes)
}

/// Decodes and preprocesses; a decoder that fails on damaged data fails this image only.
pub fn to_pixels(
    bytes: &[u8],
    preprocessing: &Preprocessing,
    limits: &DecodeLimits,
) -> Result<Vec<f32>, String> {
    contain(|| {
        let _turn = is_large(bytes).then(|| LARGE.lock().unwrap_or_else(PoisonError::into_inner));
        let image = decode(bytes, limits).map_err(|error| error.to_string())?;
        Ok(preprocess(&image, preprocessing))
    })
    .unwrap_or_else(|| Err("the decoder failed on it; save it again as JPEG or PNG".to_owned()))
}

/// Why an image is left out that a feature is known of already, from when larger ones were taken.
pub fn too_large(bytes: &[u8], limits: &DecodeLimits) -> Option<String> {
    let (width, height) = dimensions(bytes)?;
    let pixels = u64::from(width) * u64::from(height);
    let limit = limits.max_pixels;
    (pixels > limit).then(|| {
        let error = ImageError::TooLarge {
            width,
            height,
            pixels,
            limit,
        };
        error.to_string()
    })
}

/// Large images are decoded one after another: a machine of many cores would otherwise hold as many
/// of them at once, each of several hundred megabytes.
static LARGE: Mutex<()> = Mutex::new(());

/// Pixels of an image that waits for its turn; most cameras make fewer.
const LARGE_PIXELS: u64 = 30_000_000;

/// Whether the header says so. What cannot be read is small: decoding it ends at once.
fn is_large(bytes: &[u8]) -> bool {
    dimensions(bytes)
        .is_some_and(|(width, height)| u64::from(width) * u64::from(height) > LARGE_PIXELS)
}

/// Width and height by the header.
fn dimensions(bytes: &[u8]) -> Option<(u32, u32)> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    reader.ok()?.into_dimensions().ok()
}

/// SHA-256 of a file's bytes.
pub fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::super::usable::fits_by_now;
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
    fn an_image_over_the_limit_fits_a_higher_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        image::RgbImage::new(30, 20).save(&path).unwrap();
        let limits = |max_pixels| DecodeLimits { max_pixels };
        let reason = prepare(&path, &Preprocessing::openai(8), &limits(599));
        let reason = reason.err().unwrap();
        assert!(fits_by_now(&reason, &limits(600)), "{reason}");
        assert!(!fits_by_now(&reason, &limits(599)), "{reason}");
        // The same of one whose feature is known already.
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(too_large(&bytes, &limits(599)), Some(reason));
        assert_eq!(too_large(&bytes, &limits(600)), None);
        assert!(!fits_by_now("not an image", &limits(u64::MAX)));
    }
}
