//! `tune` from images to its table, and on where it was stopped.

use std::fs::{self, File};

use serde_json::{Value, json};
use tests::hostile::tiny;

use super::{Place, picture, trainer};

/// Four classes, so that two can be left out at a time, and a model that can be learned with.
fn prepared() -> Place {
    let place = Place::new();
    fs::create_dir(place.path("model")).unwrap();
    for (name, bytes) in tiny::model() {
        fs::write(place.path(&format!("model/{name}")), bytes).unwrap();
    }
    let classes = ["blue", "green", "grey", "red"];
    for (index, class) in classes.iter().enumerate() {
        for number in 0..8 {
            let level = 60 * index as u8;
            picture(
                &place.path(&format!("images/{class}/{number}.png")),
                [level, 255 - level, 40 + 20 * number],
                20 + u32::from(number),
            );
        }
    }
    place
}

fn tune(place: &Place, values: &str, more: &[&str]) -> super::Run {
    let (model, data, out) = (
        place.path("model"),
        place.path("images"),
        place.path("tune"),
    );
    let own = [
        "tune", "--model", &model, "--data", &data, "--out", &out, "--try", values,
    ];
    let few = "--parts 2 --seeds 0,1 --shots 2 --context-tokens 4 --positive-steps 2 --negative-steps 2 \
               --label-pool 0 --batch 4 --device cpu";
    let few: Vec<&str> = few.split_whitespace().collect();
    trainer(&[&own[..], &few, more].concat())
}

#[test]
fn every_setting_is_tried_on_every_fold_and_a_stopped_run_goes_on() {
    let place = prepared();
    let table = tune(&place, "delta=0,0.5", &[]).success().stdout;
    let file = place.path("tune/tune.json");
    let whole: Value = super::read_json(&file);
    let folds = whole["folds"].as_array().unwrap();
    let tried: Vec<_> = folds
        .iter()
        .map(|fold| ["seed", "part", "place"].map(|of| fold[of].as_u64().unwrap()))
        .collect();
    let expected: Vec<_> = (0..8u64).map(|n| [n / 4, n / 2 % 2, n % 2]).collect();
    assert_eq!(tried, expected);
    // One row for each setting, the better one first.
    let rows: Vec<&str> = table.lines().collect();
    assert!(
        rows[0].contains("delta") && rows[0].contains("AUROC"),
        "{table}"
    );
    let of = |row: &str, column: usize| -> f64 {
        row.split_whitespace().nth(column).unwrap().parse().unwrap()
    };
    let mut settings = [of(rows[1], 0), of(rows[2], 0)];
    assert!(
        of(rows[1], 1) - of(rows[1], 2) >= of(rows[2], 1) - of(rows[2], 2),
        "{table}"
    );
    settings.sort_by(f64::total_cmp);
    assert_eq!((settings, rows.len()), ([0.0, 0.5], 3), "{table}");

    // What a run that was stopped leaves: the last three folds are not done yet.
    let mut stopped = whole.clone();
    stopped["folds"].as_array_mut().unwrap().truncate(5);
    // It can be seen whether a fold that is done is learned again.
    let first = &mut stopped["folds"][0]["rates"][0][1];
    let learned = first.clone();
    *first = json!(0.123);
    fs::write(&file, stopped.to_string()).unwrap();

    let other = tune(&place, "delta=0,0.25", &["--resume"]).failure().stderr;
    assert!(other.contains("tried other settings"), "{other}");
    let held = File::open(place.path("tune/run.lock")).unwrap();
    held.lock().unwrap();
    let busy = tune(&place, "delta=0,0.5", &["--resume"]).failure().stderr;
    assert!(busy.contains("another run is at work"), "{busy}");
    drop(held);

    tune(&place, "delta=0,0.5", &["--resume"]).success();
    let mut resumed: Value = super::read_json(&file);
    let first = &mut resumed["folds"][0]["rates"][0][1];
    assert_eq!(
        *first,
        json!(0.123),
        "a fold that was done is taken as it is"
    );
    *first = learned;
    assert_eq!(resumed, whole);

    fs::write(&file, b"{\"run\":").unwrap();
    let damaged = tune(&place, "delta=0,0.5", &["--resume"]).failure().stderr;
    assert!(
        damaged.contains("tune.json") && damaged.contains("leave --resume out"),
        "{damaged}"
    );
}
