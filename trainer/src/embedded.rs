//! What comes with the program, so that the default run needs no network and no images: the
//! compact model, and features of Caltech-101 and of several out-of-distribution sets.

use anyhow::{Context, Result, ensure};

use crate::model::ModelDirectory;

/// File of the ID images to learn from and to calibrate on.
pub const TRAIN: &str = "caltech101_train";
/// File of the ID images to measure on.
pub const TEST: &str = "caltech101_test";
/// Where the ID images are from.
pub const SOURCE: &str = "Caltech-101 (100 object classes, up to 60 images a class)";

/// One of the out-of-distribution sets.
pub struct OodSet {
    /// Name in tables.
    pub name: &'static str,
    /// File of features.
    pub file: &'static str,
    /// Where the images are from.
    pub source: &'static str,
}

/// The out-of-distribution sets, nearest first.
pub const OOD_SETS: &[OodSet] = &[
    OodSet {
        name: "objects",
        file: "ood_objects",
        source: "one ImageNet training photo for each of 866 classes that share no object with Caltech-101 (near)",
    },
    OodSet {
        name: "scenes",
        file: "ood_scenes",
        source: "Tiny ImageNet validation photos of landscapes and buildings, 64 px (far)",
    },
    OodSet {
        name: "drawings",
        file: "ood_drawings",
        source: "giraffes, horses and houses as sketches, cartoons and paintings from PACS (far)",
    },
    OodSet {
        name: "textures",
        file: "ood_textures",
        source: "woven textiles, even and faulty (far)",
    },
];

/// What a reader must know to read the default table rightly.
pub const NOTES: &[&str] = &[
    "The photos of `objects` come from ImageNet's training set, which the compact model's image \
     tower was trained on with labels, and their class names are among those its text tower was \
     tuned on. Figures on them are optimistic about new photos.",
    "The text tower was tuned with the labels of Caltech-101's training half: ID accuracy is that \
     of a tuned model, not of an untuned CLIP. The model knows the photos of that half by heart, so \
     the settings of the scores, thresholds and p-values come from every second test photo; AUROC \
     and FPR95 are measured on all of them.",
];

macro_rules! files {
    ($folder:literal: $($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!("../../models/", $folder, "/", $name)))),*]
    };
}

const COMPACT: &[(&str, &[u8])] = files!("compact":
    "config.json", "image.safetensors", "text.safetensors", "vocabulary.txt", "words.txt", "MODEL_CARD.md");

const FEATURES: &[(&str, &[u8])] = files!("features":
    "caltech101_train.safetensors", "caltech101_test.safetensors", "ood_objects.safetensors",
    "ood_scenes.safetensors", "ood_drawings.safetensors", "ood_textures.safetensors");

/// The compact model: EfficientNet-Lite0 with a small text tower tuned against it.
pub fn compact_model() -> Result<ModelDirectory> {
    ModelDirectory::embedded("the embedded compact model", COMPACT)
}

/// Fails unless the embedded features are this model's: it is the compact one, or has its image tower.
///
/// # Errors
/// When they are not, or the model's image tower cannot be read.
pub fn check_holds_features_of(model: &ModelDirectory) -> Result<()> {
    ensure!(
        model.feature_key()? == compact_model()?.feature_key()?,
        "--model without --data: the embedded features are the compact model's own; give --data DIR, the images to learn from"
    );
    Ok(())
}

/// The bytes of an embedded feature file, with its name.
pub fn features(name: &str) -> Result<(&'static str, &'static [u8])> {
    let (file, bytes) = FEATURES
        .iter()
        .find(|(file, _)| file.strip_suffix(".safetensors") == Some(name))
        .with_context(|| format!("no embedded features are called {name}"))?;
    Ok((file, bytes))
}
