//! Where the paper's data lie: the directory layout that users of MCM and LoCoOp already have.

use std::path::{Path, PathBuf};

/// A data set of the paper that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Its name.
    pub name: &'static str,
    /// Where it was looked for.
    pub looked: Vec<PathBuf>,
    /// Where to get it.
    pub source: &'static str,
}

/// Classes of ImageNet-1k.
const CLASSES: usize = 1_000;

struct PaperSet {
    name: &'static str,
    /// Below the root, any of them.
    places: &'static [&'static str],
    source: &'static str,
    /// How many images the paper measured on.
    images: usize,
}

/// ImageNet-1k, with `train` and `val` below it.
const IMAGENET: PaperSet = PaperSet {
    name: "ImageNet-1k",
    places: &["imagenet/images", "imagenet", "ImageNet", "ILSVRC2012"],
    source: "ILSVRC 2012 from image-net.org (after registration), as train/SYNSET and val/SYNSET with \
             classnames.txt (CoOp's), LOC_synset_mapping.txt or synset_words.txt above them",
    images: 50_000,
};

/// The out-of-distribution sets, from which classes that ImageNet has too were removed by
/// Huang and Li (*MOS*, CVPR 2021).
const OOD: [PaperSet; 4] = [
    PaperSet {
        name: "iNaturalist",
        places: &[
            "iNaturalist/images",
            "iNaturalist",
            "ImageNet_OOD_dataset/iNaturalist",
        ],
        source: "iNaturalist.tar.gz, the 10,000 images of 110 plant classes that MOS chose \
                 (github.com/deeplearning-wisc/large_scale_ood)",
        images: 10_000,
    },
    PaperSet {
        name: "SUN",
        places: &["SUN/images", "SUN", "ImageNet_OOD_dataset/SUN"],
        source: "SUN.tar.gz, the 10,000 images of 50 classes that MOS chose \
                 (github.com/deeplearning-wisc/large_scale_ood)",
        images: 10_000,
    },
    PaperSet {
        name: "Places",
        places: &[
            "Places/images",
            "Places",
            "places365/images",
            "ImageNet_OOD_dataset/Places",
        ],
        source: "Places.tar.gz, the 10,000 images of 50 classes that MOS chose \
                 (github.com/deeplearning-wisc/large_scale_ood)",
        images: 10_000,
    },
    PaperSet {
        name: "Textures",
        places: &[
            "Texture/images",
            "dtd/images",
            "Textures",
            "Texture",
            "ImageNet_OOD_dataset/dtd/images",
        ],
        source: "dtd-r1.0.1.tar.gz, the Describable Textures Dataset, all 5,640 images \
                 (robots.ox.ac.uk/~vgg/data/dtd)",
        images: 5_640,
    },
];

impl PaperSet {
    /// The folder below `root`, or what is missing.
    fn find(&self, root: &Path) -> Result<PathBuf, Missing> {
        let looked: Vec<PathBuf> = self.places.iter().map(|place| root.join(place)).collect();
        let found = looked.iter().find(|place| place.is_dir()).cloned();
        found.ok_or(Missing {
            name: self.name,
            looked,
            source: self.source,
        })
    }
}

/// Where ImageNet-1k is below `root`.
pub fn imagenet(root: &Path) -> Result<PathBuf, Missing> {
    IMAGENET.find(root)
}

/// The out-of-distribution sets of the paper below `root`, and those that are missing.
pub fn ood_sets(root: &Path) -> (Vec<(String, PathBuf)>, Vec<Missing>) {
    let (mut there, mut missing) = (Vec::new(), Vec::new());
    for set in &OOD {
        match set.find(root) {
            Ok(folder) => there.push((set.name.to_owned(), folder)),
            Err(absent) => missing.push(absent),
        }
    }
    (there, missing)
}

/// Where the images that are there are others than the paper's, by their numbers; none where they are
/// as many.
///
/// `classes` and `images`: of the ID test half; `sets`: each set's name and images.
pub fn differences(classes: usize, images: usize, sets: &[(String, usize)]) -> Option<String> {
    let mut parts = Vec::new();
    if classes != CLASSES {
        parts.push(format!("{classes} classes (the paper: {CLASSES})"));
    }
    let measured = std::iter::once((IMAGENET.name, images, IMAGENET.images));
    let others = sets.iter().filter_map(|(name, images)| {
        let set = OOD.iter().find(|set| set.name == name)?;
        Some((set.name, *images, set.images))
    });
    for (name, found, expected) in measured.chain(others) {
        if found != expected {
            parts.push(format!("{found} images of {name} ({expected})"));
        }
    }
    (!parts.is_empty()).then(|| {
        format!(
            "These are not the paper's data, and the figures cannot be compared with published ones: {}.",
            parts.join(", ")
        )
    })
}

impl Missing {
    /// What a report says of it: not where it was looked for.
    pub fn note(&self) -> String {
        format!("{} is not there: get {}", self.name, self.source)
    }
}

impl std::fmt::Display for Missing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let looked: Vec<String> = self
            .looked
            .iter()
            .map(|place| place.display().to_string())
            .collect();
        write!(
            formatter,
            "{} is not there (looked in {}): get {}",
            self.name,
            looked.join(", "),
            self.source
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_and_the_rest_is_found() {
        let root = tempfile::tempdir().unwrap();
        for place in ["imagenet/images", "SUN", "dtd/images"] {
            std::fs::create_dir_all(root.path().join(place)).unwrap();
        }
        assert_eq!(
            imagenet(root.path()),
            Ok(root.path().join("imagenet/images"))
        );
        let (ood, missing) = ood_sets(root.path());
        let found: Vec<&str> = ood.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(found, ["SUN", "Textures"]);
        let absent: Vec<&str> = missing.iter().map(|set| set.name).collect();
        assert_eq!(absent, ["iNaturalist", "Places"]);
        assert!(missing[0].to_string().contains("large_scale_ood"));
    }

    #[test]
    fn other_images_than_the_papers_are_told() {
        let sets = |images: usize| vec![("SUN".to_owned(), images)];
        assert_eq!(differences(1_000, 50_000, &sets(10_000)), None);
        let text = differences(60, 50_000, &sets(144)).unwrap();
        assert!(
            text.contains("60 classes") && text.contains("144 images of SUN (10000)"),
            "{text}"
        );
        assert!(!text.contains("50000"), "{text}");
    }
}
