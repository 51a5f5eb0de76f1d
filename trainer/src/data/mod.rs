//! Where images come from. A source is one file here and one line in [`SOURCES`].

mod annotated;
mod few_shot;
mod folder;
mod imagenet;
mod manifest;
mod walk;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use shared::bundle::MAX_CLASSES;

pub use few_shot::few_shot;
pub use imagenet::of_synsets;

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
    /// The images of one half. Images without a half belong to both.
    ///
    /// # Errors
    /// When the data is split and this half has no image.
    pub fn split(&self, split: Split) -> Result<Dataset> {
        let items: Vec<_> = self
            .items
            .iter()
            .filter(|item| item.split.is_none_or(|of| of == split))
            .cloned()
            .collect();
        if items.is_empty() {
            bail!(
                "{} has no {} images: name one of its folders `{}`, or leave --split out",
                self.root.display(),
                split.as_str(),
                split.as_str()
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
                None => Ok(()),
            },
        }
    }
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
