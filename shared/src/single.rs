//! Single-precision fields of JSON files, read so that a value too large for them is found by whoever
//! checks the field and can name it.

use serde::{Deserialize, Deserializer};

/// One number; infinity if it is too large. (`serde_json` itself refuses such a number where it
/// reads numbers exactly, without saying which field holds it.)
pub(crate) fn one<'de, D: Deserializer<'de>>(from: D) -> Result<f32, D::Error> {
    Ok(f64::deserialize(from)? as f32)
}

/// Three of them.
pub(crate) fn three<'de, D: Deserializer<'de>>(from: D) -> Result<[f32; 3], D::Error> {
    Ok(<[f64; 3]>::deserialize(from)?.map(|value| value as f32))
}

/// A list of them.
pub(crate) fn list<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f32>, D::Error> {
    let values = Vec::<f64>::deserialize(from)?;
    Ok(values.into_iter().map(|value| value as f32).collect())
}
