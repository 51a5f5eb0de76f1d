//! Images that are cut, bent, blown up or something else altogether.

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use std::io::Cursor;

use super::Outcome::{Either, Refused, Used};
use super::compress::{crc32, zlib_of_zeros, zlib_stored};
use super::{Case, Damage, Outcome};

const CUT: &[&str] = &[
    "cut short",
    "damaged",
    "not an image",
    "no pixels",
    "not supported",
    "more memory",
];
const BROKEN: &[&str] = &[
    "damaged",
    "not supported",
    "cut short",
    "no pixels",
    "pixels, and the limit",
    "not an image",
    "decoder failed",
    "more memory",
];
const TOO_LARGE: &[&str] = &["pixels, and the limit is", "more memory", "damaged"];
const FOREIGN: &[&str] = &["not an image", "is not supported"];

/// The formats that are decoded, with a picture in each.
pub fn whole() -> Vec<(&'static str, Vec<u8>)> {
    [
        ("png", ImageFormat::Png),
        ("jpg", ImageFormat::Jpeg),
        ("gif", ImageFormat::Gif),
        ("bmp", ImageFormat::Bmp),
        ("tif", ImageFormat::Tiff),
        ("webp", ImageFormat::WebP),
        ("ppm", ImageFormat::Pnm),
    ]
    .into_iter()
    .map(|(extension, format)| (extension, encoded(&picture(), format)))
    .collect()
}

/// All cases; the path of each ends in the extension it pretends to.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (extension, bytes) in whole() {
        cases.extend(cut(extension, &bytes));
    }
    cases.extend(png_cases());
    cases.extend(jpeg_cases());
    cases.extend(gif_cases());
    cases.extend(bmp_cases());
    cases.extend(tiff_cases());
    cases.extend(webp_cases());
    cases.extend(pnm_cases());
    cases.extend(foreign_cases());
    cases
}

fn case(name: impl AsRef<str>, extension: &str, bytes: Vec<u8>, outcome: Outcome) -> Case {
    let name = name.as_ref();
    Case::file(name, &format!("{name}.{extension}"), bytes, outcome)
}

fn picture() -> RgbImage {
    RgbImage::from_fn(37, 23, |x, y| {
        Rgb([(x * 7) as u8, (y * 11) as u8, (x * y) as u8])
    })
}

fn encoded(picture: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(picture.clone())
        .write_to(&mut bytes, format)
        .expect("an encoder for every format of the test");
    bytes.into_inner()
}

fn cut(extension: &str, bytes: &[u8]) -> Vec<Case> {
    let mut damage = Damage::new(extension.bytes().map(u64::from).sum());
    let length = bytes.len();
    vec![
        case(
            format!("{extension}-of-no-bytes"),
            extension,
            Vec::new(),
            Refused(&["is empty"]),
        ),
        case(
            format!("{extension}-of-one-byte"),
            extension,
            bytes[..1].to_vec(),
            Refused(CUT),
        ),
        case(
            format!("{extension}-signature-only"),
            extension,
            bytes[..12].to_vec(),
            Refused(CUT),
        ),
        case(
            format!("{extension}-half"),
            extension,
            bytes[..length / 2].to_vec(),
            Refused(CUT),
        ),
        case(
            format!("{extension}-three-bytes-short"),
            extension,
            bytes[..length - 3].to_vec(),
            Either,
        ),
        case(
            format!("{extension}-with-a-tail"),
            extension,
            [bytes, &[0x55; 4096]].concat(),
            Either,
        ),
        case(
            format!("{extension}-one-byte-off"),
            extension,
            damage.flip(bytes, 1),
            Either,
        ),
        case(
            format!("{extension}-fifty-bytes-off"),
            extension,
            damage.flip(bytes, 50),
            Either,
        ),
        case(
            format!("{extension}-zeroed-behind-the-header"),
            extension,
            [
                &bytes[..bytes.len().min(60)],
                &vec![0; length - length.min(60)][..],
            ]
            .concat(),
            Either,
        ),
    ]
}

// --- PNG ---

fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut chunk = (data.len() as u32).to_be_bytes().to_vec();
    chunk.extend_from_slice(kind);
    chunk.extend_from_slice(data);
    let checksum = crc32(&chunk[4..]);
    chunk.extend(checksum.to_be_bytes());
    chunk
}

fn png(width: u32, height: u32, depth: u8, colour: u8, rest: &[Vec<u8>]) -> Vec<u8> {
    let mut header = width.to_be_bytes().to_vec();
    header.extend(height.to_be_bytes());
    header.extend([depth, colour, 0, 0, 0]);
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    bytes.extend(chunk(b"IHDR", &header));
    for chunk in rest {
        bytes.extend(chunk);
    }
    bytes.extend(chunk(b"IEND", b""));
    bytes
}

fn idat(data: &[u8]) -> Vec<u8> {
    chunk(b"IDAT", data)
}

fn png_cases() -> Vec<Case> {
    let tiny = idat(&zlib_stored(&[0, 1, 2, 3]));
    // One byte of filter and 8 bits a pixel for every row.
    let grey = |side: u64| idat(&zlib_of_zeros(side * (side + 1)));
    let profile = |bytes: u64| chunk(b"iCCP", &[b"p\0\0".to_vec(), zlib_of_zeros(bytes)].concat());
    let text = |bytes: u64| chunk(b"zTXt", &[b"t\0\0".to_vec(), zlib_of_zeros(bytes)].concat());
    let mut wrong_checksum = png(1, 1, 8, 2, std::slice::from_ref(&tiny));
    wrong_checksum[30] ^= 1;
    let mut endless = png(1, 1, 8, 2, std::slice::from_ref(&tiny));
    endless[33..37].copy_from_slice(&u32::MAX.to_be_bytes());
    let animation = |frames: u32| chunk(b"acTL", &[frames.to_be_bytes(), [0; 4]].concat());
    vec![
        case(
            "png-of-four-billion-by-four-billion",
            "png",
            png(u32::MAX, u32::MAX, 8, 2, std::slice::from_ref(&tiny)),
            Refused(TOO_LARGE),
        ),
        case(
            "png-of-two-billion-by-two-billion",
            "png",
            png(0x7fff_ffff, 0x7fff_ffff, 16, 6, std::slice::from_ref(&tiny)),
            Refused(TOO_LARGE),
        ),
        case(
            "png-of-one-row-of-two-billion",
            "png",
            png(0x7fff_ffff, 1, 16, 6, std::slice::from_ref(&tiny)),
            Refused(TOO_LARGE),
        ),
        case(
            "png-a-little-above-the-limit",
            "png",
            png(10_001, 10_000, 8, 0, std::slice::from_ref(&tiny)),
            Refused(TOO_LARGE),
        ),
        case(
            "png-bomb-of-900-megapixels",
            "png",
            png(30_000, 30_000, 8, 0, &[grey(30_000)]),
            Refused(TOO_LARGE),
        ),
        case(
            "png-of-25-megapixels-of-nothing",
            "png",
            png(5_000, 5_000, 8, 0, &[grey(5_000)]),
            Used,
        ),
        case(
            "png-with-a-profile-of-a-gigabyte",
            "png",
            png(1, 1, 8, 2, &[profile(1 << 30), tiny.clone()]),
            Either,
        ),
        case(
            "png-with-a-text-of-a-gigabyte",
            "png",
            png(1, 1, 8, 2, &[text(1 << 30), tiny.clone()]),
            Either,
        ),
        case(
            "png-with-more-data-than-pixels",
            "png",
            png(1, 1, 8, 2, &[idat(&zlib_of_zeros(1 << 28))]),
            Either,
        ),
        case(
            "png-of-no-width",
            "png",
            png(0, 5, 8, 2, std::slice::from_ref(&tiny)),
            Refused(&["no pixels"]),
        ),
        case(
            "png-of-no-height",
            "png",
            png(5, 0, 8, 2, std::slice::from_ref(&tiny)),
            Refused(&["no pixels"]),
        ),
        case(
            "png-of-depth-3",
            "png",
            png(1, 1, 3, 2, std::slice::from_ref(&tiny)),
            Refused(BROKEN),
        ),
        case(
            "png-of-colour-9",
            "png",
            png(1, 1, 8, 9, std::slice::from_ref(&tiny)),
            Refused(BROKEN),
        ),
        case(
            "png-palette-without-palette",
            "png",
            png(1, 1, 8, 3, &[idat(&zlib_stored(&[0, 7]))]),
            Refused(BROKEN),
        ),
        case(
            "png-palette-too-short",
            "png",
            png(
                1,
                1,
                8,
                3,
                &[chunk(b"PLTE", &[1, 2, 3]), idat(&zlib_stored(&[0, 7]))],
            ),
            Either,
        ),
        case(
            "png-without-data",
            "png",
            png(4, 4, 8, 2, &[]),
            Refused(BROKEN),
        ),
        case(
            "png-with-too-little-data",
            "png",
            png(40, 40, 8, 2, std::slice::from_ref(&tiny)),
            Refused(BROKEN),
        ),
        case(
            "png-with-filter-200",
            "png",
            png(1, 1, 8, 2, &[idat(&zlib_stored(&[200, 1, 2, 3]))]),
            Refused(BROKEN),
        ),
        case(
            "png-with-data-that-is-no-zlib",
            "png",
            png(1, 1, 8, 2, &[idat(b"no zlib at all")]),
            Refused(BROKEN),
        ),
        case(
            "png-with-a-wrong-checksum",
            "png",
            wrong_checksum,
            Refused(BROKEN),
        ),
        case(
            "png-with-a-chunk-of-four-gigabytes",
            "png",
            endless,
            Refused(BROKEN),
        ),
        case(
            "png-with-a-thousand-headers",
            "png",
            {
                let header = png(1, 1, 8, 2, &[]);
                let header = header[8..33].to_vec();
                png(1, 1, 8, 2, &[header.repeat(1000), tiny.clone()])
            },
            Either,
        ),
        case(
            "png-animated-of-four-billion-frames",
            "png",
            png(1, 1, 8, 2, &[animation(u32::MAX), tiny.clone()]),
            Either,
        ),
        case(
            "png-animated-of-no-frames",
            "png",
            png(1, 1, 8, 2, &[animation(0), tiny.clone()]),
            Either,
        ),
        case(
            "png-of-16-bits",
            "png",
            {
                let deep = image::ImageBuffer::<image::Luma<u16>, _>::from_fn(9, 9, |x, y| {
                    image::Luma([(x * y * 700) as u16])
                });
                let mut bytes = Cursor::new(Vec::new());
                DynamicImage::ImageLuma16(deep)
                    .write_to(&mut bytes, ImageFormat::Png)
                    .expect("encodes");
                bytes.into_inner()
            },
            Used,
        ),
    ]
}

// --- JPEG ---

/// Replaces the content of the first segment with this marker.
fn with_segment(jpeg: &[u8], marker: u8, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut at = 2;
    while at + 4 <= jpeg.len() {
        let length = usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
        if jpeg[at + 1] == marker {
            let mut content = jpeg[at + 4..at + 2 + length].to_vec();
            change(&mut content);
            let mut changed = jpeg[..at + 2].to_vec();
            changed.extend(((content.len() + 2) as u16).to_be_bytes());
            changed.extend(content);
            changed.extend_from_slice(&jpeg[at + 2 + length..]);
            return changed;
        }
        at += 2 + length;
    }
    jpeg.to_vec()
}

fn without_segment(jpeg: &[u8], marker: u8) -> Vec<u8> {
    let mut kept = jpeg[..2].to_vec();
    let mut at = 2;
    while at + 4 <= jpeg.len() {
        let length = usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
        if jpeg[at + 1] == 0xda {
            break;
        }
        if jpeg[at + 1] != marker {
            kept.extend_from_slice(&jpeg[at..at + 2 + length]);
        }
        at += 2 + length;
    }
    kept.extend_from_slice(&jpeg[at..]);
    kept
}

fn with_exif(jpeg: &[u8], exif: &[u8]) -> Vec<u8> {
    let mut bytes = jpeg[..2].to_vec();
    bytes.extend([0xff, 0xe1]);
    bytes.extend(((exif.len() + 8) as u16).to_be_bytes());
    bytes.extend(b"Exif\0\0");
    bytes.extend_from_slice(exif);
    bytes.extend_from_slice(&jpeg[2..]);
    bytes
}

fn jpeg_cases() -> Vec<Case> {
    const SOF: u8 = 0xc0;
    const DHT: u8 = 0xc4;
    const DQT: u8 = 0xdb;
    const SOS: u8 = 0xda;
    let good = encoded(&picture(), ImageFormat::Jpeg);
    let sized = |height: u16, width: u16| {
        with_segment(&good, SOF, |frame| {
            frame[1..3].copy_from_slice(&height.to_be_bytes());
            frame[3..5].copy_from_slice(&width.to_be_bytes());
        })
    };
    let frame = |change: fn(&mut Vec<u8>)| with_segment(&good, SOF, change);
    let marker = |marker: u8| {
        let mut bytes = good.clone();
        let at = bytes
            .windows(2)
            .position(|two| two == [0xff, SOF])
            .expect("a frame");
        bytes[at + 1] = marker;
        bytes
    };
    // An EXIF block whose directory leads to itself, and one that claims 65,535 entries.
    let loop_exif = b"II*\0\x08\0\0\0\0\0\x08\0\0\0".to_vec();
    let crowded = [b"II*\0\x08\0\0\0\xff\xff".as_slice(), &[0x12; 40]].concat();
    let turned = |orientation: u8| {
        [
            b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".as_slice(),
            &[orientation, 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat()
    };
    vec![
        case(
            "jpg-of-65535-by-65535",
            "jpg",
            sized(65_535, 65_535),
            Refused(TOO_LARGE),
        ),
        case(
            "jpg-of-30000-by-20000",
            "jpg",
            sized(20_000, 30_000),
            Refused(TOO_LARGE),
        ),
        case("jpg-of-no-height", "jpg", sized(0, 37), Refused(BROKEN)),
        case("jpg-of-no-width", "jpg", sized(23, 0), Refused(BROKEN)),
        case(
            "jpg-with-more-pixels-than-data",
            "jpg",
            sized(4_000, 4_000),
            Either,
        ),
        case(
            "jpg-of-no-components",
            "jpg",
            frame(|frame| {
                frame[5] = 0;
                frame.truncate(6);
            }),
            Refused(BROKEN),
        ),
        case(
            "jpg-of-two-components",
            "jpg",
            frame(|frame| {
                frame[5] = 2;
                frame.truncate(12);
            }),
            Either,
        ),
        case(
            "jpg-of-255-components",
            "jpg",
            frame(|frame| frame[5] = 255),
            Refused(BROKEN),
        ),
        case(
            "jpg-of-12-bits",
            "jpg",
            frame(|frame| frame[0] = 12),
            Refused(BROKEN),
        ),
        case(
            "jpg-of-sampling-0",
            "jpg",
            frame(|frame| frame[7] = 0),
            Refused(BROKEN),
        ),
        case(
            "jpg-of-sampling-15",
            "jpg",
            frame(|frame| frame[7] = 0xff),
            Either,
        ),
        case(
            "jpg-of-quantisation-table-99",
            "jpg",
            frame(|frame| frame[8] = 99),
            Refused(BROKEN),
        ),
        case(
            "jpg-without-quantisation",
            "jpg",
            without_segment(&good, DQT),
            Refused(BROKEN),
        ),
        case(
            "jpg-without-huffman-tables",
            "jpg",
            without_segment(&good, DHT),
            Either,
        ),
        case(
            "jpg-without-a-frame",
            "jpg",
            without_segment(&good, SOF),
            Refused(BROKEN),
        ),
        case(
            "jpg-with-overfull-huffman-table",
            "jpg",
            with_segment(&good, DHT, |table| table[1..17].fill(255)),
            Refused(BROKEN),
        ),
        case(
            "jpg-with-empty-scan",
            "jpg",
            with_segment(&good, SOS, |scan| scan[0] = 0),
            Refused(BROKEN),
        ),
        case(
            "jpg-with-unknown-scan-component",
            "jpg",
            with_segment(&good, SOS, |scan| scan[1] = 77),
            Refused(BROKEN),
        ),
        case("jpg-arithmetic", "jpg", marker(0xc9), Refused(BROKEN)),
        case("jpg-lossless", "jpg", marker(0xc3), Refused(BROKEN)),
        case("jpg-said-to-be-progressive", "jpg", marker(0xc2), Either),
        case(
            "jpg-with-exif-in-a-loop",
            "jpg",
            with_exif(&good, &loop_exif),
            Used,
        ),
        case(
            "jpg-with-65535-exif-entries",
            "jpg",
            with_exif(&good, &crowded),
            Used,
        ),
        case(
            "jpg-turned-by-99",
            "jpg",
            with_exif(&good, &turned(99)),
            Used,
        ),
        case("jpg-turned-by-6", "jpg", with_exif(&good, &turned(6)), Used),
        case(
            "jpg-of-markers-only",
            "jpg",
            [b"\xff\xd8".as_slice(), &[0xff; 100_000], b"\xff\xd9"].concat(),
            Refused(BROKEN),
        ),
        case(
            "jpg-with-no-start",
            "jpg",
            good[2..].to_vec(),
            Refused(FOREIGN),
        ),
    ]
}

// --- GIF ---

fn gif(width: u16, height: u16, rest: &[u8]) -> Vec<u8> {
    let mut bytes = b"GIF89a".to_vec();
    bytes.extend(width.to_le_bytes());
    bytes.extend(height.to_le_bytes());
    bytes.extend([0x80, 0, 0, 0, 0, 0, 255, 255, 255]); // two colours
    bytes.extend_from_slice(rest);
    bytes.push(0x3b);
    bytes
}

fn gif_frame(place: [u16; 4], code_size: u8, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x2c];
    for number in place {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend([0, code_size]);
    for block in data.chunks(255) {
        bytes.push(block.len() as u8);
        bytes.extend_from_slice(block);
    }
    bytes.push(0);
    bytes
}

fn gif_cases() -> Vec<Case> {
    // Clear, index 0, end.
    let pixel = gif_frame([0, 0, 1, 1], 2, &[0x44, 0x01]);
    let animated = gif(
        1,
        1,
        &[pixel.clone(), pixel.clone(), pixel.clone()].concat(),
    );
    vec![
        case(
            "gif-of-65535-by-65535",
            "gif",
            gif(
                65_535,
                65_535,
                &gif_frame([0, 0, 65_535, 65_535], 2, &[0x44, 0x01]),
            ),
            Refused(TOO_LARGE),
        ),
        case(
            "gif-large-screen-small-frame",
            "gif",
            gif(65_535, 65_535, &pixel),
            Refused(TOO_LARGE),
        ),
        case(
            "gif-frame-beyond-the-screen",
            "gif",
            gif(
                1,
                1,
                &gif_frame([60_000, 60_000, 60_000, 60_000], 2, &[0x44, 0x01]),
            ),
            Refused(BROKEN),
        ),
        case("gif-of-no-frames", "gif", gif(5, 5, &[]), Refused(BROKEN)),
        case("gif-of-no-width", "gif", gif(0, 5, &pixel), Refused(BROKEN)),
        case(
            "gif-of-code-size-0",
            "gif",
            gif(1, 1, &gif_frame([0, 0, 1, 1], 0, &[0x44, 0x01])),
            Either,
        ),
        case(
            "gif-of-code-size-200",
            "gif",
            gif(1, 1, &gif_frame([0, 0, 1, 1], 200, &[0x44, 0x01])),
            Refused(BROKEN),
        ),
        case(
            "gif-of-impossible-codes",
            "gif",
            gif(1, 1, &gif_frame([0, 0, 1, 1], 2, &[0xff; 64])),
            Either,
        ),
        case(
            "gif-of-ten-thousand-frames",
            "gif",
            gif(1, 1, &pixel.repeat(10_000)),
            Used,
        ),
        case("gif-animated", "gif", animated, Used),
    ]
}

// --- BMP ---

/// A bitmap with the fields of its header that are worth bending.
fn bmp(
    width: i32,
    height: i32,
    depth: u16,
    compression: u32,
    colours: u32,
    offset: u32,
    data: &[u8],
) -> Vec<u8> {
    let mut bytes = b"BM".to_vec();
    bytes.extend(((54 + data.len()) as u32).to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(offset.to_le_bytes());
    bytes.extend(40u32.to_le_bytes());
    bytes.extend(width.to_le_bytes());
    bytes.extend(height.to_le_bytes());
    bytes.extend(1u16.to_le_bytes());
    bytes.extend(depth.to_le_bytes());
    bytes.extend(compression.to_le_bytes());
    bytes.extend([0; 12]);
    bytes.extend(colours.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend_from_slice(data);
    bytes
}

fn bmp_cases() -> Vec<Case> {
    let data = [7u8; 64];
    vec![
        case(
            "bmp-of-two-billion-by-two-billion",
            "bmp",
            bmp(i32::MAX, i32::MAX, 24, 0, 0, 54, &data),
            Refused(BROKEN),
        ),
        case(
            "bmp-of-height-minus-two-billion",
            "bmp",
            bmp(4, i32::MIN, 24, 0, 0, 54, &data),
            Refused(BROKEN),
        ),
        case(
            "bmp-of-negative-width",
            "bmp",
            bmp(-4, 4, 24, 0, 0, 54, &data),
            Refused(BROKEN),
        ),
        case(
            "bmp-of-no-width",
            "bmp",
            bmp(0, 4, 24, 0, 0, 54, &data),
            Refused(BROKEN),
        ),
        case(
            "bmp-of-20000-by-20000",
            "bmp",
            bmp(20_000, 20_000, 24, 0, 0, 54, &data),
            Refused(TOO_LARGE),
        ),
        case(
            "bmp-of-depth-0",
            "bmp",
            bmp(4, 4, 0, 0, 0, 54, &data),
            Refused(BROKEN),
        ),
        case(
            "bmp-of-depth-64",
            "bmp",
            bmp(4, 4, 64, 0, 0, 54, &data),
            Refused(BROKEN),
        ),
        case(
            "bmp-of-four-billion-colours",
            "bmp",
            bmp(4, 4, 8, 0, u32::MAX, 54, &data),
            Refused(BROKEN),
        ),
        case(
            "bmp-with-data-beyond-the-file",
            "bmp",
            bmp(4, 4, 24, 0, 0, u32::MAX, &data),
            Refused(BROKEN),
        ),
        case(
            "bmp-with-endless-runs",
            "bmp",
            bmp(4, 4, 8, 1, 1, 58, &[0xff; 64]),
            Either,
        ),
        case(
            "bmp-compressed-by-99",
            "bmp",
            bmp(4, 4, 24, 99, 0, 54, &data),
            Refused(BROKEN),
        ),
        case(
            "bmp-upside-down",
            "bmp",
            bmp(4, -4, 24, 0, 0, 54, &data),
            Used,
        ),
    ]
}

// --- TIFF ---

/// Tag, type, count, value.
type Tag = (u16, u16, u32, u32);

/// A TIFF of one directory.
fn tiff(entries: &[Tag], next: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"II*\0\x08\0\0\0".to_vec();
    bytes.extend((entries.len() as u16).to_le_bytes());
    for (tag, kind, count, value) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend(next.to_le_bytes());
    bytes.extend_from_slice(data);
    bytes
}

fn tiff_cases() -> Vec<Case> {
    const LONG: u16 = 4;
    // 4 by 4 grey pixels behind a directory of eight entries.
    let start = 8 + 2 + 8 * 12 + 4;
    let entries = |change: fn(&mut [Tag])| {
        let mut entries = [
            (256, LONG, 1, 4),     // width
            (257, LONG, 1, 4),     // height
            (258, 3, 1, 8),        // bits a sample
            (259, 3, 1, 1),        // no compression
            (262, 3, 1, 1),        // black is zero
            (273, LONG, 1, start), // strip offset
            (278, LONG, 1, 4),     // rows a strip
            (279, LONG, 1, 16),    // strip bytes
        ];
        change(&mut entries);
        tiff(&entries, 0, &[9; 16])
    };
    let plain = entries(|_| ());
    let looped = {
        let mut bytes = plain.clone();
        let at = start as usize - 4;
        bytes[at..at + 4].copy_from_slice(&8u32.to_le_bytes());
        bytes
    };
    vec![
        case("tif-plain", "tif", plain, Used),
        case("tif-whose-directories-loop", "tif", looped, Either),
        case(
            "tif-of-four-billion-by-four-billion",
            "tif",
            entries(|e| (e[0].3, e[1].3) = (u32::MAX, u32::MAX)),
            Refused(BROKEN),
        ),
        case(
            "tif-of-20000-by-20000",
            "tif",
            entries(|e| (e[0].3, e[1].3) = (20_000, 20_000)),
            Refused(TOO_LARGE),
        ),
        case(
            "tif-of-no-width",
            "tif",
            entries(|e| e[0].3 = 0),
            Refused(BROKEN),
        ),
        case(
            "tif-of-65535-bits",
            "tif",
            entries(|e| e[2].3 = 65_535),
            Refused(BROKEN),
        ),
        case(
            "tif-of-unknown-compression",
            "tif",
            entries(|e| e[3].3 = 9_999),
            Refused(BROKEN),
        ),
        case("tif-lzw-of-nothing", "tif", entries(|e| e[3].3 = 5), Either),
        case(
            "tif-jpeg-of-nothing",
            "tif",
            entries(|e| e[3].3 = 7),
            Refused(BROKEN),
        ),
        case(
            "tif-with-strips-beyond-the-file",
            "tif",
            entries(|e| e[5].3 = u32::MAX),
            Refused(BROKEN),
        ),
        case(
            "tif-with-strips-of-four-gigabytes",
            "tif",
            entries(|e| e[7].3 = u32::MAX),
            Either,
        ),
        case(
            "tif-with-four-billion-strips",
            "tif",
            entries(|e| e[5].2 = u32::MAX),
            Refused(BROKEN),
        ),
        case(
            "tif-with-no-rows-a-strip",
            "tif",
            entries(|e| e[6].3 = 0),
            Either,
        ),
        case(
            "tif-with-a-type-of-99",
            "tif",
            entries(|e| e[0].1 = 99),
            Refused(BROKEN),
        ),
        case(
            "tif-without-tags",
            "tif",
            tiff(&[], 0, &[]),
            Refused(BROKEN),
        ),
        case(
            "tif-with-65535-tags",
            "tif",
            [b"II*\0\x08\0\0\0\xff\xff".as_slice(), &[1; 64]].concat(),
            Refused(BROKEN),
        ),
        case(
            "tif-whose-directory-is-beyond-the-file",
            "tif",
            b"II*\0\xff\xff\xff\xff".to_vec(),
            Refused(BROKEN),
        ),
        case(
            "tif-of-floats-that-are-not-numbers",
            "tif",
            {
                let mut entries = vec![
                    (256, LONG, 1, 2),
                    (257, LONG, 1, 2),
                    (258, 3, 1, 32),
                    (259, 3, 1, 1),
                    (262, 3, 1, 1),
                    (273, LONG, 1, 8 + 2 + 9 * 12 + 4),
                    (278, LONG, 1, 2),
                    (279, LONG, 1, 16),
                ];
                entries.push((339, 3, 1, 3)); // floating point
                let values = [f32::NAN, f32::INFINITY, -1e38, 0.5];
                tiff(
                    &entries,
                    0,
                    &values
                        .iter()
                        .flat_map(|v| v.to_le_bytes())
                        .collect::<Vec<_>>(),
                )
            },
            Either,
        ),
    ]
}

// --- WebP ---

fn riff(chunks: &[u8]) -> Vec<u8> {
    let mut bytes = b"RIFF".to_vec();
    bytes.extend(((chunks.len() + 4) as u32).to_le_bytes());
    bytes.extend(b"WEBP");
    bytes.extend_from_slice(chunks);
    bytes
}

fn webp_chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut bytes = kind.to_vec();
    bytes.extend((data.len() as u32).to_le_bytes());
    bytes.extend_from_slice(data);
    if data.len() % 2 == 1 {
        bytes.push(0);
    }
    bytes
}

fn webp_cases() -> Vec<Case> {
    let good = encoded(&picture(), ImageFormat::WebP);
    let mut longer = good.clone();
    longer[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    let canvas = |flags: u8, width: u32, height: u32| {
        let mut data = vec![flags, 0, 0, 0];
        data.extend(&width.to_le_bytes()[..3]);
        data.extend(&height.to_le_bytes()[..3]);
        webp_chunk(b"VP8X", &data)
    };
    // The lossless signature, 14 bits of width and of height less one, and no more.
    let lossless = |width: u32, height: u32| {
        let size = (width - 1) | ((height - 1) << 14);
        webp_chunk(
            b"VP8L",
            &[&[0x2f], &size.to_le_bytes()[..], &[0; 40]].concat(),
        )
    };
    vec![
        case("webp-longer-than-the-file", "webp", longer, Refused(CUT)),
        case("webp-of-no-chunks", "webp", riff(&[]), Refused(BROKEN)),
        case(
            "webp-of-16384-by-16384",
            "webp",
            riff(&lossless(16_384, 16_384)),
            // The decoder makes 0 of 14 bits that say 16,384.
            Refused(BROKEN),
        ),
        case("webp-of-zeros", "webp", riff(&lossless(64, 64)), Either),
        case(
            "webp-with-a-canvas-of-16777216",
            "webp",
            riff(&[canvas(0, 0xff_ffff, 0xff_ffff), lossless(4, 4)].concat()),
            Refused(BROKEN),
        ),
        case(
            "webp-with-a-canvas-alone",
            "webp",
            riff(&canvas(0, 3, 3)),
            Refused(BROKEN),
        ),
        case(
            "webp-animated-without-frames",
            "webp",
            riff(&[canvas(2, 3, 3), webp_chunk(b"ANIM", &[0; 6])].concat()),
            Refused(BROKEN),
        ),
        case(
            "webp-with-a-bad-lossless-signature",
            "webp",
            riff(&webp_chunk(b"VP8L", &[0; 40])),
            Refused(BROKEN),
        ),
        case(
            "webp-lossy-of-zeros",
            "webp",
            riff(&webp_chunk(b"VP8 ", &[0; 40])),
            Refused(BROKEN),
        ),
        case(
            "webp-with-a-chunk-beyond-the-file",
            "webp",
            riff(&[b"VP8L".as_slice(), &u32::MAX.to_le_bytes(), &[0x2f; 9]].concat()),
            Refused(BROKEN),
        ),
    ]
}

// --- PNM ---

fn pnm_cases() -> Vec<Case> {
    let text = |name: &str, content: &str, outcome| {
        case(
            name,
            "ppm",
            [content.as_bytes(), &[7; 48]].concat(),
            outcome,
        )
    };
    vec![
        text(
            "ppm-of-four-billion",
            "P6\n4294967295 4294967295\n255\n",
            Refused(BROKEN),
        ),
        text(
            "ppm-beyond-32-bits",
            "P6\n99999999999999999999 1\n255\n",
            Refused(BROKEN),
        ),
        text(
            "ppm-of-20000-by-20000",
            "P6\n20000 20000\n255\n",
            Refused(TOO_LARGE),
        ),
        text("ppm-of-negative-width", "P6\n-4 4\n255\n", Refused(BROKEN)),
        text("ppm-of-no-width", "P6\n0 4\n255\n", Refused(BROKEN)),
        text("ppm-of-no-maximum", "P6\n4 4\n0\n", Refused(BROKEN)),
        text("ppm-of-maximum-70000", "P6\n4 4\n70000\n", Refused(BROKEN)),
        text(
            "ppm-in-letters",
            "P3\n4 4\n255\nred green blue\n",
            Refused(BROKEN),
        ),
        text(
            "ppm-with-endless-comment",
            &format!("P6\n#{}", "x".repeat(1 << 20)),
            Refused(BROKEN),
        ),
        text(
            "pam-of-depth-1000",
            "P7\nWIDTH 2\nHEIGHT 2\nDEPTH 1000\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n",
            Refused(BROKEN),
        ),
        text(
            "pam-of-four-billion",
            "P7\nWIDTH 4294967295\nHEIGHT 4294967295\nDEPTH 4294967295\nMAXVAL 65535\nENDHDR\n",
            Refused(BROKEN),
        ),
    ]
}

// --- something else ---

fn foreign_cases() -> Vec<Case> {
    let png = encoded(&picture(), ImageFormat::Png);
    let jpeg = encoded(&picture(), ImageFormat::Jpeg);
    vec![
        case("png-called-jpg", "jpg", png.clone(), Used),
        case("jpg-called-png", "png", jpeg.clone(), Used),
        case("jpg-called-gif", "gif", jpeg.clone(), Used),
        case(
            "text-called-jpg",
            "jpg",
            b"hello".to_vec(),
            Refused(FOREIGN),
        ),
        case(
            "page-called-jpg",
            "jpg",
            b"<!doctype html><title>404</title>".to_vec(),
            Refused(FOREIGN),
        ),
        case(
            "archive-called-jpg",
            "jpg",
            super::archive::zip(&[super::archive::Entry::stored("a.png", &png)]),
            Refused(FOREIGN),
        ),
        case(
            "program-called-png",
            "png",
            b"\x7fELF\x02\x01\x01\0\0\0\0\0".to_vec(),
            Refused(FOREIGN),
        ),
        case(
            "zeros-called-png",
            "png",
            vec![0; 100_000],
            Refused(FOREIGN),
        ),
        case(
            "document-called-jpg",
            "jpg",
            b"%PDF-1.7\n".to_vec(),
            Refused(&["PDF is not supported"]),
        ),
        case(
            "drawing-called-png",
            "png",
            b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>"
                .to_vec(),
            Refused(&["SVG is not supported"]),
        ),
        case(
            "film-called-jpg",
            "jpg",
            b"\0\0\0\x18ftypmp42\0\0\0\0".to_vec(),
            Refused(&["video is not supported"]),
        ),
        case(
            "heic-of-a-telephone",
            "heic",
            b"\0\0\0\x18ftypheic\0\0\0\0".to_vec(),
            Refused(&["HEIC is not supported"]),
        ),
        case(
            "avif",
            "avif",
            b"\0\0\0\x1cftypavif\0\0\0\0avifmif1".to_vec(),
            Refused(&["AVIF is not supported"]),
        ),
        case(
            "jpeg-xl",
            "jxl",
            b"\0\0\0\x0cJXL \r\n\x87\n".to_vec(),
            Refused(&["JPEG XL is not supported"]),
        ),
        case(
            "icon-called-png",
            "png",
            b"\0\0\x01\0\x01\0\x10\x10\0\0\x01\0\x20\0\x68\x04\0\0\x16\0\0\0".to_vec(),
            Refused(FOREIGN),
        ),
        case(
            "exr-called-png",
            "png",
            b"\x76\x2f\x31\x01\x02\0\0\0".to_vec(),
            Refused(FOREIGN),
        ),
        case(
            "two-images-in-one",
            "jpg",
            [jpeg.clone(), png.clone()].concat(),
            Used,
        ),
        case(
            "script-behind-a-gif",
            "gif",
            [b"GIF89a/*".as_slice(), &[0x2f; 40], b"*/=1;alert(1)"].concat(),
            Refused(BROKEN),
        ),
        case(
            "truncated-to-two-bytes",
            "jpg",
            vec![0xff, 0xd8],
            Refused(BROKEN),
        ),
    ]
}
