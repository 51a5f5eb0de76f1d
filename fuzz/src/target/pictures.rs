//! Photos.

use shared::clip::preprocess::{DecodeLimits, Preprocessing, decode, preprocess};

/// An image file to the pixels that a tower takes.
pub fn image(bytes: &[u8]) {
    let limits = DecodeLimits {
        max_pixels: 1_000_000,
    };
    if let Ok(picture) = decode(bytes, &limits) {
        let pixels = u64::from(picture.width()) * u64::from(picture.height());
        assert!((1..=limits.max_pixels).contains(&pixels));
        let pixels = preprocess(&picture, &Preprocessing::openai(32));
        assert_eq!(pixels.len(), 3 * 32 * 32);
        assert!(pixels.iter().all(|value| value.is_finite()));
    }
}
