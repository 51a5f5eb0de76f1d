//! What an image goes through before the image tower, as a model's configuration says it.

use serde::{Deserialize, Serialize};

/// What happens to an image before the image tower sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// Side of the square that the tower takes, in pixels.
    pub size: u32,
    /// Length of the image's short side before the centre crop of `size`, in pixels.
    pub resize: u32,
    /// Mean of each channel (red, green, blue), of values in 0..1; it is subtracted.
    #[serde(deserialize_with = "crate::single::three")]
    pub mean: [f32; 3],
    /// Standard deviation of each channel, of values in 0..1; it divides.
    #[serde(deserialize_with = "crate::single::three")]
    pub std: [f32; 3],
}

/// A [`Preprocessing`] that no image can go through.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PreprocessingError {
    /// `size` or `resize` outside `1..=1024`.
    #[error(
        "preprocessing: {field} is {value}, and has to be between 1 and {MAX_SIDE} pixels; \
         correct it in the model's config.json"
    )]
    Side {
        /// The field's name.
        field: &'static str,
        /// What it holds.
        value: u32,
    },
    /// The crop is larger than what it is cut from.
    #[error(
        "preprocessing: the crop (size {size}) is larger than the resized image \
         (resize {resize}); correct it in the model's config.json"
    )]
    CropBeyondImage {
        /// Side of the crop.
        size: u32,
        /// Short side of the resized image.
        resize: u32,
    },
    /// A mean or standard deviation that is not finite, or a deviation that is not positive.
    #[error(
        "preprocessing: mean {mean:?} and std {std:?} have to be finite, and std above zero; \
         correct it in the model's config.json"
    )]
    Normalisation {
        /// The channel means.
        mean: [f32; 3],
        /// The channel deviations.
        std: [f32; 3],
    },
}

/// No tower takes more than a few hundred pixels; this only stops a broken file from
/// asking for all the memory there is.
const MAX_SIDE: u32 = 1024;

impl Preprocessing {
    /// What OpenAI's CLIP and open_clip do with images: short side to `size`, centre crop,
    /// mean and deviation of CLIP's training images.
    pub fn openai(size: u32) -> Self {
        Self {
            size,
            resize: size,
            mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
            std: [0.268_629_54, 0.261_302_6, 0.275_777_1],
        }
    }

    /// EfficientNet-Lite, whose sides go from 224 to 300 pixels: short side to 32 pixels more than
    /// `size`, centre crop of `size`, `(x - 127) / 128` for `x` in 0..=255.
    ///
    /// Source: `preprocessing.py` (`CROP_PADDING`) and `efficientnet_lite_builder.py` of the
    /// TensorFlow TPU models.
    pub fn efficientnet_lite(size: u32) -> Self {
        Self {
            size,
            resize: size.saturating_add(32),
            mean: [127.0 / 255.0; 3],
            std: [128.0 / 255.0; 3],
        }
    }

    /// Checks what was read from a file.
    ///
    /// # Errors
    /// A side of zero or beyond 1024 pixels, a crop larger than the resized image, a mean
    /// or deviation that cannot be computed with.
    pub fn validate(&self) -> Result<(), PreprocessingError> {
        for (field, value) in [("size", self.size), ("resize", self.resize)] {
            if !(1..=MAX_SIDE).contains(&value) {
                return Err(PreprocessingError::Side { field, value });
            }
        }
        if self.size > self.resize {
            return Err(PreprocessingError::CropBeyondImage {
                size: self.size,
                resize: self.resize,
            });
        }
        let finite = self.mean.iter().chain(&self.std).all(|v| v.is_finite());
        if !finite || self.std.iter().any(|&deviation| deviation <= 0.0) {
            return Err(PreprocessingError::Normalisation {
                mean: self.mean,
                std: self.std,
            });
        }
        Ok(())
    }
}
