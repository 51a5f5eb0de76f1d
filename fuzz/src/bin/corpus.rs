//! Writes the seed corpora: whole files and all malformed ones, from the generators of the tests.
//!
//! `cargo run --release --bin corpus -- fuzz/corpus`

use std::fs;
use std::path::Path;

use negprompt_fuzz::hostile::{Case, bundles, checkpoints, images, models, tables, tiny};

/// Larger seeds slow a fuzzer down more than they help it.
const LARGEST: usize = 64 << 10;

fn main() {
    let root = std::env::args().nth(1).unwrap_or_else(|| "fuzz/corpus".to_owned());
    let root = Path::new(&root);
    let mut written = 0;
    let mut put = |target: &str, name: &str, bytes: &[u8]| {
        if bytes.len() <= LARGEST {
            let folder = root.join(target);
            fs::create_dir_all(&folder).expect("a folder");
            fs::write(folder.join(name), bytes).expect("a file");
            written += 1;
        }
    };
    let ending = |case: &Case, ending: &str| -> Vec<Vec<u8>> {
        let files = case.files.iter().filter(|(name, _)| name.ends_with(ending));
        files.map(|(_, bytes)| bytes.clone()).collect()
    };
    for case in bundles::cases() {
        for bytes in ending(&case, "bundle.json") {
            put("bundle_manifest", &case.name, &bytes);
        }
        if case.name.starts_with("features") {
            for (name, bytes) in &case.files {
                if name.starts_with("features") {
                    put("safetensors", &case.name, bytes);
                }
            }
        }
    }
    for (index, (name, bytes)) in tiny::bundle().into_iter().enumerate() {
        put("bundle", &name, &[&[index as u8], &bytes[..]].concat());
        put("safetensors", &name, &bytes);
    }
    for case in checkpoints::cases() {
        for bytes in ending(&case, ".pt") {
            put("state_dict", &case.name, &bytes);
        }
    }
    for case in images::cases() {
        put("image", &case.name, &case.files[0].1);
    }
    for (name, bytes) in images::whole() {
        put("image", &format!("whole.{name}"), &bytes);
    }
    for case in tables::cases() {
        for (kind, extension) in [(0u8, ".csv"), (1, ".jsonl"), (0, "words.txt")] {
            for bytes in ending(&case, extension) {
                put("table", &case.name, &[&[kind], &bytes[..]].concat());
            }
        }
    }
    for case in models::text_cases() {
        for bytes in ending(&case, "vocabulary.txt") {
            put("vocabulary", &case.name, &bytes);
        }
    }
    for case in models::image_cases() {
        for bytes in ending(&case, "config.json") {
            put("configuration", &case.name, &bytes);
        }
    }
    for (name, text) in [
        ("plain", "a photo of a tench ."),
        ("accents", "Ångström café ﬁn \u{0301}e \u{200d}"),
        ("emoji", "👩‍👩‍👧 🏳️‍🌈"),
        ("html", "&lt;b&gt; &amp;amp; &#x1f41f; &#99999999999; &nope;"),
        ("markers", "<start_of_text> a <end_of_text>"),
        ("colours", "\u{1b}[31mred\u{1b}[0m \u{7}"),
        ("long", "word word word word word word word word word word word word word word"),
    ] {
        put("tokenizer", name, text.as_bytes());
    }
    println!("{written} seeds in {}", root.display());
}
