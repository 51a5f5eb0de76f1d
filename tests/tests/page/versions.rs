//! Newer versions of the page, and other pages of its origin.

use super::stage::{Stage, copy, page, sample};
use xtask::webdriver::Options;

const VERSION: &str = "return document.querySelector('#start').dataset.version";

/// Another worker begins.
const OTHER_DEVICE: &str = "[...document.querySelectorAll('input[name=device]')].find((input) => !input.checked && !input.disabled && input.value !== 'gpu').click()";

/// The page's files are kept, and come from there.
fn settled(stage: &Stage) {
    stage.wait_ready(300);
    stage
        .browser
        .await_script("await navigator.serviceWorker.ready; return true");
    stage.browser.wait(
        "a page that is kept",
        60,
        "return navigator.serviceWorker.controller !== null",
    );
}

/// Puts a page of another version in place of the copied one.
fn update(stage: &Stage, version: &str) -> String {
    let newer: String = version.chars().rev().collect();
    for name in ["index.html", "worker-start.js", "service-worker.js"] {
        let file = stage.files.path().join("page").join(name);
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(version), "{name}");
        std::fs::write(file, text.replace(version, &newer)).unwrap();
    }
    newer
}

#[test]
fn a_newer_version_comes_with_a_reload_and_leaves_open_tabs_as_they_are() {
    let stage = Stage::copied(&Options::default());
    settled(&stage);
    let first = stage.browser.run(VERSION).as_str().unwrap().to_owned();
    let newer = update(&stage, &first);
    let older_tab = stage.browser.new_tab();
    stage.browser.open(&stage.address);
    stage.wait_ready(120);
    assert_eq!(stage.browser.run(VERSION), newer);
    stage.show(&[sample("coffee.jpg")], 120);
    // What is open goes on with the parts that were kept.
    stage.browser.switch(&older_tab);
    stage.browser.run(OTHER_DEVICE);
    stage.wait_ready(60);
    stage.show(&[sample("coffee.jpg")], 120);
    assert_eq!(stage.banner().0, "");
    stage.browser.open(&stage.address);
    stage.wait_ready(120);
    assert_eq!(stage.browser.run(VERSION), newer);
    // Whatever the browser has of the two by now, it opens one of them with no network.
    stage.goes_offline();
    stage.browser.open(&stage.address);
    stage.wait_ready(60);
    stage.show(&[sample("coffee.jpg")], 120);
    assert_eq!(stage.banner().0, "");
}

#[test]
fn a_worker_of_a_newer_version_is_not_taken() {
    let stage = Stage::copied(&Options::default());
    settled(&stage);
    let first = stage.browser.run(VERSION).as_str().unwrap().to_owned();
    stage.show(&[sample("coffee.jpg")], 120);
    let newer = update(&stage, &first);
    // As in a window that keeps nothing.
    stage.browser.await_script(
        "for (const name of await caches.keys()) await caches.delete(name); return true",
    );
    stage.browser.run(OTHER_DEVICE);
    stage.browser.wait(
        "word of it",
        60,
        "return document.querySelector('.banner .act')?.textContent === 'Reload'",
    );
    let (said, _) = stage.banner();
    assert!(said.contains("updated on its server"), "{said}");
    assert_eq!(stage.count(), 1, "what was read is still there to look at");
    stage.browser.click(".banner .act");
    let there = format!("{VERSION} === '{newer}'");
    stage.browser.wait("the newer version", 60, &there);
    stage.wait_ready(120);
    stage.show(&[sample("coffee.jpg")], 120);
}

#[test]
fn two_pages_of_one_origin_keep_their_files_apart() {
    // What the worker keeps has such words in its keys.
    let names = ["negprompt-page", "other"];
    let stage = Stage::open(&Options::default());
    let address = |name: &str| format!("{}files/{name}/", stage.address);
    for name in names {
        copy(&page(), &stage.files.path().join(name), &|_| true);
        stage.browser.open(&address(name));
        settled(&stage);
    }
    let kept = stage
        .browser
        .await_script("return (await caches.keys()).join()");
    for name in names {
        let of_page = kept.as_str().unwrap().split(',');
        let of_page = of_page.filter(|kept| kept.contains(&address(name)));
        assert_eq!(of_page.count(), 2, "files and bundle of {name}: {kept}");
    }
    stage.goes_offline();
    for name in names {
        stage.browser.open(&address(name));
        stage.wait_ready(60);
        assert!(stage.text("#bundle-note").contains("cache"));
    }
}
