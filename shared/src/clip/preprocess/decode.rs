//! From the bytes of an image file to upright 8-bit RGB.

mod signature;

use std::error::Error as _;
use std::io::{Cursor, ErrorKind};

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits, RgbImage};

/// How large an image [`decode`] takes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Most pixels (width times height); compared before memory for them is taken.
    pub max_pixels: u64,
}

impl Default for DecodeLimits {
    /// 100 megapixels: twice what telephones take, and 300 MB as RGB.
    fn default() -> Self {
        Self {
            max_pixels: 100_000_000,
        }
    }
}

/// Why an image cannot be used, and what to do about it. The caller names the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// No bytes at all.
    #[error("the file is empty; copy or download it again")]
    Empty,
    /// The first bytes belong to no image format.
    #[error(
        "not an image (the first bytes belong to no image format); \
         use JPEG, PNG, WebP, GIF, BMP, TIFF or PNM"
    )]
    NotAnImage,
    /// A format that is recognised and not decoded here. The page hands these to the
    /// browser and then calls [`from_rgba`].
    #[error("{format} is not supported; save it as JPEG, PNG or WebP")]
    UnsupportedFormat {
        /// The format's name.
        format: &'static str,
    },
    /// A rare variant of a format that is otherwise decoded.
    #[error(
        "this kind of {format} is not supported ({reason}); save it as an ordinary JPEG or PNG"
    )]
    UnsupportedVariant {
        /// The format's name.
        format: &'static str,
        /// What the decoder said.
        reason: String,
    },
    /// More pixels than the limit.
    #[error(
        "{width} x {height} is {pixels} pixels, and the limit is {limit}; \
         scale the image down or raise the limit"
    )]
    TooLarge {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Their product.
        pixels: u64,
        /// [`DecodeLimits::max_pixels`].
        limit: u64,
    },
    /// Few enough pixels, but decoding them asks for far more memory than they take.
    #[error(
        "decoding this {format} takes more memory than its pixels explain; save it again as an ordinary JPEG or PNG"
    )]
    TooMuchMemory {
        /// The format's name.
        format: &'static str,
    },
    /// The file ends before the image does.
    #[error("the {format} is cut short; copy or download it again")]
    Truncated {
        /// The format's name.
        format: &'static str,
    },
    /// The decoder found something that cannot be.
    #[error("the {format} is damaged ({reason}); copy or download it again")]
    Damaged {
        /// The format's name.
        format: &'static str,
        /// What the decoder said.
        reason: String,
    },
    /// A width or height of zero.
    #[error("the image has no pixels ({width} x {height}); copy or download it again")]
    NoPixels {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// [`from_rgba`] got a buffer that does not fit the dimensions.
    #[error("{width} x {height} RGBA pixels take {expected} bytes, and {found} were given")]
    BufferLength {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// `4 * width * height`.
        expected: u64,
        /// Length of the buffer.
        found: u64,
    },
}

/// Decodes an image file to upright RGB, `[height, width, 3]` in 8 bits.
///
/// - The EXIF orientation is applied (JPEG, PNG, WebP, TIFF); metadata too broken to read
///   counts as none.
/// - Transparency is blended over white, in the 8-bit values as they are stored (not in
///   linear light), rounded to nearest: what Pillow's `paste` with a mask does.
/// - 16 bits become 8 by rounding (`(v + 128) / 257`), floats by clamping to 0..1; grey is
///   repeated; palettes are looked up; CMYK is multiplied out without a colour profile.
/// - Colour profiles are not applied, as in torchvision.
/// - Of an animation the first frame is taken, of a TIFF the first page.
///
/// # Errors
/// Each of [`ImageError`]'s, but for `BufferLength`. A JPEG without its end marker counts as
/// cut short, as in Pillow: decoders fill what is missing with grey.
pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<RgbImage, ImageError> {
    if bytes.is_empty() {
        return Err(ImageError::Empty);
    }
    let Ok(format) = image::guess_format(bytes) else {
        return Err(
            signature::undecoded(bytes).map_or(ImageError::NotAnImage, |format| {
                ImageError::UnsupportedFormat { format }
            }),
        );
    };
    let name = signature::name(format);
    if !format.reading_enabled() {
        return Err(ImageError::UnsupportedFormat { format: name });
    }

    if signature::is_cut_short(format, bytes) {
        return Err(ImageError::Truncated { format: name });
    }
    if let Some((width, height)) = signature::png_size(bytes) {
        // This decoder takes memory for a row before it can be asked.
        check_size(width, height, limits)?;
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut memory = Limits::no_limits();
    memory.max_alloc = Some(METADATA_BYTES);
    reader.limits(memory.clone());
    let mut decoder = reader
        .into_decoder()
        .map_err(|error| explain(name, &error))?;

    let (width, height) = decoder.dimensions();
    check_size(width, height, limits)?;
    // Twice: some decoders keep a copy in their own layout.
    memory.max_alloc = Some(METADATA_BYTES + 2 * decoder.total_bytes());
    decoder
        .set_limits(memory)
        .map_err(|error| explain(name, &error))?;

    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(|error| explain(name, &error))?;
    image.apply_orientation(orientation);
    if image.color().has_alpha() {
        over_white(width_and_height(&image), image.into_rgba8().as_raw())
    } else {
        Ok(image.into_rgb8())
    }
}

/// Takes pixels that the browser decoded (`getImageData`: RGBA, not premultiplied, upright)
/// the same way: blended over white.
///
/// # Errors
/// A buffer whose length is not `4 * width * height`; no pixels.
pub fn from_rgba(width: u32, height: u32, rgba: &[u8]) -> Result<RgbImage, ImageError> {
    if width == 0 || height == 0 {
        return Err(ImageError::NoPixels { width, height });
    }
    over_white((width, height), rgba)
}

/// What a decoder may take for metadata, palettes and row buffers.
const METADATA_BYTES: u64 = 64 << 20;

fn check_size(width: u32, height: u32, limits: &DecodeLimits) -> Result<(), ImageError> {
    if width == 0 || height == 0 {
        return Err(ImageError::NoPixels { width, height });
    }
    let pixels = u64::from(width) * u64::from(height);
    if pixels > limits.max_pixels {
        return Err(ImageError::TooLarge {
            width,
            height,
            pixels,
            limit: limits.max_pixels,
        });
    }
    Ok(())
}

fn width_and_height(image: &DynamicImage) -> (u32, u32) {
    (image.width(), image.height())
}

fn over_white((width, height): (u32, u32), rgba: &[u8]) -> Result<RgbImage, ImageError> {
    let mismatch = || ImageError::BufferLength {
        width,
        height,
        expected: (u64::from(width) * u64::from(height)).saturating_mul(4),
        found: rgba.len() as u64,
    };
    if u128::from(width) * u128::from(height) * 4 != rgba.len() as u128 {
        return Err(mismatch());
    }
    let mut rgb = Vec::with_capacity(rgba.len() / 4 * 3);
    for pixel in rgba.chunks_exact(4) {
        let alpha = u32::from(pixel[3]);
        let blend =
            |value: u8| ((u32::from(value) * alpha + 255 * (255 - alpha) + 127) / 255) as u8;
        rgb.extend([blend(pixel[0]), blend(pixel[1]), blend(pixel[2])]);
    }
    RgbImage::from_raw(width, height, rgb).ok_or_else(mismatch)
}

fn explain(format: &'static str, error: &image::ImageError) -> ImageError {
    use image::ImageError as Cause;
    if ends_early(error) {
        return ImageError::Truncated { format };
    }
    let reason = reason(error);
    match error {
        Cause::Limits(_) => ImageError::TooMuchMemory { format },
        Cause::Unsupported(_) => ImageError::UnsupportedVariant { format, reason },
        _ => ImageError::Damaged { format, reason },
    }
}

/// Decoders say "no more bytes" in different ways: as an input error somewhere down the
/// chain of causes, or in words only.
fn ends_early(error: &image::ImageError) -> bool {
    if let image::ImageError::IoError(cause) = error
        && cause.kind() == ErrorKind::UnexpectedEof
    {
        return true;
    }
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(input) = inner.downcast_ref::<std::io::Error>()
            && input.kind() == ErrorKind::UnexpectedEof
        {
            return true;
        }
        cause = inner.source();
    }
    false
}

/// The innermost cause, on one line.
fn reason(error: &image::ImageError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
