//! The second visit needs no network, and no visit leaves the page's origin.

use serde_json::json;

use super::stage::{Stage, sample};
use xtask::webdriver::Options;

#[test]
fn the_second_visit_works_offline() {
    let stage = Stage::ready(&Options::default());
    stage
        .browser
        .await_script("await navigator.serviceWorker.ready; return true");
    stage.browser.wait(
        "kept files",
        300,
        "return navigator.serviceWorker.controller !== null",
    );
    stage.browser.chromium("Network.enable", json!({}));
    let offline =
        json!({ "offline": true, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1 });
    stage
        .browser
        .chromium("Network.emulateNetworkConditions", offline);
    stage.server_stops();
    stage.browser.open(&stage.address);
    stage.wait_ready(300);
    assert!(
        stage.text("#bundle-note").contains("cache"),
        "{}",
        stage.text("#bundle-note")
    );
    stage.show(&[sample("coffee.jpg")], 300);
    assert!(matches!(
        stage.card("coffee.jpg")["verdict"].as_str(),
        Some("in" | "out")
    ));
    // The text tower was never fetched, so new names are refused with a reason.
    stage.browser.run("const area = document.querySelector('#classes'); area.value = 'one\\ntwo'; area.dispatchEvent(new Event('input')); document.querySelector('#classes-apply').click()");
    stage.browser.wait("a reason", 300, "return document.querySelector('#classes-warnings').textContent.includes('could not be fetched')");
    stage.browser.screenshot("offline");
}

#[test]
fn nothing_leaves_the_page_s_origin() {
    let stage = Stage::ready(&Options::default());
    stage.show(&[sample("coffee.jpg")], 300);
    let script = "return performance.getEntriesByType('resource').map((entry) => entry.name).filter((name) => !name.startsWith(location.origin) && !name.startsWith('blob:'))";
    assert_eq!(stage.browser.run(script), json!([]));
    // The policy forbids what it should.
    let refused = stage.browser.await_script(
        "return fetch('http://localhost:9/').then(() => 'let through', (error) => String(error))",
    );
    assert!(
        refused.as_str().unwrap().contains("Failed to fetch"),
        "{refused}"
    );
    let ran = stage.browser.run("const script = document.createElement('script'); script.textContent = 'window.ran = true'; document.body.append(script); return window.ran === true");
    assert_eq!(ran, false);
}
