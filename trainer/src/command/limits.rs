//! How large the images may be that a command decodes: one option, the same everywhere.

use clap::Args;
use shared::clip::preprocess::DecodeLimits;

/// Images of strangers may claim any size; what is above the limit is refused before memory is
/// taken for it.
#[derive(Args, Clone, Copy, Debug)]
pub struct ImageLimits {
    /// Leave out images of more megapixels than this (width times height in millions)
    #[arg(long, default_value_t = 100.0, value_name = "N", value_parser = megapixels)]
    pub max_megapixels: f64,
}

impl Default for ImageLimits {
    fn default() -> Self {
        Self {
            max_megapixels: DecodeLimits::default().max_pixels as f64 / 1e6,
        }
    }
}

impl From<ImageLimits> for DecodeLimits {
    fn from(limits: ImageLimits) -> Self {
        Self {
            max_pixels: (limits.max_megapixels * 1e6) as u64,
        }
    }
}

fn megapixels(text: &str) -> Result<f64, String> {
    let number: f64 = text
        .parse()
        .map_err(|_| "write a number of megapixels, such as 100 or 0.5".to_owned())?;
    // Beyond this a picture of four bytes a pixel fits no machine.
    if number > 0.0 && number <= 1e6 {
        Ok(number)
    } else {
        Err("it has to be above 0 and at most 1000000".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_that_of_the_decoder() {
        assert_eq!(
            DecodeLimits::from(ImageLimits::default()),
            DecodeLimits::default()
        );
        assert_eq!(ImageLimits::default().max_megapixels, 100.0);
    }

    #[test]
    fn numbers_of_megapixels_are_read() {
        assert_eq!(megapixels("0.5"), Ok(0.5));
        for text in ["", "many", "0", "-1", "nan", "inf", "1e7"] {
            assert!(megapixels(text).is_err(), "{text}");
        }
    }
}
