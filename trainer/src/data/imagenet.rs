//! The layouts ImageNet and Tiny ImageNet come in: folders named by synset, and a file that gives
//! the synsets their names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::annotated::{self, Annotated};
use super::folder::halves_of;
use super::walk::{Found, folders_in, images_below, images_in};
use super::{Dataset, Source, Split, class_name};
use crate::output::read_at_most;

/// `DIR[/train|/val]/n01440764/*.JPEG` with a file of synset names in `DIR` or above, the
/// archive of the Kaggle challenge (`DIR/ILSVRC/Data/CLS-LOC`), or Tiny ImageNet.
pub struct ImageNet;

/// Files that give synsets their names, one a line: `n01440764 tench, Tinca tinca`. The first is that of
/// CoOp and LoCoOp, whose names are made for prompts.
const NAME_FILES: &[&str] = &[
    "classnames.txt",
    "LOC_synset_mapping.txt",
    "synset_words.txt",
    "words.txt",
];

/// The most bytes of such a file: ten times those of the challenge.
const MAX_NAMES_BYTES: u64 = 64 << 20;

/// How far above the images the names and solutions are looked for.
const LEVELS_ABOVE: usize = 3;

impl Source for ImageNet {
    fn id(&self) -> &'static str {
        "imagenet"
    }

    fn describes(&self) -> &'static str {
        "folders named by synset (n01440764), with classnames.txt, LOC_synset_mapping.txt, synset_words.txt or words.txt beside or above them"
    }

    fn recognises(&self, path: &Path) -> bool {
        path.is_dir()
            && images_root(path)
                .and_then(|root| holds_synsets(&root))
                .unwrap_or(false)
    }

    fn read(&self, path: &Path) -> Result<Dataset> {
        let root = images_root(path)?;
        let names = read_names(&root)?;
        let (mut images, mut unlabelled) = (Vec::new(), Vec::new());
        let mut others = Found::default();
        let halves = halves_of(&root)?;
        if halves.is_empty() {
            images.extend(synset_folders(&root, "", None, |_| true, &mut others)?);
        }
        for (folder, name, split) in &halves {
            let prefix = format!("{name}/");
            let of_half = synset_folders(folder, &prefix, Some(*split), |_| true, &mut others)?;
            if !of_half.is_empty() {
                images.extend(of_half);
                continue;
            }
            let flat = flat_half(&root, folder, &prefix, *split, &mut others)?;
            if flat.iter().any(|image| image.class.is_some()) {
                images.extend(flat);
            } else if !flat.is_empty() {
                // Beside images with classes they would only hide how many of those are right.
                unlabelled.push(left_out(folder, flat.len()));
            }
        }
        let mut dataset = annotated::dataset(path, "imagenet", images);
        dataset.warnings = others.warnings(path);
        dataset.warnings.extend(unlabelled);
        dataset.warnings.extend(no_synsets(&root, &halves)?);
        let (classes, warnings) = name_classes(&dataset.classes, &names);
        dataset.classes = classes;
        dataset.warnings.extend(warnings);
        Ok(dataset)
    }
}

/// What is said of a half whose images belong to no known class.
fn left_out(folder: &Path, images: usize) -> String {
    format!(
        "{}: {images} images without synset folders or a table of their synsets belong to no known class: left out",
        folder.display()
    )
}

/// The images of some synsets under names of the caller's, in `DIR[/train|/val]/SYNSET`, or in a flat
/// half with a table of their synsets. A half that tells no synset, as the test half of the
/// challenge, is left out.
///
/// # Errors
/// When a synset has no image in a half.
pub fn of_synsets(path: &Path, classes: &[(&str, &str)]) -> Result<Dataset> {
    let root = images_root(path)?;
    let mut places: Vec<(PathBuf, String, Option<Split>)> = halves_of(&root)?
        .into_iter()
        .map(|(folder, name, split)| (folder, format!("{name}/"), Some(split)))
        .collect();
    if places.is_empty() {
        places.push((root.clone(), String::new(), None));
    }
    let (mut images, mut warnings) = (Vec::new(), Vec::new());
    let mut others = Found::default();
    // By class, so that one that is in no half counts once.
    let mut missing: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (folder, prefix, split) in &places {
        let named = |synset: &str| classes.iter().find(|(of, _)| *of == synset);
        let wanted = |synset: &str| named(synset).is_some();
        let mut of_half = synset_folders(folder, prefix, *split, wanted, &mut others)?;
        if of_half.is_empty()
            && let Some(split) = split
        {
            of_half = flat_half(&root, folder, prefix, *split, &mut others)?;
            if of_half.iter().all(|image| image.class.is_none()) && !of_half.is_empty() {
                warnings.push(left_out(folder, of_half.len()));
                continue;
            }
        }
        let there: BTreeSet<String> = of_half
            .iter()
            .filter_map(|image| image.class.clone())
            .collect();
        for (synset, class) in classes {
            if !there.contains(*synset) {
                let place = format!("{prefix}{synset} ({class})");
                missing.entry(synset).or_default().push(place);
            }
        }
        images.extend(of_half.into_iter().filter_map(|image| {
            let (_, class) = named(image.class.as_deref()?)?;
            Some(Annotated {
                class: Some((*class).to_owned()),
                ..image
            })
        }));
    }
    if !missing.is_empty() {
        bail!(
            "{}: there is no image for {} of the {} classes: {}",
            path.display(),
            missing.len(),
            classes.len(),
            missing
                .into_values()
                .flatten()
                .collect::<Vec<_>>()
                .join(", ")
        );
    }
    if images.is_empty() {
        bail!("{}", warnings.join("; "));
    }
    let mut dataset = annotated::dataset(path, "imagenet", images);
    dataset.warnings = warnings;
    Ok(dataset)
}

/// Where the folders of images are: `path` itself, or deep inside Kaggle's archive.
fn images_root(path: &Path) -> Result<PathBuf> {
    for below in ["ILSVRC/Data/CLS-LOC", "Data/CLS-LOC"] {
        let inside = path.join(below);
        if inside.is_dir() {
            return Ok(inside);
        }
    }
    Ok(path.to_path_buf())
}

fn is_synset(name: &str) -> bool {
    name.len() == 9
        && name.starts_with('n')
        && name[1..].bytes().all(|digit| digit.is_ascii_digit())
}

fn holds_synsets(root: &Path) -> Result<bool> {
    let mut places = vec![root.to_path_buf()];
    places.extend(halves_of(root)?.into_iter().map(|(folder, _, _)| folder));
    for place in places {
        if folders_in(&place)?.iter().any(|(_, name)| is_synset(name)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Folders beside those of synsets: their images are in no class.
fn no_synsets(root: &Path, halves: &[(PathBuf, String, Split)]) -> Result<Option<String>> {
    let mut places: Vec<&Path> = halves.iter().map(|(folder, ..)| folder.as_path()).collect();
    if places.is_empty() {
        places.push(root);
    }
    let mut left_out = BTreeSet::new();
    for place in places {
        let folders = folders_in(place)?;
        if folders.iter().any(|(_, name)| is_synset(name)) {
            let others = folders.into_iter().filter(|(_, name)| !is_synset(name));
            left_out.extend(others.map(|(_, name)| name));
        }
    }
    let names: Vec<String> = left_out.into_iter().collect();
    Ok((!names.is_empty()).then(|| {
        format!(
            "{}: left out, being no synsets as their neighbours are (n01440764): {}; name all folders by synsets, or none",
            root.display(),
            names.join(", ")
        )
    }))
}

fn synset_folders(
    folder: &Path,
    prefix: &str,
    split: Option<Split>,
    wanted: impl Fn(&str) -> bool,
    others: &mut Found,
) -> Result<Vec<Annotated>> {
    let mut images = Vec::new();
    for (synset_folder, synset) in folders_in(folder)? {
        if !is_synset(&synset) || !wanted(&synset) {
            continue;
        }
        let found = images_below(&synset_folder)?;
        others.absorb_others(&found);
        let items = found
            .within(&format!("{prefix}{synset}"))
            .into_items(None, split);
        images.extend(items.into_iter().map(|item| Annotated {
            path: item.path,
            name: item.name,
            class: Some(synset.clone()),
            split: item.split,
        }));
    }
    Ok(images)
}

/// A half whose images lie in one folder, their synsets in a table: ImageNet's `val` with
/// `LOC_val_solution.csv`, Tiny ImageNet's `val/images` with `val_annotations.txt`.
fn flat_half(
    root: &Path,
    folder: &Path,
    prefix: &str,
    split: Split,
    others: &mut Found,
) -> Result<Vec<Annotated>> {
    let within = folder.join("images");
    let (place, prefix) = if within.is_dir() {
        (within, format!("{prefix}images"))
    } else {
        (
            folder.to_path_buf(),
            prefix.trim_end_matches('/').to_owned(),
        )
    };
    let found = images_in(&place)?;
    if found.len() == 0 {
        return Ok(Vec::new());
    }
    let synsets = read_solution(root, folder)?;
    others.absorb_others(&found);
    Ok(found
        .within(&prefix)
        .into_items(None, Some(split))
        .into_iter()
        .map(|item| {
            let stem = item.path.file_stem().unwrap_or_default().to_string_lossy();
            Annotated {
                class: synsets.get(stem.as_ref()).cloned(),
                path: item.path.clone(),
                name: item.name.clone(),
                split: item.split,
            }
        })
        .collect())
}

/// A text file of a line for each synset or image.
fn read_names_file(path: &Path) -> Result<String> {
    String::from_utf8(read_at_most(path, MAX_NAMES_BYTES)?)
        .with_context(|| format!("{} is no UTF-8 text: save it as UTF-8", path.display()))
}

/// Image name without extension → synset. Empty where no table is found: such images are read
/// without a class.
fn read_solution(root: &Path, folder: &Path) -> Result<BTreeMap<String, String>> {
    let annotations = folder.join("val_annotations.txt");
    let (path, separators): (PathBuf, &[char]) = if annotations.is_file() {
        (annotations, &['\t'])
    } else if let Some(path) = find_above(root, "LOC_val_solution.csv") {
        (path, &[',', ' '])
    } else {
        return Ok(BTreeMap::new());
    };
    let text = read_names_file(&path)?;
    let mut synsets = BTreeMap::new();
    for line in text.lines() {
        let mut fields = line.split(separators);
        if let (Some(image), Some(synset)) = (fields.next(), fields.next())
            && is_synset(synset)
        {
            let stem = image.rsplit_once('.').map_or(image, |(stem, _)| stem);
            synsets.insert(stem.to_owned(), synset.to_owned());
        }
    }
    Ok(synsets)
}

/// Synset → its names in order, by the first of the files that names any.
fn read_names(root: &Path) -> Result<BTreeMap<String, Vec<String>>> {
    let files: Vec<PathBuf> = NAME_FILES
        .iter()
        .filter_map(|file| find_above(root, file))
        .collect();
    for path in &files {
        let names = names_of(&read_names_file(path)?);
        if !names.is_empty() {
            return Ok(names);
        }
    }
    match files.first() {
        Some(path) => bail!(
            "{} names no synset: each line must read like `n01440764 tench, Tinca tinca`",
            path.display()
        ),
        None => bail!(
            "{} has folders named by synset and no file that names the synsets: put {} there or above (one line a synset: n01440764 tench, Tinca tinca)",
            root.display(),
            NAME_FILES.join(", or ")
        ),
    }
}

fn names_of(text: &str) -> BTreeMap<String, Vec<String>> {
    text.lines()
        .filter_map(|line| line.trim().split_once([' ', '\t']))
        .filter(|(synset, _)| is_synset(synset))
        .map(|(synset, names)| {
            let names = names.split(',').map(class_name).filter(|n| !n.is_empty());
            (synset.to_owned(), names.collect())
        })
        .collect()
}

fn find_above(from: &Path, file: &str) -> Option<PathBuf> {
    let from = fs::canonicalize(from).ok()?;
    from.ancestors()
        .take(LEVELS_ABOVE + 1)
        .map(|folder| folder.join(file))
        .find(|path| path.is_file())
}

/// Each synset's first name that no other synset has as its first (a crane is a bird and a
/// machine); the synset itself tells the rest apart.
fn name_classes(
    synsets: &[String],
    names: &BTreeMap<String, Vec<String>>,
) -> (Vec<String>, Vec<String>) {
    let no_names = Vec::new();
    let of = |synset: &String| names.get(synset).unwrap_or(&no_names);
    let mut first_names: BTreeMap<&str, usize> = BTreeMap::new();
    for first in synsets.iter().filter_map(|synset| of(synset).first()) {
        *first_names.entry(first).or_default() += 1;
    }
    let mut warnings = Vec::new();
    let mut taken: BTreeMap<String, &String> = BTreeMap::new();
    let mut classes = Vec::with_capacity(synsets.len());
    for synset in synsets {
        let candidates = of(synset);
        let free = candidates.iter().find(|name| {
            first_names.get(name.as_str()).copied().unwrap_or(0)
                <= usize::from(candidates.first() == Some(*name))
                && !taken.contains_key(name.as_str())
        });
        let name = match (free, candidates.first()) {
            (Some(name), _) => name.clone(),
            (None, Some(first)) => {
                let name = format!("{first} ({synset})");
                warnings.push(format!(
                    "another synset is called `{first}` as well: {synset} becomes `{name}`"
                ));
                name
            }
            (None, None) => {
                warnings.push(format!("{synset} has no name: it keeps its number"));
                synset.clone()
            }
        };
        taken.insert(name.clone(), synset);
        classes.push(name);
    }
    (classes, warnings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{open, test_images::put};

    const NAMES: &str = "n01440764 tench, Tinca tinca\nn02012849 crane\nn03126707 crane\nn02119789 kit fox, Vulpes macrotis\n";

    #[test]
    fn synsets_get_their_names_and_halves() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("LOC_synset_mapping.txt"), NAMES).unwrap();
        let data = folder.path().join("ILSVRC/Data/CLS-LOC");
        for synset in ["n01440764", "n02012849", "n03126707"] {
            put(&data.join(format!("train/{synset}/{synset}_1.png")), 1);
        }
        put(&data.join("val/ILSVRC2012_val_00000001.png"), 1);
        fs::write(
            folder.path().join("LOC_val_solution.csv"),
            "ImageId,PredictionString\nILSVRC2012_val_00000001,n01440764 111 108 249 242\n",
        )
        .unwrap();
        let dataset = open(folder.path()).unwrap();
        assert_eq!(dataset.source, "imagenet");
        assert_eq!(
            dataset.classes,
            ["tench", "crane (n02012849)", "crane (n03126707)"]
        );
        assert_eq!(dataset.items.len(), 4);
        let val = dataset.split(Split::Test).unwrap();
        assert_eq!(val.items.len(), 1);
        assert_eq!(val.items[0].label, Some(0));
    }

    #[test]
    fn tiny_imagenet_keeps_its_labels_in_a_table() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join("words.txt"),
            "n01440764\ttench, Tinca tinca\nn02119789\tkit fox\n",
        )
        .unwrap();
        // Names of something else, in the file that is asked first.
        fs::write(folder.path().join("classnames.txt"), "red\nblue green\n").unwrap();
        put(&folder.path().join("train/n01440764/images/a.png"), 1);
        put(&folder.path().join("train/n02119789/images/b.png"), 1);
        put(&folder.path().join("val/images/val_0.png"), 1);
        fs::write(
            folder.path().join("val/val_annotations.txt"),
            "val_0.png\tn02119789\t0\t32\t44\t62\n",
        )
        .unwrap();
        let dataset = open(folder.path()).unwrap();
        assert_eq!(dataset.classes, ["tench", "kit fox"]);
        let val = dataset.split(Split::Test).unwrap();
        assert_eq!(val.items[0].label, Some(1));

        // Its test half tells no classes: beside `val` it would hide how many are right.
        put(&folder.path().join("test/images/test_0.png"), 1);
        let dataset = open(folder.path()).unwrap();
        assert_eq!(dataset.split(Split::Test).unwrap().items.len(), 1);
        let warnings = dataset.warnings.join("\n");
        assert!(warnings.contains("1 images without synset"), "{warnings}");
    }

    #[test]
    fn folders_that_are_no_synsets_are_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join("words.txt"),
            "n01440764\ttench\nn02119789\tkit fox\n",
        )
        .unwrap();
        for class in ["n01440764", "n02119789", "Faces", "Leopards"] {
            put(&folder.path().join(class).join("1.png"), 1);
        }
        let dataset = open(folder.path()).unwrap();
        assert_eq!(dataset.classes, ["tench", "kit fox"]);
        let said = dataset.warnings.join("\n");
        assert!(
            said.contains("Faces, Leopards; name all folders by synsets"),
            "{said}"
        );
    }

    #[test]
    fn some_synsets_are_read_from_flat_halves_too() {
        let folder = tempfile::tempdir().unwrap();
        let classes = [("n01440764", "tench"), ("n02119789", "kit fox")];
        for synset in ["n01440764", "n02119789", "n02012849"] {
            put(&folder.path().join(format!("train/{synset}/a.png")), 1);
        }
        for image in 0..3 {
            put(&folder.path().join(format!("val/val_{image}.png")), 1);
            put(&folder.path().join(format!("test/test_{image}.png")), 1);
        }
        let solve = |lines: &str| {
            let table = format!("ImageId,PredictionString\n{lines}");
            fs::write(folder.path().join("LOC_val_solution.csv"), table).unwrap();
            of_synsets(folder.path(), &classes)
        };
        let dataset = solve("val_0,n02119789 1 2\nval_1,n01440764 1 2\nval_2,n02012849 1 2\n");
        let dataset = dataset.unwrap();
        let found: Vec<_> = dataset
            .items
            .iter()
            .map(|item| (item.name.as_str(), item.label))
            .collect();
        assert_eq!(
            found,
            [
                ("train/n01440764/a.png", Some(1)),
                ("train/n02119789/a.png", Some(0)),
                ("val/val_0.png", Some(0)),
                ("val/val_1.png", Some(1)),
            ]
        );
        assert!(
            dataset.warnings[0].contains("test: 3 images"),
            "{:?}",
            dataset.warnings
        );
        let error = solve("val_0,n02119789 1 2\n").unwrap_err().to_string();
        assert!(
            error.contains("for 1 of the 2 classes: val/n01440764 (tench)"),
            "{error}"
        );
        fs::remove_dir_all(folder.path().join("train/n01440764")).unwrap();
        let error = solve("val_0,n02119789 1 2\n").unwrap_err().to_string();
        assert!(
            error.contains("for 1 of the 2 classes: train/n01440764 (tench), val/n01440764"),
            "{error}"
        );
    }

    #[test]
    fn synset_folders_without_names_are_an_error_that_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        put(&folder.path().join("n01440764/a.png"), 1);
        let error = open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("LOC_synset_mapping.txt"), "{error}");
    }
}
