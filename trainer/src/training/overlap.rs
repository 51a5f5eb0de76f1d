//! Images that are in two places of the data, where they make figures look better than they are, or
//! worse.

use std::collections::{HashMap, HashSet};

use super::encoded::Encoded;
use crate::data::note_of_both;

/// What a reader should know: images without a class, images that are learned from and measured on,
/// that have two classes, or that are in a set of others. Images are the same where their files are,
/// byte for byte.
pub(super) fn notes(
    train: &Encoded,
    test: Option<&Encoded>,
    ood: &[(String, Encoded, String)],
) -> Vec<String> {
    let mut notes = Vec::new();
    let own = || std::iter::once(train).chain(test);
    let all: usize = own().map(|set| set.features.len()).sum();
    let labels = |set: &Encoded| set.features.labels().collect::<Vec<_>>();
    let unlabelled = own().flat_map(labels).filter(Option::is_none).count();
    if unlabelled > 0 {
        notes.push(format!(
            "{unlabelled} of {all} images have no class in the data, and are left out."
        ));
    }

    let mut classes: HashMap<&[u8], Option<usize>> = HashMap::new();
    let mut two_classes = HashSet::new();
    for set in own() {
        for (image, label) in labels(set).into_iter().enumerate() {
            let Some(hash) = set.features.hash(image) else {
                continue;
            };
            let first = *classes.entry(hash).or_insert(label);
            if first.is_some() && label.is_some() && first != label {
                two_classes.insert(hash);
            }
        }
    }
    if !two_classes.is_empty() {
        notes.push(format!(
            "{} in the data under two classes: whatever is said of them is wrong once.",
            photos(two_classes.len())
        ));
    }
    let learned: HashSet<&[u8]> = hashes(train).collect();
    let repeated = hashes(train).count() - learned.len();
    if repeated > 0 {
        let (place, measured) = match test {
            None => ("data", "measured on"),
            Some(_) => (
                "training half",
                "used to set the thresholds, which are too high then",
            ),
        };
        notes.push(format!(
            "{} in the {place} more than once, and may be learned from and {measured}.",
            photos(repeated)
        ));
    }
    if let Some(test) = test {
        let again = hashes(test).filter(|hash| learned.contains(hash)).count();
        if again > 0 {
            notes.push(format!(
                "{} of the {} test images are among the training images as well: figures are better than they would be on new ones.",
                again,
                test.features.len()
            ));
        }
    }
    for (name, set, _) in ood {
        let known = hashes(set)
            .filter(|hash| classes.contains_key(hash))
            .count();
        notes.extend(note_of_both(name, known, set.features.len()));
    }
    notes
}

fn hashes(set: &Encoded) -> impl Iterator<Item = &[u8]> {
    (0..set.features.len()).filter_map(|image| set.features.hash(image))
}

fn photos(count: usize) -> String {
    match count {
        1 => "1 image is".to_owned(),
        more => format!("{more} images are"),
    }
}
