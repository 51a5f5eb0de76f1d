//! Options that contradict one another or have no effect are refused before any work, with the way out.

use std::fs;
use std::path::Path;

use serde_json::Value;
use shared::bundle::{Precision, decode_tensors, encode_tensors};
use tests::hostile::tiny;

use super::{Place, picture, read_json, trainer};

/// A model that can be learned with, and a few pictures.
fn prepared() -> Place {
    let place = Place::new();
    fs::create_dir(place.path("model")).unwrap();
    for (name, bytes) in tiny::model() {
        fs::write(place.path(&format!("model/{name}")), bytes).unwrap();
    }
    place.images(6);
    picture(&place.path("others/1.png"), [200, 200, 0], 30);
    place
}

#[test]
fn what_would_be_ignored_is_refused() {
    let place = prepared();
    let (model, data) = (place.path("model"), place.path("images"));
    let others = format!("others={}", place.path("others"));
    let below_a_file = place.path("others/1.png/report.html");
    let of_images = ["--model", &model, "--data", &data];
    for (command, options, said) in [
        (
            "tune",
            &["--try", "delta=0", "--try", "delta=1"][..],
            "--try delta: give it once",
        ),
        (
            "tune",
            &["--try", "delta=0,0.5,0"],
            "--try delta: 0 and 0 are the same value",
        ),
        (
            "tune",
            &["--try", "delta=0,1", "--seeds", "0,0"],
            "--seeds: give each seed once",
        ),
        (
            "bench",
            &["--train-images", "4"],
            "--train-images: the embedded features",
        ),
        (
            "bench",
            &["--without-patches"],
            "--without-patches: the embedded features",
        ),
        ("train", &["--beta", "1e38"], "--beta"),
        (
            "eval",
            &["--bundle", "none", "--id", &data, "--device", "cpu,cpu"],
            "computes on one",
        ),
        (
            "eval",
            &["--bundle", "none", "--id", &data, "--json", &data],
            "it is a folder",
        ),
        (
            "eval",
            &["--bundle", "none", "--id", &data, "--html", &below_a_file],
            "a part of this path is a file",
        ),
        (
            "eval",
            &[
                "--bundle", "none", "--id", &data, "--json", "./a", "--html", "a",
            ],
            "each its own",
        ),
        (
            "eval",
            &[
                "--bundle", "none", "--id", &data, "--json", "a", "--html", "a",
            ],
            "each its own",
        ),
    ] {
        let out = place.path("none");
        let out = ["--out", &out];
        let more = if command == "eval" { &[][..] } else { &out };
        let ood = ["--ood", &others];
        let more = if command == "eval" { &ood[..] } else { more };
        let text = trainer(&[&[command], options, more].concat())
            .failure()
            .stderr;
        assert!(text.contains(said), "{command} {options:?}: {text}");
    }
    let known = trainer(&["tune", "--try", "foo=1"]).failure().stderr;
    assert!(
        known.contains("delta") && !known.contains("shots"),
        "{known}"
    );
    for (options, said) in [
        (
            &["--suite", "hard", "--ood", &others][..],
            "--ood: the hard suite",
        ),
        (
            &["--suite", "open-vocabulary", "--class-specific"],
            "--class-specific: ",
        ),
        (&["--context-tokens", "60"], "--context-tokens 60"),
        (
            &["--train-images", "5"],
            "images is not split into a half to learn from and one to measure on",
        ),
        (
            &["--label-pool", "8"],
            "--label-pool 8: so few words give no negative label; give 9 or more, or 0",
        ),
    ] {
        let out = place.path("bench");
        let all = [&["bench", "--out", &out][..], &of_images, options].concat();
        let text = trainer(&all).failure().stderr;
        assert!(
            text.contains(said) && !text.contains("encoding"),
            "{options:?}: {text}"
        );
        assert!(fs::metadata(&out).is_err(), "{options:?}");
    }

    let train = |more: &[&str]| {
        let out = place.path("run");
        trainer(&[&["train", "--out", &out][..], &of_images, more].concat())
    };
    let text = train(&["--context-tokens", "60"]).failure().stderr;
    assert!(text.contains("--context-tokens 60"), "{text}");
    let text = train(&["--label-pool", "1"]).failure().stderr;
    assert!(text.contains("--label-pool 1: so few words"), "{text}");
    let text = trainer(&["import", &model, "--out", &place.path("again")]);
    let text = text.failure().stderr;
    assert!(text.contains("is a model directory already"), "{text}");
    fs::remove_file(format!("{model}/vocabulary.txt")).unwrap();
    let text = train(&[]).failure().stderr;
    assert!(
        text.contains("has no vocabulary.txt") && text.contains("put the merges"),
        "{text}"
    );
    let mut config: Value = read_json(&format!("{model}/config.json"));
    config["text"]["layers"] = 0.into();
    fs::write(format!("{model}/config.json"), config.to_string()).unwrap();
    for (command, option) in [
        ("train", "--patches"),
        ("bench", "--odin-pixels"),
        ("tune", "--try=delta=0,1"),
    ] {
        let out = place.path("run");
        let text = trainer(&[&[command, option, "--out", &out][..], &of_images].concat());
        let text = text.failure().stderr;
        assert!(
            text.contains("has no text tower") && text.contains("trainer lit"),
            "{text}"
        );
    }
    assert!(!fs::exists(place.path("run")).unwrap());
}

/// The compact model is the same from its folder, with the features that come with the program.
#[test]
fn the_compact_model_may_be_named() {
    let place = Place::new();
    let compact = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/compact");
    let out = place.path("out");
    let few = "--shots 1 --positive-steps 1 --negative-steps 1 --label-pool 0 --device cpu --model";
    let few: Vec<&str> = few.split_whitespace().collect();
    trainer(&[&["train", "--out", &out], &few[..], &[compact]].concat()).success();
    let tuned = place.path("tuned");
    let tune = ["tune", "--try", "delta=0", "--parts", "2", "--out", &tuned];
    trainer(&[&tune, &few[..], &[compact]].concat()).success();
    let other = prepared();
    let other = other.path("model");
    for what in [
        &["train"][..],
        &["bench", "--seeds=0"],
        &["tune", "--try=delta=0"],
    ] {
        let nowhere = place.path("nowhere");
        let text = trainer(&[what, &["--out", &nowhere], &few, &[&other]].concat());
        let text = text.failure().stderr;
        assert!(text.contains("--model without --data"), "{text}");
        assert!(!Path::new(&nowhere).exists(), "{what:?}");
    }
    let exported = place.path("exported");
    trainer(&[
        "export",
        &out,
        "--precision",
        "int8",
        "--force",
        "--out",
        &exported,
    ])
    .success();
    let manifest: Value = read_json(&format!("{exported}/bundle.json"));
    let config = &manifest["provenance"]["config"];
    assert_eq!(
        (&config["precision"], &config["exported_from"]),
        (&Value::from("int8"), &Value::from("f16"))
    );
}

/// The pool is as small as the vocabulary of the text tower, whatever was asked for.
#[test]
fn a_text_tower_that_knows_no_label_is_refused_before_it_is_learned_with() {
    let place = prepared();
    place.write("model/words.txt", b"apple red");
    let (model, data, out) = (place.path("model"), place.path("images"), place.path("out"));
    let others = format!("others={}", place.path("others"));
    let places = [
        "bench", "--model", &model, "--data", &data, "--ood", &others, "--out", &out,
    ];
    let few = "--seeds 0 --shots 1 --context-tokens 4 --without-patches --device cpu";
    let few: Vec<&str> = few.split_whitespace().collect();
    let text = trainer(&[&places[..], &few].concat()).failure().stderr;
    assert!(
        text.contains("no negative label was mined from the 2 words")
            && text.contains("--label-pool 0"),
        "{text}"
    );
    assert!(!text.contains("stage 1"), "{text}");
    // A run has other methods to show, and says which have no row.
    let out = place.path("run");
    let places = [
        "train", "--model", &model, "--data", &data, "--ood", &others, "--out", &out,
    ];
    let few = "--shots 1 --context-tokens 4 --positive-steps 1 --negative-steps 1 --device cpu";
    let few: Vec<&str> = few.split_whitespace().collect();
    let text = trainer(&[&places[..], &few].concat()).success().stderr;
    let said = "No negative label was mined from the 2 words";
    assert!(text.contains(said), "{text}");
    let report: Value = read_json(&format!("{out}/report.json"));
    assert!(report["notes"].to_string().contains(said));
    assert!(!report["methods"].to_string().contains("NegLabel"));
}

/// A text tower that reads 16 tokens has no room for 16 of context: the other parts still have rows.
#[test]
fn parts_that_the_text_tower_cannot_read_have_no_row() {
    let place = prepared();
    let model = place.path("model");
    let mut config: Value = read_json(&format!("{model}/config.json"));
    config["text"]["context_length"] = 16.into();
    fs::write(format!("{model}/config.json"), config.to_string()).unwrap();
    let file = format!("{model}/text.safetensors");
    let mut tensors = decode_tensors(&file, &fs::read(&file).unwrap()).unwrap();
    let positions = tensors.get_mut("positional_embedding").unwrap();
    positions.shape[0] = 16;
    positions.values.truncate(16 * positions.shape[1]);
    fs::write(&file, encode_tensors(&tensors, Precision::F32).unwrap()).unwrap();
    let (data, out) = (place.path("images"), place.path("out"));
    let others = format!("others={}", place.path("others"));
    let few = "--seeds 0 --shots 1 --positive-steps 1 --negative-steps 1 --label-pool 0 \
               --context-tokens 4 --without-patches --device cpu --suite ablation";
    let few: Vec<&str> = few.split_whitespace().collect();
    let places = [
        "bench", "--model", &model, "--data", &data, "--ood", &others, "--out", &out,
    ];
    trainer(&[&places[..], &few].concat()).success();
    let report: Value = read_json(&format!("{out}/report.json"));
    let notes = report["notes"].to_string();
    assert!(
        notes.contains("Without a row: M = 16. --context-tokens 16"),
        "{notes}"
    );
    let rows = report["methods"].to_string();
    assert!(rows.contains("M = 8") && !rows.contains("M = 16"), "{rows}");
}
