//! The images of a run as features: to learn from, to calibrate on, to measure on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, bail};
use burn::tensor::Device;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::batches::shuffled;
use super::encoded::{Encoded, EncodedImages, Encoding, ImageSets};
use crate::data::{self, few_shot, prompt_name};
use crate::embedded;
use crate::features::{FeatureCache, hexadecimal};
use crate::model::ModelDirectory;
use crate::progress::say_once;
use crate::report::DataReport;

/// Calibration needs this many images, or the 95 % threshold means little.
const FEWEST_CALIBRATION_IMAGES: usize = 100;

/// What out-of-distribution sets are used for.
const OUT_OF_DISTRIBUTION: &str = "out-of-distribution test";

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
    /// The files of the images, as the data name them.
    pub files: Vec<String>,
    /// Where the files are; empty for features that came without images.
    pub paths: Vec<PathBuf>,
    /// Features of their patches, where there are any.
    pub patches: Option<Patches>,
}

/// Features of the patches of some images, read when they are needed.
#[derive(Clone)]
pub struct Patches {
    /// `[images of the file, patches · d]`.
    cache: Arc<FeatureCache>,
    /// Which images of the file.
    images: Vec<usize>,
}

impl Patches {
    /// `[images, patches, d]` of the images at these places of the set, not normalised.
    pub fn gather(&self, places: &[usize]) -> Vec<f32> {
        let images = places.iter().filter_map(|&place| self.images.get(place));
        self.cache.gather(images.copied())
    }

    fn of(&self, places: &[usize]) -> Self {
        Self {
            cache: Arc::clone(&self.cache),
            images: places
                .iter()
                .filter_map(|&place| self.images.get(place).copied())
                .collect(),
        }
    }
}

impl fmt::Debug for Patches {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "patches of {} images", self.images.len())
    }
}

/// Which classes are learned, which are known when measuring, and which are not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub enum ClassSplit {
    /// All of them are learned and known.
    #[default]
    All,
    /// A share of the classes is learned, all are known.
    OpenVocabulary {
        /// Share that is learned.
        share: f64,
        /// Which classes.
        seed: u64,
    },
    /// Half of the classes is learned and known; the photos of the other half are the
    /// out-of-distribution set.
    HalfUnknown {
        /// Which half.
        seed: u64,
    },
}

impl ClassSplit {
    /// Whether classes are known that were not learned from.
    pub fn is_open_vocabulary(self) -> bool {
        matches!(self, Self::OpenVocabulary { .. })
    }
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
        let taken: Vec<usize> = (0..most).map(|n| n * self.images / most).collect();
        self.at(&taken)
    }

    /// The images at these places.
    pub fn at(&self, places: &[usize]) -> Self {
        let width = self.features.len().checked_div(self.images).unwrap_or(0);
        let row = |&image: &usize| &self.features[image * width..(image + 1) * width];
        Self {
            name: self.name.clone(),
            features: places.iter().flat_map(row).copied().collect(),
            labels: places
                .iter()
                .filter_map(|&image| self.labels.get(image).copied())
                .collect(),
            images: places.len(),
            files: places
                .iter()
                .filter_map(|&image| self.files.get(image).cloned())
                .collect(),
            paths: places
                .iter()
                .filter_map(|&image| self.paths.get(image).cloned())
                .collect(),
            patches: self.patches.as_ref().map(|patches| patches.of(places)),
        }
    }

    /// The images of some classes, whose labels become positions among these.
    fn of_classes(&self, classes: &[usize]) -> Self {
        let new = |label: usize| classes.iter().position(|&class| class == label);
        let places: Vec<usize> = (0..self.labels.len())
            .filter(|&image| classes.contains(&self.labels[image]))
            .collect();
        let mut images = self.at(&places);
        images.labels = images.labels.into_iter().filter_map(new).collect();
        images
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

impl Experiment {
    /// Whether features of patches are there for every set.
    pub fn has_patches(&self) -> bool {
        let mut sets = [&self.learn, &self.calibration, &self.test]
            .into_iter()
            .chain(&self.ood);
        sets.all(|set| set.patches.is_some())
    }

    /// Whether the images themselves are there for every set that is measured on or calibrates.
    pub fn has_images(&self) -> bool {
        let mut sets = [&self.calibration, &self.test].into_iter().chain(&self.ood);
        sets.all(|set| set.paths.len() == set.images)
    }

    /// With other features in the sets that are measured on or calibrate.
    ///
    /// # Errors
    /// As `features`, for the first set that fails.
    pub fn with_features(&self, features: impl Fn(&ImageSet) -> Result<Vec<f32>>) -> Result<Self> {
        let mut other = self.clone();
        let measured = [&mut other.calibration, &mut other.test];
        for set in measured.into_iter().chain(&mut other.ood) {
            set.features = features(set)?;
        }
        Ok(other)
    }

    /// SHA-256 of the features and classes of all sets, in hexadecimal: other images are another
    /// experiment, and the same images of other classes are as well.
    pub fn digest(&self) -> String {
        let mut digest = Sha256::new();
        let own = [&self.learn, &self.selection, &self.calibration, &self.test];
        for set in own.into_iter().chain(&self.ood) {
            digest.update((set.images as u64).to_le_bytes());
            for value in &set.features {
                digest.update(value.to_le_bytes());
            }
            digest.update((set.labels.len() as u64).to_le_bytes());
            for label in &set.labels {
                digest.update((*label as u64).to_le_bytes());
            }
        }
        hexadecimal(&digest.finalize())
    }

    /// SHA-256 of what a report names of the images: their files, and the sets as it describes them.
    ///
    /// # Errors
    /// None but those of writing JSON.
    pub fn names_digest(&self) -> Result<String> {
        let own = [&self.learn, &self.calibration, &self.test];
        let files = own.into_iter().chain(&self.ood).map(|set| &set.files);
        let names = (files.collect::<Vec<_>>(), &self.data, &self.notes);
        Ok(hexadecimal(&Sha256::digest(serde_json::to_vec(&names)?)))
    }

    /// What is learned from, and what is measured on.
    ///
    /// # Errors
    /// When there are too few classes to split.
    pub fn split_classes(&self, split: &ClassSplit) -> Result<(Self, Self)> {
        let drawn = |count: usize, seed: u64| {
            let mut drawn = shuffled(self.classes.len(), seed ^ 0x0C1A_55E5);
            drawn.truncate(count);
            drawn.sort_unstable();
            drawn
        };
        match *split {
            ClassSplit::All => Ok((self.clone(), self.clone())),
            ClassSplit::OpenVocabulary { share, seed } => {
                let count = (share * self.classes.len() as f64).round() as usize;
                if count < 2 {
                    bail!(
                        "a tenth of {} classes is too few to learn from: the open-vocabulary suite takes 20 classes or more",
                        self.classes.len()
                    );
                }
                let learned = self.of_classes(&drawn(count, seed));
                let mut measured = self.clone();
                measured.notes.push(format!(
                    "Learned from {count} of {} classes, measured with the names of all.",
                    self.classes.len()
                ));
                Ok((learned, measured))
            }
            ClassSplit::HalfUnknown { seed } => {
                let count = self.classes.len() / 2;
                if count < 2 {
                    bail!(
                        "{} classes cannot be halved: the hard suite takes 4 or more",
                        self.classes.len()
                    );
                }
                let known = drawn(count, seed);
                let unknown: Vec<usize> = (0..self.classes.len())
                    .filter(|class| !known.contains(class))
                    .collect();
                let mut half = self.of_classes(&known);
                let mut others = self.test.of_classes(&unknown);
                others.name = "unknown half".into();
                others.labels.clear();
                half.data.retain(|set| set.used_for != OUT_OF_DISTRIBUTION);
                let mut report = described(
                    &others,
                    OUT_OF_DISTRIBUTION,
                    0,
                    "the other classes of the same data",
                );
                report.classes = None;
                half.data.push(report);
                half.notes.push(format!(
                    "{count} classes are known; the test photos of the other {} are the out-of-distribution set.",
                    unknown.len()
                ));
                half.ood = vec![others];
                Ok((half.clone(), half))
            }
        }
    }

    /// The experiment as if these were the only classes.
    fn of_classes(&self, classes: &[usize]) -> Self {
        let mut part = self.clone();
        part.classes = classes
            .iter()
            .filter_map(|&class| self.classes.get(class).cloned())
            .collect();
        for set in [
            &mut part.learn,
            &mut part.selection,
            &mut part.calibration,
            &mut part.test,
        ] {
            *set = set.of_classes(classes);
        }
        for report in &mut part.data {
            let sets = [&part.learn, &part.calibration, &part.test];
            if let Some(set) = sets.iter().find(|set| set.name == report.name) {
                (report.images, report.classes) = (set.images as u64, Some(classes.len()));
            }
        }
        part
    }
}

/// Where the images of a run are.
pub struct ImageFolders<'a> {
    /// The ID images, a folder a class, split into train and test or not.
    pub data: &'a Path,
    /// Name and folder of every out-of-distribution set.
    pub ood: &'a [(String, PathBuf)],
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
            .map(|set| {
                let encoded = Encoded::from(open(set.file)?);
                Ok((set.name.to_owned(), encoded, set.source.to_owned()))
            })
            .collect::<Result<Vec<_>>>()?;
        let mut experiment = Self::assemble(
            &open(embedded::TRAIN)?.into(),
            Some(&open(embedded::TEST)?.into()),
            ood.iter()
                .map(|(name, cache, source)| (name.as_str(), cache, source.as_str())),
            embedded::SOURCE,
            shots,
            seed,
        )?;
        experiment.notes.iter().for_each(|note| say_once(note));
        // The compact model was tuned on the whole training half. Photos of it score higher than
        // new ones: thresholds from them would refuse half of all ID photos. And it tells classes
        // left out from the others without a mistake there, by any settings: nothing to choose by.
        experiment.calibration = every_second(&experiment.test);
        experiment.selection.clone_from(&experiment.calibration);
        experiment.data[1] = described(
            &experiment.calibration,
            "choosing settings and thresholds (in-distribution; every second test photo)",
            0,
            embedded::SOURCE,
        );
        experiment
            .notes
            .extend(embedded::NOTES.iter().map(|&note| note.to_owned()));
        Ok(experiment)
    }

    /// What is said of classes of which no image is left beside the shots.
    pub(super) fn missing_classes(&self) -> Option<String> {
        let classes = self.classes.len();
        let without = |set: &ImageSet, what: &str| {
            let missing = classes - distinct(&set.labels).min(classes);
            (missing > 0).then(|| (missing, what.to_owned()))
        };
        let kinds = [
            without(&self.test, "measure on"),
            without(&self.calibration, "set the thresholds by"),
        ];
        let mut kinds = kinds.into_iter().flatten();
        let (count, what) = kinds.next()?;
        let verb = if count == 1 { "has" } else { "have" };
        let mut note = format!("Of the {classes} classes, {count} {verb} no image left to {what}");
        if let Some((count, what)) = kinds.next() {
            note.push_str(&format!(" and {count} none to {what}"));
        }
        note.push_str(": the figures say nothing of them. Add images, or lower --shots.");
        Some(note)
    }

    /// A person's own folders, encoded once and kept in `encoding.cache`.
    pub fn from_folders(
        model: &ModelDirectory,
        device: &Device,
        folders: &ImageFolders,
        encoding: &Encoding,
        shots: usize,
        seed: u64,
    ) -> Result<Self> {
        data::check_set_names(folders.ood)?;
        let data = data::open(folders.data)?;
        let ood = folders
            .ood
            .iter()
            .map(|(name, folder)| Ok((name.clone(), data::open_unlabelled(folder)?)))
            .collect::<Result<Vec<_>>>()?;
        let sets = ImageSets {
            data: &data,
            ood: &ood,
        };
        EncodedImages::encode(model, device, &sets, encoding)?.experiment(shots, seed)
    }

    pub(super) fn assemble<'a>(
        train: &Encoded,
        test: Option<&Encoded>,
        ood: impl Iterator<Item = (&'a str, &'a Encoded, &'a str)>,
        source: &str,
        shots: usize,
        seed: u64,
    ) -> Result<Self> {
        let classes = train.features.classes();
        if classes.len() < 2 {
            bail!(
                "{source}: {} class; telling classes apart takes at least two, a folder each",
                classes.len()
            );
        }
        if let Some(test) = test
            && test.features.classes() != classes
        {
            bail!(
                "{source}: the train and the test half have different classes; give both the same folders"
            );
        }
        let choice = few_shot(train.features.labels(), classes.len(), shots, seed);
        let mut notes: Vec<String> = choice.warning(classes, shots).into_iter().collect();
        let mut is_shot = vec![false; train.features.len()];
        choice
            .indices
            .iter()
            .for_each(|&image| is_shot[image] = true);
        let rest: Vec<usize> = (0..train.features.len())
            .filter(|&image| !is_shot[image] && train.features.label(image).is_some())
            .collect();
        let learn = image_set("learning", train, choice.indices.iter().copied());
        let test_skipped = test.map_or(0, |test| test.skipped);
        let (calibration, test) = match test {
            Some(test) => {
                let all = image_set("test", test, labelled(test));
                if rest.len() >= FEWEST_CALIBRATION_IMAGES {
                    (image_set("calibration", train, rest.into_iter()), all)
                } else {
                    let note = "Too few training images are left beside the shots to calibrate on: the \
                                thresholds were set on every second test image, and measured on the others.";
                    notes.push(note.into());
                    halves(test, &labelled(test).collect::<Vec<_>>())
                }
            }
            None => {
                let note = "The images are not split into train and test folders: every second image \
                            beside the shots was measured on, the others set the thresholds.";
                notes.push(note.into());
                halves(train, &rest)
            }
        };
        if calibration.images == 0 || test.images == 0 {
            bail!(
                "{source}: no image is left to measure on beside the {shots} shots a class; lower --shots or add images"
            );
        }
        if calibration.images < FEWEST_CALIBRATION_IMAGES {
            let (images, least) = (calibration.images, 1.0 / (calibration.images + 1) as f64);
            notes.push(format!(
                "The thresholds stand on {images} image{}: they may keep far more or fewer than 95 % of new ones, and no \
                 p-value is below {least:.3}. More images, or fewer --shots, give better ones.",
                if images == 1 { "" } else { "s" }
            ));
        }
        let mut data = vec![
            // What could not be read of a file that several sets are drawn from counts once.
            described(&learn, "learning", train.skipped, source),
            described(
                &calibration,
                "calibration (held out, in-distribution)",
                0,
                source,
            ),
            described(&test, "in-distribution test", test_skipped, source),
        ];
        let mut sets = Vec::new();
        for (name, cache, source) in ood {
            let (found, expected) = (cache.features.width(), train.features.width());
            if found != expected {
                bail!(
                    "{name}: features of width {found} beside {expected}; encode it with the same model"
                );
            }
            let mut set = image_set(name, cache, 0..cache.features.len());
            set.labels.clear();
            let mut report = described(&set, OUT_OF_DISTRIBUTION, cache.skipped, source);
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
            width: train.features.width(),
        })
    }
}

fn labelled(cache: &Encoded) -> impl Iterator<Item = usize> + '_ {
    let cache = &cache.features;
    (0..cache.len()).filter(|&image| cache.label(image).is_some())
}

/// The images at even places of a set.
fn every_second(set: &ImageSet) -> ImageSet {
    let places: Vec<usize> = (0..set.images).step_by(2).collect();
    ImageSet {
        name: "calibration".to_owned(),
        ..set.at(&places)
    }
}

/// Every second image of each class to calibrate on, the others to measure on.
fn halves(cache: &Encoded, images: &[usize]) -> (ImageSet, ImageSet) {
    let labels = images.iter().map(|&image| cache.features.label(image));
    let in_second = every_second_of_each(&labels.collect::<Vec<_>>());
    let half = |second: bool| {
        let images = images.iter().copied().zip(&in_second);
        images
            .filter(move |(_, in_second)| **in_second == second)
            .map(|(image, _)| image)
    };
    (
        image_set("calibration", cache, half(false)),
        image_set("test", cache, half(true)),
    )
}

/// For each image whether it is in the second half, where every class is dealt out in turn: a class with
/// an odd number gives its last image to the half that the class before it did not.
fn every_second_of_each(labels: &[Option<usize>]) -> Vec<bool> {
    let mut of_class: BTreeMap<Option<usize>, usize> = BTreeMap::new();
    for label in labels {
        *of_class.entry(*label).or_default() += 1;
    }
    let mut before = 0;
    for count in of_class.values_mut() {
        (before, *count) = (before + *count, before);
    }
    labels
        .iter()
        .map(|label| {
            let Some(place) = of_class.get_mut(label) else {
                return false;
            };
            *place += 1;
            *place % 2 == 0
        })
        .collect()
}

fn distinct(labels: &[usize]) -> usize {
    labels.iter().collect::<BTreeSet<_>>().len()
}

fn image_set(name: &str, cache: &Encoded, images: impl Iterator<Item = usize>) -> ImageSet {
    let images: Vec<usize> = images.collect();
    let files = cache.features.files();
    ImageSet {
        name: name.to_owned(),
        features: cache.features.gather(images.iter().copied()),
        labels: images
            .iter()
            .filter_map(|&image| cache.features.label(image))
            .collect(),
        files: images
            .iter()
            .filter_map(|&image| files.get(image).map(|&file| file.to_owned()))
            .collect(),
        paths: images
            .iter()
            .filter_map(|&image| cache.paths.get(image).cloned())
            .collect(),
        patches: cache.patches.as_ref().map(|patches| Patches {
            cache: Arc::clone(patches),
            images: images.clone(),
        }),
        images: images.len(),
    }
}

/// What the report says of a set. `skipped`: images that could not be read.
fn described(set: &ImageSet, used_for: &str, skipped: usize, source: &str) -> DataReport {
    DataReport {
        name: set.name.clone(),
        used_for: used_for.into(),
        images: set.images as u64,
        classes: Some(distinct(&set.labels)),
        skipped: skipped as u64,
        source: source.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_dealt_to_both_halves() {
        let halves = |labels: &[usize]| {
            let labels: Vec<_> = labels.iter().copied().map(Some).collect();
            let second = every_second_of_each(&labels);
            let text = second.iter().map(|&second| if second { 't' } else { 'c' });
            text.collect::<String>()
        };
        // Sorted by class: every second image.
        assert_eq!(halves(&[0, 0, 0, 1, 1, 1, 2]), "ctctctc");
        // By turns: a class would be in one half.
        assert_eq!(halves(&[0, 1, 0, 1, 0, 1, 0, 1]), "ccttcctt");
        // One each: as many in both.
        assert_eq!(halves(&[0, 1, 2, 3]), "ctct");
        assert_eq!(halves(&[]), "");
    }

    #[test]
    fn classes_without_an_image_are_counted() {
        let set = |labels: &[usize]| ImageSet {
            labels: labels.to_vec(),
            ..ImageSet::default()
        };
        let told = |classes: usize, calibration: &[usize], test: &[usize]| {
            Experiment {
                classes: vec![String::new(); classes],
                calibration: set(calibration),
                test: set(test),
                ..Experiment::default()
            }
            .missing_classes()
        };
        assert_eq!(told(2, &[0, 1, 1], &[1, 0]), None);
        for (test, said) in [
            (&[0, 1, 2, 3][..], "2 have no image left to set the"),
            (&[3], "3 have no image left to measure on and 2 none to set"),
        ] {
            let note = told(4, &[0, 1, 1], test).unwrap();
            assert!(
                note.starts_with(&format!("Of the 4 classes, {said}")),
                "{note}"
            );
        }
        assert!(
            told(2, &[0, 1], &[1])
                .unwrap()
                .contains("1 has no image left to measure on:")
        );
        assert_eq!(described(&set(&[0, 2, 2]), "", 0, "").classes, Some(2));
    }
}
