//! Options that contradict one another or have no effect are refused before any work, with the way out.

use std::fs;

use serde_json::Value;
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
            "--try delta: 0 is there twice",
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
            "is a folder",
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
    let text = trainer(&["import", &model, "--out", &place.path("again")]);
    let text = text.failure().stderr;
    assert!(text.contains("is a model directory already"), "{text}");
    fs::remove_file(format!("{model}/vocabulary.txt")).unwrap();
    let text = train(&[]).failure().stderr;
    assert!(
        text.contains("has no vocabulary.txt") && text.contains("put the merges"),
        "{text}"
    );
    assert!(!fs::exists(place.path("run/features")).unwrap());
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
