//! Photos of none of the classes that a bundle brings for methods that take patches: what they score
//! against an edited class list says where its threshold belongs.

use anyhow::Result;
use shared::bundle::TensorValues;

use super::experiment::{Experiment, ImageSet};

/// At most so many photos, of all sets together: a threshold among them is off by a hundredth.
const MOST_PHOTOS: usize = 96;
/// And so many at least, of models with patches so many or wide that they would take more than
/// [`BYTES`].
const FEWEST_PHOTOS: usize = 24;
/// What they may take in half precision; the page fetches it with the first edited class name.
const BYTES: usize = 10_000_000;

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
    let first = sets[0].patches.as_ref();
    let of_one = width + first.map_or(0, |patches| patches.gather(&[0]).len());
    let most = (BYTES / (2 * of_one)).clamp(FEWEST_PHOTOS, MOST_PHOTOS);
    for set in &sets {
        let some = set.thinned((most / sets.len()).max(1));
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
