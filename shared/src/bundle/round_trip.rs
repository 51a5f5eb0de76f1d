//! What `write` gives, `read` takes; and everything else is refused by name.

use std::collections::HashMap;

use super::example::{SIZE, class_features, content};
use super::{
    Bundle, BundleContent, BundleError, BundleReader, MANIFEST_FILE, Manifest, Precision, Role,
    TensorValues, write,
};
use crate::score::{ImageFeatures, score_all};

type Files = HashMap<String, Vec<u8>>;

fn written() -> Files {
    write(&content()).unwrap().into_iter().collect()
}

fn open(files: &Files) -> Result<Bundle, BundleError> {
    Bundle::open(&files[MANIFEST_FILE], |entry| {
        let bytes = files.get(&entry.name);
        bytes.cloned().ok_or_else(|| "no such file".to_owned())
    })
}

/// A file of this role.
fn name_of(files: &Files, role: &str) -> String {
    files
        .keys()
        .find(|name| name.starts_with(role))
        .unwrap()
        .clone()
}

#[test]
fn what_was_written_is_read() {
    let (written_content, files) = (content(), written());
    let bundle = open(&files).unwrap();
    let manifest = &bundle.manifest;
    assert_eq!(manifest.model, written_content.model);
    assert_eq!(manifest.classes, written_content.classes);
    assert_eq!(manifest.prompts, written_content.prompts);
    assert_eq!(manifest.provenance, written_content.provenance);
    assert_eq!(manifest.figures, written_content.figures);
    assert_eq!(manifest.known_answers, written_content.known_answers);
    let pairs = manifest.methods.iter().zip(&written_content.methods);
    for (read, written) in pairs {
        assert_eq!((&read.id, read.settings), (&written.id, written.settings));
        assert!((read.threshold - written.threshold).abs() < 1e-12);
    }
    assert_eq!(bundle.class_features().unwrap(), class_features());
    for group in &written_content.tensors {
        for (name, tensor) in &group.tensors {
            let read = bundle.tensor(group.role, name).unwrap();
            assert_eq!(read.shape, tensor.shape);
            let tolerance = match group.precision {
                Precision::F32 => 0.0,
                Precision::F16 => 1e-3,
                Precision::Int8 => 5e-3,
            };
            for (a, b) in read.values.iter().zip(&tensor.values) {
                assert!((a - b).abs() <= tolerance);
            }
        }
    }
    let outsiders = bundle.clone().take_outsiders();
    assert_eq!(outsiders.photos().len(), 2);
    for photo in outsiders.photos() {
        assert_eq!(photo.patches.len(), 2 * photo.global.len());
    }
    for text in &written_content.texts {
        assert_eq!(bundle.text(text.role).unwrap(), text.content);
    }
    for answer in &manifest.known_answers {
        assert_eq!(bundle.known_pixels(answer).unwrap().len(), 3 * SIZE * SIZE);
    }
}

#[test]
fn the_bytes_repeat_and_the_manifest_comes_last() {
    let once = write(&content()).unwrap();
    assert_eq!(once, write(&content()).unwrap());
    assert_eq!(once.last().unwrap().0, MANIFEST_FILE);
}

#[test]
fn scores_from_the_bundle_are_those_from_the_run() {
    let bundle = open(&written()).unwrap();
    let values: Vec<f32> = (0..72).map(|index| (index as f32 * 0.7).sin()).collect();
    // Two patches an image.
    let images = ImageFeatures {
        global: &values[..24],
        patches: &values[24..],
    };
    let before = class_features().compare(&images).unwrap();
    let after = bundle.class_features().unwrap().compare(&images).unwrap();
    for (entry, method) in bundle.manifest.usable_methods() {
        assert_eq!(
            score_all(method, &before.rows(), &entry.settings).unwrap(),
            score_all(method, &after.rows(), &entry.settings).unwrap()
        );
    }
}

#[test]
fn files_may_come_in_any_order_but_once() {
    let files = written();
    let manifest = Manifest::parse(&files[MANIFEST_FILE]).unwrap();
    let mut reader = BundleReader::new(manifest);
    let mut names: Vec<String> = reader.missing().iter().map(|e| e.name.clone()).collect();
    names.reverse();
    for name in &names {
        assert!(matches!(
            reader.add("x", b""),
            Err(BundleError::Unexpected { .. })
        ));
        reader.add(name, &files[name]).unwrap();
        assert!(reader.add(name, &files[name]).is_err());
    }
    assert!(reader.missing().is_empty());
    reader.finish().unwrap();
}

#[test]
fn damage_is_named() {
    let mut files = written();
    let tower = name_of(&files, "image-tower");
    let intact = files[&tower].clone();
    files.get_mut(&tower).unwrap().pop();
    let error = open(&files).unwrap_err();
    assert!(
        matches!(&error, BundleError::Size { name, .. } if *name == tower),
        "{error}"
    );
    let mut flipped = intact.clone();
    *flipped.last_mut().unwrap() ^= 1;
    files.insert(tower.clone(), flipped);
    let error = open(&files).unwrap_err();
    assert!(
        matches!(&error, BundleError::Hash { name, .. } if *name == tower),
        "{error}"
    );
    files.remove(&tower);
    let error = open(&files).unwrap_err();
    assert!(
        matches!(&error, BundleError::Fetch { name, .. } if *name == tower),
        "{error}"
    );
    let manifest = Manifest::parse(&files[MANIFEST_FILE]).unwrap();
    let error = BundleReader::new(manifest).finish().unwrap_err();
    assert!(matches!(error, BundleError::Missing { .. }), "{error}");
}

#[test]
fn content_that_does_not_fit_the_manifest_is_refused() {
    type Alteration = fn(&mut BundleContent);
    let alterations: [(&str, Alteration); 5] = [
        ("positive", |content| drop(content.classes.pop())),
        ("negative", |content| content.prompts.negatives = 1),
        ("probe.bias", |content| {
            drop(content.tensors[2].tensors.remove("probe.bias"))
        }),
        ("map.features", |content| {
            drop(content.figures.map.as_mut().map(|map| map.points.pop()));
        }),
        ("photo", |content| {
            drop(
                content.tensors[4]
                    .tensors
                    .insert("photo".to_owned(), TensorValues::default()),
            )
        }),
    ];
    for (place, alteration) in alterations {
        let mut content = content();
        alteration(&mut content);
        let files = write(&content).map(|files| files.into_iter().collect());
        let message = match files {
            Ok(files) => open(&files).unwrap_err().to_string(),
            Err(error) => error.to_string(),
        };
        assert!(
            message.contains(place) || (place == "probe.bias" && message.contains("probe")),
            "{place}: {message}"
        );
    }
}

#[test]
fn what_cannot_be_stored_is_not_written() {
    type Alteration = fn(&mut BundleContent);
    let alterations: [(&str, Alteration); 6] = [
        ("stem", |content| {
            content.tensors[0].tensors.get_mut("stem").unwrap().values[0] = f32::NAN;
        }),
        ("twice in image-tower", |content| {
            content.tensors.push(content.tensors[0].clone())
        }),
        ("words", |content| content.tensors[0].role = Role::Words),
        ("words", |content| {
            content.texts.push(content.texts[1].clone())
        }),
        ("methods[0].id_top1", |content| {
            content.methods[0].id_top1 = f64::NAN
        }),
        ("figures.map.points[0]", |content| {
            content.figures.map.as_mut().unwrap().points[0].x = f32::INFINITY;
        }),
    ];
    for (place, alteration) in alterations {
        let mut content = content();
        alteration(&mut content);
        let message = write(&content).unwrap_err().to_string();
        assert!(message.contains(place), "{place}: {message}");
    }
}
