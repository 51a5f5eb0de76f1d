//! Whether an image file holds an animation, of which only the first frame is read.

/// Looks at the marks that GIF, PNG and WebP give animations.
pub fn is_animated(bytes: &[u8]) -> bool {
    if bytes.starts_with(b"GIF8") {
        // Every animation that repeats says so in this extension, near the start.
        let head = &bytes[..bytes.len().min(4096)];
        contains(head, b"NETSCAPE2.0") || contains(head, b"ANIMEXTS1.0")
    } else if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        // The chunk stands before the first pixel data.
        let head = &bytes[..bytes.len().min(65_536)];
        let pixels = position(head, b"IDAT").unwrap_or(head.len());
        contains(&head[..pixels], b"acTL")
    } else {
        bytes.starts_with(b"RIFF")
            && bytes.get(8..16) == Some(b"WEBPVP8X")
            && bytes.get(20).is_some_and(|flags| flags & 2 != 0)
    }
}

fn contains(bytes: &[u8], mark: &[u8]) -> bool {
    position(bytes, mark).is_some()
}

fn position(bytes: &[u8], mark: &[u8]) -> Option<usize> {
    bytes.windows(mark.len()).position(|window| window == mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found() {
        assert!(is_animated(
            b"GIF89a\x01\x00\x01\x00\x80\x00\x00!\xff\x0bNETSCAPE2.0\x03"
        ));
        assert!(!is_animated(b"GIF89a\x01\x00\x01\x00\x80\x00\x00,"));
        assert!(is_animated(
            b"\x89PNG\r\n\x1a\n....IHDR........acTL....IDAT"
        ));
        assert!(!is_animated(b"\x89PNG\r\n\x1a\n....IHDR........IDAT..acTL"));
        assert!(is_animated(
            b"RIFF\x00\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x02\x00"
        ));
        assert!(!is_animated(
            b"RIFF\x00\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x10\x00"
        ));
        assert!(!is_animated(b""));
    }
}
