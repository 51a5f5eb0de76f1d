//! The suites of `trainer bench` on the layouts that their data come in, with a few drawn pictures.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::{Place, Run, picture, read_json, trainer};

/// So few steps that nothing is learned: what is tested is what runs, and what is said.
const SHORT: [&str; 16] = [
    "--seeds",
    "0",
    "--device",
    "cpu",
    "--shots",
    "1",
    "--batch",
    "4",
    "--positive-steps",
    "1",
    "--negative-steps",
    "1",
    "--label-pool",
    "40",
    "--context-tokens",
    "4",
];

/// As MCM's `class_list.txt` have them.
const IMAGENET_10: [&str; 10] = [
    "n04552348",
    "n04285008",
    "n01530575",
    "n02123597",
    "n02422699",
    "n02107574",
    "n01641577",
    "n03417042",
    "n02389026",
    "n03095699",
];
const IMAGENET_20: [&str; 20] = [
    "n04147183",
    "n02951358",
    "n02782093",
    "n04389033",
    "n03773504",
    "n02917067",
    "n02317335",
    "n01632458",
    "n01630670",
    "n01631663",
    "n02391049",
    "n01693334",
    "n01697457",
    "n02120079",
    "n02114367",
    "n02132136",
    "n03785016",
    "n04310018",
    "n04266014",
    "n04252077",
];

fn bench(suite: &str, more: &[&str]) -> Run {
    let mut arguments = vec!["bench", "--suite", suite];
    arguments.extend(SHORT);
    arguments.extend(more);
    trainer(&arguments)
}

fn report(out: &str) -> Value {
    read_json(&format!("{out}/report.json"))
}

fn names(report: &Value) -> Vec<&str> {
    let methods = report["methods"].as_array().unwrap().iter();
    methods
        .map(|method| method["name"].as_str().unwrap())
        .collect()
}

/// `count` pictures below `folder`, all of one colour but for their shade.
fn pictures(place: &Place, folder: &str, colour: u8, count: u8) {
    for number in 0..count {
        let level = colour.wrapping_mul(37);
        let path = place.path(&format!("{folder}/{number}.png"));
        picture(
            &path,
            [level, 255 - level, 60 + 9 * number],
            20 + u32::from(number),
        );
    }
}

#[test]
fn the_papers_data_are_found_where_locoop_and_mcm_put_them() {
    let place = Place::new();
    let root = place.path("data");
    let out = place.path("out");
    fs::create_dir_all(&root).unwrap();
    let run = bench("paper", &["--root", &root, "--out", &out]).failure();
    for said in [
        "ImageNet-1k is not there",
        "image-net.org",
        "large_scale_ood",
        "dtd",
    ] {
        assert!(run.stderr.contains(said), "{}", run.stderr);
    }

    // LoCoOp's places for ImageNet and Texture, MCM's for Places; SUN and iNaturalist are missing.
    let synsets = ["n01440764", "n02119789", "n02012849"];
    for (number, synset) in synsets.iter().enumerate() {
        let colour = number as u8;
        pictures(
            &place,
            &format!("data/imagenet/images/train/{synset}"),
            colour,
            3,
        );
        pictures(
            &place,
            &format!("data/imagenet/images/val/{synset}"),
            colour,
            2,
        );
    }
    let table = "n01440764 tench\nn02119789 kit fox\nn02012849 crane bird\n";
    place.write("data/imagenet/classnames.txt", table.as_bytes());
    pictures(&place, "data/Texture/images/braided", 9, 3);
    pictures(&place, "data/ImageNet_OOD_dataset/Places/a/abbey", 8, 3);
    let run = bench(
        "paper",
        &[
            "--root",
            &root,
            "--out",
            &out,
            "--train-images",
            "2",
            "--without-patches",
        ],
    )
    .success();
    assert!(
        run.stderr.contains("note: SUN is not there"),
        "{}",
        run.stderr
    );
    let report = report(&out);
    let sets: BTreeSet<&String> = report["methods"][0]["ood"]
        .as_object()
        .unwrap()
        .keys()
        .collect();
    assert_eq!(sets.into_iter().collect::<Vec<_>>(), ["Places", "Textures"]);
    let notes = report["notes"].to_string();
    for said in [
        "3 classes (the paper: 1000)",
        "iNaturalist is not there",
        "At most 2 images a class",
        "GL-MCM",
        "LoCoOp",
    ] {
        assert!(notes.contains(said), "{said}: {notes}");
    }
    assert_eq!(report["title"], "ImageNet against Places, Textures");
    assert_eq!(report["data"][0]["classes"], 3);
    assert!(names(&report).contains(&"ODIN"));
}

#[test]
fn the_hard_splits_are_cut_out_of_imagenet() {
    let place = Place::new();
    let synsets = IMAGENET_10.iter().chain(&IMAGENET_20);
    for (number, synset) in synsets.enumerate() {
        pictures(
            &place,
            &format!("data/ImageNet/train/{synset}"),
            number as u8,
            1,
        );
        pictures(
            &place,
            &format!("data/ImageNet/val/{synset}"),
            number as u8,
            2,
        );
    }
    let (root, out) = (place.path("data"), place.path("out"));
    bench(
        "hard",
        &["--root", &root, "--out", &out, "--without-patches"],
    )
    .success();
    let report = report(&out);
    let found = names(&report);
    for known in ["MCM, ImageNet-10 known", "NegPrompt, ImageNet-20 known"] {
        assert!(found.contains(&known), "{found:?}");
    }
    let of = |name: &str| {
        let methods = report["methods"].as_array().unwrap();
        methods
            .iter()
            .find(|method| method["name"] == name)
            .unwrap()
    };
    assert!(of("MCM, ImageNet-10 known")["ood"]["ImageNet-20"]["auroc"].is_number());
    assert!(of("MCM, ImageNet-20 known")["ood"]["ImageNet-10"]["auroc"].is_number());
}

#[test]
fn hand_written_prompts_stand_beside_learned_ones() {
    let place = Place::new();
    let data = place.images(6);
    pictures(&place, "other", 5, 4);
    let other = format!("other={}", place.path("other"));
    let out = place.path("out");
    let more = [
        "--data",
        &data,
        "--ood",
        &other,
        "--out",
        &out,
        "--without-patches",
    ];
    bench("sensitivity", &more).success();
    let report = report(&out);
    let found = names(&report);
    for name in [
        "CoOp",
        "NegPrompt",
        "MCM, “a photo of a {}.”",
        "NegPrompt, “not a photo of a {}.”",
    ] {
        assert!(found.contains(&name), "{found:?}");
    }
    let distinct: BTreeSet<&&str> = found.iter().collect();
    assert_eq!(distinct.len(), found.len());
    let notes = report["notes"].to_string();
    assert!(
        notes.contains("hand-written positive prompts: average AUROC from"),
        "{notes}"
    );
    assert!(notes.contains("hand-written negative prompts"), "{notes}");
}

#[test]
fn odin_steps_on_pixels_where_there_are_images() {
    let place = Place::new();
    let data = place.images(6);
    pictures(&place, "other", 5, 4);
    let other = format!("other={}", place.path("other"));
    let out = place.path("out");
    let more = ["--data", &data, "--ood", &other, "--without-patches"];
    let more = [&more[..], &["--out", &out, "--odin-pixels"]].concat();
    bench("default", &more).success();
    let found = report(&out);
    let row = |name: &str| {
        let methods = found["methods"].as_array().unwrap();
        let row = methods.iter().find(|method| method["name"] == name);
        row.unwrap_or_else(|| panic!("no row {name}: {found}"))
    };
    let (feature, pixels) = (row("ODIN"), row("ODIN, on pixels"));
    assert_ne!(feature["threshold"], pixels["threshold"]);
    assert!(feature["id_top1"].is_f64(), "{feature}");
    assert_eq!(feature["id_top1"], pixels["id_top1"]);
    let refused = bench("default", &["--odin-pixels", "--out", &out]).failure();
    let reason = "the embedded features come without their images";
    assert!(refused.stderr.contains(reason), "{}", refused.stderr);
    let refused = bench("ablation", &more).failure();
    let reason = "this suite has no row of ODIN";
    assert!(refused.stderr.contains(reason), "{}", refused.stderr);
}

#[test]
fn parts_are_left_out_one_by_one_and_drawn() {
    let place = Place::new();
    let data = place.images(6);
    pictures(&place, "other", 5, 4);
    let other = format!("other={}", place.path("other"));
    let out = place.path("out");
    let more = [
        "--data",
        &data,
        "--ood",
        &other,
        "--out",
        &out,
        "--without-patches",
    ];
    bench("ablation", &more).success();
    let report = report(&out);
    let found = names(&report);
    for name in [
        "NegPrompt",
        "NegPrompt, without NIS",
        "NegPrompt, p = 4",
        "NegPrompt, M = 8",
    ] {
        assert!(found.contains(&name), "{found:?}");
    }
    let notes = report["notes"].to_string();
    assert!(notes.contains("Without a row: shots = 8"), "{notes}");
    let figures = report["figures"]["ablations"].as_array().unwrap();
    let titles: BTreeSet<&str> = figures
        .iter()
        .map(|f| f["title"].as_str().unwrap())
        .collect();
    assert_eq!(titles.len(), 4, "{titles:?}");
    let drawn = fs::read_dir(format!("{out}/figures")).unwrap().count();
    assert!(drawn >= 16 && drawn % 2 == 0, "{drawn} files");
    let png = fs::read(format!("{out}/figures/ablations-losses-average-auroc.png")).unwrap();
    assert!(png.starts_with(b"\x89PNG"));
}

#[test]
fn an_open_vocabulary_takes_many_classes() {
    let place = Place::new();
    for class in 0..20u8 {
        pictures(&place, &format!("images/class {class}"), class, 3);
    }
    pictures(&place, "other", 5, 4);
    let (data, out) = (place.path("images"), place.path("out"));
    let other = format!("other={}", place.path("other"));
    let more = [
        "--data",
        &data,
        "--ood",
        &other,
        "--out",
        &out,
        "--without-patches",
    ];
    bench("open-vocabulary", &more).success();
    let report = report(&out);
    let found: BTreeSet<&str> = names(&report).into_iter().collect();
    assert_eq!(
        found.into_iter().collect::<Vec<_>>(),
        ["CoOp", "MCM", "NegPrompt"]
    );
    let notes = report["notes"].to_string();
    assert!(notes.contains("Learned from 2 of 20 classes"), "{notes}");
}

#[test]
fn a_no_tower_is_learned_from_captions_and_scored() {
    let place = Place::new();
    let data = place.images(6);
    let captioned = place.path("images");
    let error = trainer(&["clipn", "--data", &captioned, "--out", &place.path("model")]).failure();
    assert!(error.stderr.contains("0001.txt"), "{}", error.stderr);
    for class in fs::read_dir(&captioned).unwrap() {
        let class = class.unwrap().path();
        let name = class.file_name().unwrap().to_str().unwrap().to_owned();
        for image in fs::read_dir(&class).unwrap() {
            let caption = image.unwrap().path().with_extension("txt");
            fs::write(caption, format!("a photo of a {name} thing")).unwrap();
        }
    }
    let (model, work) = (place.path("model"), place.path("work"));
    let learn = || {
        let own = ["clipn", "--data", &captioned, "--out", &model, "--work"];
        let few = "--steps 3 --batch 100 --prompts 2 --device cpu";
        let few: Vec<&str> = few.split_whitespace().collect();
        trainer(&[&own[..], &[work.as_str()], &few].concat())
    };
    fs::create_dir(&work).unwrap();
    let held = fs::File::create(format!("{work}/run.lock")).unwrap();
    held.lock().unwrap();
    let text = learn().failure().stderr;
    assert!(text.contains("another run is at work"), "{text}");
    drop(held);
    let run = learn().success();
    assert!(
        run.stderr.contains("say yes to their own caption"),
        "{}",
        run.stderr
    );
    let card = fs::read_to_string(format!("{model}/MODEL_CARD.md")).unwrap();
    assert!(
        card.contains("The \"no\" text tower")
            && card.contains("2 \"no\" prompts")
            && card.contains("3 steps of 16 pairs")
            && card.contains("Of 2 pairs held out")
            && card.contains("EfficientNet-Lite0: TensorFlow TPU models"),
        "{card}"
    );

    pictures(&place, "other", 5, 4);
    let other = format!("other={}", place.path("other"));
    let scores = |out: &str, more: &[&str]| -> (Value, Value) {
        let out = place.path(out);
        let mut all = vec![
            "--data",
            &data,
            "--ood",
            &other,
            "--out",
            &out,
            "--without-patches",
        ];
        all.extend(more);
        bench("default", &all).success();
        let report = report(&out);
        let threshold = |id: &str| {
            let methods = report["methods"].as_array().unwrap();
            methods.iter().find(|m| m["id"] == id).unwrap()["threshold"].clone()
        };
        (threshold("clipn-agreeing"), threshold("mcm"))
    };
    let (with, mcm_with) = scores("with", &["--model", &model]);
    let (without, mcm_without) = scores("without", &[]);
    assert_ne!(with, without, "the model's own \"no\" tower must be asked");
    assert_eq!(mcm_with, mcm_without);
}

#[test]
fn a_released_clipn_checkpoint_becomes_a_model_with_a_no_tower() {
    let place = Place::new();
    let out = place.path("model");
    let checkpoint = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/clipn/epoch_10.pt");
    trainer(&["import", checkpoint, "--out", &out]).success();
    let card = fs::read_to_string(format!("{out}/MODEL_CARD.md")).unwrap();
    assert!(card.contains("with learned prompts (CLIPN)"), "{card}");
    let bytes = fs::read(format!("{out}/no_text.safetensors")).unwrap();
    let tensors = shared::bundle::decode_tensors("no_text", &bytes).unwrap();
    assert_eq!(tensors["prompt_no"].shape, [3, 77, 64]);
    assert!(tensors.contains_key("transformer.resblocks.0.ln_1.weight"));
}
