//! What is said of a person's own images before anything is learned from them, and what is never taken
//! for granted about them.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tests::hostile::tiny;

use super::{Place, picture, read_json, trainer};

fn prepared() -> Place {
    let place = Place::new();
    fs::create_dir(place.path("model")).unwrap();
    for (name, bytes) in tiny::model() {
        fs::write(place.path(&format!("model/{name}")), bytes).unwrap();
    }
    place
}

fn run(place: &Place, command: &str, data: &str, out: &str, more: &[&str]) -> super::Run {
    let (model, data, out) = (place.path("model"), place.path(data), place.path(out));
    let own = [command, "--model", &model, "--data", &data, "--out", &out];
    let few = "--shots 2 --context-tokens 4 --positive-steps 2 --negative-steps 2 --label-pool 0 --batch 4 --device cpu";
    let few: Vec<&str> = few.split_whitespace().collect();
    trainer(&[&own[..], &few, more].concat())
}

fn report(place: &Place, out: &str) -> Value {
    read_json(&place.path(&format!("{out}/report.json")))
}

/// Two runs into a folder among the images would learn the first one's figures as a class.
#[test]
fn results_never_lie_among_the_images() {
    let place = prepared();
    place.images(6);
    for out in ["images", "images/out/mine"] {
        let text = run(&place, "train", "images", out, &[]).failure().stderr;
        assert!(text.contains("--out lies among the images"), "{text}");
    }
    picture(&place.path("others/1.png"), [9, 9, 9], 20);
    let others = format!("others={}", place.path("others"));
    let text = run(&place, "train", "images", "others/out", &["--ood", &others]);
    let text = text.failure().stderr;
    assert!(text.contains("others"), "{text}");
    // Beside the images, or above them, is no harm.
    run(&place, "train", "images", "images-out", &[]).success();
    for half in ["train", "test"] {
        for (class, colour) in super::COLOURS {
            for number in 0..3 {
                let path = place.path(&format!("split/{half}/{class}/{number}.png"));
                picture(&path, colour, 20 + number + u32::from(half == "test") * 9);
            }
        }
    }
    run(&place, "train", "split", "split/out", &[]).success();
    let text = run(&place, "train", "split", "split/test/out", &[]);
    let text = text.failure().stderr;
    assert!(text.contains("--out lies among the images"), "{text}");
}

/// Eight photos whose names differ in a byte that is no UTF-8: each has its own features and its own
/// line.
#[cfg(target_os = "linux")]
#[test]
fn photos_whose_names_are_no_text_are_told_apart() {
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    let (model, data) = (place.model(), place.images(2));
    for byte in 0xf0..=0xf7u8 {
        let name = std::ffi::OsStr::from_bytes(&[b'x', byte, b'.', b'p', b'n', b'g']).to_owned();
        fs::copy(
            format!("{data}/red/0.png"),
            Path::new(&data).join("blue").join(name),
        )
        .unwrap();
    }
    let out = place.path("features.safetensors");
    trainer(&[
        "encode", "--model", &model, "--data", &data, "--out", &out, "--device", "cpu",
    ])
    .success();
    let bytes = fs::read(&out).unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    for byte in 0xf0..=0xf7u8 {
        assert_eq!(text.matches(&format!("blue/x\\x{byte:02x}.png")).count(), 1);
    }
}

/// Labels that were corrected, and images of a new name, make rows anew.
#[test]
fn rows_of_a_bench_know_what_they_were_measured_on() {
    let place = prepared();
    place.images(8);
    let table = |swapped: bool| {
        let mut text = "path,label,split\n".to_owned();
        for (class, _) in super::COLOURS {
            for number in 0..8 {
                let half = if number < 4 { "train" } else { "test" };
                let label = match (swapped && half == "test", class) {
                    (true, "blue") => "red",
                    (true, "red") => "blue",
                    _ => class,
                };
                text += &format!("images/{class}/{number}.png,{label},{half}\n");
            }
        }
        place.write("table.csv", text.as_bytes());
    };
    picture(&place.path("others/1.png"), [200, 200, 0], 30);
    let others = format!("others={}", place.path("others"));
    let more = ["--seeds", "0", "--without-patches", "--ood", &others];
    let bench = |out: &str| {
        run(&place, "bench", "table.csv", out, &more).success();
        report(&place, out)["methods"].clone()
    };
    let accuracy = |methods: &Value| -> Vec<(String, String)> {
        let methods = methods.as_array().unwrap().iter();
        methods
            .map(|method| (method["name"].to_string(), method["id_top1"].to_string()))
            .collect()
    };
    table(false);
    let first = bench("bench");
    table(true);
    let (second, fresh) = (bench("bench"), bench("fresh"));
    assert_eq!(accuracy(&second), accuracy(&fresh));
    assert_ne!(accuracy(&second), accuracy(&first));
}

/// What is known of an image from an earlier run does not hide that it is too large for this one.
#[test]
fn an_image_that_is_too_large_by_now_is_left_out() {
    let place = prepared();
    place.images(8);
    picture(&place.path("images/red/large.png"), [250, 0, 0], 200);
    run(&place, "train", "images", "out", &[]).success();
    let limited = ["--max-megapixels", "0.02"];
    let text = run(&place, "train", "images", "out", &limited)
        .success()
        .stderr;
    assert!(text.contains("red/large.png: 200 x 200"), "{text}");
    assert_eq!(report(&place, "out")["data"][0]["skipped"], 1);
}

#[test]
fn classes_that_are_one_to_the_text_tower_are_refused_before_anything_is_read() {
    let place = prepared();
    place.images(4);
    fs::create_dir(place.path("images/Red")).unwrap();
    picture(&place.path("images/Red/1.png"), [255, 0, 0], 20);
    let text = run(&place, "train", "images", "out", &[]).failure().stderr;
    assert!(
        text.contains("`Red` and `red`") && !text.contains("encoding"),
        "{text}"
    );
    assert!(!Path::new(&place.path("out/features")).exists());
}

/// A line break in a name shifts no image against its pixels, and images in two places are counted.
#[test]
fn a_report_says_what_is_odd_about_its_images() {
    let place = prepared();
    place.images(8);
    let images = place.path("images");
    fs::rename(
        format!("{images}/red/0.png"),
        format!("{images}/red/0\n0.png"),
    )
    .unwrap();
    fs::copy(
        format!("{images}/red/1.png"),
        format!("{images}/red/again.png"),
    )
    .unwrap();
    fs::copy(
        format!("{images}/red/2.png"),
        format!("{images}/blue/wrong.png"),
    )
    .unwrap();
    fs::create_dir(place.path("others")).unwrap();
    fs::copy(format!("{images}/green/1.png"), place.path("others/1.png")).unwrap();
    picture(&place.path("others/2.png"), [200, 200, 0], 30);
    let others = format!("others={}", place.path("others"));
    let more = ["--ood", &others, "--patches"];
    let run = run(&place, "train", "images", "out", &more).success();
    let notes = report(&place, "out")["notes"].to_string();
    for note in [
        "2 images are in the data more than once",
        "1 image is in the data under two classes",
        "1 of the 2 images of `others` are among the in-distribution images",
        "The thresholds stand on 10 images",
        "no p-value is below 0.091",
    ] {
        assert!(notes.contains(note), "{note}: {notes}");
        assert!(run.stderr.contains(note), "{note}: {}", run.stderr);
    }

    // The same images in both halves of a table, some without a class.
    let mut table = "path,label,split\n".to_owned();
    for (class, _) in super::COLOURS {
        for number in 3..8 {
            table += &format!("images/{class}/{number}.png,{class},train\n");
            table += &format!(
                "images/{class}/{number}.png,{},test\n",
                if number == 3 { "" } else { class }
            );
        }
    }
    place.write("table.csv", table.as_bytes());
    super::images::run(&place, "train", "table.csv", "both", &[]).success();
    let notes = report(&place, "both")["notes"].to_string();
    for note in [
        "3 of 30 images have no class",
        "15 of the 15 test images are among the training images",
    ] {
        assert!(notes.contains(note), "{note}: {notes}");
    }
}
