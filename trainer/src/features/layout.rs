//! The header of a feature file, and the numbers in it.

use std::collections::BTreeMap;

use clap::ValueEnum;
use half::f16;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::key::hexadecimal;
use super::shard::ShardHeader;

pub const FORMAT: &str = "negprompt-features";
pub const VERSION: &str = "1";

/// Bytes of one SHA-256.
pub const HASH_BYTES: usize = 32;

/// How the features are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum FeaturePrecision {
    /// Half precision: half the size, and no measurable difference in the scores
    #[default]
    F16,
    /// Single precision
    F32,
}

impl FeaturePrecision {
    /// Bytes of one number.
    pub fn bytes(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
        }
    }

    /// The safetensors name.
    pub fn dtype(self) -> &'static str {
        match self {
            Self::F16 => "F16",
            Self::F32 => "F32",
        }
    }

    /// Appends numbers in this precision, little-endian. A number beyond f16 becomes the largest
    /// f16 of its sign: the direction of the feature, which is all that scores use, stays close.
    pub fn append(self, values: &[f32], bytes: &mut Vec<u8>) {
        match self {
            Self::F16 => {
                for &value in values {
                    let held = value.clamp(f16::MIN.to_f32(), f16::MAX.to_f32());
                    bytes.extend_from_slice(&f16::from_f32(held).to_le_bytes());
                }
            }
            Self::F32 => {
                for value in values {
                    bytes.extend_from_slice(&value.to_le_bytes());
                }
            }
        }
    }

    /// Reads numbers that [`FeaturePrecision::append`] wrote; `values` says how many.
    pub fn read(self, bytes: &[u8], values: &mut [f32]) {
        match self {
            Self::F16 => {
                for (value, pair) in values.iter_mut().zip(bytes.chunks_exact(2)) {
                    *value = f16::from_le_bytes([pair[0], pair[1]]).to_f32();
                }
            }
            Self::F32 => {
                for (value, four) in values.iter_mut().zip(bytes.chunks_exact(4)) {
                    *value = f32::from_le_bytes([four[0], four[1], four[2], four[3]]);
                }
            }
        }
    }
}

/// What a feature file says about itself, known before the first image is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheHeader {
    /// Class names in the order of the labels; empty for images without classes.
    pub classes: Vec<String>,
    /// Name of the model.
    pub model: String,
    /// [`super::feature_key`] of what computes the features.
    pub key: String,
    /// Numbers in one feature.
    pub width: usize,
    pub precision: FeaturePrecision,
    /// Which part of the images these are; none for all of them.
    #[serde(default)]
    pub shard: Option<ShardHeader>,
}

/// Bytes of what follows features, labels and hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextBytes {
    /// Of the names of the images.
    pub files: u64,
    /// Of the list of images that could not be read; in shards only.
    pub skipped: u64,
}

impl CacheHeader {
    /// Bytes of one feature.
    pub fn row_bytes(&self) -> usize {
        self.width * self.precision.bytes()
    }

    /// Bytes that the header of any number of images fits in, a multiple of eight.
    pub fn reserved_bytes(&self) -> usize {
        // Thirteen digits of images, and of bytes in their names, are more than there will be.
        let most = TextBytes {
            files: 9_999_999_999_999,
            skipped: 9_999_999_999_999,
        };
        let longest = self.json(9_999_999_999_999, most, &"0".repeat(64));
        longest.len().next_multiple_of(8)
    }

    /// The header's JSON, without padding. `checksum` is the SHA-256 of everything behind the
    /// header, in hexadecimal.
    pub fn json(&self, images: u64, texts: TextBytes, checksum: &str) -> String {
        let mut end = 0;
        let mut entry = |dtype: &str, shape: &[u64], bytes: u64| {
            let start = end;
            end += bytes;
            json!({"dtype": dtype, "shape": shape, "data_offsets": [start, end]})
        };
        let features = entry(
            self.precision.dtype(),
            &[images, self.width as u64],
            images * self.row_bytes() as u64,
        );
        let labels = entry("I32", &[images], images * 4);
        let hashes = entry(
            "U8",
            &[images, HASH_BYTES as u64],
            images * HASH_BYTES as u64,
        );
        let mut tensors = serde_json::Map::new();
        let mut metadata = BTreeMap::from([
            ("format", FORMAT.to_owned()),
            ("version", VERSION.to_owned()),
            ("classes", json!(self.classes).to_string()),
            ("model", self.model.clone()),
            ("key", self.key.clone()),
            ("count", images.to_string()),
            ("checksum", checksum.to_owned()),
        ]);
        if let Some(shard) = &self.shard {
            tensors.insert("positions".into(), entry("I32", &[images], images * 4));
            metadata.extend([
                ("shard", shard.shard.to_string()),
                ("total", shard.total.to_string()),
                ("listing", shard.listing.clone()),
            ]);
        }
        let sealed =
            metadata_checksum(metadata.iter().map(|(name, value)| (*name, value.as_str())));
        metadata.insert(METADATA_CHECKSUM, sealed);
        tensors.insert("files".into(), entry("U8", &[texts.files], texts.files));
        if self.shard.is_some() {
            let skipped = entry("U8", &[texts.skipped], texts.skipped);
            tensors.insert("skipped".into(), skipped);
        }
        tensors.extend([
            ("__metadata__".to_owned(), json!(metadata)),
            ("features".to_owned(), features),
            ("labels".to_owned(), labels),
            ("hashes".to_owned(), hashes),
        ]);
        serde_json::Value::Object(tensors).to_string()
    }
}

/// Names the [`metadata_checksum`] among the metadata.
pub const METADATA_CHECKSUM: &str = "metadata_checksum";

/// SHA-256 of the metadata, in hexadecimal: of the JSON of all fields but this one, in the order of
/// their names.
pub fn metadata_checksum<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let fields: BTreeMap<_, _> = fields
        .into_iter()
        .filter(|(name, _)| *name != METADATA_CHECKSUM)
        .collect();
    hexadecimal(&Sha256::digest(json!(fields).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back_in_both_precisions() {
        let values = [0.5, -2.25, 1e6, 0.0];
        for (precision, third) in [
            (FeaturePrecision::F16, 65504.0),
            (FeaturePrecision::F32, 1e6),
        ] {
            let mut bytes = Vec::new();
            precision.append(&values, &mut bytes);
            let mut back = [1.0; 4];
            precision.read(&bytes, &mut back);
            assert_eq!(back, [0.5, -2.25, third, 0.0]);
        }
    }

    #[test]
    fn every_header_fits_in_what_is_reserved() {
        let header = CacheHeader {
            classes: vec!["a \"quoted\" class".into(), "Ångström".into()],
            model: "m".into(),
            key: "k".into(),
            width: 512,
            precision: FeaturePrecision::F16,
            shard: None,
        };
        let of_shard = CacheHeader {
            shard: Some(ShardHeader {
                shard: "4095/4096".parse().unwrap(),
                total: 1_281_167,
                listing: "f".repeat(64),
            }),
            ..header.clone()
        };
        for header in [header, of_shard] {
            for images in [0, 1, 1_281_167, 9_999_999_999] {
                let texts = TextBytes {
                    files: images * 40,
                    skipped: images,
                };
                let json = header.json(images, texts, &"f".repeat(64));
                assert!(json.len() <= header.reserved_bytes());
            }
        }
    }
}
