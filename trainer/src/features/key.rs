//! What says whether a feature was computed by this model.

use sha2::{Digest, Sha256};
use shared::clip::config::ClipConfig;

/// SHA-256, in hexadecimal, of everything that a feature depends on besides the image: the image
/// tower's configuration and weights, and the preprocessing.
///
/// `image_weights` are the bytes of the image tower's safetensors file. The name of the model and
/// its text tower do not matter to image features and are left out.
pub fn feature_key(config: &ClipConfig, image_weights: &[u8]) -> serde_json::Result<String> {
    let mut hash = Sha256::new();
    for part in [
        b"negprompt-features 1".as_slice(),
        &serde_json::to_vec(&config.image)?,
        &serde_json::to_vec(&config.preprocessing)?,
        &(config.embed_dim as u64).to_le_bytes(),
        image_weights,
    ] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    Ok(hexadecimal(&hash.finalize()))
}

/// Lower-case hexadecimal digits.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads what [`hexadecimal`] wrote.
pub fn from_hexadecimal<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_reads_back() {
        assert_eq!(hexadecimal(&[0, 15, 255]), "000fff");
        assert_eq!(from_hexadecimal::<3>("000fff"), Some([0, 15, 255]));
        assert_eq!(from_hexadecimal::<3>("000ff"), None);
        assert_eq!(from_hexadecimal::<1>("xy"), None);
    }
}
