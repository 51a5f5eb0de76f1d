//! What the bytes of a file say about its format.

use image::ImageFormat;

/// The name people know a format by.
pub(super) fn name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Png => "PNG",
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::Gif => "GIF",
        ImageFormat::WebP => "WebP",
        ImageFormat::Pnm => "PNM",
        ImageFormat::Tiff => "TIFF",
        ImageFormat::Tga => "TGA",
        ImageFormat::Dds => "DDS",
        ImageFormat::Bmp => "BMP",
        ImageFormat::Ico => "Windows icon",
        ImageFormat::Hdr => "Radiance HDR",
        ImageFormat::OpenExr => "OpenEXR",
        ImageFormat::Farbfeld => "farbfeld",
        ImageFormat::Avif => "AVIF",
        ImageFormat::Qoi => "QOI",
        _ => "this image format",
    }
}

/// The format of a file that the decoders do not know at all, if it is a common one.
pub(super) fn undecoded(bytes: &[u8]) -> Option<&'static str> {
    const SIGNATURES: [(&[u8], &str); 8] = [
        (b"\0\0\0\x0cJXL ", "JPEG XL"),
        (b"\xff\x0a", "JPEG XL"),
        (b"\0\0\0\x0cjP  ", "JPEG 2000"),
        (b"\xff\x4f\xff\x51", "JPEG 2000"),
        (b"8BPS", "Photoshop (PSD)"),
        (b"%PDF", "PDF"),
        (b"\x1aE\xdf\xa3", "Matroska/WebM video"),
        (b"<svg", "SVG"),
    ];
    if let Some((_, name)) = SIGNATURES
        .iter()
        .find(|(start, _)| bytes.starts_with(start))
    {
        return Some(name);
    }
    if bytes.get(4..8) == Some(b"ftyp") {
        return Some(match bytes.get(8..12)? {
            b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"mif1" | b"msf1" => "HEIC",
            b"avif" | b"avis" => "AVIF",
            b"crx " => "Canon raw (CR3)",
            _ => "MP4/QuickTime video",
        });
    }
    let start = bytes.get(..bytes.len().min(1024))?;
    let markup = start.trim_ascii_start().starts_with(b"<") || start.starts_with(b"\xef\xbb\xbf<");
    (markup && start.windows(4).any(|word| word == b"<svg")).then_some("SVG")
}

/// Width and height in a PNG's header, which comes first in the file.
pub(super) fn png_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let header = bytes.strip_prefix(b"\x89PNG\r\n\x1a\n")?.get(4..16)?;
    let size = header.strip_prefix(b"IHDR")?;
    let side = |at: usize| Some(u32::from_be_bytes(size.get(at..at + 4)?.try_into().ok()?));
    Some((side(0)?, side(4)?))
}

/// Whether the file is shorter than it says itself, for the formats whose decoders do not
/// notice or do not say so.
pub(super) fn is_cut_short(format: ImageFormat, bytes: &[u8]) -> bool {
    match format {
        ImageFormat::Jpeg => !jpeg_is_complete(bytes),
        ImageFormat::WebP => {
            let length = bytes.get(4..8).and_then(|length| length.try_into().ok());
            let length = length.map_or(0, |length| u64::from(u32::from_le_bytes(length)));
            // Encoders disagree on whether a padding byte at the end is counted.
            length + 8 > bytes.len() as u64 + 1
        }
        _ => false,
    }
}

/// Whether a JPEG's end marker is there. What is missing would be filled with grey and then
/// be judged as if it had been photographed.
fn jpeg_is_complete(bytes: &[u8]) -> bool {
    const END: u8 = 0xd9;
    const START_OF_SCAN: u8 = 0xda;
    let mut at = 2; // behind the start-of-image marker
    loop {
        // To the next marker: in entropy-coded data, 0xff is followed by 0 or a restart.
        let Some(found) = bytes
            .get(at..)
            .and_then(|rest| rest.iter().position(|&b| b == 0xff))
        else {
            return false;
        };
        at += found + 1;
        let Some(&marker) = bytes.get(at) else {
            return false;
        };
        match marker {
            END => return true,
            0xff => {} // padding: the marker's own 0xff may be the next
            0x00 | 0x01 | 0xd0..=0xd8 | START_OF_SCAN => at += 1,
            _ => {
                // A segment with its length, which may hold another JPEG (a thumbnail).
                let Some(&[high, low]) = bytes.get(at + 1..at + 3) else {
                    return false;
                };
                at += 1 + usize::from(u16::from_be_bytes([high, low])).max(2);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_it_cannot_decode() {
        assert_eq!(undecoded(b"\0\0\0\x18ftypheic\0\0"), Some("HEIC"));
        assert_eq!(
            undecoded(b"\0\0\0\x18ftypmp42\0\0"),
            Some("MP4/QuickTime video")
        );
        assert_eq!(undecoded(b"%PDF-1.7"), Some("PDF"));
        assert_eq!(undecoded(b"<?xml version=\"1.0\"?>\n<svg>"), Some("SVG"));
        assert_eq!(undecoded(b"<!doctype html>"), None);
        assert_eq!(undecoded(b"\0\0\0\x18ftyp"), None);
        assert_eq!(undecoded(b"x"), None);
    }

    #[test]
    fn a_thumbnails_end_is_not_the_end() {
        let thumbnail = [0xff, 0xd8, 0xff, 0xe1, 0, 6, 0xff, 0xd9, 1, 2];
        assert!(!jpeg_is_complete(&thumbnail));
        let mut whole = thumbnail.to_vec();
        whole.extend([0xff, 0xda, 0, 2, 7, 0xff, 0x00, 0xff, 0xd3, 9]);
        assert!(!jpeg_is_complete(&whole));
        whole.extend([0xff, 0xff, 0xd9]);
        assert!(jpeg_is_complete(&whole));
        assert!(!jpeg_is_complete(&[0xff, 0xd8, 0xff]));
        assert!(!jpeg_is_complete(&[]));
    }
}
