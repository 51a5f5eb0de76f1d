//! Where images come from. A source is one file here and one line in [`SOURCES`].

mod annotated;
mod few_shot;
mod folder;
mod imagenet;
mod in_both;
mod manifest;
mod sets;
mod walk;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use shared::bundle::MAX_CLASSES;

pub use few_shot::few_shot;
pub use imagenet::of_synsets;
pub use in_both::{note_of_both, notes_of_both};
pub use sets::{check_set_names, file_name, parse_set};
pub use walk::name_text;

/// The most bytes of a class's name: far more than any text tower reads.
const MAX_NAME_BYTES: usize = 1_000;

/// Images with their classes, in an order that depends on the names alone.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// What was opened, as the user wrote it.
    pub root: PathBuf,
    /// Which source read it (`folder`, `manifest`, `imagenet`).
    pub source: &'static str,
    /// The names that go into prompts. Empty when the images carry no classes.
    pub classes: Vec<String>,
    pub items: Vec<Item>,
    /// What a person should know about what was found: left-out files, renamed classes.
    pub warnings: Vec<String>,
}

/// One image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub path: PathBuf,
    /// The path below [`Dataset::root`], with `/` on every system.
    pub name: String,
    /// Index into [`Dataset::classes`]; none where the class is not known.
    pub label: Option<usize>,
    /// The half the data itself assigns, if it does.
    pub split: Option<Split>,
}

/// The half of a dataset to learn from, and the half to measure on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, clap::ValueEnum)]
pub enum Split {
    /// Images to learn from (folder or column `train`)
    Train,
    /// Held-out images (folder or column `test`, `val` or `validation`)
    Test,
}

impl Split {
    /// Reads the names that datasets use for their halves.
    pub fn parse(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "train" | "training" => Some(Self::Train),
            "test" | "testing" | "val" | "valid" | "validation" | "eval" => Some(Self::Test),
            _ => None,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
        }
    }
}

/// What is said of the parts of data that make up one half, where they are several.
fn taken_together(data: &Path, names: &[&str], half: Split) -> Option<String> {
    (names.len() > 1).then(|| {
        format!(
            "{}: {} are taken together, as the {} half; move away those that are not to be",
            data.display(),
            names.join(" and "),
            half.as_str()
        )
    })
}

/// A layout of files that a dataset may have.
pub trait Source: Sync {
    /// Kebab-case name, for messages and records.
    fn id(&self) -> &'static str;
    /// One line for `--help` and for the error that lists what can be read.
    fn describes(&self) -> &'static str;
    /// Whether `path` has this layout. Looks at a few names only.
    fn recognises(&self, path: &Path) -> bool;
    /// Lists the images, in an order that depends on the names alone.
    fn read(&self, path: &Path) -> Result<Dataset>;
}

/// Every layout, the most particular first: the first that recognises a path reads it.
pub static SOURCES: &[&dyn Source] = &[
    &manifest::Manifest,
    &imagenet::ImageNet,
    &folder::ImageFolder,
];

/// Opens whatever lies at `path`: a folder of class folders, a manifest, an ImageNet layout.
///
/// # Errors
/// When nothing is there, no layout fits, or no image is found.
pub fn open(path: &Path) -> Result<Dataset> {
    if let Err(error) = std::fs::metadata(path) {
        return Err(crate::output::explain(error, "open the data", path));
    }
    let Some(source) = SOURCES.iter().find(|source| source.recognises(path)) else {
        let known: Vec<_> = SOURCES
            .iter()
            .map(|source| format!("  {}: {}", source.id(), source.describes()))
            .collect();
        bail!(
            "{} is no data that can be read; what can:\n{}",
            path.display(),
            known.join("\n")
        );
    };
    let dataset = source.read(path)?;
    if dataset.items.is_empty() {
        bail!(
            "there is no image in {}: put one folder for each class there, with its photos inside ({})",
            path.display(),
            walk::EXTENSIONS.join(", ")
        );
    }
    Ok(dataset)
}

/// Every image at or below the given paths, without classes: for predictions and for
/// out-of-distribution sets. Folders are walked in the order of their names.
pub fn open_unlabelled(path: &Path) -> Result<Dataset> {
    if let Err(error) = std::fs::metadata(path) {
        return Err(crate::output::explain(error, "open the images", path));
    }
    let mut dataset = if path.is_dir() {
        let found = walk::images_below(path)?;
        Dataset {
            root: path.to_path_buf(),
            source: "folder",
            classes: Vec::new(),
            warnings: found.warnings(path),
            items: found.into_items(None, None),
        }
    } else {
        open(path)?
    };
    dataset.classes.clear();
    for item in &mut dataset.items {
        item.label = None;
    }
    if dataset.items.is_empty() {
        bail!(
            "there is no image in {}: put photos there ({})",
            path.display(),
            walk::EXTENSIONS.join(", ")
        );
    }
    Ok(dataset)
}

impl Dataset {
    /// The images of one half.
    ///
    /// # Errors
    /// When the data is not split, this half has no image, or an image has no half where others have:
    /// it would be learned from and measured on.
    pub fn split(&self, split: Split) -> Result<Dataset> {
        let (root, half) = (self.root.display(), split.as_str());
        if !self.is_split() {
            bail!(
                "{root} is not split, and has no {half} half: put folders `train` and `test` above the class folders (or write the column `split` in a table), or take all of it"
            );
        }
        if let Some(item) = self.items.iter().find(|item| item.split.is_none()) {
            bail!(
                "{root}: `{}` has no split, and other images have: write `train` or `test` for every image, or leave the column `split` out",
                item.name
            );
        }
        let items: Vec<_> = self
            .items
            .iter()
            .filter(|item| item.split == Some(split))
            .cloned()
            .collect();
        if items.is_empty() {
            bail!(
                "{root} has no {half} images: name one of its folders `{half}` (in a table, write `{half}` in the column `split`), or give data without halves"
            );
        }
        Ok(Dataset {
            items,
            ..self.clone()
        })
    }

    /// Whether the data itself says which images to learn from and which to hold out.
    pub fn is_split(&self) -> bool {
        self.items.iter().any(|item| item.split.is_some())
    }

    /// Fails unless there are at least two classes to tell apart.
    pub fn require_classes(&self) -> Result<()> {
        match self.classes.as_slice() {
            [] if self.source == manifest::Manifest.id() => bail!(
                "{} has images but no classes: write the name of each image's class in a column `label` (spelled so; in JSON lines, a field)",
                self.root.display()
            ),
            [] => bail!(
                "{} has images but no classes: put one folder for each class there, with its photos inside",
                self.root.display()
            ),
            [only] => bail!(
                "{} has one class only, `{only}`: at least two are needed, one folder for each",
                self.root.display()
            ),
            many if many.len() > MAX_CLASSES => bail!(
                "{} has {} classes, and a bundle holds {MAX_CLASSES}: leave some out (is the column `label` the right one?)",
                self.root.display(),
                many.len()
            ),
            fine => match fine.iter().find(|name| name.len() > MAX_NAME_BYTES) {
                Some(long) => bail!(
                    "{}: the class `{}…` has a name of {} bytes, and a prompt has no room for more than {MAX_NAME_BYTES}: give it a shorter name",
                    self.root.display(),
                    long.chars().take(40).collect::<String>(),
                    long.len()
                ),
                None => self.require_distinct_prompts(),
            },
        }
    }

    /// Fails where the names of two classes are one in a prompt, or one of them is nothing.
    fn require_distinct_prompts(&self) -> Result<()> {
        let root = self.root.display();
        let mut names: BTreeMap<String, &str> = BTreeMap::new();
        for class in &self.classes {
            let name = prompt_name(class);
            if name.is_empty() {
                bail!(
                    "{root}: the name of a class, `{class}`, is nothing but spaces and underscores: give it a name that a prompt can say"
                );
            }
            if let Some(other) = names.insert(name, class) {
                bail!(
                    "{root}: the classes `{other}` and `{class}` have the same name in a prompt, where an underscore is a space: rename one of them, or put their images together"
                );
            }
        }
        Ok(())
    }
}

/// A class's name as a prompt says it: `water_lilly` → `water lilly`.
pub fn prompt_name(class: &str) -> String {
    class.replace('_', " ").trim().to_owned()
}

/// The name a folder gives its class in a prompt: `sea_horse` is a sea horse.
pub fn class_name(folder: &str) -> String {
    let words: Vec<_> = folder
        .split(|c: char| c == '_' || c.is_whitespace())
        .filter(|word| !word.is_empty())
        .collect();
    words.join(" ")
}

#[cfg(test)]
pub(crate) mod test_images {
    use std::path::Path;

    /// Puts a small picture at `path`; its colour tells it from others.
    pub fn put(path: &Path, colour: u8) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        image::RgbImage::from_pixel(8, 8, image::Rgb([colour, 255 - colour, 128]))
            .save(path)
            .unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::test_images::put;
    use super::*;

    fn dataset(classes: &[&str], splits: &[Option<Split>]) -> Dataset {
        Dataset {
            root: "photos".into(),
            source: "manifest",
            classes: classes.iter().map(|&class| class.to_owned()).collect(),
            items: (splits.iter().enumerate())
                .map(|(number, &split)| Item {
                    path: PathBuf::new(),
                    name: format!("{number}.png"),
                    label: Some(0),
                    split,
                })
                .collect(),
            warnings: Vec::new(),
        }
    }

    #[test]
    fn no_image_is_in_both_halves() {
        let (train, test) = (Some(Split::Train), Some(Split::Test));
        let told = |splits: &[Option<Split>]| {
            let half = dataset(&["ant", "bee"], splits).split(Split::Test);
            half.map(|half| half.items.len())
                .map_err(|error| error.to_string())
        };
        assert_eq!(told(&[train, test, test]), Ok(2));
        let error = told(&[train, None, test]).unwrap_err();
        assert!(error.contains("`1.png` has no split"), "{error}");
        let error = told(&[None, None]).unwrap_err();
        assert!(error.contains("photos is not split"), "{error}");
        let error = told(&[train]).unwrap_err();
        assert!(error.contains("photos has no test images"), "{error}");
    }

    #[test]
    fn classes_are_told_apart_by_their_prompts() {
        let told = |classes: &[&str]| {
            let checked = dataset(classes, &[None]).require_classes();
            checked.map_err(|error| error.to_string())
        };
        told(&["sea horse", "horse"]).unwrap();
        let error = told(&["sea horse", "sea_horse"]).unwrap_err();
        assert!(
            error.contains("`sea horse` and `sea_horse`") && error.contains("rename"),
            "{error}"
        );
        assert!(told(&["_", "ant"]).unwrap_err().contains("nothing but"));

        let folder = tempfile::tempdir().unwrap();
        for class in ["sea_horse", "sea horse", "_"] {
            put(&folder.path().join(class).join("1.png"), 1);
        }
        assert!(open(folder.path()).unwrap().require_classes().is_err());
    }
}
