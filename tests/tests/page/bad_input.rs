//! What goes wrong gets a clear card or banner, and nothing else is disturbed.

use serde_json::json;

use super::stage::{Stage, animation, encoded, huge_png, noise, other_bundle, sample};
use xtask::webdriver::Options;

#[test]
fn bad_files_get_clear_cards() {
    let stage = Stage::ready(&Options::default());
    let jpeg = encoded(&noise(320, 240, 1), image::ImageFormat::Jpeg);
    let mut heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic".to_vec();
    heic.extend([0; 64]);
    let files = [
        stage.file("nothing.jpg", b""),
        stage.file("letter.jpg", b"Dear reader, this is a letter."),
        stage.file("cut.jpg", &jpeg[..jpeg.len() / 2]),
        stage.file("huge.png", &huge_png(20_000, 20_000)),
        stage.file("phone.heic", &heic),
        stage.file("moving.gif", &animation()),
        sample("coffee.jpg"),
    ];
    stage.show(&files, 300);
    for (file, words) in [
        ("nothing.jpg", "empty"),
        ("letter.jpg", "Not an image"),
        ("cut.jpg", "cut short"),
        ("huge.png", "20000 x 20000"),
        ("phone.heic", "HEI"),
    ] {
        let card = stage.card(file);
        assert_eq!(card["verdict"], "error", "{card}");
        assert!(card["text"].as_str().unwrap().contains(words), "{card}");
        assert!(card.get("score").is_none());
    }
    let moving = stage.card("moving.gif");
    assert!(
        matches!(moving["verdict"].as_str(), Some("in" | "out")),
        "{moving}"
    );
    assert!(
        moving["text"].as_str().unwrap().contains("first picture"),
        "{moving}"
    );
    assert!(matches!(
        stage.card("coffee.jpg")["verdict"].as_str(),
        Some("in" | "out")
    ));
    assert!(stage.text("#tally-text").contains("5 not read"));
    stage.browser.screenshot("bad-files");
    // They can be shown alone, as long as there is one.
    let offered = "return document.querySelector('#tally [value=error]').closest('label').offsetParent !== null";
    assert_eq!(stage.browser.run(offered), true);
    stage
        .browser
        .run("document.querySelector('#tally [value=error]').click()");
    let shown = "return [...document.querySelectorAll('.card')].filter((card) => card.offsetParent !== null).map((card) => card.dataset.verdict)";
    assert_eq!(
        stage.browser.run(shown),
        serde_json::json!(["error", "error", "error", "error", "error"])
    );
    stage.clear();
    stage
        .browser
        .run("document.querySelector('#tally [value=all]').click()");
    stage.show(&[sample("coffee.jpg")], 300);
    assert_eq!(stage.browser.run(offered), false);
}

/// An extension's script that fails in the page says nothing of the page's own program.
#[test]
fn strangers_errors_do_not_end_the_page() {
    let stage = Stage::ready(&Options::default());
    stage.browser.run(
        "Promise.reject(new Error('foreign'));
         setTimeout(() => { throw new Error('foreign'); });",
    );
    stage.show(&[sample("coffee.jpg")], 120);
    assert_eq!(stage.banner().0, "");
    // A file that no photo is as large as is refused before it is read.
    stage.browser.run(
        "const part = new Uint8Array(1 << 20);
         const given = new DataTransfer();
         given.items.add(new File(Array(501).fill(part), 'film.mp4'));
         const input = document.querySelector('#photos');
         input.files = given.files;
         input.dispatchEvent(new Event('change'));",
    );
    stage.browser.wait(
        "the file's card",
        120,
        "return document.querySelectorAll('.card').length === 2",
    );
    let card = stage.card("film.mp4");
    assert_eq!(card["verdict"], "error", "{card}");
    assert!(card["text"].as_str().unwrap().contains("525 MB"), "{card}");
}

#[test]
fn a_damaged_bundle_is_refused() {
    let bundle = other_bundle(|folder| {
        let shard = std::fs::read_dir(folder)
            .unwrap()
            .flatten()
            .map(|entry| entry.path())
            .find(|path| {
                path.file_name()
                    .unwrap()
                    .to_string_lossy()
                    .starts_with("image-tower")
            })
            .unwrap();
        let mut bytes = std::fs::read(&shard).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x55;
        std::fs::write(shard, bytes).unwrap();
    });
    let stage = Stage::open_with(&Options::default(), Some(bundle.path()));
    stage.browser.wait(
        "a banner",
        300,
        "return document.querySelector('.banner')?.textContent.includes('SHA-256')",
    );
    assert_eq!(
        stage
            .browser
            .run("return document.querySelector('#device-line').dataset.state"),
        "failed"
    );
    stage.browser.screenshot("bundle-damaged");
}

#[test]
fn a_bundle_of_another_version_is_refused() {
    let bundle = other_bundle(|folder| {
        let file = folder.join("bundle.json");
        let text = std::fs::read_to_string(&file).unwrap();
        let mut manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
        manifest["format_version"] = json!(99);
        std::fs::write(file, manifest.to_string()).unwrap();
    });
    let stage = Stage::open_with(&Options::default(), Some(bundle.path()));
    stage.browser.wait(
        "a banner",
        300,
        "return document.querySelector('.banner')?.textContent.includes('version 99')",
    );
}

#[test]
fn a_page_without_bundle_says_how_to_get_one() {
    let empty = tempfile::tempdir().unwrap();
    let stage = Stage::open_with(&Options::default(), Some(empty.path()));
    stage.browser.wait("a banner", 300, "return document.querySelector('.banner')?.textContent.includes('cargo run --release -p trainer')");
    stage.browser.screenshot("no-bundle");
    // Another one that is not there either is told beside it, and leaves no dead end.
    load(&stage, "http://localhost:9/nowhere");
    stage.browser.wait(
        "both banners",
        60,
        "const said = (topic) => document.querySelector(`.banner[data-topic=${topic}]`)?.textContent ?? '';
         return said('refused').includes('opened instead') && said('bundle').includes('Try again')",
    );
}

/// Asks the page for the bundle at this address.
fn load(stage: &Stage, address: &str) {
    stage.browser.run_with(
        "document.querySelector('#bundle-address').value = arguments[0]; document.querySelector('#bundle-form').requestSubmit()",
        json!([address]),
    );
}

#[test]
fn another_bundle_can_be_opened_and_left() {
    let stage = Stage::ready(&Options::default());
    stage.show(&[sample("coffee.jpg")], 300);
    load(&stage, &format!("{}bundle/bundle.json", stage.address));
    stage.browser.wait("the other bundle", 300, "return !document.querySelector('#bundle-default').hidden && document.querySelector('#device-line').dataset.state === 'ready'");
    assert!(matches!(
        stage.card("coffee.jpg")["verdict"].as_str(),
        Some("in" | "out")
    ));
    stage.browser.click("#bundle-default");
    stage.browser.wait("the page's bundle", 300, "return document.querySelector('#bundle-default').hidden && document.querySelector('#device-line').dataset.state === 'ready'");
    // One that is not there leaves the page's own in place.
    load(&stage, "http://localhost:9/nowhere");
    stage.browser.wait(
        "a banner",
        300,
        "return document.querySelector('.banner')?.textContent.includes('back in place')",
    );
    stage.wait_ready(300);
    let (said, _) = stage.banner();
    assert!(said.contains("back in place"), "the reason stays: {said}");
    stage.show(&[sample("cat.jpg")], 300);
}

#[test]
fn a_bundle_can_be_opened_from_a_folder() {
    let stage = Stage::ready(&Options::default());
    stage.show(&[sample("coffee.jpg")], 300);
    let before = stage.card("coffee.jpg")["score"].clone();
    let bundle = other_bundle(|folder| {
        let file = folder.join("bundle.json");
        let text = std::fs::read_to_string(&file).unwrap();
        let mut manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
        manifest["model"]["name"] = json!("mine");
        std::fs::write(file, manifest.to_string()).unwrap();
    });
    stage
        .browser
        .upload("#bundle-folder", &[bundle.path().to_path_buf()]);
    stage.browser.wait("the other bundle", 300, "return document.querySelector('#bundle-name').textContent === 'mine' && document.querySelector('#queue').hidden");
    assert_eq!(stage.card("coffee.jpg")["score"], before);
    // A folder that is none leaves everything as it is.
    let empty = stage.files.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    std::fs::write(empty.join("readme.txt"), "nothing").unwrap();
    stage.browser.upload("#bundle-folder", &[empty]);
    stage.browser.wait(
        "a banner",
        60,
        "return document.querySelector('.banner')?.textContent.includes('has no bundle.json')",
    );
    assert_eq!(stage.text("#bundle-name"), "mine");
    // From one that is not there the way leads back to this one, not to the page's own.
    load(&stage, "http://localhost:9/nowhere");
    stage.browser.wait(
        "a banner",
        60,
        "return document.querySelector('.banner')?.textContent.includes('back in place')",
    );
    stage.wait_ready(120);
    assert_eq!(stage.text("#bundle-name"), "mine");
    assert!(stage.banner().0.contains("bundle before it"));
    let way_back = "return !document.querySelector('#bundle-default').hidden";
    assert_eq!(stage.browser.run(way_back), true);
}

#[test]
fn without_webgpu_the_cpu_computes() {
    let arguments = vec![
        "--disable-features=WebGPU,WebGPUService".to_owned(),
        "--disable-blink-features=WebGPU".to_owned(),
    ];
    let stage = Stage::ready(&Options {
        arguments,
        ..Options::default()
    });
    assert_eq!(
        stage
            .browser
            .run("return document.querySelector('#device-line').dataset.device"),
        "cpu"
    );
    assert!(
        stage.text("#device-note").contains("WebGPU"),
        "{}",
        stage.text("#device-note")
    );
    stage.show(&[sample("coffee.jpg")], 300);
    // Asked for, it is still not there, and the page says so.
    stage.browser.click("input[name=device][value=gpu]");
    stage.browser.wait(
        "a device",
        300,
        "return document.querySelector('#device-line').dataset.state === 'ready'",
    );
    assert!(
        stage.text("#device-note").contains("So the CPU computes"),
        "{}",
        stage.text("#device-note")
    );
}

#[test]
fn memory_that_is_refused_costs_one_card() {
    // 200 MB for a worker: enough for the model, not for the large photo.
    let arguments = vec!["--js-flags=--wasm-max-mem-pages=3200".to_owned()];
    let stage = Stage::ready(&Options {
        arguments,
        ..Options::default()
    });
    let large = encoded(&noise(9_000, 9_000, 2), image::ImageFormat::Jpeg);
    let files = [
        sample("coffee.jpg"),
        stage.file("large.jpg", &large),
        sample("cat.jpg"),
    ];
    stage.show(&files, 300);
    let card = stage.card("large.jpg");
    assert_eq!(card["verdict"], "error", "{card}");
    assert!(card["text"].as_str().unwrap().contains("memory"), "{card}");
    for file in ["coffee.jpg", "cat.jpg"] {
        assert!(matches!(
            stage.card(file)["verdict"].as_str(),
            Some("in" | "out")
        ));
    }
}

#[test]
fn a_tab_in_the_background_goes_on() {
    let stage = Stage::ready(&Options::default());
    let photos: Vec<_> = (0..12)
        .map(|salt| {
            stage.file(
                &format!("{salt}.jpg"),
                &encoded(&noise(320, 240, salt), image::ImageFormat::Jpeg),
            )
        })
        .collect();
    stage.browser.upload("#photos", &photos);
    let tab = stage.browser.new_tab();
    std::thread::sleep(std::time::Duration::from_secs(6));
    stage.browser.switch(&tab);
    stage.browser.wait(
        "all cards",
        300,
        "return document.querySelectorAll('.card').length === 12",
    );
}
