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

struct PaperSet {
    name: &'static str,
    /// Below the root, any of them.
    places: &'static [&'static str],
    source: &'static str,
}

/// ImageNet-1k, with `train` and `val` below it.
const IMAGENET: PaperSet = PaperSet {
    name: "ImageNet-1k",
    places: &["imagenet/images", "imagenet", "ImageNet", "ILSVRC2012"],
    source: "ILSVRC 2012 from image-net.org (after registration), as train/SYNSET and val/SYNSET with \
             LOC_synset_mapping.txt or synset_words.txt above them",
};

/// The out-of-distribution sets, from which classes that ImageNet has too were removed by
/// Huang and Li (*MOS*, CVPR 2021).
const OOD: [PaperSet; 4] = [
    PaperSet {
        name: "iNaturalist",
        places: &["iNaturalist/images", "iNaturalist"],
        source: "iNaturalist.tar.gz, the 10,000 images of 110 plant classes that MOS chose \
                 (github.com/deeplearning-wisc/large_scale_ood)",
    },
    PaperSet {
        name: "SUN",
        places: &["SUN/images", "SUN"],
        source: "SUN.tar.gz, the 10,000 images of 50 classes that MOS chose \
                 (github.com/deeplearning-wisc/large_scale_ood)",
    },
    PaperSet {
        name: "Places",
        places: &["Places/images", "Places", "places365/images"],
        source: "Places.tar.gz, the 10,000 images of 50 classes that MOS chose \
                 (github.com/deeplearning-wisc/large_scale_ood)",
    },
    PaperSet {
        name: "Textures",
        places: &["Texture/images", "dtd/images", "Textures", "Texture"],
        source: "dtd-r1.0.1.tar.gz, the Describable Textures Dataset, all 5,640 images \
                 (robots.ox.ac.uk/~vgg/data/dtd)",
    },
];

/// What of the paper's data is below `root`: ImageNet, the sets that are there, and what is missing.
pub fn folders(root: &Path) -> (Option<PathBuf>, Vec<(String, PathBuf)>, Vec<Missing>) {
    let mut missing = Vec::new();
    let mut find = |set: &PaperSet| {
        let looked: Vec<PathBuf> = set.places.iter().map(|place| root.join(place)).collect();
        let found = looked.iter().find(|place| place.is_dir()).cloned();
        if found.is_none() {
            missing.push(Missing {
                name: set.name,
                looked,
                source: set.source,
            });
        }
        found
    };
    let imagenet = find(&IMAGENET);
    let mut ood = Vec::new();
    for set in &OOD {
        ood.extend(find(set).map(|folder| (set.name.to_owned(), folder)));
    }
    (imagenet, ood, missing)
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
        let (imagenet, ood, missing) = folders(root.path());
        assert_eq!(imagenet, Some(root.path().join("imagenet/images")));
        let found: Vec<&str> = ood.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(found, ["SUN", "Textures"]);
        let absent: Vec<&str> = missing.iter().map(|set| set.name).collect();
        assert_eq!(absent, ["iNaturalist", "Places"]);
        assert!(missing[0].to_string().contains("large_scale_ood"));
    }
}
