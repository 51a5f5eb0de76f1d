//! Files of numbers: weights, features, checkpoints, and the configurations beside them.

use std::fs::File;

use sha2::{Digest, Sha256};
use shared::bundle::{Precision, decode_tensors, encode_tensors};
use shared::clip::ClipConfig;
use shared::clip::import::{open_clip_config, transformers_config};

use super::put;
use crate::features::{FeatureCache, JournalReader};
use crate::output;

/// A safetensors file as bundles, model directories and checkpoints hold them.
pub fn safetensors(bytes: &[u8]) {
    if let Ok(tensors) = decode_tensors("file", bytes) {
        for tensor in tensors.values() {
            assert_eq!(tensor.shape.iter().product::<usize>(), tensor.values.len());
            assert!(tensor.values.iter().all(|value| value.is_finite()));
        }
        // What can be read can be written, and says the same.
        if let Ok(written) = encode_tensors(&tensors, Precision::F32) {
            let again = decode_tensors("again", &written);
            assert!(again.is_ok_and(|again| again == tensors));
        }
    }
}

/// A PyTorch file, by the reader that imports use, tensors included, once its objects fit.
pub fn state_dict(bytes: &[u8]) {
    let path = put("checkpoint.pt", bytes);
    if crate::pickle::require_modest_objects(&path).is_err() {
        return;
    }
    if let Ok(reader) = pytorch_reader::PytorchReader::new(&path) {
        // What the reader takes has been followed: nothing passes by the limit.
        let followed = crate::pickle::follow(File::open(&path).expect("it was read just now"));
        assert!(matches!(followed, Ok(Ok(()))), "{followed:?}");
        for tensor in reader.tensors().values() {
            let claimed = tensor
                .shape()
                .iter()
                .try_fold(1u64, |volume, &size| volume.checked_mul(size as u64));
            // The import refuses more than four times the file's size in all.
            if claimed.is_some_and(|claimed| claimed <= 4 * bytes.len() as u64) {
                let _ = tensor.read();
            }
        }
    }
}

/// A checkpoint of `train`: behind the right seal when the first byte is even, else as it is.
pub fn checkpoint(bytes: &[u8]) {
    let Some((&sealed, content)) = bytes.split_first() else {
        return;
    };
    let mut file = content.to_vec();
    if sealed % 2 == 0 {
        file.extend_from_slice(&Sha256::digest(content));
    }
    let path = put("stage 1.checkpoint", &file);
    match output::read_sealed(&path) {
        Ok(opened) => safetensors(&opened),
        Err(error) => {
            assert!(sealed % 2 == 1, "{error:#}");
            assert!(format!("{error:#}").contains("without --resume"));
        }
    }
}

/// A file of features.
pub fn feature_file(bytes: &[u8]) {
    let path = put("features.safetensors", bytes);
    if let Ok(cache) = FeatureCache::open(&path) {
        let all = cache.gather(0..cache.len());
        assert_eq!(all.len(), cache.len() * cache.width());
        assert!(all.iter().all(|value| value.is_finite()));
        assert_eq!(cache.files().len(), cache.len());
        let classes = cache.classes().len();
        assert!(cache.labels().flatten().all(|label| label < classes));
        let hash = cache.hash(cache.len() - 1);
        assert!(hash.is_none_or(|hash| hash.len() == 32));
    }
}

/// The record of an unfinished file of features.
pub fn journal(bytes: &[u8]) {
    let path = put("features.journal", bytes);
    if let Ok(mut reader) = JournalReader::open(&path) {
        let mut before = reader.position;
        while let Ok(Some(_)) = reader.next() {
            assert!(reader.position > before && reader.position <= bytes.len() as u64);
            before = reader.position;
        }
    }
}

/// The configuration of a model directory, or of a published checkpoint.
pub fn configuration(bytes: &[u8]) {
    let own = serde_json::from_slice::<ClipConfig>(bytes).ok();
    let published = std::str::from_utf8(bytes)
        .ok()
        .into_iter()
        .flat_map(|text| {
            [
                transformers_config("file", text, None),
                transformers_config("file", text, Some(text)),
                open_clip_config("file", text),
            ]
        });
    for config in own.into_iter().chain(published.flatten()) {
        if config.check().is_ok() {
            assert!(config.preprocessing.validate().is_ok());
            assert!((1..=1024).contains(&config.image.image_size()));
            assert!(config.logit_scale.is_finite());
        }
    }
}
