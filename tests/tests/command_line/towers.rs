//! Image towers of the EfficientNet-Lite family, from a published checkpoint to a model that encodes.

use std::fs::{self, File};

use serde_json::Value;
use shared::clip::config::EfficientNetLiteConfig;
use tests::hostile::tower;

use super::{Place, picture, trainer};

/// A Lite1 takes 240 pixels: whatever reads it has to say so, and a `lit` of it too.
#[test]
fn a_larger_lite_is_imported_and_gets_a_text_tower() {
    let place = Place::new();
    let [_, lite1, ..] = EfficientNetLiteConfig::family();
    let checkpoint = place.write("tower.safetensors", &tower::checkpoint_of(&lite1));
    let imported = place.path("imported");
    trainer(&["import", &checkpoint, "--out", &imported]).success();
    let size = |folder: &str| {
        let text = fs::read(format!("{folder}/config.json")).unwrap();
        let config: Value = serde_json::from_slice(&text).unwrap();
        ["size", "resize"].map(|side| config["preprocessing"][side].as_u64().unwrap())
    };
    assert_eq!(size(&imported), [240, 272]);

    let concepts = place.write("concepts.jsonl", tower::concepts().as_bytes());
    for (class, colour) in super::COLOURS {
        for number in 0..2 {
            picture(
                &place.path(&format!("photos/{class}/{number}.png")),
                colour,
                30 + number,
            );
        }
    }
    let (photos, work, out) = (
        place.path("photos"),
        place.path("work"),
        place.path("compact"),
    );
    let few = "--joint-width 80 --width 64 --layers 1 --space-steps 2 --bag-steps 2 --steps 2 --device cpu";
    let own = ["lit", "--tower", &checkpoint, "--data", &photos];
    let places = ["--concepts", &concepts, "--work", &work, "--out", &out];
    let few: Vec<&str> = few.split_whitespace().collect();
    let lit = || trainer(&[&own[..], &places, &few].concat());

    // Another run would take up its checkpoints.
    fs::create_dir(&work).unwrap();
    let held = File::create(format!("{work}/run.lock")).unwrap();
    held.lock().unwrap();
    let text = lit().failure().stderr;
    assert!(
        text.contains("another run is at work") && text.contains("another --work"),
        "{text}"
    );
    drop(held);

    lit().success();
    assert_eq!(size(&out), [240, 272]);
    let card = fs::read_to_string(format!("{out}/MODEL_CARD.md")).unwrap();
    for part in [
        "EfficientNet-Lite1",
        "240 pixels",
        "CPU (",
        "`photos`",
        "Nothing was measured",
    ] {
        assert!(card.contains(part), "{part}: {card}");
    }
    let predicted = trainer(&[
        "encode",
        "--model",
        &out,
        "--data",
        &photos,
        "--out",
        &place.path("f.safetensors"),
    ]);
    predicted.success();
}
