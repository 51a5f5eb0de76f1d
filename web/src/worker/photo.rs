//! From a file to pixels.

use image::codecs::jpeg::JpegEncoder;
use image::{ImageEncoder, RgbImage};
use shared::clip::preprocess::{DecodeLimits, ImageError, decode, from_rgba};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web::animation::is_animated;
use web_sys::{Blob, ImageBitmap, OffscreenCanvas, OffscreenCanvasRenderingContext2d};

use super::{browser, download};

/// Long side of a thumbnail in pixels: a card's width on a dense screen.
const THUMBNAIL: u32 = 560;
/// Quality of a thumbnail's JPEG.
const QUALITY: u8 = 80;

/// Pixels, and anything unusual about how they came.
pub struct Decoded {
    /// Upright RGB.
    pub image: RgbImage,
    /// For people.
    pub note: Option<String>,
}

/// No photo of as many pixels as are read takes more bytes than this.
const MOST_BYTES: f64 = 500e6;

/// Decodes a file. What the crate `image` cannot, the browser may.
///
/// # Errors
/// Why not, with the way out.
pub async fn read(blob: &Blob) -> Result<Decoded, String> {
    // A video that was dropped among the photos, say: its bytes would be copied twice to find that out.
    if blob.size() > MOST_BYTES {
        return Err(format!(
            "The file has {:.0} MB, and the page reads images of up to {:.0}. Save it smaller, as JPEG.",
            blob.size() / 1e6,
            MOST_BYTES / 1e6
        ));
    }
    let mut bytes = Vec::new();
    download::copy(blob, &mut bytes).await.map_err(|error| {
        format!(
            "The file could not be read ({}). It may have been moved or changed; choose it again.",
            browser::said(&error)
        )
    })?;
    let limits = DecodeLimits::default();
    match decode(&bytes, &limits) {
        Ok(image) => {
            let note =
                is_animated(&bytes).then(|| "An animation: this is its first picture.".to_owned());
            Ok(Decoded { image, note })
        }
        Err(
            error @ (ImageError::UnsupportedFormat { .. } | ImageError::UnsupportedVariant { .. }),
        ) => {
            drop(bytes);
            match by_browser(blob, &limits).await {
                Ok(Ok(image)) => Ok(Decoded {
                    image,
                    note: Some("Decoded by the browser.".to_owned()),
                }),
                Ok(Err(too_large)) => Err(sentence(&too_large)),
                Err(_) => Err(sentence(&error)),
            }
        }
        Err(error) => Err(sentence(&error)),
    }
}

/// The error as a sentence.
fn sentence(error: &ImageError) -> String {
    // The limit is a setting of the command line only.
    if let ImageError::TooLarge {
        width,
        height,
        pixels,
        limit,
    } = error
    {
        return format!(
            "{width} x {height} is {:.0} million pixels, and the page reads up to {:.0} million. Scale the image down.",
            *pixels as f64 / 1e6,
            *limit as f64 / 1e6
        );
    }
    let text = error.to_string();
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), letters.as_str()),
        None => text,
    }
}

/// What the browser makes of it, if that is not too large.
async fn by_browser(
    blob: &Blob,
    limits: &DecodeLimits,
) -> Result<Result<RgbImage, ImageError>, JsValue> {
    let bitmap = JsFuture::from(browser::scope().create_image_bitmap_with_blob(blob)?).await?;
    let bitmap: ImageBitmap = bitmap.dyn_into()?;
    let image = pixels(&bitmap, limits);
    // Its pixels are freed now, and not when the browser happens to look for them.
    bitmap.close();
    image
}

fn pixels(
    bitmap: &ImageBitmap,
    limits: &DecodeLimits,
) -> Result<Result<RgbImage, ImageError>, JsValue> {
    let (width, height) = (bitmap.width(), bitmap.height());
    let (pixels, limit) = (u64::from(width) * u64::from(height), limits.max_pixels);
    if pixels > limit {
        return Ok(Err(ImageError::TooLarge {
            width,
            height,
            pixels,
            limit,
        }));
    }
    let canvas = OffscreenCanvas::new(width, height)?;
    let context = canvas.get_context("2d")?.ok_or("no canvas")?;
    let context: OffscreenCanvasRenderingContext2d = context.dyn_into()?;
    context.draw_image_with_image_bitmap(bitmap, 0.0, 0.0)?;
    let data = context.get_image_data(0.0, 0.0, f64::from(width), f64::from(height))?;
    canvas.set_width(0);
    Ok(from_rgba(width, height, &data.data().0))
}

/// A small JPEG of the whole photo.
pub fn thumbnail(image: &RgbImage) -> Vec<u8> {
    let (width, height) = image.dimensions();
    let long = width.max(height);
    let shrunk;
    let small = if long > THUMBNAIL {
        let side =
            |side: u32| (u64::from(side) * u64::from(THUMBNAIL) / u64::from(long)).max(1) as u32;
        shrunk = image::imageops::thumbnail(image, side(width), side(height));
        &shrunk
    } else {
        image
    };
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, QUALITY);
    let written = encoder.write_image(
        small.as_raw(),
        small.width(),
        small.height(),
        image::ExtendedColorType::Rgb8,
    );
    // A card without its picture still has its verdict.
    if written.is_err() {
        bytes.clear();
    }
    bytes
}
