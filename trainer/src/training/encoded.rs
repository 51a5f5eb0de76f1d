//! The images of a run as feature files: encoded once, whatever is then drawn from them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use burn::tensor::Device;
use shared::clip::preprocess::DecodeLimits;

use super::experiment::Experiment;
use crate::command::encode::say_skipped;
use crate::data::{Dataset, Split};
use crate::features::{
    EncodeOptions, FeatureCache, FeaturePrecision, Resume, Worker, encode, encode_patches,
};
use crate::model::ModelDirectory;
use crate::output;
use crate::progress::say;

/// How images become features.
pub struct Encoding {
    /// Where feature files are kept.
    pub cache: PathBuf,
    /// Images put through the tower together.
    pub batch: usize,
    /// Whether to encode patches too, for GL-MCM and LoCoOp.
    pub patches: bool,
    /// Larger images are left out.
    pub limits: DecodeLimits,
}

/// The images of a run, listed.
pub struct ImageSets<'a> {
    /// The ID images, split into train and test or not.
    pub data: &'a Dataset,
    /// Name and images of every out-of-distribution set.
    pub ood: &'a [(String, Dataset)],
}

/// A dataset's features, with those of its patches where they were asked for.
pub(super) struct Encoded {
    pub features: FeatureCache,
    /// Where each image is; empty for features that came without images.
    pub paths: Vec<PathBuf>,
    pub patches: Option<Arc<FeatureCache>>,
    /// Images that could not be read.
    pub skipped: usize,
}

impl From<FeatureCache> for Encoded {
    fn from(features: FeatureCache) -> Self {
        Self {
            features,
            paths: Vec::new(),
            patches: None,
            skipped: 0,
        }
    }
}

/// The images of a run as features.
pub struct EncodedImages {
    train: Encoded,
    test: Option<Encoded>,
    /// Name, features and source of every out-of-distribution set.
    ood: Vec<(String, Encoded, String)>,
    source: String,
}

impl EncodedImages {
    /// Encodes what is not yet in `encoding.cache`, and opens the rest.
    ///
    /// # Errors
    /// When there are too few classes, no image of a set can be read, or a file cannot be written.
    pub fn encode(
        model: &ModelDirectory,
        device: &Device,
        sets: &ImageSets,
        encoding: &Encoding,
    ) -> Result<Self> {
        let dataset = sets.data;
        dataset.require_classes()?;
        for warning in &dataset.warnings {
            say(&format!("note: {warning}"));
        }
        let loaded = model.image_tower(device)?;
        output::create_folder(&encoding.cache)?;
        let options = EncodeOptions {
            batch: encoding.batch,
            precision: FeaturePrecision::F16,
            limits: encoding.limits,
            resume: Resume::WhereItFits,
            part: None,
        };
        let encoded = |dataset: &Dataset, name: &str| -> Result<Encoded> {
            let file = encoding.cache.join(format!("{name}.safetensors"));
            let report = encode(
                dataset,
                &model.config,
                &loaded.key,
                &[Worker {
                    tower: &loaded.tower,
                    device,
                }],
                &file,
                &options,
            )?;
            say_skipped(&report);
            let features = FeatureCache::open(&file)?;
            let patches = if encoding.patches {
                let file = encoding.cache.join(format!("{name}-patches.safetensors"));
                let patches = encode_patches(
                    dataset,
                    model,
                    &loaded,
                    device,
                    &features,
                    &file,
                    &encoding.limits,
                )?;
                Some(Arc::new(patches))
            } else {
                None
            };
            let paths = paths(dataset, &features);
            Ok(Encoded {
                features,
                paths,
                patches,
                skipped: report.skipped.len(),
            })
        };
        let (train, test) = if dataset.is_split() {
            let test = encoded(&dataset.split(Split::Test)?, "id-test")?;
            (
                encoded(&dataset.split(Split::Train)?, "id-train")?,
                Some(test),
            )
        } else {
            (encoded(dataset, "id")?, None)
        };
        let mut ood = Vec::new();
        for (name, dataset) in sets.ood {
            let cache = encoded(dataset, &format!("ood-{}", file_name(name)))?;
            ood.push((name.clone(), cache, output::last_name(&dataset.root)));
        }
        Ok(Self {
            train,
            test,
            ood,
            source: output::last_name(&dataset.root),
        })
    }

    /// What is learned from and measured on with these shots and this seed.
    pub fn experiment(&self, shots: usize, seed: u64) -> Result<Experiment> {
        let ood = self
            .ood
            .iter()
            .map(|(name, images, source)| (name.as_str(), images, source.as_str()));
        let test = self.test.as_ref();
        Experiment::assemble(&self.train, test, ood, &self.source, shots, seed)
    }
}

/// Where the images of a feature file are, in its order.
fn paths(dataset: &Dataset, features: &FeatureCache) -> Vec<PathBuf> {
    let items = dataset.items.iter();
    let places: HashMap<&str, &Path> = items
        .map(|item| (item.name.as_str(), item.path.as_path()))
        .collect();
    let files = features.files();
    let found = files.iter().filter_map(|file| places.get(file));
    found.map(|path| path.to_path_buf()).collect()
}

/// A set's name as part of a file name.
fn file_name(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c.is_alphanumeric() || c == '-' {
                c
            } else {
                '_'
            }
        })
        .collect()
}
