//! What a person waits for who edits the class list: one new name through the text tower.

use std::path::Path;

use anyhow::Result;
use serde_json::json;

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

/// Adds a name to the page's own classes, takes it away and adds another, and prints how long the
/// worker takes from the order to its answer with the scores of the photos on the page and of the
/// bundle's outsiders. What an answer takes longer where the name is new is its text features, behind
/// every context.
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
    let own = browser.run("return document.querySelector('#classes').value");
    let mut edits = 0;
    let mut apply = |list: String| {
        browser.run_with(
            "const area = document.querySelector('#classes');
             area.value = arguments[0];
             area.dispatchEvent(new Event('input', { bubbles: true }));
             document.querySelector('#classes-apply').click();",
            json!([list]),
        );
        let done = format!("return window.edits.length > {edits} ? window.edits[{edits}] : null");
        edits += 1;
        let took = browser.wait("the new scores", 120, &done);
        browser.wait(
            "the page's answer",
            60,
            "return document.querySelector('#classes-apply').disabled",
        );
        took.as_f64().unwrap_or(f64::NAN)
    };
    let own = own.as_str().unwrap_or_default();
    let with = |index: usize| format!("{own}\n{}", name(index));
    let first = apply(with(0));
    let (mut new, mut known) = (Vec::new(), Vec::new());
    for index in 1..=names {
        new.push(apply(with(index)));
        known.push(apply(with(index - 1)));
    }
    println!("one other class name, from the page's order to the worker's answer");
    println!("  the first, with the text tower to load   {first:.1} ms");
    let show = |what: &str, mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = times.len().saturating_sub(1) as f64 * share;
            times
                .get(place.round() as usize)
                .copied()
                .unwrap_or(f64::NAN)
        };
        println!(
            "  {names} {what}   median {:.1} ms   95 % {:.1}   longest {:.1}",
            at(0.5),
            at(0.95),
            at(1.0)
        );
        at(0.5)
    };
    let difference = show("that are new", new) - show("known ones  ", known);
    println!("  text features of a name, the difference: {difference:.1} ms");
    Ok(())
}

/// Two words that no class list has together.
fn name(index: usize) -> String {
    const FIRST: [&str; 6] = ["red", "old", "small", "wooden", "striped", "giant"];
    const SECOND: [&str; 5] = ["teapot", "lizard", "bridge", "spoon", "owl"];
    format!(
        "{} {} {}",
        FIRST[index % FIRST.len()],
        SECOND[index % SECOND.len()],
        index
    )
}
