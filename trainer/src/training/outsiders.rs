//! Photos of none of the classes that a bundle brings for methods that take patches: what they score
//! against an edited class list says where its threshold belongs.

use anyhow::Result;
use shared::bundle::TensorValues;

use super::experiment::{Experiment, ImageSet};

/// Photos of all sets together: a threshold among them is off by a hundredth, and a photo's patches
/// take 50 to 200 kB.
const PHOTOS: usize = 96;

/// `[photos, 1 + patches, d]`: each photo's feature, and those of its patches, of as many photos of every
/// out-of-distribution set; none without patches or without such photos.
///
/// # Errors
/// When the features of a set are not of one size.
pub fn outsiders(experiment: &Experiment) -> Result<Option<TensorValues>> {
    let sets: Vec<&ImageSet> = experiment.ood.iter().filter(|set| set.images > 0).collect();
    if sets.is_empty() || !experiment.has_patches() {
        return Ok(None);
    }
    let width = experiment.width;
    let (mut values, mut photos) = (Vec::new(), 0);
    for set in &sets {
        let some = set.thinned(PHOTOS.div_ceil(sets.len()));
        for (photo, feature) in some.features.chunks_exact(width).enumerate() {
            values.extend_from_slice(feature);
            if let Some(patches) = &some.patches {
                values.extend(patches.gather(&[photo]));
            }
            photos += 1;
        }
    }
    let rows = values.len() / (photos * width).max(1);
    Ok(Some(TensorValues::new([photos, rows, width], values)?))
}
