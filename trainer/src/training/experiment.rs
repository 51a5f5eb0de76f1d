//! The images of a run as features: to learn from, to calibrate on, to measure on.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use shared::clip::preprocess::DecodeLimits;

use crate::command::encode::say_skipped;
use crate::data::{self, Dataset, Split, few_shot};
use crate::embedded;
use crate::features::{EncodeOptions, FeatureCache, FeaturePrecision, encode};
use crate::model::ModelDirectory;
use crate::output;
use crate::progress::say;
use crate::report::DataReport;

/// Calibration needs this many images, or the 95 % threshold means little.
const FEWEST_CALIBRATION_IMAGES: usize = 100;

/// Images as features `[images, d]`, row by row.
#[derive(Clone, Debug, Default)]
pub struct ImageSet {
    /// Name in tables.
    pub name: String,
    /// `[images, d]`, as the image tower gives them: ReAct clips them before they are normalised.
    pub features: Vec<f32>,
    /// Class of each image; empty for an out-of-distribution set.
    pub labels: Vec<usize>,
    /// Number of images.
    pub images: usize,
}

impl ImageSet {
    /// The class of each image, for measures that allow for unknown ones.
    pub fn known_labels(&self) -> Vec<Option<usize>> {
        self.labels.iter().map(|&label| Some(label)).collect()
    }

    /// At most `most` of the images, evenly taken.
    pub fn thinned(&self, most: usize) -> Self {
        if self.images <= most {
            return self.clone();
        }
        let width = self.features.len() / self.images;
        let taken: Vec<usize> = (0..most).map(|n| n * self.images / most).collect();
        let row = |&image: &usize| &self.features[image * width..(image + 1) * width];
        Self {
            name: self.name.clone(),
            features: taken.iter().flat_map(row).copied().collect(),
            labels: taken
                .iter()
                .filter_map(|&image| self.labels.get(image).copied())
                .collect(),
            images: most,
        }
    }
}

/// Everything that a run looks at.
#[derive(Clone, Debug, Default)]
pub struct Experiment {
    /// Class names as prompts use them.
    pub classes: Vec<String>,
    /// The shots.
    pub learn: ImageSet,
    /// ID images beside the shots that choose settings, with classes left out.
    pub selection: ImageSet,
    /// Held-out ID images that set thresholds and p-values.
    pub calibration: ImageSet,
    /// Held-out ID images to measure on.
    pub test: ImageSet,
    /// Out-of-distribution sets to measure on; nothing is ever chosen by them.
    pub ood: Vec<ImageSet>,
    /// The sets for the report.
    pub data: Vec<DataReport>,
    /// What a reader should know about the data.
    pub notes: Vec<String>,
    /// Width of the features.
    pub width: usize,
}

/// Where the images of a run are.
pub struct ImageFolders<'a> {
    /// The ID images, a folder a class, split into train and test or not.
    pub data: &'a Path,
    /// Name and folder of every out-of-distribution set.
    pub ood: &'a [(String, PathBuf)],
    /// Where feature files are kept.
    pub cache: PathBuf,
    /// Images put through the tower together.
    pub batch: usize,
}

impl Experiment {
    /// The data that come with the program: Caltech-101 and its out-of-distribution sets, as
    /// features of the compact model.
    pub fn embedded(model: &ModelDirectory, shots: usize, seed: u64) -> Result<Self> {
        let key = model.feature_key()?;
        let open = |name: &str| -> Result<FeatureCache> {
            let (file, bytes) = embedded::features(name)?;
            let cache = FeatureCache::from_static(file, bytes)?;
            cache.require_key(&key, &model.config.name)?;
            Ok(cache)
        };
        let ood = embedded::OOD_SETS
            .iter()
            .map(|set| Ok((set.name.to_owned(), open(set.file)?, set.source.to_owned())))
            .collect::<Result<Vec<_>>>()?;
        let mut experiment = Self::assemble(
            &open(embedded::TRAIN)?,
            Some(&open(embedded::TEST)?),
            ood.iter()
                .map(|(name, cache, source)| (name.as_str(), cache, source.as_str())),
            embedded::SOURCE,
            shots,
            seed,
        )?;
        // The compact model's text tower was tuned on the whole training half, whose scores are
        // therefore higher than a new photo's: thresholds from it would refuse half of all ID photos.
        experiment.calibration = every_second(&experiment.test, experiment.width);
        experiment.data[1].used_for = "choosing settings (in-distribution)".into();
        experiment
            .notes
            .extend(embedded::NOTES.iter().map(|&note| note.to_owned()));
        Ok(experiment)
    }

    /// A person's own folders, encoded once and kept in `folders.cache`.
    pub fn from_folders(
        model: &ModelDirectory,
        device: &Device,
        folders: &ImageFolders,
        shots: usize,
        seed: u64,
    ) -> Result<Self> {
        let dataset = data::open(folders.data)?;
        dataset.require_classes()?;
        for warning in &dataset.warnings {
            say(&format!("note: {warning}"));
        }
        let loaded = model.image_tower(device)?;
        output::create_folder(&folders.cache)?;
        let options = EncodeOptions {
            batch: folders.batch,
            precision: FeaturePrecision::F16,
            limits: DecodeLimits::default(),
            resume: true,
        };
        let encoded = |dataset: &Dataset, name: &str| -> Result<FeatureCache> {
            let file = folders.cache.join(format!("{name}.safetensors"));
            let report = encode(
                dataset,
                &model.config,
                &loaded.key,
                &loaded.tower,
                device,
                &file,
                &options,
            )?;
            say_skipped(&report);
            FeatureCache::open(&file)
        };
        let (train, test) = if dataset.is_split() {
            let test = encoded(&dataset.split(Split::Test)?, "id-test")?;
            (
                encoded(&dataset.split(Split::Train)?, "id-train")?,
                Some(test),
            )
        } else {
            (encoded(&dataset, "id")?, None)
        };
        let mut ood = Vec::new();
        for (name, folder) in folders.ood {
            let dataset = data::open_unlabelled(folder)?;
            let cache = encoded(&dataset, &format!("ood-{}", file_name(name)))?;
            ood.push((name.clone(), cache, folder.display().to_string()));
        }
        Self::assemble(
            &train,
            test.as_ref(),
            ood.iter()
                .map(|(name, cache, source)| (name.as_str(), cache, source.as_str())),
            &folders.data.display().to_string(),
            shots,
            seed,
        )
    }

    fn assemble<'a>(
        train: &FeatureCache,
        test: Option<&FeatureCache>,
        ood: impl Iterator<Item = (&'a str, &'a FeatureCache, &'a str)>,
        source: &str,
        shots: usize,
        seed: u64,
    ) -> Result<Self> {
        let classes = train.classes();
        if classes.len() < 2 {
            bail!(
                "{source}: {} class; telling classes apart takes at least two, a folder each",
                classes.len()
            );
        }
        if let Some(test) = test
            && test.classes() != classes
        {
            bail!(
                "{source}: the train and the test half have different classes; give both the same folders"
            );
        }
        let choice = few_shot(train.labels(), classes.len(), shots, seed);
        let mut notes: Vec<String> = choice.warning(classes, shots).into_iter().collect();
        notes.iter().for_each(|note| say(&format!("note: {note}")));
        let mut is_shot = vec![false; train.len()];
        choice
            .indices
            .iter()
            .for_each(|&image| is_shot[image] = true);
        let rest: Vec<usize> = (0..train.len())
            .filter(|&image| !is_shot[image] && train.label(image).is_some())
            .collect();
        let learn = image_set("learning", train, choice.indices.iter().copied());
        let (calibration, test) = match test {
            Some(test) => {
                let all = image_set("test", test, labelled(test));
                if rest.len() >= FEWEST_CALIBRATION_IMAGES {
                    (image_set("calibration", train, rest.into_iter()), all)
                } else {
                    let note = "Too few training images are left beside the shots to calibrate on: the \
                                thresholds were set on every second test image, and measured on the others.";
                    notes.push(note.into());
                    halves(test, labelled(test).collect())
                }
            }
            None => {
                let note = "The images are not split into train and test folders: every second image \
                            beside the shots was measured on, the others set the thresholds.";
                notes.push(note.into());
                halves(train, rest)
            }
        };
        if calibration.images == 0 || test.images == 0 {
            bail!(
                "{source}: no image is left to measure on beside the {shots} shots a class; lower --shots or add images"
            );
        }
        let mut data = vec![
            described(&learn, "learning", classes.len(), source),
            described(
                &calibration,
                "calibration (held out, in-distribution)",
                classes.len(),
                source,
            ),
            described(&test, "in-distribution test", classes.len(), source),
        ];
        let mut sets = Vec::new();
        for (name, cache, source) in ood {
            if cache.width() != train.width() {
                bail!(
                    "{name}: features of width {} beside {}; encode it with the same model",
                    cache.width(),
                    train.width()
                );
            }
            let mut set = image_set(name, cache, 0..cache.len());
            set.labels.clear();
            let mut report = described(&set, "out-of-distribution test", 0, source);
            report.classes = None;
            data.push(report);
            sets.push(set);
        }
        Ok(Self {
            classes: classes.iter().map(|class| prompt_name(class)).collect(),
            learn,
            selection: calibration.clone(),
            calibration,
            test,
            ood: sets,
            data,
            notes,
            width: train.width(),
        })
    }
}

/// A folder's name as a prompt says it: `water_lilly` → `water lilly`.
pub fn prompt_name(folder: &str) -> String {
    folder.replace('_', " ").trim().to_owned()
}

fn labelled(cache: &FeatureCache) -> impl Iterator<Item = usize> + '_ {
    (0..cache.len()).filter(|&image| cache.label(image).is_some())
}

/// The images at even places of a set.
fn every_second(set: &ImageSet, width: usize) -> ImageSet {
    let features = set
        .features
        .chunks_exact(width.max(1))
        .step_by(2)
        .flatten()
        .copied()
        .collect();
    ImageSet {
        name: "calibration".to_owned(),
        features,
        labels: set.labels.iter().copied().step_by(2).collect(),
        images: set.images.div_ceil(2),
    }
}

/// Every second image to calibrate on, the others to measure on.
fn halves(cache: &FeatureCache, images: Vec<usize>) -> (ImageSet, ImageSet) {
    let half = |parity: usize| {
        images
            .iter()
            .copied()
            .enumerate()
            .filter(move |(at, _)| at % 2 == parity)
            .map(|(_, i)| i)
    };
    (
        image_set("calibration", cache, half(0)),
        image_set("test", cache, half(1)),
    )
}

fn image_set(name: &str, cache: &FeatureCache, images: impl Iterator<Item = usize>) -> ImageSet {
    let images: Vec<usize> = images.collect();
    ImageSet {
        name: name.to_owned(),
        features: cache.gather(images.iter().copied()),
        labels: images
            .iter()
            .filter_map(|&image| cache.label(image))
            .collect(),
        images: images.len(),
    }
}

fn described(set: &ImageSet, used_for: &str, classes: usize, source: &str) -> DataReport {
    DataReport {
        name: set.name.clone(),
        used_for: used_for.into(),
        images: set.images as u64,
        classes: Some(classes),
        skipped: 0,
        source: source.into(),
    }
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

/// Reads `NAME=DIR`.
pub fn parse_named_folder(text: &str) -> Result<(String, PathBuf)> {
    let (name, folder) = text
        .split_once('=')
        .with_context(|| format!("`{text}` is not NAME=DIR, for example textures=/data/dtd"))?;
    if name.is_empty() || folder.is_empty() {
        bail!("`{text}` is not NAME=DIR, for example textures=/data/dtd");
    }
    Ok((name.to_owned(), PathBuf::from(folder)))
}
