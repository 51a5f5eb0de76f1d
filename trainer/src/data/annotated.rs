//! Building a dataset from images whose class is given by name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Dataset, Item, Split};

/// One image with the name of its class, before classes have numbers.
pub struct Annotated {
    pub path: PathBuf,
    pub name: String,
    pub class: Option<String>,
    pub split: Option<Split>,
}

/// Numbers the classes in the order of their names and the images in the order of theirs.
pub fn dataset(root: &Path, source: &'static str, images: Vec<Annotated>) -> Dataset {
    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    for key in images.iter().filter_map(|image| image.class.as_ref()) {
        if !numbers.contains_key(key) {
            numbers.insert(key.clone(), 0);
        }
    }
    for (number, of_key) in numbers.values_mut().enumerate() {
        *of_key = number;
    }
    let classes = numbers.keys().cloned().collect();
    let mut items: Vec<_> = images
        .into_iter()
        .map(|image| Item {
            path: image.path,
            name: image.name,
            label: image.class.and_then(|key| numbers.get(&key).copied()),
            split: image.split,
        })
        .collect();
    items.sort_by(|a, b| a.name.cmp(&b.name));
    Dataset {
        root: root.to_path_buf(),
        source,
        classes,
        items,
        warnings: Vec::new(),
    }
}
