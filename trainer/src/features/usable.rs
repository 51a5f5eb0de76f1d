//! What can be used of images and their features, and what is wrong with the rest.

use shared::clip::preprocess::DecodeLimits;

/// Whether a feature has a direction that can be compared: finite numbers, not all of them 0.
///
/// # Errors
/// What is wrong with it, for the caller to put behind the image's name.
pub fn usable(feature: &[f32]) -> Result<(), String> {
    if let Some(value) = feature.iter().find(|value| !value.is_finite()) {
        return Err(format!(
            "its feature holds {value}: the model's weights are damaged, or they overflow on this image; import the model again with --precision f32"
        ));
    }
    if feature.iter().all(|&value| value == 0.0) {
        return Err(
            "its feature is all zeros and has no direction: the model's weights are damaged; import or train it again"
                .to_owned(),
        );
    }
    Ok(())
}

/// Whether an image that was left out for this reason had too many pixels then, and has not by now.
pub fn fits_by_now(reason: &str, limits: &DecodeLimits) -> bool {
    let pixels = reason
        .split_once(" pixels, and the limit is ")
        .and_then(|(before, _)| before.rsplit(' ').next()?.parse::<u64>().ok());
    pixels.is_some_and(|pixels| pixels <= limits.max_pixels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_features_say_what_they_are() {
        assert_eq!(usable(&[0.0, -1e-30]), Ok(()));
        for (feature, word) in [
            ([1.0, f32::NAN], "NaN"),
            ([f32::NEG_INFINITY, 0.0], "-inf"),
            ([0.0, -0.0], "all zeros"),
        ] {
            assert!(usable(&feature).unwrap_err().contains(word));
        }
    }
}
