//! Methods that look at a photo part by part: its patches are encoded when such a method is chosen, and
//! never kept.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::parity::{agree, predicted};
use super::stage::{Stage, encoded, noise, sample};
use tests::program::trainer;
use xtask::webdriver::{Adapter, Options};

const SAMPLES: [&str; 3] = ["astronaut.jpg", "coffee.jpg", "rocket.jpg"];

/// Every photo has a verdict, and nothing is under way.
const JUDGED: &str = "
    return document.querySelector('#queue').hidden &&
        [...document.querySelectorAll('.card')].every((card) => ['in', 'out'].includes(card.dataset.verdict))";

/// A bundle that was learned in a few steps, with patches.
fn bundle(folder: &Path) -> PathBuf {
    learned(folder, "--patches")
}

/// A bundle that was learned in a few steps, in another way than by default.
pub fn learned(folder: &Path, way: &str) -> PathBuf {
    let picture = |path: PathBuf, salt: u32| {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let bytes = encoded(&noise(64, 64, salt), image::ImageFormat::Png);
        std::fs::write(path, bytes).unwrap();
    };
    for number in 0..6 {
        for (salt, class) in ["cup", "rocket", "sunflower"].into_iter().enumerate() {
            let path = folder.join(format!("data/{class}/{number}.png"));
            picture(path, 10 * salt as u32 + number);
        }
        picture(folder.join(format!("others/{number}.png")), 90 + number);
    }
    let few = "--shots 2 --positive-steps 2 --negative-steps 2 --label-pool 0 --device cpu";
    let out = folder.join("out");
    let output = Command::new(trainer())
        .args(["train", way])
        .args(few.split(' '))
        .arg("--data")
        .arg(folder.join("data"))
        .arg("--ood")
        .arg(format!("others={}", folder.join("others").display()))
        .arg("--out")
        .arg(&out)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    out.join("bundle")
}

fn choose(stage: &Stage, method: &str) {
    let script = "document.querySelector(`#methods [value=${arguments[0]}]`).click()";
    stage.browser.run_with(script, json!([method]));
}

fn cards(stage: &Stage) -> Vec<Value> {
    SAMPLES.iter().map(|file| stage.card(file)).collect()
}

#[test]
fn photos_are_read_again_for_their_patches() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = bundle(folder.path());
    let stage = Stage::open_with(&Options::default(), Some(&bundle));
    stage.wait_ready(300);
    let photos = SAMPLES.map(sample);
    stage.show(&photos, 300);
    let first = cards(&stage);

    // While a photo is read again it has no verdict, and says why.
    choose(&stage, "gl-mcm");
    let again = stage.card(SAMPLES[0]);
    assert!(
        again["verdict"].is_null() && again["score"].is_null(),
        "{again}"
    );
    let said = again["text"].as_str().unwrap().to_lowercase();
    assert!(said.contains("reading again"), "{said}");
    assert!(said.contains("gl-mcm"), "{said}");
    stage.browser.wait("verdicts by patches", 300, JUDGED);
    agree(&stage, &photos, predicted(&bundle, "gl-mcm", &photos));
    stage.browser.screenshot("patches");

    // What was read with patches is known to every method.
    for method in ["locoop-gl", "locoop", "negprompt"] {
        choose(&stage, method);
        assert_eq!(stage.browser.run(JUDGED), true, "{method}");
    }
    assert_eq!(cards(&stage), first, "the same photos, the same scores");

    // A photo that comes while such a method is chosen is read once, with its patches.
    choose(&stage, "locoop-gl");
    let late = [sample("cat.jpg")];
    stage.show(&late, 300);
    agree(&stage, &late, predicted(&bundle, "locoop-gl", &late));
}

#[test]
fn edited_classes_are_held_against_patches_of_other_photos() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = bundle(folder.path());
    let stage = Stage::open_with(&Options::default(), Some(&bundle));
    stage.wait_ready(300);
    stage.show(&SAMPLES.map(sample), 300);
    choose(&stage, "locoop-gl");
    stage.browser.wait("verdicts by patches", 300, JUDGED);
    let edit = |names: &str, count: &str| {
        stage.browser.run_with(
            "const area = document.querySelector('#classes'); area.value = arguments[0]; area.dispatchEvent(new Event('input'))",
            json!([names]),
        );
        stage.browser.click("#classes-apply");
        let script =
            format!("return document.querySelector('#classes-count').textContent === '{count}'");
        stage.browser.wait("edited classes", 300, &script);
    };
    edit("rocket\nastronaut", "2");
    stage
        .browser
        .wait("verdicts on edited classes", 300, JUDGED);
    for card in cards(&stage) {
        let class = card["class"].as_str().unwrap();
        assert!(["rocket", "astronaut"].contains(&class), "{card}");
        let text = card["text"].as_str().unwrap();
        assert!(text.contains("none of the bundle's classes"), "{text}");
    }
    let note = stage.text("#rate-note");
    assert!(
        note.starts_with("Your classes were never measured. 6 photos"),
        "{note}"
    );

    // Whoever turns to another method meanwhile need not wait: nothing is read for nobody.
    edit("rocket\nastronaut\nespresso", "3");
    choose(&stage, "mcm");
    let quick = cards(&stage);
    for card in &quick {
        assert!(card["score"].is_string(), "{card}");
    }
    stage.browser.wait("an empty queue", 300, JUDGED);
    assert_eq!(cards(&stage), quick);

    // Nor who cancels, what waits or with a second click also what the worker is at: the other methods'
    // scores stay.
    for cancel in ["cancel.click()", "cancel.click(); cancel.click()"] {
        stage.browser.run(&format!(
            "document.querySelector('#methods [value=gl-mcm]').click(); const cancel = document.querySelector('#queue-cancel'); {cancel}"
        ));
        stage.browser.wait(
            "an end",
            300,
            "return document.querySelector('#queue').hidden && document.querySelector('#device-line').dataset.state === 'ready'",
        );
        choose(&stage, "mcm");
        assert_eq!(cards(&stage), quick, "{cancel}");
        assert_eq!(stage.text("#classes-count"), "3");
    }
}

#[test]
fn a_photo_that_is_gone_keeps_what_was_read() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = bundle(folder.path());
    let stage = Stage::open_with(&Options::default(), Some(&bundle));
    stage.wait_ready(300);
    let bytes = std::fs::read(sample("coffee.jpg")).unwrap();
    let gone = stage.file("gone.jpg", &bytes);
    stage.show(&[gone.clone(), sample("rocket.jpg")], 300);
    let before = stage.card("gone.jpg");
    std::fs::remove_file(gone).unwrap();
    choose(&stage, "gl-mcm");
    stage.browser.wait(
        "an end",
        300,
        "return document.querySelector('#queue').hidden && [...document.querySelectorAll('.card')].every((card) => card.dataset.verdict)",
    );
    let card = stage.card("gone.jpg");
    assert_eq!(card["verdict"], "error");
    let text = card["text"].as_str().unwrap();
    assert!(
        text.contains("could not be read again for GL-MCM"),
        "{text}"
    );
    assert!(stage.card("rocket.jpg")["score"].is_string());
    choose(&stage, "negprompt");
    assert_eq!(stage.card("gone.jpg"), before);
    // And it goes for good: the other one is read again without it.
    stage
        .browser
        .run("document.querySelector('.card[data-file=\"gone.jpg\"] .act-remove').click()");
    choose(&stage, "locoop-gl");
    stage.browser.wait("verdicts by patches", 300, JUDGED);
    assert_eq!(stage.count(), 1);
}

#[test]
fn a_gpu_sees_the_same_patches() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = bundle(folder.path());
    let options = Options {
        adapter: Adapter::Software,
        ..Options::default()
    };
    let stage = Stage::open_with(&options, Some(&bundle));
    stage.wait_ready(300);
    stage.browser.click("input[name=device][value=gpu]");
    let on_gpu = "
        const line = document.querySelector('#device-line');
        return line.dataset.state === 'ready' && line.dataset.device === 'gpu'";
    stage.browser.wait("the GPU", 300, on_gpu);
    choose(&stage, "gl-mcm");
    let photos = [sample("astronaut.jpg"), sample("rocket.jpg")];
    stage.show(&photos, 300);
    assert_eq!(stage.card("rocket.jpg")["device"], "gpu");
    agree(&stage, &photos, predicted(&bundle, "gl-mcm", &photos));
}
