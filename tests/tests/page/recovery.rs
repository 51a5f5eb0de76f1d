//! What dies comes back, or the page says what helps: workers, the tab, the program itself.

use std::path::PathBuf;

use serde_json::json;

use super::stage::{Stage, encoded, noise, sample};
use xtask::webdriver::Options;

/// The worker does what it is told over a channel: breaks off with an error, or ends in silence.
const WORKER_CAN_DIE: &str = "
    new BroadcastChannel('worker').onmessage = ({ data }) => {
        if (data === 'close') self.close();
        else setTimeout(() => { throw new Error('made to fail'); });
    };";

/// The worker lives for a moment only.
const WORKER_DIES_SOON: &str = "setTimeout(() => { throw new Error('made to fail'); }, 50);";

/// Every photo is read, the queue is empty.
const DONE: &str = "return document.querySelectorAll('.card[data-verdict=in], .card[data-verdict=out]').length === arguments_count && document.querySelector('#queue').hidden";

fn photos(stage: &Stage, count: u32) -> Vec<PathBuf> {
    let photo = |salt| {
        let bytes = encoded(&noise(640, 480, salt), image::ImageFormat::Jpeg);
        stage.file(&format!("photo {salt}.jpg"), &bytes)
    };
    (0..count).map(photo).collect()
}

fn wait_for_verdicts(stage: &Stage, count: usize) {
    let script = DONE.replace("arguments_count", &count.to_string());
    stage.browser.wait("every verdict", 120, &script);
}

#[test]
fn a_worker_that_dies_is_replaced() {
    let stage = Stage::altered(&Options::default(), WORKER_CAN_DIE);
    stage.wait_ready(300);
    let photos = photos(&stage, 24);
    let mut count = 0;
    for (half, death) in photos.chunks(12).zip(["throw", "close"]) {
        stage.browser.upload("#photos", half);
        stage.browser.wait(
            "a first card",
            120,
            &format!("return document.querySelectorAll('.card').length > {count}"),
        );
        stage.browser.run_with(
            "new BroadcastChannel('worker').postMessage(arguments[0])",
            json!([death]),
        );
        count += half.len();
        wait_for_verdicts(&stage, count);
    }
    // One that dies at rest, in silence, is replaced as well.
    stage
        .browser
        .run("new BroadcastChannel('worker').postMessage('close')");
    stage.browser.wait(
        "another worker",
        60,
        "return document.querySelector('#device-line').dataset.state === 'loading'",
    );
    stage.wait_ready(60);
    stage.show(&[sample("coffee.jpg")], 60);
}

#[test]
fn names_that_a_worker_died_over_can_be_applied_again() {
    let stage = Stage::altered(&Options::default(), WORKER_CAN_DIE);
    stage.wait_ready(300);
    stage.browser.run(
        "const area = document.querySelector('#classes');
         area.value = 'rocket\\nespresso';
         area.dispatchEvent(new Event('input'));
         document.querySelector('#classes-apply').click();
         new BroadcastChannel('worker').postMessage('throw');",
    );
    stage.browser.wait(
        "a reason",
        60,
        "return document.querySelector('#classes-warnings').textContent.includes('apply them once more')",
    );
    stage.wait_ready(60);
    stage.browser.click("#classes-apply");
    stage.browser.wait(
        "edited classes",
        120,
        "return document.querySelector('#classes-count').textContent === '2'",
    );
}

#[test]
fn names_that_were_asked_for_outlive_the_worker() {
    let stage = Stage::ready(&Options::default());
    let apply = "
        const area = document.querySelector('#classes');
        area.value = arguments[0];
        area.dispatchEvent(new Event('input'));
        document.querySelector('#classes-apply').click();";
    let replace = "document.querySelector(`input[name=device][value=${arguments[1]}]`).click();";
    let count = |wanted: &str| {
        let script = format!(
            "return document.querySelector('#classes-count').textContent === '{wanted}'
                && document.querySelector('#classes-state').textContent.startsWith('Yours')"
        );
        stage.browser.wait("edited classes", 120, &script);
    };
    // The worker that has the order is replaced before it can answer.
    let script = format!("{apply}{replace}");
    stage
        .browser
        .run_with(&script, json!(["rocket\nespresso", "cpu"]));
    count("2");
    // The order comes while a worker starts that is to get older names.
    let script = format!("{replace}{apply}");
    stage
        .browser
        .run_with(&script, json!(["rocket\nespresso\nacorn", "auto"]));
    count("3");
    // What is typed meanwhile stays until it is applied.
    stage.browser.run_with(
        &format!(
            "const area = document.querySelector('#classes');
             area.value = arguments[0];
             area.dispatchEvent(new Event('input'));
             document.querySelector('#classes-state').textContent = '';
             {replace}"
        ),
        json!(["rocket\nhalf a na", "cpu"]),
    );
    count("3");
    let typed = "const apply = document.querySelector('#classes-apply');
        return [document.querySelector('#classes').value, apply.disabled]";
    assert_eq!(
        stage.browser.run(typed),
        json!(["rocket\nhalf a na", false])
    );
    stage.browser.click("#classes-reset");
    stage.browser.wait(
        "the bundle's classes",
        120,
        "return document.querySelector('#classes-reset').hidden && document.querySelector('#classes').value.split('\\n').length > 3",
    );
}

/// The answer to a list is no answer to the one that was applied right after it.
#[test]
fn the_last_of_two_lists_stays_in_the_field() {
    let stage = Stage::ready(&Options::default());
    stage.browser.run(
        "const area = document.querySelector('#classes');
         const value = Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, 'value');
         window.written = [];
         Object.defineProperty(area, 'value', {
             get() { return value.get.call(this); },
             set(text) { window.written.push(text); value.set.call(this, text); },
         });
         for (const list of ['rocket\\nespresso', 'rocket\\nespresso\\nacorn']) {
             area.value = list;
             area.dispatchEvent(new Event('input'));
             document.querySelector('#classes-apply').click();
         }
         window.written = [];",
    );
    stage.browser.wait(
        "the last list",
        120,
        "return document.querySelector('#classes-count').textContent === '3'",
    );
    assert_eq!(
        stage.browser.run("return window.written"),
        json!(["rocket\nespresso\nacorn"])
    );
    let state = stage.text("#classes-state");
    assert!(state.starts_with("Yours"), "{state}");
}

#[test]
fn a_worker_that_always_dies_is_given_up_with_a_reason() {
    let stage = Stage::altered(&Options::default(), WORKER_DIES_SOON);
    stage.browser.wait(
        "a banner",
        120,
        "return document.querySelector('.banner .act')?.textContent === 'Try again'",
    );
    let (said, detail) = stage.banner();
    assert!(said.contains("try again"), "{said}");
    assert!(!said.contains("made to fail"), "{said}");
    assert!(detail.contains("made to fail"), "{detail}");
    let state = "return document.querySelector('#device-line').dataset.state";
    assert_eq!(stage.browser.run(state), "failed");
    stage.browser.screenshot("worker-given-up");
}

#[test]
fn a_tab_that_is_reloaded_says_what_it_lost() {
    let stage = Stage::ready(&Options::default());
    stage
        .browser
        .run("document.querySelector('#methods [value=mcm]').click()");
    stage.browser.run(
        "const area = document.querySelector('#classes'); area.value = 'coffee\\nrocket'; area.dispatchEvent(new Event('input')); document.querySelector('#classes-apply').click()",
    );
    let edited = "return document.querySelector('#classes-count').textContent === '2'";
    stage.browser.wait("edited classes", 120, edited);
    stage.browser.run(
        "const slider = document.querySelector('#threshold'); slider.value = 700; slider.dispatchEvent(new Event('input'))",
    );
    let threshold = "return document.querySelector('#threshold-value').textContent";
    let moved = stage.browser.run(threshold);
    let is_moved = "return !document.querySelector('#threshold-reset').hidden";
    assert_eq!(stage.browser.run(is_moved), true);
    stage.browser.upload("#photos", &photos(&stage, 60));
    let some = "return document.querySelectorAll('.card').length > 1";
    stage.browser.wait("a first card", 120, some);
    // In the middle of it.
    stage.browser.open(&stage.address);
    stage.wait_ready(120);
    let (said, _) = stage.banner();
    assert!(said.contains("loaded anew with 60 photos"), "{said}");
    assert!(said.contains("choose them again"), "{said}");
    assert!(said.contains("The page's own bundle is loaded"), "{said}");
    assert_eq!(stage.count(), 0);
    stage.browser.wait("the edited classes", 120, edited);
    let method = "return document.querySelector('#methods input:checked').value";
    assert_eq!(stage.browser.run(method), "mcm");
    assert_eq!(stage.browser.run(is_moved), true);
    assert_eq!(stage.browser.run(threshold), moved);
    stage.browser.screenshot("reloaded");
    // Once more, with no photo to lose.
    stage.browser.open(&stage.address);
    stage.wait_ready(120);
    stage.browser.wait("the edited classes", 120, edited);
    assert_eq!(stage.browser.run(method), "mcm");
    assert_eq!(stage.browser.run(threshold), moved);
    let (said, _) = stage.banner();
    assert!(said.contains("as they were"), "{said}");
    // Other classes have a threshold of their own.
    stage
        .browser
        .run("document.querySelector('#classes-reset').click()");
    let own = "return document.querySelector('#classes-count').textContent !== '2'";
    stage.browser.wait("the bundle's classes", 120, own);
    assert_eq!(stage.browser.run(is_moved), false);
    stage.browser.run(
        "const slider = document.querySelector('#threshold'); slider.value = 200; slider.dispatchEvent(new Event('input'))",
    );
    let moved = stage.browser.run(threshold);
    stage.browser.open(&stage.address);
    stage.wait_ready(120);
    assert_eq!(stage.browser.run(is_moved), true);
    assert_eq!(stage.browser.run(threshold), moved);
    stage.show(&[sample("coffee.jpg")], 120);
    assert_eq!(stage.banner().0, "", "the words go with the next photos");
    // The browser says of a tab that it was put away; no test can make it put one away.
    let discarded =
        json!({ "source": "Object.defineProperty(document, 'wasDiscarded', { value: true })" });
    stage
        .browser
        .chromium("Page.addScriptToEvaluateOnNewDocument", discarded);
    stage.browser.open(&stage.address);
    stage.wait_ready(120);
    let (said, _) = stage.banner();
    assert!(said.contains("to save memory"), "{said}");
    assert!(said.contains("with 1 photo in it"), "{said}");
}

#[test]
fn a_tab_that_is_frozen_goes_on() {
    let stage = Stage::ready(&Options::default());
    stage.browser.upload("#photos", &photos(&stage, 12));
    let state = |state: &str| {
        stage
            .browser
            .chromium("Page.setWebLifecycleState", json!({ "state": state }));
    };
    state("frozen");
    std::thread::sleep(std::time::Duration::from_millis(1500));
    state("active");
    wait_for_verdicts(&stage, 12);
}

#[test]
fn a_page_whose_program_stops_says_so() {
    let stage = Stage::ready(&Options::default());
    stage.show(&[sample("coffee.jpg")], 120);
    // What the program asks for to show the other view is gone.
    stage.browser.run(
        "const find = Document.prototype.getElementById;
         Document.prototype.getElementById = function (id) {
             return /^(view|why|tab)/.test(id) ? null : find.call(this, id);
         };
         setTimeout(() => document.querySelector('.act-why').click());",
    );
    stage.browser.wait(
        "word of it",
        30,
        "return document.querySelector('.banner')?.textContent.includes('program stopped')",
    );
    stage.browser.screenshot("program-stopped");
    stage.browser.click(".banner .act");
    stage.wait_ready(120);
    assert_eq!(stage.count(), 0);
}

#[test]
fn what_the_worker_is_at_can_be_cancelled_too() {
    let stage = Stage::ready(&Options::default());
    let large = encoded(&noise(9_000, 9_000, 2), image::ImageFormat::Jpeg);
    let files = [sample("coffee.jpg"), stage.file("large.jpg", &large)];
    stage.browser.upload("#photos", &files);
    stage.browser.wait(
        "the first card",
        120,
        "return document.querySelectorAll('.card').length === 1",
    );
    // Nothing waits any more, and the large photo takes its time.
    stage
        .browser
        .run("document.querySelector('#queue-cancel').click()");
    let idle = "return document.querySelector('#queue').hidden";
    assert_eq!(stage.browser.run(idle), true);
    stage.wait_ready(120);
    stage.show(&[sample("cat.jpg")], 120);
    assert_eq!(stage.count(), 2, "the cancelled photo never comes");
}
