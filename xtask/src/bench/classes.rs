//! What a person waits for who edits the class list: one new name through the text tower.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::built_page;
use crate::serve::Server;
use crate::webdriver::{Browser, Options};

/// Notes when the page asks its worker for other classes and when the worker has their scores, in
/// milliseconds.
const LISTEN: &str = "
    window.edits = [];
    const Plain = window.Worker;
    window.Worker = class extends Plain {
        constructor(...given) {
            super(...given);
            this.addEventListener('message', (event) => {
                const [json] = event.data;
                if (typeof json === 'string' && json.startsWith('{\"scored\"')) window.edits.push(performance.now() - this.asked);
            });
        }
        postMessage(message, ...rest) {
            if (JSON.stringify(message).includes('classes')) this.asked = performance.now();
            super.postMessage(message, ...rest);
        }
    };";

/// Adds names to the page's own classes one at a time, and prints how long the worker takes from the
/// order to its answer: text features behind every context, and the scores of the photos on the page
/// and of the bundle's outsiders.
///
/// # Errors
/// When the page is not built, or the browser missing.
pub fn classes(root: &Path, names: usize) -> Result<()> {
    let page = built_page(root)?;
    let server = Server::start(&[("/", &page)], 0)?;
    let browser = Browser::start(&Options::default());
    browser.chromium(
        "Page.addScriptToEvaluateOnNewDocument",
        json!({ "source": LISTEN }),
    );
    browser.open(&server.address());
    browser.wait(
        "a ready model",
        120,
        "return document.querySelector('#device-line').dataset.state === 'ready'",
    );
    let mut times = Vec::new();
    // The first one loads the tower.
    for index in 0..=names {
        browser.run_with(
            "const area = document.querySelector('#classes');
             area.value += `\\n${arguments[0]}`;
             area.dispatchEvent(new Event('input', { bubbles: true }));
             document.querySelector('#classes-apply').click();",
            json!([name(index)]),
        );
        let done = format!("return window.edits.length > {index} ? window.edits[{index}] : null");
        let took = browser.wait("the new scores", 120, &done);
        times.push(took.as_f64().unwrap_or(f64::NAN));
        browser.wait(
            "the page's answer",
            60,
            "return document.querySelector('#classes-apply').disabled",
        );
    }
    let first = times.remove(0);
    times.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = times.len().saturating_sub(1) as f64 * share;
        times
            .get(place.round() as usize)
            .copied()
            .unwrap_or(f64::NAN)
    };
    println!("one new class name, from the page's order to the worker's answer");
    println!("  the first, with the text tower to load   {first:.1} ms");
    println!(
        "  {names} more   median {:.1} ms   95 % {:.1}   longest {:.1}",
        at(0.5),
        at(0.95),
        at(1.0)
    );
    Ok(())
}

/// Two words that no class list has together.
fn name(index: usize) -> Value {
    const FIRST: [&str; 6] = ["red", "old", "small", "wooden", "striped", "giant"];
    const SECOND: [&str; 5] = ["teapot", "lizard", "bridge", "spoon", "owl"];
    json!(format!(
        "{} {} {}",
        FIRST[index % FIRST.len()],
        SECOND[index % SECOND.len()],
        index
    ))
}
