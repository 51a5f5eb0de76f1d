//! What a person waits for: the first verdict, the pace, and the page's answer to a key while
//! photos are read.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::built_page;
use crate::serve::Server;
use crate::webdriver::{Browser, Options};

/// Visits on a warm cache whose median is reported.
const VISITS: usize = 5;
/// Keys pressed while the page has all its cards and nothing to read.
const IDLE_KEYS: usize = 40;
/// Milliseconds between two keys: a person in a hurry.
const BETWEEN_KEYS: u64 = 120;
/// The slider, one step to the right and one to the left: every card and the rates follow.
const KEYS: [&str; 2] = ["\u{e014}", "\u{e012}"];

/// Clicks the first sample as soon as there is one, and notes when its verdict is in the page.
/// Times count from navigation.
const FIRST_VERDICT: &str = "
    new MutationObserver(() => {
        const sample = document.querySelector('[data-sample]');
        if (sample && !window.clicked) { window.clicked = performance.now(); sample.click(); }
        if (!window.first && document.querySelector('.card[data-verdict]')) window.first = performance.now();
    }).observe(document, { childList: true, subtree: true, attributes: true, attributeFilter: ['data-verdict'] });";

/// For each key: milliseconds until a listener runs, and until the frame after it is drawn. And
/// tasks of the main thread above 50 ms, which are what makes a page stutter.
const LISTEN: &str = "
    window.answers = [];
    window.tasks = [];
    new PerformanceObserver((list) => window.tasks.push(...list.getEntries().map((task) => task.duration))).observe({ type: 'longtask' });
    addEventListener('keydown', (event) => {
        const heard = performance.now() - event.timeStamp;
        requestAnimationFrame(() => {
            const channel = new MessageChannel();
            channel.port1.onmessage = () => window.answers.push([heard, performance.now() - event.timeStamp]);
            channel.port2.postMessage(0);
        });
    }, { capture: true });
    document.querySelector('#threshold').focus();";

/// Measures the built page with the CPU backend in headless Chromium.
///
/// # Errors
/// When the page is not built, or the browser missing.
pub fn visit(root: &Path, photos: usize) -> Result<()> {
    let page = built_page(root)?;
    let server = Server::start(&[("/", &page)], 0)?;
    let browser = Browser::start(&Options::default());
    browser.open(&server.address());
    wait_ready(&browser);
    browser.await_script("await navigator.serviceWorker.ready; return true");

    let mut first = first_verdicts(&browser, &server.address());
    first.sort_by(f64::total_cmp);
    println!(
        "first verdict on a warm cache   median {:.0} ms after navigation, {:.0} to {:.0}, {VISITS} visits",
        at(&first, 0.5),
        at(&first, 0.0),
        at(&first, 1.0)
    );

    let folder = tempfile::tempdir()?;
    let files = copies(&root.join("web/samples"), folder.path(), photos)?;
    browser.open(&server.address());
    wait_ready(&browser);
    browser.run(LISTEN);
    browser.run("window.began = performance.now()");
    browser.upload("#photos", &files);
    let mut pressed = 0;
    while cards(&browser) < photos {
        press(&browser, &mut pressed);
    }
    let took = browser.run("return performance.now() - window.began");
    println!(
        "{photos} photos of about 512 × 400   {:.0} ms each from choosing them to the last card; encode {} ms in the median",
        took.as_f64().unwrap_or_default() / photos as f64,
        browser
            .run("return document.querySelector('[data-timing=encode-median]').textContent")
            .as_str()
            .unwrap_or("?"),
    );
    report(&browser, "while they are read");
    for _ in 0..IDLE_KEYS {
        press(&browser, &mut pressed);
    }
    report(&browser, "with all cards, at rest");
    Ok(())
}

fn first_verdicts(browser: &Browser, address: &str) -> Vec<f64> {
    let script = json!({ "source": FIRST_VERDICT });
    let added = browser.chromium("Page.addScriptToEvaluateOnNewDocument", script);
    let times = (0..VISITS)
        .map(|_| {
            browser.open(address);
            let first = browser.wait("a verdict", 120, "return window.first");
            first.as_f64().unwrap_or(f64::NAN)
        })
        .collect();
    browser.chromium("Page.removeScriptToEvaluateOnNewDocument", added);
    times
}

fn wait_ready(browser: &Browser) {
    browser.wait(
        "a ready model",
        120,
        "return document.querySelector('#device-line').dataset.state === 'ready'",
    );
}

fn cards(browser: &Browser) -> usize {
    let count = browser.run("return document.querySelectorAll('.card').length");
    count.as_u64().unwrap_or_default() as usize
}

fn press(browser: &Browser, pressed: &mut usize) {
    browser.press(KEYS[*pressed % KEYS.len()]);
    *pressed += 1;
    std::thread::sleep(Duration::from_millis(BETWEEN_KEYS));
}

/// Prints the answers since the last report.
fn report(browser: &Browser, when: &str) {
    // The last frame may still be under way.
    std::thread::sleep(Duration::from_millis(500));
    let answers = browser.run("return window.answers.splice(0)");
    let tasks = browser.run("return window.tasks.splice(0)");
    let column = |index: usize| {
        let rows = answers.as_array().into_iter().flatten();
        let mut times: Vec<f64> = rows.filter_map(|row| row[index].as_f64()).collect();
        times.sort_by(f64::total_cmp);
        times
    };
    let (heard, drawn) = (column(0), column(1));
    let line = |name: &str, times: &[f64]| {
        println!(
            "  {name:<28} median {:>5.1} ms   95 % {:>5.1}   99 % {:>5.1}   longest {:>5.1}",
            at(times, 0.5),
            at(times, 0.95),
            at(times, 0.99),
            at(times, 1.0)
        );
    };
    println!("{} keys {when}", heard.len());
    line("key until it is heard", &heard);
    line("key until the next frame", &drawn);
    let mut tasks: Vec<f64> = tasks
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_f64)
        .collect();
    tasks.sort_by(f64::total_cmp);
    println!(
        "  main-thread tasks above 50 ms: {}{}",
        tasks.len(),
        tasks
            .last()
            .map(|longest| format!(", the longest {longest:.0} ms"))
            .unwrap_or_default()
    );
}

/// The value at a share of sorted values; 0 when there are none.
fn at(sorted: &[f64], share: f64) -> f64 {
    let place = (sorted.len().saturating_sub(1)) as f64 * share;
    sorted.get(place.round() as usize).copied().unwrap_or(0.0)
}

/// `count` photos under names of their own.
fn copies(samples: &Path, folder: &Path, count: usize) -> Result<Vec<PathBuf>> {
    let mut originals: Vec<PathBuf> = std::fs::read_dir(samples)
        .with_context(|| format!("{} cannot be read", samples.display()))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jpg"))
        .collect();
    originals.sort();
    (0..count)
        .map(|index| {
            let original = &originals[index % originals.len()];
            let copy = folder.join(format!("photo {index}.jpg"));
            std::fs::copy(original, &copy)
                .with_context(|| format!("{} cannot be copied", original.display()))?;
            Ok(copy)
        })
        .collect()
}
