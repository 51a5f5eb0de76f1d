//! The seed corpora: whole files and all malformed ones, from the generators of the tests.

use std::fs;
use std::io;
use std::path::Path;

use shared::bundle::{Precision, encode_tensors};

use crate::features::{CacheHeader, Entry, FeaturePrecision, Outcome, TextBytes, checksum};
use crate::hostile::{Case, bundles, checkpoints, features, images, models, tables, tiny};

/// Larger seeds slow a fuzzer down more than they help it.
const LARGEST: usize = 64 << 10;

/// Writes a folder of seeds for each target below `root`; how many files they are.
///
/// # Errors
/// When a file or folder cannot be written.
pub fn write(root: &Path) -> io::Result<usize> {
    let mut seeds = Vec::new();
    of_bundles(&mut seeds);
    of_weights(&mut seeds);
    of_features(&mut seeds);
    of_lists(&mut seeds);
    of_texts(&mut seeds);
    for case in images::cases() {
        seeds.push(("image", case.name, case.files[0].1.clone()));
    }
    for (extension, bytes) in images::whole() {
        seeds.push(("image", format!("whole.{extension}"), bytes));
    }
    seeds.retain(|(_, _, bytes)| bytes.len() <= LARGEST);
    for (target, name, bytes) in &seeds {
        let folder = root.join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(name), bytes)?;
    }
    Ok(seeds.len())
}

type Seeds = Vec<(&'static str, String, Vec<u8>)>;

/// The files of a case whose names end so.
fn ending(case: &Case, ending: &str) -> Vec<Vec<u8>> {
    let files = case.files.iter().filter(|(name, _)| name.ends_with(ending));
    files.map(|(_, bytes)| bytes.clone()).collect()
}

fn behind(first: u8, bytes: &[u8]) -> Vec<u8> {
    [&[first], bytes].concat()
}

fn of_bundles(seeds: &mut Seeds) {
    for case in bundles::cases() {
        for bytes in ending(&case, "bundle.json") {
            seeds.push(("bundle_manifest", case.name.clone(), bytes));
        }
        for (name, bytes) in &case.files {
            if case.name.starts_with("features") && name.starts_with("features") {
                seeds.push(("safetensors", case.name.clone(), bytes.clone()));
            }
        }
    }
    for (index, (name, bytes)) in tiny::bundle().into_iter().enumerate() {
        seeds.push(("bundle", name.clone(), behind(index as u8, &bytes)));
        seeds.push(("safetensors", name, bytes));
    }
}

fn of_weights(seeds: &mut Seeds) {
    for case in checkpoints::cases() {
        for bytes in ending(&case, ".pt") {
            seeds.push(("state_dict", case.name.clone(), bytes));
        }
        for bytes in ending(&case, "config.json") {
            seeds.push(("configuration", format!("import-{}", case.name), bytes));
        }
    }
    for case in models::image_cases() {
        for bytes in ending(&case, "config.json") {
            seeds.push(("configuration", case.name.clone(), bytes));
        }
    }
    let small = tiny::weights()
        .into_iter()
        .filter(|(name, _)| name.starts_with("ln"))
        .collect();
    for (name, precision) in [
        ("f32", Precision::F32),
        ("f16", Precision::F16),
        ("int8", Precision::Int8),
    ] {
        if let Ok(bytes) = encode_tensors(&small, precision) {
            seeds.push(("safetensors", name.to_owned(), bytes.clone()));
            seeds.push(("checkpoint", name.to_owned(), behind(0, &bytes)));
            seeds.push(("checkpoint", format!("{name}-unsealed"), behind(1, &bytes)));
        }
    }
}

/// A whole file of features, as `encode` writes it, and its journal.
fn of_features(seeds: &mut Seeds) {
    let classes = vec!["blue".to_owned(), "red".to_owned()];
    for (name, precision) in [
        ("f16", FeaturePrecision::F16),
        ("f32", FeaturePrecision::F32),
    ] {
        let header = CacheHeader {
            classes: classes.clone(),
            model: "tiny".to_owned(),
            key: "key".to_owned(),
            width: 4,
            precision,
            shard: None,
        };
        let rows = [[1.0, 0.0, 0.5, -0.5], [0.0, 2.0, 0.0, 0.25]];
        let (mut data, mut journal) = (Vec::new(), Vec::new());
        journal.push(serde_json::to_string(&header).expect("serialises"));
        for (image, row) in rows.iter().enumerate() {
            let start = data.len();
            precision.append(row, &mut data);
            let entry = Entry {
                name: format!("{image}.png"),
                hash: "0".repeat(64),
                label: image as i32,
                outcome: Outcome::Feature(checksum(&data[start..])),
            };
            journal.push(serde_json::to_string(&entry).expect("serialises"));
        }
        for label in [0i32, 1] {
            data.extend_from_slice(&label.to_le_bytes());
        }
        data.extend_from_slice(&[7; 64]);
        let files = b"a.png\nb.png";
        data.extend_from_slice(files);
        let texts = TextBytes {
            files: files.len() as u64,
            skipped: 0,
        };
        let json = header.json(2, texts, &shared::bundle::sha256_hex(&data));
        let mut whole = (json.len() as u64).to_le_bytes().to_vec();
        whole.extend_from_slice(json.as_bytes());
        whole.extend_from_slice(&data);
        journal.push(String::new());
        seeds.push(("journal", name.to_owned(), journal.join("\n").into_bytes()));
        // An older file has no checksum: what is behind that check is reached without guessing it.
        let unsealed = json.replace("checksum", "checksun");
        let mut old = whole.clone();
        old[8..8 + json.len()].copy_from_slice(unsealed.as_bytes());
        for case in features::cases(&old) {
            for (_, bytes) in case.files {
                seeds.push(("feature_file", format!("{name}-{}", case.name), bytes));
            }
        }
        seeds.push(("feature_file", format!("{name}-old"), old));
        seeds.push(("feature_file", name.to_owned(), whole));
    }
}

fn of_lists(seeds: &mut Seeds) {
    for case in tables::cases() {
        for (kind, extension) in [(0u8, ".csv"), (1, ".jsonl"), (2, ".tsv")] {
            for bytes in ending(&case, extension) {
                seeds.push(("table", case.name.clone(), behind(kind, &bytes)));
            }
        }
        for bytes in ending(&case, "words.txt") {
            seeds.push(("synset_names", case.name.clone(), behind(0, &bytes)));
        }
    }
    for (kind, text) in [
        (
            0,
            &b"n01440764 tench, Tinca tinca\nn01443537\tgoldfish\n"[..],
        ),
        (1, b"ImageId,PredictionString\na,n01440764 1 2 3 4\n"),
        (3, b"a.png\tn01443537\t0\t0\t62\t57\n"),
    ] {
        seeds.push(("synset_names", format!("whole-{kind}"), behind(kind, text)));
    }
    for (kind, text) in [
        (
            0,
            "path,label,split\na.png,cat,train\na.png,\"dog, big\",val\n",
        ),
        (1, "{\"path\":\"a.png\",\"label\":3,\"split\":\"test\"}\n"),
        (2, "path\tlabel\na.png\tcat\n"),
    ] {
        let bytes = behind(kind, text.as_bytes());
        seeds.push(("table", format!("whole-{kind}"), bytes));
    }
    seeds.push(("concepts", "whole".to_owned(), CONCEPTS.as_bytes().to_vec()));
    for (name, text) in [
        ("plain", "grand piano\nCup\ncup \nlamp"),
        ("windows", "a\r\nb\r\n\r\nÅngström\r\n"),
        ("blanks", "\u{a0}a\u{2003}b\n\t\n\u{feff}c"),
    ] {
        seeds.push(("class_list", name.to_owned(), text.into()));
    }
}

fn of_texts(seeds: &mut Seeds) {
    for case in models::text_cases() {
        for bytes in ending(&case, "vocabulary.txt") {
            seeds.push(("vocabulary", case.name.clone(), bytes));
        }
    }
    seeds.push(("vocabulary", "whole".to_owned(), tiny::vocabulary().into()));
    for (name, text) in [
        ("plain", "a photo of a tench ."),
        ("accents", "Ångström café ﬁn \u{0301}e \u{200d}"),
        ("emoji", "👩‍👩‍👧 🏳️‍🌈"),
        (
            "html",
            "&lt;b&gt; &amp;amp; &#x1f41f; &#99999999999; &nope;",
        ),
        ("markers", "<start_of_text> a <end_of_text>"),
        ("colours", "\u{1b}[31mred\u{1b}[0m \u{7}"),
        (
            "long",
            "word word word word word word word word word word word",
        ),
    ] {
        seeds.push(("tokenizer", name.to_owned(), text.into()));
    }
}

const CONCEPTS: &str = r#"{"kind":"imagenet","index":0,"synset":"n00000001","name":"tench","synonyms":["Tinca"],"hypernyms":["fish"],"attributes":["wet"]}
{"kind":"imagenet","index":1,"synset":"n00000002","name":"goldfish","synonyms":[],"hypernyms":["fish"],"attributes":[]}
{"kind":"imagenet","index":2,"synset":"n00000003","name":"hen","synonyms":[],"hypernyms":["bird"],"attributes":[]}
{"kind":"caltech","class":"hen","name":"hen","synonyms":[],"same":2}
{"kind":"caltech","class":"Faces","name":"Faces","synonyms":["face"],"like":[]}
{"kind":"hypernym","name":"fish","synonyms":[],"leaves":[0,1]}
{"kind":"noun","name":"carp","leaves":[0]}
{"kind":"attribute","name":"wet","leaves":[0,1]}
{"kind":"style","name":"drawing","synonyms":["sketch"],"leaves":[2],"weight":0.4}
"#;
