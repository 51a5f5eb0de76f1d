use super::TensorValues;
use crate::score::ImageFeatures;

/// Photos of none of a bundle's classes, with their patches.
#[derive(Clone, Debug, Default)]
pub struct Outsiders {
    /// [`OUTSIDERS`](super::tensor_name::OUTSIDERS), of a shape that was checked; empty for no photos.
    pub(super) features: TensorValues,
}

impl Outsiders {
    /// What is known of each.
    pub fn photos(&self) -> Vec<ImageFeatures<'_>> {
        let [_, rows, width] = self.features.shape[..] else {
            return Vec::new();
        };
        let photos = self.features.values.chunks_exact((rows * width).max(1));
        photos
            .map(|photo| photo.split_at(width))
            .map(|(global, patches)| ImageFeatures { global, patches })
            .collect()
    }
}
