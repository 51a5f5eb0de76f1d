//! The network, cut in the middle of every file that a visit asks for, and storage without room.

use std::collections::BTreeSet;

use serde_json::json;

use super::stage::{Stage, other_bundle, sample};
use xtask::webdriver::Options;

/// What a page with its stylesheet, samples, icon or second-visit files missing still does.
const NOT_NEEDED: [&str; 5] = ["samples/", ".css", "icon", "webmanifest", "service-worker"];

/// The page computes, or says what helps.
const READY_OR_BANNER: &str = "
    const state = document.querySelector('#device-line')?.dataset.state;
    if (state === 'ready') return 'ready';
    return document.querySelector('#banners .banner .act') ? 'banner' : null;";

/// Forgets every visit: files, caches, service workers.
fn forget(stage: &Stage) {
    stage.browser.open("about:blank");
    stage.browser.chromium(
        "Storage.clearDataForOrigin",
        json!({ "origin": stage.address.trim_end_matches('/'), "storageTypes": "all" }),
    );
    stage
        .browser
        .chromium("Network.clearBrowserCache", json!({}));
}

#[test]
fn a_network_cut_at_any_file_of_a_first_visit_is_told_and_mended() {
    let (stage, wire) = Stage::wired(&Options::default(), None);
    stage.browser.open(&stage.address);
    stage.wait_ready(300);
    let paths: BTreeSet<String> = wire.asked().into_iter().map(|(path, _)| path).collect();
    for needed in ["/start.js", "/worker-start.js", "/bundle/bundle.json"] {
        assert!(paths.contains(needed), "{paths:?}");
    }
    let shards = paths.iter().filter(|path| path.ends_with(".safetensors"));
    assert!(shards.count() >= 2, "{paths:?}");
    let mut told = Vec::new();
    for path in paths.iter().filter(|path| *path != "/") {
        if NOT_NEEDED.iter().any(|part| path.contains(part)) {
            continue;
        }
        forget(&stage);
        wire.cut(path, 1);
        stage.browser.open(&stage.address);
        if path == "/start.js" {
            // No script of the page's runs: the words wait in its style sheet.
            stage
                .browser
                .run("document.getAnimations().forEach((late) => late.finish())");
            let seen = "return getComputedStyle(document.querySelector('#stuck')).visibility";
            assert_eq!(stage.browser.run(seen), "visible");
            stage.browser.open(&stage.address);
        } else if stage.browser.wait("an outcome", 60, READY_OR_BANNER) == "banner" {
            let (said, detail) = stage.banner();
            let mends_itself = said.contains("started again");
            assert!(
                mends_itself || said.contains("try again") || said.contains("Reload"),
                "{path}: {said}"
            );
            told.push(format!("{path}: {said} [{detail}]"));
            if !mends_itself {
                stage
                    .browser
                    .run("document.querySelector('#banners .banner .act').click()");
            }
        }
        stage.wait_ready(60);
        assert_eq!(wire.cuts_left(), 0, "{path} was not asked for");
    }
    // What the page cannot mend by itself it says.
    assert!(
        told.iter().any(|told| told.contains("bundle.json")),
        "{told:#?}"
    );
    stage.show(&[sample("coffee.jpg")], 120);
}

/// What does not come has not failed on any device.
#[test]
fn a_worker_that_does_not_come_is_no_fault_of_the_device() {
    for file in ["/worker-start.js", "/worker.js", "/worker_bg.wasm"] {
        let (stage, wire) = Stage::wired(&Options::default(), None);
        wire.cut(file, 99);
        stage.browser.open(&stage.address);
        stage.browser.wait(
            "a banner",
            60,
            "return document.querySelector('.banner .act')?.textContent === 'Try again'",
        );
        let (said, _) = stage.banner();
        assert!(said.contains("could not be loaded"), "{file}: {said}");
        let device = "return document.querySelector('input[name=device]:checked').value";
        assert_eq!(stage.browser.run(device), "auto");
        wire.cut("", 0);
        stage.browser.click(".banner .act");
        stage.wait_ready(60);
        assert_eq!(stage.browser.run(device), "auto");
        assert_eq!(stage.banner().0, "");
    }
}

/// The bundle that was open cannot be had again: what is asked of the page meanwhile waits for it.
#[test]
fn photos_and_names_wait_for_a_bundle_that_does_not_come() {
    let (stage, wire) = Stage::wired(&Options::default(), None);
    stage.browser.open(&stage.address);
    stage.wait_ready(300);
    stage.browser.await_script(
        "for (const name of await caches.keys()) await caches.delete(name); return true",
    );
    stage
        .browser
        .chromium("Network.clearBrowserCache", json!({}));
    wire.cut("/bundle/bundle.json", 99);
    stage.browser.click("input[name=device][value=cpu]");
    stage.browser.wait(
        "a banner",
        60,
        "return document.querySelector('.banner .act')?.textContent === 'Try again'",
    );
    stage.browser.upload("#photos", &[sample("coffee.jpg")]);
    stage.browser.run("const area = document.querySelector('#classes'); area.value = 'coffee\\nrocket'; area.dispatchEvent(new Event('input')); document.querySelector('#classes-apply').click()");
    stage.browser.wait(
        "what it waits for",
        30,
        "return document.querySelector('#queue-text').textContent.includes('waiting for the model')",
    );
    stage.browser.screenshot("waiting");
    wire.cut("", 0);
    stage.browser.click(".banner .act");
    stage.browser.wait(
        "a verdict among the new classes",
        120,
        "return document.querySelectorAll('.card[data-verdict=in], .card[data-verdict=out]').length === 1
             && document.querySelector('#classes-count').textContent === '2' && document.querySelector('#queue').hidden",
    );
}

#[test]
fn a_network_cut_at_the_text_tower_leaves_the_old_classes() {
    let (stage, wire) = Stage::wired(&Options::default(), None);
    stage.browser.open(&stage.address);
    stage.wait_ready(300);
    stage.show(&[sample("coffee.jpg")], 120);
    // Nothing of it comes before it is wanted.
    let before: Vec<String> = wire.asked().into_iter().map(|(path, _)| path).collect();
    let lazy = ["text-tower", "vocabulary", "prompts"];
    let first = |path: &String| lazy.iter().any(|part| path.contains(part));
    assert!(!before.iter().any(first), "{before:?}");
    let count = stage.text("#classes-count");
    let manifest = std::fs::read(super::stage::page().join("bundle/bundle.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let apply = || {
        stage.browser.run("const area = document.querySelector('#classes'); area.value = 'coffee\\nrocket'; area.dispatchEvent(new Event('input')); document.querySelector('#classes-apply').click()");
    };
    for file in manifest["files"].as_array().unwrap() {
        let name = file["name"].as_str().unwrap().to_owned();
        if !first(&name) {
            continue;
        }
        wire.cut(&format!("/bundle/{name}"), 99);
        apply();
        stage.browser.wait(
            "a reason",
            60,
            "return document.querySelector('#classes-warnings').textContent.includes('could not be fetched')",
        );
        assert_eq!(stage.text("#classes-count"), count, "{name}");
        wire.cut("", 0);
    }
    apply();
    stage.browser.wait(
        "the new classes",
        120,
        "return document.querySelector('#classes-count').textContent === '2'",
    );
}

#[test]
fn a_text_tower_that_an_update_took_away_is_no_missing_bundle() {
    let bundle = other_bundle(|_| {});
    let stage = Stage::open_with(&Options::default(), Some(bundle.path()));
    stage.wait_ready(300);
    for file in std::fs::read_dir(bundle.path()).unwrap().flatten() {
        if file.file_name().to_string_lossy().starts_with("text-tower") {
            std::fs::remove_file(file.path()).unwrap();
        }
    }
    stage.browser.run("const area = document.querySelector('#classes'); area.value = 'coffee\\nrocket'; area.dispatchEvent(new Event('input')); document.querySelector('#classes-apply').click()");
    let said = stage.browser.wait(
        "a reason",
        60,
        "return document.querySelector('#classes-warnings').textContent",
    );
    let said = said.as_str().unwrap();
    assert!(
        said.contains("was updated") && said.contains("Reload"),
        "{said}"
    );
    assert!(!said.contains("Train one"), "{said}");
}

#[test]
fn an_update_that_breaks_off_leaves_the_last_version_for_the_next_visit() {
    let bundle = other_bundle(|_| {});
    let (stage, wire) = Stage::wired(&Options::default(), Some(bundle.path()));
    stage.browser.open(&stage.address);
    stage.wait_ready(300);
    stage
        .browser
        .await_script("await navigator.serviceWorker.ready; return true");
    // Another version, of which one file never comes.
    let file = bundle.path().join("bundle.json");
    let own = std::fs::read(&file).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_slice(&own).unwrap();
    let entry = manifest["files"]
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .find(|entry| entry["role"] == "features")
        .unwrap();
    let (old, other) = (entry["sha256"].as_str().unwrap().to_owned(), "0".repeat(64));
    let text = String::from_utf8(own).unwrap();
    let text = text.replace(&old, &other).replace(&old[..16], &other[..16]);
    std::fs::write(&file, text).unwrap();
    stage.browser.open(&stage.address);
    stage.browser.wait(
        "a banner",
        60,
        "return document.querySelector('.banner .act')?.textContent === 'Try again'",
    );
    drop(wire);
    stage.goes_offline();
    stage.browser.open(&stage.address);
    stage.wait_ready(60);
    assert!(stage.text("#bundle-note").contains("cache"));
}

#[test]
fn without_room_to_keep_anything_the_page_works_and_says_so() {
    let (stage, _wire) = Stage::wired(&Options::default(), None);
    let quota = |bytes: u64| {
        let origin = stage.address.trim_end_matches('/');
        stage.browser.chromium(
            "Storage.overrideQuotaForOrigin",
            json!({ "origin": origin, "quotaSize": bytes }),
        );
    };
    quota(100_000);
    stage.browser.open(&stage.address);
    stage.wait_ready(300);
    let note = stage.text("#bundle-note");
    assert!(note.contains("keeps no copy"), "{note}");
    stage.show(&[sample("coffee.jpg")], 120);
    stage.browser.screenshot("storage-full");
    // With room again, the next visit keeps it, and the one after needs nothing.
    quota(1_000_000_000);
    for words in [".", "from this browser's cache"] {
        stage.browser.open(&stage.address);
        stage.wait_ready(120);
        let note = stage.text("#bundle-note");
        assert!(
            note.contains(words) && !note.contains("keeps no copy"),
            "{note}"
        );
    }
    // A kept file that is damaged is fetched anew.
    stage.browser.await_script(
        "const name = (await caches.keys()).find((name) => name.startsWith('negprompt-bundle '));
         const cache = await caches.open(name);
         for (const key of await cache.keys()) if (key.url.includes('/negprompt-file/')) await cache.put(key, new Response('damaged'));
         return true;",
    );
    stage.browser.open(&stage.address);
    stage.wait_ready(120);
    assert!(!stage.text("#bundle-note").contains("cache"));
    stage.show(&[sample("coffee.jpg")], 120);
}

/// Browsers give a page over plain http no caches, no locks, no clipboard.
#[test]
fn over_plain_http_the_page_works_and_says_what_it_cannot() {
    let arguments = vec!["--host-resolver-rules=MAP plain.test 127.0.0.1".to_owned()];
    let stage = Stage::open(&Options {
        arguments,
        ..Options::default()
    });
    stage
        .browser
        .open(&stage.address.replace("localhost", "plain.test"));
    assert_eq!(stage.browser.run("return window.isSecureContext"), false);
    stage.wait_ready(300);
    let note = stage.text("#bundle-note");
    assert!(note.contains("keeps no copy"), "{note}");
    stage.show(&[sample("coffee.jpg")], 120);
    stage
        .browser
        .run("document.querySelector('.act-copy').click()");
    stage.browser.wait(
        "a reason",
        60,
        "return document.querySelector('.banner')?.textContent.includes('write to the clipboard')",
    );
}

/// With site data blocked, Chromium's locks refuse in a promise.
#[test]
fn without_locks_the_page_works() {
    let refuse = "LockManager.prototype.request = () => Promise.reject(new DOMException('blocked', 'SecurityError'));";
    let stage = Stage::altered(&Options::default(), refuse);
    stage.browser.chromium(
        "Page.addScriptToEvaluateOnNewDocument",
        json!({ "source": refuse }),
    );
    stage.browser.open(&stage.address);
    stage.wait_ready(300);
    stage.show(&[sample("coffee.jpg")], 120);
    assert_eq!(stage.banner().0, "");
}
