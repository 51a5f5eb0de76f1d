//! What `train` learns in other ways than by default: each option reaches the report and the prompts.

use std::fs;

use serde_json::{Value, json};

use super::{Place, trainer};

#[test]
fn every_variant_of_training_learns_other_prompts() {
    let place = Place::new();
    let data = place.images(3);
    let learn = |name: &str, options: &[&str]| {
        let out = place.path(name);
        // One image a step: the classes of its images are always among those that are drawn.
        let few =
            "--device cpu --shots 2 --positive-steps 2 --negative-steps 2 --label-pool 0 --batch 1";
        let few: Vec<&str> = few.split_whitespace().collect();
        trainer(
            &[
                &["train", "--data", &data, "--out", &out][..],
                &few,
                options,
            ]
            .concat(),
        )
        .success();
        let report = fs::read(format!("{out}/report.json")).unwrap();
        let report: Value = serde_json::from_slice(&report).unwrap();
        // Its name holds the hash of what is in it.
        let prompts = fs::read_dir(format!("{out}/bundle"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .find(|file| file.starts_with("prompts-"))
            .unwrap();
        (prompts, report["config"]["training"].clone())
    };
    let (plain, settings) = learn("plain", &[]);
    assert_eq!(settings["nis"], "paper", "{settings}");
    assert_eq!(learn("again", &[]).0, plain, "the same prompts twice");
    for (option, value, field, expected) in [
        ("--nis", Some("released"), "nis", json!("released")),
        ("--nis", Some("off"), "nis", json!("off")),
        ("--class-sample", Some("2"), "class_sample", json!(2)),
        ("--class-specific", None, "class_specific", json!(true)),
    ] {
        let options: Vec<&str> = [Some(option), value].into_iter().flatten().collect();
        let name = options.concat();
        let (prompts, settings) = learn(&name, &options);
        assert_eq!(settings[field], expected, "{name}: {settings}");
        assert_ne!(prompts, plain, "{name}");
    }
}
