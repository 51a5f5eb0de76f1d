//! The images of a run as feature files: encoded once, whatever is then drawn from them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, bail};
use burn::tensor::Device;
use shared::clip::preprocess::DecodeLimits;

use super::class_names::check_class_names;
use super::experiment::Experiment;
use super::overlap;
use crate::command::encode::say_skipped;
use crate::data::{Dataset, Split, file_name, prompt_name};
use crate::features::{
    EncodeOptions, FeatureCache, FeaturePrecision, Resume, Worker, check_destination, encode,
    encode_patches,
};
use crate::model::ModelDirectory;
use crate::output;
use crate::progress::{say, say_once};

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
    /// Learned vectors before a class name, which leave it less room.
    pub context_tokens: usize,
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
    /// Where each image is; empty for features that came without images, and where one is not found.
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
    /// What a reader should know about names and images.
    notes: Vec<String>,
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
        keep_apart(&encoding.cache, sets)?;
        let names: Vec<String> = dataset.classes.iter().map(|c| prompt_name(c)).collect();
        let mut notes = check_class_names(model, &names, encoding.context_tokens)?;
        for warning in &dataset.warnings {
            say(&format!("note: {warning}"));
        }
        let halves = match dataset.is_split() {
            true => &["id-test", "id-train"][..],
            false => &["id"],
        };
        let sets_aside = sets
            .ood
            .iter()
            .map(|(name, _)| format!("ood-{}", file_name(name)));
        for name in halves.iter().map(|&name| name.to_owned()).chain(sets_aside) {
            for ending in ["", "-patches"] {
                check_destination(&encoding.cache.join(format!("{name}{ending}.safetensors")))?;
            }
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
        notes.extend(overlap::notes(&train, test.as_ref(), &ood));
        Ok(Self {
            train,
            test,
            ood,
            source: output::last_name(&dataset.root),
            notes,
        })
    }

    /// What is learned from and measured on with these shots and this seed.
    pub fn experiment(&self, shots: usize, seed: u64) -> Result<Experiment> {
        let ood = self
            .ood
            .iter()
            .map(|(name, images, source)| (name.as_str(), images, source.as_str()));
        let test = self.test.as_ref();
        let mut experiment =
            Experiment::assemble(&self.train, test, ood, &self.source, shots, seed)?;
        experiment.notes.splice(0..0, self.notes.iter().cloned());
        experiment.notes.extend(experiment.missing_classes());
        experiment.notes.iter().for_each(|note| say_once(note));
        Ok(experiment)
    }
}

/// Fails where features and results would lie among the images, to be taken for more of them by the
/// next run.
///
/// # Errors
/// Naming the folder of images.
fn keep_apart(cache: &Path, sets: &ImageSets) -> Result<()> {
    let own = (sets.data.root.as_path(), sets.data.is_split());
    let others = sets.ood.iter().map(|(_, set)| (set.root.as_path(), false));
    for (root, halves) in std::iter::once(own).chain(others) {
        let Ok(whole) = root.canonicalize() else {
            continue;
        };
        let Ok(within) = resolved(cache).strip_prefix(&whole).map(Path::to_path_buf) else {
            continue;
        };
        // Beside the halves of split data nothing is read.
        let first = within.iter().next().and_then(|name| name.to_str());
        if whole.is_dir() && (!halves || first.and_then(Split::parse).is_some()) {
            bail!(
                "--out lies among the images of {}, and the next run would take its figures for more of them: choose another --out",
                root.display()
            );
        }
    }
    Ok(())
}

/// The path without links as far as it exists, and the rest behind it.
fn resolved(path: &Path) -> PathBuf {
    let mut ancestors = path.ancestors();
    let there = ancestors.find_map(|folder| {
        let folder = match folder.as_os_str().is_empty() {
            true => Path::new("."),
            false => folder,
        };
        Some((
            folder.canonicalize().ok()?,
            path.strip_prefix(folder).unwrap_or(path),
        ))
    });
    there.map_or_else(|| path.to_path_buf(), |(real, rest)| real.join(rest))
}

/// Where the images of a feature file are, in its order.
fn paths(dataset: &Dataset, features: &FeatureCache) -> Vec<PathBuf> {
    let items = dataset.items.iter();
    let places: HashMap<&str, &Path> = items
        .map(|item| (item.name.as_str(), item.path.as_path()))
        .collect();
    let files = features.files();
    let found = files
        .iter()
        .map(|file| Some(places.get(file)?.to_path_buf()));
    // One that is missing would put the others into the wrong places.
    found.collect::<Option<_>>().unwrap_or_default()
}
