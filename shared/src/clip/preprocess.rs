//! From the bytes of an image file to the pixels an image tower takes.
//!
//! The trainer and the page both call [`decode`] (or [`from_rgba`], for what only the
//! browser can decode) and then [`preprocess`]. Both are plain integer arithmetic up to
//! the last normalisation, so that both sides get the same bits.
//!
//! The reference is torchvision on a Pillow image, as OpenAI's CLIP and open_clip use it:
//! `Resize(resize, BICUBIC)`, `CenterCrop(size)`, `ToTensor()`, `Normalize(mean, std)`.

mod decode;
mod resample;

use image::RgbImage;

pub use self::decode::{DecodeLimits, ImageError, decode, from_rgba};
use self::resample::{Region, resample};
pub use super::preprocessing::{Preprocessing, PreprocessingError};

/// The tower's input for one image: `[3, size, size]`, flattened, channels red, green, blue.
///
/// An image without pixels gives black; a `resize` below `size` counts as `size` (see
/// [`Preprocessing::validate`]).
pub fn preprocess(image: &RgbImage, preprocessing: &Preprocessing) -> Vec<f32> {
    let square = resize_and_crop(image, preprocessing);
    let mut pixels = Vec::with_capacity(square.as_raw().len());
    for channel in 0..3 {
        let (mean, std) = (preprocessing.mean[channel], preprocessing.std[channel]);
        // In this order and in 32 bits, as ToTensor and Normalize compute it.
        let levels: [f32; 256] = std::array::from_fn(|level| (level as f32 / 255.0 - mean) / std);
        let values = square.as_raw().iter().skip(channel).step_by(3);
        pixels.extend(values.map(|&level| levels[usize::from(level)]));
    }
    pixels
}

/// The square of `size` pixels a side that the tower sees, before normalisation.
///
/// Bicubic (a = -0.5) with antialiasing. Only the crop is computed, not the whole resized
/// image, so that a strip of one pixel's width costs no more than a photo does.
pub fn resize_and_crop(image: &RgbImage, preprocessing: &Preprocessing) -> RgbImage {
    let size = preprocessing.size;
    let (width, height) = image.dimensions();
    if width == 0 || height == 0 || size == 0 {
        return RgbImage::new(size, size);
    }
    let (width, height) = resized(width, height, preprocessing.resize.max(size));
    let region = Region {
        left: centre(width, size),
        top: centre(height, size),
        width: size,
        height: size,
    };
    resample(image, width, height, region)
}

/// Width and height after torchvision's `Resize(short)`: the long side is truncated, not
/// rounded.
fn resized(width: u32, height: u32, short: u32) -> (u64, u64) {
    let long = |long: u32, over: u32| {
        let long = u64::from(short) * u64::from(long);
        (long as f64 / f64::from(over)) as u64
    };
    if width <= height {
        (u64::from(short), long(height, width))
    } else {
        (long(width, height), u64::from(short))
    }
}

/// Where torchvision's `CenterCrop(size)` begins: Python's `round`, which takes halves to
/// the even neighbour.
fn centre(length: u64, size: u32) -> u64 {
    let margin = length.saturating_sub(u64::from(size));
    let half = margin / 2;
    if margin % 2 == 1 {
        half + half % 2
    } else {
        half
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_side_is_truncated() {
        assert_eq!(resized(640, 480, 224), (298, 224)); // 298.67
        assert_eq!(resized(480, 640, 224), (224, 298));
        assert_eq!(resized(100, 100, 224), (224, 224));
        assert_eq!(resized(3, 1, 7), (21, 7));
        assert_eq!(resized(1, 100_000_000, 224), (224, 22_400_000_000));
    }

    #[test]
    fn halves_go_to_the_even_neighbour() {
        assert_eq!(centre(224, 224), 0);
        assert_eq!(centre(225, 224), 0); // round(0.5)
        assert_eq!(centre(227, 224), 2); // round(1.5)
        assert_eq!(centre(229, 224), 2); // round(2.5)
        assert_eq!(centre(298, 224), 37);
    }

    #[test]
    fn one_colour_stays_that_colour() {
        for (width, height) in [(1, 1), (1, 50), (300, 7), (640, 480)] {
            let image = RgbImage::from_pixel(width, height, image::Rgb([3, 127, 255]));
            let square = resize_and_crop(&image, &Preprocessing::efficientnet_lite(224));
            assert_eq!(square.dimensions(), (224, 224));
            assert!(square.pixels().all(|pixel| pixel.0 == [3, 127, 255]));
        }
    }

    #[test]
    fn efficientnet_values() {
        let image = RgbImage::from_pixel(256, 256, image::Rgb([0, 127, 255]));
        let pixels = preprocess(&image, &Preprocessing::efficientnet_lite(224));
        assert_eq!(pixels.len(), 3 * 224 * 224);
        for (channel, expected) in [-127.0 / 128.0, 0.0, 1.0].into_iter().enumerate() {
            let value: f32 = pixels[channel * 224 * 224 + 5];
            assert!((value - expected).abs() < 1e-6, "{value} for {expected}");
        }
    }

    #[test]
    fn nothing_panics_on_odd_settings() {
        let mut odd = Preprocessing::openai(8);
        odd.resize = 1;
        let image = RgbImage::new(20, 10);
        assert_eq!(preprocess(&image, &odd).len(), 3 * 64);
        assert_eq!(preprocess(&RgbImage::new(0, 0), &odd).len(), 3 * 64);
        odd.size = 0;
        assert!(preprocess(&image, &odd).is_empty());
        assert!(odd.validate().is_err());
    }

    #[test]
    fn validation_names_the_field() {
        Preprocessing::openai(224).validate().unwrap();
        Preprocessing::efficientnet_lite(224).validate().unwrap();
        let mut broken = Preprocessing::openai(224);
        broken.resize = 100;
        assert!(
            broken
                .validate()
                .unwrap_err()
                .to_string()
                .contains("resize 100")
        );
        broken = Preprocessing::openai(5000);
        assert!(
            broken
                .validate()
                .unwrap_err()
                .to_string()
                .contains("size is 5000")
        );
        broken = Preprocessing::openai(224);
        broken.std[1] = 0.0;
        assert!(broken.validate().unwrap_err().to_string().contains("std"));
    }

    #[test]
    fn settings_survive_json() {
        let settings = Preprocessing::openai(224);
        let json = serde_json::to_string(&settings).unwrap();
        assert_eq!(
            serde_json::from_str::<Preprocessing>(&json).unwrap(),
            settings
        );
    }
}
