//! The second visit needs no network, and no visit leaves the page's origin.

use serde_json::{Value, json};

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
    stage.goes_offline();
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

/// Makes the worker tell what it fetched.
const FETCHES_ARE_TOLD: &str = "
    performance.setResourceTimingBufferSize(10000);
    const channel = new BroadcastChannel('fetches');
    channel.onmessage = () => channel.postMessage(performance.getEntriesByType('resource').map((entry) => entry.name));";

#[test]
fn nothing_leaves_the_page_s_origin() {
    let stage = Stage::altered(&Options::default(), FETCHES_ARE_TOLD);
    stage.wait_ready(300);
    stage.show(&[sample("coffee.jpg")], 300);
    // New names bring the text tower, the last that is fetched.
    stage.browser.run("const area = document.querySelector('#classes'); area.value = 'cup\\nrocket'; area.dispatchEvent(new Event('input')); document.querySelector('#classes-apply').click()");
    stage.browser.wait(
        "edited classes",
        300,
        "return document.querySelector('#classes-count').textContent === '2'",
    );
    let of_page = stage
        .browser
        .run("return performance.getEntriesByType('resource').map((entry) => entry.name)");
    let of_worker = stage.browser.await_script(
        "const channel = new BroadcastChannel('fetches');
         return new Promise((heard) => {
             channel.onmessage = (event) => heard(event.data);
             channel.postMessage('which');
         });",
    );
    for (who, fetched, least) in [("the page", of_page, 5), ("the worker", of_worker, 3)] {
        let fetched: Vec<&str> = fetched
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        assert!(fetched.len() >= least, "{who}: {fetched:?}");
        for address in fetched {
            let own = address.starts_with(&stage.address) || address.starts_with("blob:");
            assert!(own, "{who} fetched {address}");
        }
    }
}

#[test]
fn the_policy_forbids_other_origins_and_inline_scripts() {
    let stage = Stage::ready(&Options::default());
    // Another origin that would answer.
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("there"), "there").unwrap();
    let other = xtask::serve::Server::start(&[("/", folder.path())], 0).unwrap();
    let address = format!("{}there", other.address());
    let script = format!(
        "const said = new Promise((heard) => {{
             document.addEventListener('securitypolicyviolation', (event) =>
                 heard([event.effectiveDirective, event.blockedURI]));
         }});
         const answer = fetch('{address}', {{ mode: 'no-cors' }});
         return await answer.then(() => 'let through', () => said);"
    );
    let refused = stage.browser.await_script(&script);
    assert_eq!(refused, json!(["connect-src", address]));
    let ran = stage.browser.run("const script = document.createElement('script'); script.textContent = 'window.ran = true'; document.body.append(script); return window.ran === true");
    assert_eq!(ran, false);
}
