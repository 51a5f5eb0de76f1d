//! Decoding and preprocessing against Pillow and torchvision
//! (`fixtures/make_preprocess_and_tokens.py`).

use std::path::PathBuf;

use image::{ExtendedColorType, ImageEncoder, RgbImage};
use serde::Deserialize;
use shared::clip::preprocess::{
    DecodeLimits, ImageError, Preprocessing, decode, from_rgba, preprocess, resize_and_crop,
};

#[derive(Deserialize)]
struct Cases {
    resized: Vec<Resized>,
    decoded: Vec<Decoded>,
}

#[derive(Deserialize)]
struct Resized {
    source: String,
    size: u32,
    resize: u32,
    expected: String,
}

#[derive(Deserialize)]
struct Decoded {
    file: String,
    expected: String,
    tolerance: u8,
}

fn read(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/preprocess")
        .join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn cases() -> Cases {
    serde_json::from_slice(&read("cases.json")).unwrap()
}

fn image(name: &str) -> RgbImage {
    decode(&read(name), &DecodeLimits::default()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn settings(size: u32, resize: u32) -> Preprocessing {
    Preprocessing {
        resize,
        ..Preprocessing::openai(size)
    }
}

fn largest_difference(name: &str, found: &RgbImage, expected: &RgbImage) -> u8 {
    assert_eq!(found.dimensions(), expected.dimensions(), "{name}");
    let levels = found.as_raw().iter().zip(expected.as_raw());
    levels.map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0)
}

#[test]
fn resizing_is_pillows_to_the_bit() {
    let cases = cases().resized;
    assert!(cases.len() >= 40);
    for case in cases {
        let settings = settings(case.size, case.resize);
        let square = resize_and_crop(&image(&case.source), &settings);
        let off = largest_difference(&case.expected, &square, &image(&case.expected));
        assert_eq!(off, 0, "{}", case.expected);
    }
}

#[test]
fn normalised_values_are_torchvisions() {
    let bytes = read("tensor.safetensors");
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let lite = Preprocessing::efficientnet_lite(224);
    for (name, source, mean, std) in [
        ("noise.clip", "source_noise.png", None, None),
        ("gradient.clip", "source_gradient.png", None, None),
        (
            "row.lite",
            "source_row.png",
            Some(lite.mean),
            Some(lite.std),
        ),
    ] {
        let clip = settings(28, 32);
        let settings = Preprocessing {
            mean: mean.unwrap_or(clip.mean),
            std: std.unwrap_or(clip.std),
            ..clip
        };
        let values = preprocess(&image(source), &settings);
        let tensor = tensors.tensor(name).unwrap();
        assert_eq!(tensor.shape(), [3, 28, 28]);
        let expected = tensor.data().chunks_exact(4);
        assert_eq!(values.len(), expected.len());
        for (value, bytes) in values.iter().zip(expected) {
            let expected = f32::from_le_bytes(bytes.try_into().unwrap());
            assert!(
                (value - expected).abs() < 1e-6,
                "{name}: {value} for {expected}"
            );
        }
    }
}

#[test]
fn every_kind_of_file_is_decoded_as_pillow_does() {
    for case in cases().decoded {
        let off = largest_difference(&case.file, &image(&case.file), &image(&case.expected));
        if off > 0 {
            println!("{}: {off} of {}", case.file, case.tolerance);
        }
        assert!(off <= case.tolerance, "{}: {off} levels off", case.file);
    }
}

#[test]
fn a_million_to_one_strip_takes_little_memory() {
    // Resized whole, it would be 224 x 224,000,000 pixels.
    let strip = RgbImage::from_pixel(1, 1_000_000, image::Rgb([9, 8, 7]));
    let square = resize_and_crop(&strip, &Preprocessing::openai(224));
    assert!(square.pixels().all(|pixel| pixel.0 == [9, 8, 7]));
}

#[test]
fn browser_pixels_take_the_same_path() {
    let upright = image("upright_rgba_png.png");
    let rgba = image::load_from_memory(&read("file_rgba.png"))
        .unwrap()
        .into_rgba8();
    assert_eq!(from_rgba(40, 28, rgba.as_raw()).unwrap(), upright);

    let error = from_rgba(40, 27, rgba.as_raw()).unwrap_err().to_string();
    assert_eq!(
        error,
        "40 x 27 RGBA pixels take 4320 bytes, and 4480 were given"
    );
    assert!(from_rgba(u32::MAX, u32::MAX, &[1, 2]).is_err());
    assert!(matches!(
        from_rgba(0, 3, &[]),
        Err(ImageError::NoPixels { .. })
    ));
}

#[test]
fn size_is_checked_before_memory_is_taken() {
    let limits = DecodeLimits { max_pixels: 1119 };
    for file in [
        "rgba.png",
        "grey.jpg",
        "lossy.webp",
        "rgb.bmp",
        "rgb.ppm",
        "grey16.tif",
    ] {
        let error = decode(&read(&format!("file_{file}")), &limits).unwrap_err();
        let expected = ImageError::TooLarge {
            width: 40,
            height: 28,
            pixels: 1120,
            limit: 1119,
        };
        assert_eq!(error, expected, "{file}");
    }
    // The same number of pixels is not too many.
    let limits = DecodeLimits { max_pixels: 1120 };
    assert!(decode(&read("file_rgba.png"), &limits).is_ok());

    // Files of a few bytes that promise 4 and 900 gigabytes.
    let promise = b"P6 40000 40000 255\nabc";
    let error = decode(promise, &DecodeLimits::default())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("1600000000") && error.contains("100000000"),
        "{error}"
    );
    let mut wide = read("file_rgba.png");
    wide[16..20].copy_from_slice(&0x7fff_ffff_u32.to_be_bytes());
    wide[20..24].copy_from_slice(&100_u32.to_be_bytes());
    let check = crc(&wide[12..29]);
    wide[29..33].copy_from_slice(&check.to_be_bytes());
    let error = decode(&wide, &DecodeLimits::default()).unwrap_err();
    assert!(matches!(error, ImageError::TooLarge { .. }), "{error:?}");
}

/// The checksum of a PNG chunk.
fn crc(bytes: &[u8]) -> u32 {
    let update = |mut sum: u32, byte: &u8| {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg());
        }
        sum
    };
    !bytes.iter().fold(!0, update)
}

#[test]
fn a_file_cut_short_says_so() {
    for case in cases().decoded {
        let bytes = read(&case.file);
        // In the middle of the pixels; a first frame may lie before that.
        if case.file.contains("animated") {
            continue;
        }
        for cut in [bytes.len() / 2, bytes.len() * 3 / 4] {
            match decode(&bytes[..cut], &DecodeLimits::default()) {
                Err(ImageError::Truncated { .. }) => {}
                other => panic!("{} at {cut} of {}: {other:?}", case.file, bytes.len()),
            }
        }
    }
}

#[test]
fn what_is_no_image_is_named() {
    let limits = DecodeLimits::default();
    let error = |bytes: &[u8]| decode(bytes, &limits).unwrap_err();
    assert_eq!(error(b""), ImageError::Empty);
    assert_eq!(error(b"hello"), ImageError::NotAnImage);
    assert_eq!(
        error(b"<!doctype html><html></html>"),
        ImageError::NotAnImage
    );
    assert_eq!(error(&[0; 4096]), ImageError::NotAnImage);
    for (bytes, name) in [
        (&b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"[..], "HEIC"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", "AVIF"),
        (b"%PDF-1.7\n", "PDF"),
        (b"qoif\0\0\0\x01\0\0\0\x01\x03\0", "QOI"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"\0\0\x01\0\x01\0", "Windows icon"),
    ] {
        let message = error(bytes).to_string();
        assert!(
            message.starts_with(&format!("{name} is not supported; save it as")),
            "{message}"
        );
    }
}

#[test]
fn damaged_files_never_panic() {
    let mut state = 1_u32;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    let limits = DecodeLimits {
        max_pixels: 1_000_000,
    };
    for case in cases().decoded {
        let whole = read(&case.file);
        for _ in 0..40 {
            let mut bytes = whole.clone();
            for _ in 0..1 + random() % 4 {
                let at = random() as usize % bytes.len();
                bytes[at] = random() as u8;
            }
            bytes.truncate(bytes.len() - (random() as usize % 8) * bytes.len() / 40);
            if let Err(error) = decode(&bytes, &limits) {
                assert!(!error.to_string().is_empty());
            }
        }
    }
}

#[test]
fn a_large_photo_is_decoded_upright_and_whole() {
    // Wider than one decoder block row, with an odd size.
    let picture = RgbImage::from_fn(1001, 601, |x, y| {
        image::Rgb([(x / 4) as u8, (y / 3) as u8, ((x + y) / 8) as u8])
    });
    let mut png = Vec::new();
    image::codecs::png::PngEncoder::new(&mut png)
        .write_image(picture.as_raw(), 1001, 601, ExtendedColorType::Rgb8)
        .unwrap();
    assert_eq!(decode(&png, &DecodeLimits::default()).unwrap(), picture);
}
