//! Lists of images and of classes.

use std::fs;

use super::{folder, put};
use crate::lit::concepts::Concepts;
use crate::{class_list, data};

/// A table of images, by the first byte CSV, JSON lines or TSV. The path `a.png` exists.
pub fn table(bytes: &[u8]) {
    let Some((&kind, text)) = bytes.split_first() else {
        return;
    };
    let name = ["table.csv", "table.jsonl", "table.tsv"][usize::from(kind) % 3];
    let path = put(name, text);
    put("a.png", b"");
    if let Ok(dataset) = data::open(&path) {
        check(&dataset);
    }
    let _ = data::open_unlabelled(&path);
}

/// The names of synsets (first byte even), or the classes of ImageNet's validation photos.
pub fn synset_names(bytes: &[u8]) {
    let Some((&kind, text)) = bytes.split_first() else {
        return;
    };
    let root = folder().join("synsets");
    let validation = root.join("val");
    if !root.is_dir() {
        for place in ["train/n01440764", "train/n01443537", "val"] {
            fs::create_dir_all(root.join(place)).expect("a folder");
            fs::write(root.join(place).join("a.png"), b"").expect("a file");
        }
    }
    let names = b"n01440764 tench, Tinca tinca\nn01443537 goldfish\n";
    let (names, classes) = match kind % 2 {
        0 => (text, &b"a.png,n01440764 1 2 3 4\n"[..]),
        _ => (&names[..], text),
    };
    fs::write(root.join("synset_words.txt"), names).expect("a file");
    fs::write(root.join("LOC_val_solution.csv"), classes).expect("a file");
    fs::write(validation.join("val_annotations.txt"), classes).expect("a file");
    if kind % 4 < 2 {
        fs::remove_file(validation.join("val_annotations.txt")).expect("a file");
    }
    if let Ok(dataset) = data::open(&root) {
        assert_eq!(dataset.source, "imagenet");
        check(&dataset);
    }
}

fn check(dataset: &data::Dataset) {
    let _ = dataset.require_classes();
    let classes = dataset.classes.len();
    let known = |item: &data::Item| item.label.is_none_or(|label| label < classes);
    assert!(!dataset.items.is_empty() && dataset.items.iter().all(known));
}

/// A concept corpus for a classifier of three classes.
pub fn concepts(bytes: &[u8]) {
    const ROWS: usize = 3;
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(concepts) = Concepts::parse(text, ROWS) {
        assert_eq!(concepts.imagenet.len(), ROWS);
        let prototypes = concepts.prototype_names().len();
        let rows = concepts.photographed_rows();
        assert!(rows.iter().all(|&row| row < prototypes));
        assert!(concepts.all_texts().len() >= concepts.core_texts().len());
        let _ = concepts.synsets();
    }
}

/// Class names as typed or pasted into the page.
pub fn class_list(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(names) = class_list::parse(&text) {
        assert!((2..=class_list::MOST_CLASSES).contains(&names.len()));
        let again = class_list::parse(&names.join("\n"));
        assert_eq!(again.as_ref(), Ok(&names));
    }
}
