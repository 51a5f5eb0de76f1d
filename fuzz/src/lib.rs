//! What the fuzz targets do with bytes. Each function reads them as one kind of file, through the
//! same source files as the trainer and the page, and asserts what has to hold of what was accepted.
#![allow(dead_code, unused_imports)]

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use shared::bundle::{Bundle, BundleReader, MANIFEST_FILE, Manifest, decode_tensors, sha256_hex};
use shared::clip::preprocess::{DecodeLimits, Preprocessing, decode, preprocess};
use shared::clip::{ClipConfig, Tokenizer};

#[path = "../../trainer/src/data/mod.rs"]
mod data;
#[path = "../../trainer/src/output.rs"]
mod output;
#[path = "../../tests/src/hostile/mod.rs"]
pub mod hostile;

mod features {
    #[path = "../../../trainer/src/features/cache.rs"]
    mod cache;
    #[path = "../../../trainer/src/features/journal.rs"]
    mod journal;
    #[path = "../../../trainer/src/features/key.rs"]
    mod key;
    #[path = "../../../trainer/src/features/layout.rs"]
    mod layout;
    #[path = "../../../trainer/src/features/usable.rs"]
    mod usable;

    pub use cache::FeatureCache;
    pub use journal::JournalReader;
    use usable::usable;
}

/// What `output` takes from the trainer's reports.
mod report {
    pub fn to_json<T: serde::Serialize>(value: &T) -> anyhow::Result<Vec<u8>> {
        Ok(serde_json::to_vec_pretty(value)?)
    }
}

/// `bundle.json`.
pub fn bundle_manifest(bytes: &[u8]) {
    if let Ok(manifest) = Manifest::parse(bytes) {
        // What is accepted is written and read again as the same.
        let again = serde_json::to_vec(&manifest).expect("serialises");
        assert_eq!(Manifest::parse(&again).expect("its own manifest"), manifest);
        assert!(manifest.total_bytes() <= 8_000_000_000);
    }
}

/// The files of a bundle whose manifest fits them: sizes and hashes are set right, so that what lies
/// behind those checks is reached.
pub fn bundle(bytes: &[u8]) {
    static WHOLE: OnceLock<(serde_json::Value, Vec<(String, Vec<u8>)>)> = OnceLock::new();
    let (manifest, files) = WHOLE.get_or_init(|| {
        let mut files = hostile::tiny::bundle();
        let (_, manifest) = files.pop().expect("a manifest");
        (serde_json::from_slice(&manifest).expect("JSON"), files)
    });
    let Some((&role, content)) = bytes.split_first() else {
        return;
    };
    let (mut manifest, mut files) = (manifest.clone(), files.clone());
    let at = usize::from(role) % files.len();
    let hash = sha256_hex(content);
    let entry = &mut manifest["files"][at];
    let role = entry["role"].as_str().unwrap_or_default().to_owned();
    let extension = files[at].0.rsplit('.').next().unwrap_or_default().to_owned();
    let name = format!("{role}-{}.{extension}", &hash[..16]);
    entry["name"] = name.clone().into();
    entry["sha256"] = hash.into();
    entry["bytes"] = content.len().into();
    files[at] = (name, content.to_vec());
    let json = serde_json::to_vec(&manifest).expect("serialises");
    let opened = Bundle::open(&json, |entry| {
        let file = files.iter().find(|(name, _)| *name == entry.name);
        file.map(|(_, bytes)| bytes.clone()).ok_or_else(|| "absent".to_owned())
    });
    if let Ok(bundle) = opened {
        let classes = bundle.class_features().expect("checked on opening");
        let width = classes.embed_dim;
        let mut image = vec![0.0; width];
        image[0] = 1.0;
        let similarities = classes.similarities(&image).expect("a unit feature");
        for (entry, method) in bundle.manifest.usable_methods() {
            if let Ok(score) = method.score(&similarities.one().expect("one image"), &entry.settings) {
                assert!(score.is_finite());
            }
        }
    }
}

/// A safetensors file as bundles and model directories hold them.
pub fn safetensors(bytes: &[u8]) {
    if let Ok(tensors) = decode_tensors("file", bytes) {
        for tensor in tensors.values() {
            assert_eq!(tensor.shape.iter().product::<usize>(), tensor.values.len());
            assert!(tensor.values.iter().all(|value| value.is_finite()));
        }
    }
}

/// A PyTorch file, by the reader that imports use, tensors included.
pub fn state_dict(bytes: &[u8]) {
    let path = put("checkpoint.pt", bytes);
    if let Ok(reader) = pytorch_reader::PytorchReader::new(&path) {
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

/// A file of features, and the journal of an unfinished one.
pub fn feature_file(bytes: &[u8]) {
    let path = put("features.safetensors", bytes);
    if let Ok(cache) = features::FeatureCache::open(&path) {
        let all = cache.gather(0..cache.len());
        assert_eq!(all.len(), cache.len() * cache.width());
        assert!(all.iter().all(|value| value.is_finite()));
        assert!(cache.labels().flatten().all(|label| label < cache.classes().len()));
        assert!(cache.hash(cache.len() - 1).is_none_or(|hash| hash.len() == 32));
    }
    if let Ok(mut reader) = features::JournalReader::open(&path) {
        while let Ok(Some(_)) = reader.next() {}
    }
}

/// A table of images: CSV where the first byte is even, else JSON lines.
pub fn table(bytes: &[u8]) {
    let Some((&kind, text)) = bytes.split_first() else {
        return;
    };
    let name = ["table.csv", "table.jsonl", "table.tsv"][usize::from(kind) % 3];
    let path = put(name, text);
    if let Ok(dataset) = data::open(&path) {
        let _ = dataset.require_classes();
        let classes = dataset.classes.len();
        assert!(dataset.items.iter().all(|item| item.label.is_none_or(|label| label < classes)));
    }
    // The same text as the names of synsets.
    let folder = path.parent().expect("a folder").join("synsets");
    std::fs::create_dir_all(folder.join("n01440764")).expect("a folder");
    std::fs::write(folder.join("n01440764/a.png"), b"").expect("a file");
    std::fs::write(folder.join("synset_words.txt"), text).expect("a file");
    let _ = data::open(&folder);
}

/// A merges file, and a text through it.
pub fn vocabulary(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(tokenizer) = Tokenizer::from_vocabulary(text) {
        let ids = tokenizer.tokenize("a photo of a tench é \u{1f41f}", 77);
        assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocabulary_size()));
        let _ = tokenizer.decode(&ids);
    }
    let _ = Tokenizer::prune(text, ["a photo of a tench"]);
}

/// Any text through OpenAI's tokenizer.
pub fn tokenizer(bytes: &[u8]) {
    static OPENAI: OnceLock<Tokenizer> = OnceLock::new();
    let tokenizer = OPENAI.get_or_init(|| Tokenizer::openai().expect("compiled in"));
    let text = String::from_utf8_lossy(bytes);
    let ids = tokenizer.tokenize(&text, 77);
    assert!((2..=77).contains(&ids.len()));
    assert_eq!((ids[0], ids[ids.len() - 1]), (tokenizer.start(), tokenizer.end()));
    assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocabulary_size()));
    let _ = tokenizer.decode(&ids);
    let _ = shared::clip::tokenizer::words(&text).count();
}

/// An image file to the pixels that a tower takes.
pub fn image(bytes: &[u8]) {
    let limits = DecodeLimits { max_pixels: 1_000_000 };
    if let Ok(picture) = decode(bytes, &limits) {
        assert!(u64::from(picture.width()) * u64::from(picture.height()) <= limits.max_pixels);
        let preprocessing = Preprocessing::openai(32);
        let pixels = preprocess(&picture, &preprocessing);
        assert_eq!(pixels.len(), 3 * 32 * 32);
        assert!(pixels.iter().all(|value| value.is_finite()));
    }
}

/// `config.json` of a model directory.
pub fn configuration(bytes: &[u8]) {
    if let Ok(config) = serde_json::from_slice::<ClipConfig>(bytes) {
        if config.check().is_ok() {
            assert!(config.preprocessing.validate().is_ok());
            assert!(config.image.image_size() <= 1024);
        }
    }
}

/// Writes the bytes into a folder of this process, in memory where there is such a place.
fn put(name: &str, bytes: &[u8]) -> PathBuf {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let memory = Path::new("/dev/shm");
        let made = match memory.is_dir() {
            true => tempfile::tempdir_in(memory),
            false => tempfile::tempdir(),
        };
        made.expect("a folder")
    });
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).expect("a file");
    path
}
