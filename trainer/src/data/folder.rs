//! A folder with one folder of photos for each class, with or without `train/` and `test/` above.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::annotated::{self, Annotated};
use super::walk::{Found, folders_in, images_below, images_in};
use super::{Dataset, Source, Split, class_name, taken_together};

/// `DIR/CLASS/photo.jpg`, or `DIR/train/CLASS/photo.jpg` beside `DIR/test/CLASS/photo.jpg`, or
/// photos without class folders.
pub struct ImageFolder;

impl Source for ImageFolder {
    fn id(&self) -> &'static str {
        "folder"
    }

    fn describes(&self) -> &'static str {
        "a folder with one folder of photos for each class; `train` and `test` folders may stand above the classes"
    }

    fn recognises(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn read(&self, path: &Path) -> Result<Dataset> {
        let mut reading = Reading::default();
        let folders = folders_in(path)?;
        let mut halves = Vec::new();
        for (folder, name) in &folders {
            if let Some(split) = Split::parse(name)
                && !folders_in(folder)?.is_empty()
            {
                halves.push((folder.clone(), name.clone(), split));
            }
        }
        if halves.is_empty() {
            reading.classes_in(path, "", None)?;
        } else {
            for (folder, name, split) in &halves {
                reading.classes_in(folder, &format!("{name}/"), Some(*split))?;
            }
            let others = folders
                .iter()
                .map(|(_, name)| name.as_str())
                .filter(|name| !halves.iter().any(|(_, half, _)| half == name));
            let (flat, left_out): (Vec<_>, Vec<_>) =
                others.partition(|name| Split::parse(name).is_some());
            for name in flat {
                reading.warnings.push(format!(
                    "{}: left out, having no class folders: {name}",
                    path.display()
                ));
            }
            for split in [Split::Train, Split::Test] {
                let of = halves.iter().filter(|(.., half)| *half == split);
                let names: Vec<_> = of.map(|(_, name, _)| name.as_str()).collect();
                reading.warnings.extend(taken_together(path, &names, split));
            }
            if !left_out.is_empty() {
                reading.warnings.push(format!(
                    "{}: left out, being neither `train` nor `test`: {}",
                    path.display(),
                    left_out.join(", ")
                ));
            }
        }
        Ok(reading.finish(path))
    }
}

#[derive(Default)]
struct Reading {
    images: Vec<Annotated>,
    others: Found,
    warnings: Vec<String>,
}

impl Reading {
    /// Takes every folder in `folder` as a class; photos in no class folder count only when there
    /// is no class folder at all.
    fn classes_in(&mut self, folder: &Path, prefix: &str, split: Option<Split>) -> Result<()> {
        let direct = images_in(folder)?;
        self.others.absorb_others(&direct);
        let mut any_class = false;
        let mut empty = Vec::new();
        for (class_folder, name) in folders_in(folder)? {
            let found = images_below(&class_folder)?;
            self.others.absorb_others(&found);
            if found.len() == 0 {
                empty.push(name);
                continue;
            }
            any_class = true;
            self.take(found.within(&format!("{prefix}{name}")), Some(&name), split);
        }
        if !empty.is_empty() {
            self.warnings.push(format!(
                "{}: no photo in the folder{} {}: no class is made of {}",
                folder.display(),
                if empty.len() == 1 { "" } else { "s" },
                empty.join(", "),
                if empty.len() == 1 { "it" } else { "them" },
            ));
        }
        if any_class && direct.len() > 0 {
            self.warnings.push(format!(
                "{}: {} photos lie beside the class folders and belong to no class: left out",
                folder.display(),
                direct.len()
            ));
        } else if !any_class {
            let prefix = prefix.trim_end_matches('/');
            let direct = if prefix.is_empty() {
                direct
            } else {
                direct.within(prefix)
            };
            self.take(direct, None, split);
        }
        Ok(())
    }

    fn take(&mut self, found: Found, class: Option<&str>, split: Option<Split>) {
        for item in found.into_items(None, split) {
            self.images.push(Annotated {
                path: item.path,
                name: item.name,
                class: class.map(str::to_owned),
                split: item.split,
            });
        }
    }

    fn finish(mut self, root: &Path) -> Dataset {
        self.warnings.extend(self.others.warnings(root));
        self.warnings.extend(one_sided(root, &self.images));
        let mut dataset = annotated::dataset(root, "folder", self.images);
        let mut seen = BTreeSet::new();
        for class in &mut dataset.classes {
            let name = class_name(class);
            // Two folders may differ in underscores only; each keeps a name of its own.
            *class = if seen.insert(name.clone()) {
                name
            } else {
                class.clone()
            };
        }
        dataset.warnings = self.warnings;
        dataset
    }
}

/// Classes that one half has and the other has not.
fn one_sided(root: &Path, images: &[Annotated]) -> Option<String> {
    let of = |split| -> BTreeSet<&str> {
        images
            .iter()
            .filter(|image| image.split == Some(split))
            .filter_map(|image| image.class.as_deref())
            .collect()
    };
    let (train, test) = (of(Split::Train), of(Split::Test));
    if train.is_empty() || test.is_empty() {
        return None;
    }
    let odd: Vec<_> = train.symmetric_difference(&test).copied().collect();
    (!odd.is_empty()).then(|| {
        format!(
            "{}: these classes are in one of `train` and `test` only: {}",
            root.display(),
            odd.join(", ")
        )
    })
}

/// Whether `path` has folders for both classes and halves; used by layouts built on this one.
pub(super) fn halves_of(path: &Path) -> Result<Vec<(PathBuf, String, Split)>> {
    Ok(folders_in(path)?
        .into_iter()
        .filter_map(|(folder, name)| {
            let split = Split::parse(&name)?;
            Some((folder, name, split))
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{open, open_unlabelled, test_images::put};

    #[cfg(target_os = "linux")]
    #[test]
    fn class_folders_that_differ_in_a_strange_byte_stay_two_classes() {
        use std::os::unix::ffi::OsStrExt;
        let folder = tempfile::tempdir().unwrap();
        for (byte, seed) in [(0xe8, 1), (0xe9, 2)] {
            let class = std::ffi::OsStr::from_bytes(&[b't', byte]).to_owned();
            put(&folder.path().join(class).join("1.png"), seed);
        }
        let dataset = open(folder.path()).unwrap();
        assert_eq!(dataset.classes, ["t\\xe8", "t\\xe9"]);
        assert!(dataset.items.iter().all(|item| item.path.is_file()));
    }

    #[test]
    fn class_folders_become_classes_in_order() {
        let folder = tempfile::tempdir().unwrap();
        put(&folder.path().join("sea_horse/2.png"), 1);
        put(&folder.path().join("ant/1.png"), 2);
        put(&folder.path().join("ant/deeper/3.png"), 3);
        std::fs::create_dir(folder.path().join("void")).unwrap();
        put(&folder.path().join("stray.png"), 4);
        let dataset = open(folder.path()).unwrap();
        assert_eq!(dataset.classes, ["ant", "sea horse"]);
        let items: Vec<_> = dataset
            .items
            .iter()
            .map(|item| (item.name.as_str(), item.label))
            .collect();
        assert_eq!(
            items,
            [
                ("ant/1.png", Some(0)),
                ("ant/deeper/3.png", Some(0)),
                ("sea_horse/2.png", Some(1))
            ]
        );
        let warnings = dataset.warnings.join("\n");
        assert!(warnings.contains("void"), "{warnings}");
        assert!(warnings.contains("1 photos lie beside"), "{warnings}");
        dataset.require_classes().unwrap();
    }

    #[test]
    fn halves_stand_above_the_classes() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["train/ant/1.png", "train/bee/1.png", "test/ant/2.png"] {
            put(&folder.path().join(name), 1);
        }
        let dataset = open(folder.path()).unwrap();
        assert_eq!(dataset.classes, ["ant", "bee"]);
        assert!(dataset.is_split());
        assert_eq!(dataset.split(Split::Train).unwrap().items.len(), 2);
        let test = dataset.split(Split::Test).unwrap();
        assert_eq!(test.items[0].name, "test/ant/2.png");
        assert!(dataset.warnings.join("\n").contains("bee"));
    }

    #[test]
    fn what_becomes_of_other_halves_is_said() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["train/ant/1.png", "val/ant/2.png", "test/ant/3.png"] {
            put(&folder.path().join(name), 1);
        }
        let said = || open(folder.path()).unwrap().warnings.join("\n");
        assert!(
            said().contains("test and val are taken together, as the test half"),
            "{}",
            said()
        );
        std::fs::remove_dir_all(folder.path().join("val")).unwrap();
        assert_eq!(said(), "");
        std::fs::remove_dir_all(folder.path().join("test/ant")).unwrap();
        put(&folder.path().join("test/3.png"), 1);
        assert!(
            said().contains("having no class folders: test"),
            "{}",
            said()
        );
        assert!(!said().contains("neither"), "{}", said());
    }

    #[test]
    fn a_class_called_train_is_a_class() {
        let folder = tempfile::tempdir().unwrap();
        put(&folder.path().join("train/1.png"), 1);
        put(&folder.path().join("plane/1.png"), 1);
        assert_eq!(open(folder.path()).unwrap().classes, ["plane", "train"]);
    }

    #[test]
    fn a_flat_folder_has_no_classes() {
        let folder = tempfile::tempdir().unwrap();
        put(&folder.path().join("1.png"), 1);
        let dataset = open(folder.path()).unwrap();
        assert!(dataset.classes.is_empty() && dataset.items[0].label.is_none());
        let error = dataset.require_classes().unwrap_err().to_string();
        assert!(error.contains("one folder for each class"), "{error}");
        assert_eq!(open_unlabelled(folder.path()).unwrap().items.len(), 1);
    }

    #[test]
    fn one_class_and_none_and_nothing_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let error = open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("there is no image"), "{error}");
        put(&folder.path().join("ant/1.png"), 1);
        let error = open(folder.path())
            .unwrap()
            .require_classes()
            .unwrap_err()
            .to_string();
        assert!(error.contains("one class only, `ant`"), "{error}");
        let error = format!("{:#}", open(&folder.path().join("absent")).unwrap_err());
        assert!(
            error.contains("absent") && error.contains("spelled"),
            "{error}"
        );
    }
}
