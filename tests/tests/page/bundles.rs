//! Other bundles than the page's own: what they lack, and what becomes of photos that are there already.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use shared::bundle::{Precision, decode_tensors, encode_tensors, sha256_hex, tensor_name};

use super::parity::{agree, predicted};
use super::patches::learned;
use super::stage::{Stage, copy, encoded, noise, other_bundle, sample};
use xtask::webdriver::Options;

const APPLY: &str = "
    const area = document.querySelector('#classes');
    area.value = arguments[0];
    area.dispatchEvent(new Event('input'));
    document.querySelector('#classes-apply').click();";

#[test]
fn contexts_of_single_classes_judge_photos_and_take_no_other_names() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = learned(folder.path(), "--class-specific");
    let stage = Stage::open_with(&Options::default(), Some(&bundle));
    stage.wait_ready(300);
    let photos = ["coffee.jpg", "rocket.jpg", "bricks.jpg"].map(sample);
    stage.show(&photos, 300);
    agree(&stage, &photos, predicted(&bundle, "negprompt", &photos));
    let fixed = "return [document.querySelector('#classes').disabled, document.querySelector('#classes-apply').disabled]";
    assert_eq!(stage.browser.run(fixed), json!([true, true]));
    let said = stage.text("#classes-state");
    assert!(said.contains("single classes"), "{said}");
}

#[test]
fn a_bundle_of_no_method_that_can_be_scored_is_refused() {
    let bundle = other_bundle(|folder| {
        let file = folder.join("bundle.json");
        let mut manifest: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        // The bundle has no such prompts.
        let methods = manifest["methods"].as_array_mut().unwrap();
        methods.truncate(1);
        methods[0]["id"] = json!("locoop");
        fs::write(file, manifest.to_string()).unwrap();
    });
    let stage = Stage::open_with(&Options::default(), Some(bundle.path()));
    stage.browser.wait(
        "a banner",
        300,
        "return document.querySelector('.banner')?.textContent.includes('none of its methods')",
    );
    let state = "return document.querySelector('#device-line').dataset.state";
    assert_eq!(stage.browser.run(state), "failed");
}

/// Puts other bytes into the file of a role, under the hash that they have.
fn put(folder: &Path, role: &str, change: impl FnOnce(&[u8]) -> Vec<u8>) {
    let file = folder.join("bundle.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let files = manifest["files"].as_array_mut().unwrap();
    let entry = files
        .iter_mut()
        .find(|entry| entry["role"] == role)
        .unwrap();
    let name = entry["name"].as_str().unwrap().to_owned();
    let bytes = change(&fs::read(folder.join(&name)).unwrap());
    fs::remove_file(folder.join(&name)).unwrap();
    let hash = sha256_hex(&bytes);
    let name = name.replace(
        name.rsplit('-').next().unwrap().split('.').next().unwrap(),
        &hash[..16],
    );
    (entry["name"], entry["bytes"]) = (json!(name), json!(bytes.len()));
    entry["sha256"] = json!(hash);
    fs::write(folder.join(name), bytes).unwrap();
    fs::write(file, manifest.to_string()).unwrap();
}

/// Parts that are each whole and do not belong together would give scores of something else.
#[test]
fn parts_that_do_not_belong_together_take_no_names() {
    let shorter = other_bundle(|folder| {
        put(folder, "vocabulary", |bytes| {
            let text = std::str::from_utf8(bytes).unwrap().trim_end();
            let (but_one, _) = text.rsplit_once('\n').unwrap();
            format!("{but_one}\n").into_bytes()
        });
    });
    let more_contexts = other_bundle(|folder| {
        put(folder, "prompts", |bytes| {
            let mut tensors = decode_tensors("prompts", bytes).unwrap();
            let context = tensors.get_mut(tensor_name::NEGATIVE_CONTEXT).unwrap();
            let of_one = context.values.len() / context.shape[0];
            context.values.extend_from_within(..of_one);
            context.shape[0] += 1;
            encode_tensors(&tensors, Precision::F32).unwrap()
        });
    });
    for (bundle, said) in [
        (shorter, "do not belong together"),
        (more_contexts, "3 contexts as"),
    ] {
        let stage = Stage::open_with(&Options::default(), Some(bundle.path()));
        stage.wait_ready(300);
        let own = stage.text("#classes-count");
        stage.browser.run_with(APPLY, json!(["espresso\nacorn"]));
        let script = format!(
            "return document.querySelector('#classes-warnings').textContent.includes('{said}')"
        );
        stage.browser.wait("a reason", 120, &script);
        assert_eq!(stage.text("#classes-count"), own);
    }
}

/// The worker that had the edited classes is gone, and the next one cannot have their text tower.
#[test]
fn classes_that_the_next_worker_cannot_take_leave_the_bundles_own() {
    let bundle = other_bundle(|_| {});
    let stage = Stage::open_with(&Options::default(), Some(bundle.path()));
    stage.wait_ready(300);
    let own = stage.text("#classes-count");
    stage.show(&[sample("coffee.jpg"), sample("bricks.jpg")], 120);
    let first = ["coffee.jpg", "bricks.jpg"].map(|file| stage.card(file)["score"].clone());
    stage
        .browser
        .run_with(APPLY, json!(["espresso\nrocket\nacorn"]));
    let edited = "return document.querySelector('#classes-count').textContent === '3'";
    stage.browser.wait("edited classes", 120, edited);

    for file in fs::read_dir(bundle.path()).unwrap().flatten() {
        if file.file_name().to_string_lossy().starts_with("text-tower") {
            fs::remove_file(file.path()).unwrap();
        }
    }
    stage.browser.await_script(
        "const manifest = await (await fetch('bundle/bundle.json')).json();
         const gone = manifest.files.filter((file) => file.role === 'text-tower').map((file) => file.sha256);
         for (const name of await caches.keys()) {
             const cache = await caches.open(name);
             for (const request of await cache.keys())
                 if (gone.some((hash) => request.url.includes(hash)) || request.url.includes('text-tower'))
                     await cache.delete(request);
         }
         return true",
    );
    // Whichever is chosen, another worker begins.
    stage.browser.run("[...document.querySelectorAll('input[name=device]')].find((input) => !input.checked && !input.disabled).click()");
    let back = format!("return document.querySelector('#classes-count').textContent === '{own}'");
    stage.browser.wait("the bundle's classes", 120, &back);
    let warned = stage.text("#classes-warnings");
    assert!(warned.contains("was updated"), "{warned}");
    let judged = "return document.querySelector('#queue').hidden && [...document.querySelectorAll('.card')].every((card) => card.dataset.score)";
    stage.browser.wait("scores against those", 120, judged);
    let again = ["coffee.jpg", "bricks.jpg"].map(|file| stage.card(file)["score"].clone());
    assert_eq!(first, again);
}

/// A photo that was to be read with another bundle has no verdict of the one before.
#[test]
fn photos_that_were_not_read_with_another_bundle_say_so() {
    let stage = Stage::ready(&Options::default());
    let photos: Vec<_> = (0..60)
        .map(|salt| {
            let bytes = encoded(&noise(640, 480, salt), image::ImageFormat::Jpeg);
            stage.file(&format!("photo {salt}.jpg"), &bytes)
        })
        .collect();
    stage.show(&photos, 300);
    let other = other_bundle(|folder| {
        let file = folder.join("bundle.json");
        let mut manifest: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        manifest["model"]["name"] = json!("another");
        for method in manifest["methods"].as_array_mut().unwrap() {
            for rates in method["ood"].as_object_mut().unwrap().values_mut() {
                rates["auroc"] = json!(0.5);
            }
        }
        fs::write(file, manifest.to_string()).unwrap();
    });
    copy(other.path(), &stage.files.path().join("other"), &|_| true);
    stage.browser.run(
        "document.querySelector('#bundle-address').value = new URL('files/other/', location).href;
         document.querySelector('#bundle-form').requestSubmit();",
    );
    stage.browser.wait(
        "a first photo with the other bundle",
        300,
        "const all = [...document.querySelectorAll('.card')];
         const read = all.filter((card) => card.dataset.verdict).length;
         return document.querySelector('#bundle-name').textContent === 'another' && read > 0 && read < all.length
             && (document.querySelector('#queue-cancel').click(), true)",
    );
    let idle = "return document.querySelector('#queue').hidden";
    stage.browser.wait("an end of the queue", 60, idle);
    let figures = "return [...new Set([...document.querySelectorAll('#methods .figure')].map((figure) => figure.textContent))]";
    assert_eq!(stage.browser.run(figures), json!(["AUROC 50.0"]));
    let cards = stage.browser.run(
        "return [...document.querySelectorAll('.card')].map((card) => [card.dataset.verdict, card.textContent.includes('was cancelled')])",
    );
    let cards = cards.as_array().unwrap();
    let told = |verdict: &str| cards.iter().filter(|card| card[0] == verdict).count();
    let cancelled = cards.iter().filter(|card| card[1] == true).count();
    assert!(cancelled > 0 && told("error") == cancelled, "{cards:?}");
    assert_eq!(told("in") + told("out") + cancelled, 60, "{cards:?}");
}

/// Two bundles stay in the browser at most: the page's own, and the last one that had an address.
#[test]
fn what_was_kept_of_an_older_bundle_goes() {
    let stage = Stage::ready(&Options::default());
    for name in ["one", "two"] {
        let bundle = other_bundle(|folder| {
            put(folder, "prompts", |bytes| {
                let mut tensors = decode_tensors("prompts", bytes).unwrap();
                let context = tensors.get_mut(tensor_name::NEGATIVE_CONTEXT).unwrap();
                context.values[0] += if name == "one" { 1.0 } else { 2.0 };
                encode_tensors(&tensors, Precision::F32).unwrap()
            });
            let file = folder.join("bundle.json");
            let mut manifest: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
            manifest["model"]["name"] = json!(name);
            fs::write(file, manifest.to_string()).unwrap();
        });
        copy(bundle.path(), &stage.files.path().join(name), &|_| true);
        stage.browser.run_with(
            "document.querySelector('#bundle-address').value = new URL(`files/${arguments[0]}/`, location).href;
             document.querySelector('#bundle-form').requestSubmit();",
            json!([name]),
        );
        let opened =
            format!("return document.querySelector('#bundle-name').textContent === '{name}'");
        stage.browser.wait("the other bundle", 120, &opened);
        stage.wait_ready(60);
        // The text tower and the prompts come with new names.
        stage.browser.run_with(APPLY, json!(["espresso\nacorn"]));
        let edited =
            "return document.querySelector('#classes-state').textContent.startsWith('Yours')";
        stage.browser.wait("edited classes", 120, edited);
    }
    let kept = stage.browser.await_script(
        "const kept = {};
         for (const name of await caches.keys()) {
             const keys = await (await caches.open(name)).keys();
             kept[name.split(' ')[0]] = keys.map((key) => key.url.split('/').slice(-2).join('/'));
         }
         return kept",
    );
    let of = |cache: &str| -> Vec<String> {
        let kept = kept[cache].as_array().unwrap().iter();
        kept.map(|key| key.as_str().unwrap().to_owned()).collect()
    };
    let other = of("negprompt-other-bundle");
    assert!(other.contains(&"two/bundle.json".to_owned()), "{other:?}");
    assert!(!other.contains(&"one/bundle.json".to_owned()), "{other:?}");
    let manifest = fs::read(stage.files.path().join("two/bundle.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let files = manifest["files"].as_array().unwrap();
    let hashes: Vec<&str> = files
        .iter()
        .map(|file| file["sha256"].as_str().unwrap())
        .collect();
    for key in &other {
        let hash = key.rsplit('/').next().unwrap();
        assert!(hash == "bundle.json" || hashes.contains(&hash), "{key}");
    }
    assert_eq!(
        other.len(),
        hashes.len() + 1,
        "all of it is kept: {other:?}"
    );
    assert!(of("negprompt-bundle").contains(&"bundle/bundle.json".to_owned()));
}
