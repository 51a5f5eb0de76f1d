//! Bundles: the manifest alone, and the files behind it.

use std::sync::OnceLock;

use serde_json::Value;
use shared::bundle::{Bundle, Manifest, sha256_hex};
use shared::score::ImageFeatures;

use crate::hostile::tiny;

/// `bundle.json`.
pub fn bundle_manifest(bytes: &[u8]) {
    if let Ok(manifest) = Manifest::parse(bytes) {
        // What is accepted is written and read again as the same.
        let again = serde_json::to_vec(&manifest).expect("serialises");
        assert_eq!(Manifest::parse(&again).expect("its own manifest"), manifest);
        assert!(manifest.total_bytes() <= 8_000_000_000);
    }
}

/// One file of a bundle, chosen by the first byte, whose manifest fits it: size and hash are set
/// right, so that what lies behind those checks is reached.
pub fn bundle(bytes: &[u8]) {
    static WHOLE: OnceLock<(Value, Vec<(String, Vec<u8>)>)> = OnceLock::new();
    let (manifest, files) = WHOLE.get_or_init(|| {
        let mut files = tiny::bundle();
        let (_, manifest) = files.pop().expect("a manifest");
        (serde_json::from_slice(&manifest).expect("JSON"), files)
    });
    let Some((&place, content)) = bytes.split_first() else {
        return;
    };
    let (mut manifest, mut files) = (manifest.clone(), files.clone());
    let at = usize::from(place) % files.len();
    let hash = sha256_hex(content);
    let entry = &mut manifest["files"][at];
    let role = entry["role"].as_str().unwrap_or_default().to_owned();
    let extension = files[at].0.rsplit('.').next().unwrap_or_default();
    let name = format!("{role}-{}.{extension}", &hash[..16]);
    entry["name"] = name.clone().into();
    entry["sha256"] = hash.into();
    entry["bytes"] = content.len().into();
    files[at] = (name, content.to_vec());
    let json = serde_json::to_vec(&manifest).expect("serialises");
    let opened = Bundle::open(&json, |entry| {
        let file = files.iter().find(|(name, _)| *name == entry.name);
        file.map(|(_, bytes)| bytes.clone())
            .ok_or_else(|| "absent".to_owned())
    });
    if let Ok(bundle) = opened {
        score(bundle);
    }
}

/// No verdict of an accepted bundle is silently no number, on an image or on photos that it brings.
fn score(mut bundle: Bundle) {
    let classes = bundle.class_features().expect("checked on opening");
    let mut image = vec![0.0; classes.embed_dim];
    image[0] = 1.0;
    let outsiders = bundle.take_outsiders();
    let mut photos = outsiders.photos();
    photos.push(ImageFeatures {
        global: &image,
        ..ImageFeatures::default()
    });
    for photo in &photos {
        let similarities = classes.compare(photo).expect("features with a direction");
        let one = similarities.one().expect("one image");
        for (entry, method) in bundle.manifest.usable_methods() {
            if let Ok(score) = method.score(&one, &entry.settings) {
                assert!(score.is_finite(), "{}", entry.id);
            }
        }
    }
}
