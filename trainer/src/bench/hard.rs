//! The hard splits of ImageNet: few classes against others that look or mean nearly the same.
//!
//! Source: Ming et al., *Delving into Out-of-Distribution Detection with Vision-Language
//! Representations* (MCM), NeurIPS 2022: ImageNet-10, whose classes are those of CIFAR-10 in high
//! resolution, and ImageNet-20, twenty classes close to them.

use std::path::Path;

use anyhow::{Result, bail};

use super::paper::imagenet;
use super::task::Task;
use crate::data::{Dataset, Split, of_synsets};
use crate::output::shown;

/// Synset, and the name that MCM gives it.
type Classes = [(&'static str, &'static str)];

const IMAGENET_10: [(&str, &str); 10] = [
    ("n04552348", "warplane"),
    ("n04285008", "sports car"),
    ("n01530575", "brambling bird"),
    ("n02123597", "Siamese cat"),
    ("n02422699", "antelope"),
    ("n02107574", "Swiss mountain dog"),
    ("n01641577", "bullfrog"),
    ("n03417042", "garbage truck"),
    ("n02389026", "horse"),
    ("n03095699", "container ship"),
];

const IMAGENET_20: [(&str, &str); 20] = [
    ("n04147183", "sailboat"),
    ("n02951358", "canoe"),
    ("n02782093", "balloon"),
    ("n04389033", "tank"),
    ("n03773504", "missile"),
    ("n02917067", "bullet train"),
    ("n02317335", "starfish"),
    ("n01632458", "spotted salamander"),
    ("n01630670", "common newt"),
    ("n01631663", "eft"),
    ("n02391049", "zebra"),
    ("n01693334", "green lizard"),
    ("n01697457", "African crocodile"),
    ("n02120079", "Arctic fox"),
    ("n02114367", "timber wolf"),
    ("n02132136", "brown bear"),
    ("n03785016", "moped"),
    ("n04310018", "steam locomotive"),
    ("n04266014", "space shuttle"),
    ("n04252077", "snowmobile"),
];

struct Side {
    name: &'static str,
    /// As MCM's script names the folder that it copies them to.
    folder: &'static str,
    classes: &'static Classes,
}

const SIDES: [Side; 2] = [
    Side {
        name: "ImageNet-10",
        folder: "ImageNet10",
        classes: &IMAGENET_10,
    },
    Side {
        name: "ImageNet-20",
        folder: "ImageNet20",
        classes: &IMAGENET_20,
    },
];

/// ImageNet-10 against ImageNet-20 and the other way round, from folders of their own
/// (`ImageNet10/train/SYNSET`) or from ImageNet-1k below `root`.
///
/// # Errors
/// When neither is there, naming the synsets that are missing.
pub fn tasks(root: &Path) -> Result<Vec<Task>> {
    let sides = SIDES
        .iter()
        .map(|side| Ok((side.name, images(side, root)?)))
        .collect::<Result<Vec<_>>>()?;
    let against = |known: usize, other: usize| -> Result<Task> {
        let (name, data) = &sides[known];
        let (other, images) = &sides[other];
        Ok(Task {
            name: format!("{name} known"),
            data: data.clone(),
            ood: vec![((*other).to_owned(), unlabelled(images)?)],
        })
    };
    Ok(vec![against(0, 1)?, against(1, 0)?])
}

fn images(side: &Side, root: &Path) -> Result<Dataset> {
    let own = root.join(side.folder);
    let place = match own.is_dir() {
        true => Some(own),
        false => imagenet(root).ok(),
    };
    let Some(place) = place else {
        bail!(
            "{}: neither {}/ nor ImageNet-1k is there; MCM's create_imagenet_subset.py copies {} out of \
             ImageNet-1k, which image-net.org gives after registration",
            shown(root),
            side.folder,
            side.name
        );
    };
    of_synsets(&place, side.classes)
}

/// The half to measure on, as images of nothing known.
fn unlabelled(images: &Dataset) -> Result<Dataset> {
    let mut others = match images.is_split() {
        true => images.split(Split::Test)?,
        false => images.clone(),
    };
    others.classes.clear();
    for item in &mut others.items {
        item.label = None;
    }
    Ok(others)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::test_images::put;

    #[test]
    fn both_sides_come_from_folders_of_their_own_or_from_imagenet() {
        let root = tempfile::tempdir().unwrap();
        let error = tasks(root.path()).err().unwrap().to_string();
        assert!(
            error.contains("ImageNet10") && error.contains("image-net.org"),
            "{error}"
        );
        for half in ["train", "val"] {
            for (synset, _) in IMAGENET_10 {
                put(
                    &root
                        .path()
                        .join(format!("ImageNet10/{half}/{synset}/a.png")),
                    1,
                );
            }
            for (synset, _) in &IMAGENET_20[1..] {
                put(
                    &root
                        .path()
                        .join(format!("imagenet/images/{half}/{synset}/a.png")),
                    2,
                );
            }
        }
        let error = tasks(root.path()).err().unwrap().to_string();
        assert!(error.contains("n04147183"), "{error}");
        for half in ["train", "val"] {
            put(
                &root
                    .path()
                    .join(format!("imagenet/images/{half}/n04147183/a.png")),
                2,
            );
        }
        let tasks = tasks(root.path()).unwrap();
        assert_eq!(tasks[0].data.classes.len(), 10);
        assert_eq!(tasks[0].data.items.len(), 20);
        assert_eq!(tasks[0].ood[0].1.items.len(), 20);
        assert_eq!(
            (tasks[1].name.as_str(), tasks[1].data.classes.len()),
            ("ImageNet-20 known", 20)
        );
        let names: Vec<&str> = tasks[1].data.classes.iter().map(String::as_str).collect();
        assert!(names.contains(&"timber wolf"));
    }
}
