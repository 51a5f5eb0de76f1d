//! The page under load: many large photos at once. What it holds while it reads them, whether every
//! one gets its card, and what Cancel does.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use image::codecs::jpeg::JpegEncoder;
use image::{Rgb, RgbImage};
use serde_json::json;

use super::built_page;
use crate::serve::Server;
use crate::webdriver::{Browser, Options};

/// Different photos; the others are the same files under names of their own.
const DIFFERENT: usize = 16;
/// Verdicts after which memory is compared with what it comes to.
const SETTLED: usize = 50;
/// Verdicts between two lines.
const STEP: usize = 50;
/// Longest time between two verdicts before the page counts as stuck.
const PATIENCE: Duration = Duration::from_secs(120);

/// What to load the page with.
#[derive(clap::Args)]
pub struct Arguments {
    /// Photos.
    #[arg(long, default_value_t = 1_000)]
    photos: usize,
    /// Their size in millions of pixels, at 4 to 3.
    #[arg(long, default_value_t = 12.0)]
    megapixels: f64,
    /// Another bundle than the page's own.
    #[arg(long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    /// Another method than the bundle's first: `gl-mcm` takes the patches of photos.
    #[arg(long, value_name = "ID")]
    method: Option<String>,
}

/// Loads the built page in headless Chromium, on the CPU backend, and prints what it holds.
///
/// # Errors
/// When the page is not built, a photo has no verdict at the end, or Cancel leaves the queue standing.
pub fn load(root: &Path, arguments: &Arguments) -> Result<()> {
    let page = built_page(root)?;
    let own = page.join("bundle");
    let bundle = arguments.bundle.as_deref().unwrap_or(&own);
    let server = Server::start(&[("/", &page), ("/bundle/", bundle)], 0)?;
    let folder = tempfile::tempdir()?;
    let width = (arguments.megapixels * 1e6 * 4.0 / 3.0).sqrt().round() as u32;
    let height = width * 3 / 4;
    let files = photos(folder.path(), arguments.photos, width, height)?;
    let browser = Browser::start(&Options::default());
    browser.open(&server.address());
    wait(
        &browser,
        "return document.querySelector('#device-line').dataset.state === 'ready'",
    )?;
    if let Some(method) = &arguments.method {
        let script = "const choice = document.querySelector(`#methods [value='${arguments[0]}']`); choice?.click(); return Boolean(choice)";
        ensure!(
            browser.run_with(script, json!([method])) == true,
            "the bundle has no method `{method}`"
        );
    }
    println!(
        "{} photos of {width} × {height}; megabytes: proportional set sizes of Chromium's processes (renderers with their caches and without), the worker's WASM memory, the main thread's JavaScript heap",
        arguments.photos
    );
    println!(
        "{:>8} {:>9} {:>11} {:>10} {:>9} {:>9} {:>9}",
        "verdicts", "seconds", "with caches", "renderers", "others", "WASM", "JS heap"
    );
    let began = Instant::now();
    browser.upload("#photos", &files);
    let mut curve = vec![(0, line(&browser, 0, began))];
    let (mut seen, mut changed) = (0, Instant::now());
    while seen < arguments.photos {
        std::thread::sleep(Duration::from_millis(300));
        let count = cards(&browser);
        ensure!(
            count > seen || changed.elapsed() < PATIENCE,
            "the page is stuck at {seen} of {} photos",
            arguments.photos
        );
        if count > seen {
            changed = Instant::now();
            if count / STEP > seen / STEP || count == arguments.photos {
                curve.push((count, line(&browser, count, began)));
            }
            seen = count;
        }
    }
    verdicts(&browser, &files)?;
    compare(&curve);
    why(&browser, files.len(), began);
    cancel(&browser, &files)
}

/// Holds the memory after the first photos against the most and the last.
fn compare(curve: &[(usize, Memory)]) {
    let Some((_, settled)) = curve.iter().find(|(count, _)| *count >= SETTLED) else {
        return;
    };
    let later = curve.iter().filter(|(count, _)| *count > SETTLED);
    let most = later.map(|(_, memory)| memory.renderers).max().unwrap_or(0);
    if let Some((count, last)) = curve.last() {
        println!(
            "renderers: {:.0} MB after {SETTLED}, {:.0} after {count}, {:.0} at most",
            settled.renderers as f64 / 1e6,
            last.renderers as f64 / 1e6,
            most as f64 / 1e6
        );
    }
}

/// Opens the view that has every photo in its strip and on its map, and goes back.
fn why(browser: &Browser, count: usize, began: Instant) {
    for (view, what) in [("why", "with *Why* open"), ("verdicts", "after it")] {
        browser.run(&format!(
            "document.querySelector('#tab-{view}').click(); document.querySelector('#figure-map').scrollIntoView()"
        ));
        std::thread::sleep(Duration::from_secs(3));
        println!("{what}:");
        line(browser, count, began);
    }
}

/// That every file has one card with a verdict.
fn verdicts(browser: &Browser, files: &[PathBuf]) -> Result<()> {
    let script = "return [...document.querySelectorAll('.card')].map((card) => [card.dataset.file, card.dataset.verdict])";
    let cards = browser.run(script);
    let read: HashSet<&str> = cards
        .as_array()
        .into_iter()
        .flatten()
        .filter(|card| matches!(card[1].as_str(), Some("in" | "out")))
        .filter_map(|card| card[0].as_str())
        .collect();
    ensure!(
        read.len() == files.len(),
        "{} of {} photos have no verdict",
        files.len() - read.len(),
        files.len()
    );
    println!("{} cards, every one with a verdict", read.len());
    Ok(())
}

/// Clears the page, gives it the photos again and cancels after the first few.
fn cancel(browser: &Browser, files: &[PathBuf]) -> Result<()> {
    browser.run("document.querySelector('#clear').click()");
    browser.upload("#photos", files);
    wait(
        browser,
        "return document.querySelectorAll('.card').length >= 5",
    )?;
    let began = Instant::now();
    browser.run("document.querySelector('#queue-cancel').click()");
    wait(browser, "return document.querySelector('#queue').hidden")?;
    let count = cards(browser);
    println!(
        "cancel: the queue was empty after {:.1} s, with {count} of {} photos read",
        began.elapsed().as_secs_f64(),
        files.len()
    );
    ensure!(count < files.len(), "cancel came too late to tell");
    std::thread::sleep(Duration::from_secs(2));
    ensure!(cards(browser) == count, "photos came after the cancel");
    Ok(())
}

/// Bytes.
struct Memory {
    renderers: u64,
}

fn line(browser: &Browser, count: usize, began: Instant) -> Memory {
    let (with_caches, _) = browser.memory();
    relieve(browser);
    let (renderers, others) = browser.memory();
    let wasm = browser.run("return Number(document.querySelector('#device-line').dataset.memory)");
    let heap = browser.run("return performance.memory.usedJSHeapSize");
    let mega = |value: f64| value / 1e6;
    println!(
        "{count:>8} {:>9.0} {:>11.0} {:>10.0} {:>9.0} {:>9.0} {:>9.1}",
        began.elapsed().as_secs_f64(),
        mega(with_caches as f64),
        mega(renderers as f64),
        mega(others as f64),
        mega(wasm.as_f64().unwrap_or_default()),
        mega(heap.as_f64().unwrap_or_default()),
    );
    Memory { renderers }
}

/// Tells the browser that memory is short, as the machine would: it gives back what it can make again,
/// of which it keeps up to half a gigabyte otherwise (the pixels of images that were on the screen).
fn relieve(browser: &Browser) {
    browser.chromium(
        "Memory.simulatePressureNotification",
        json!({ "level": "critical" }),
    );
    browser.chromium("HeapProfiler.collectGarbage", json!({}));
    std::thread::sleep(Duration::from_millis(500));
}

fn cards(browser: &Browser) -> usize {
    let count = browser.run("return document.querySelectorAll('.card').length");
    count.as_u64().unwrap_or_default() as usize
}

fn wait(browser: &Browser, script: &str) -> Result<()> {
    let began = Instant::now();
    while browser.run(script) != serde_json::Value::Bool(true) {
        ensure!(
            began.elapsed() < PATIENCE,
            "the page does not get there: {script}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// `count` JPEGs under names of their own.
fn photos(folder: &Path, count: usize, width: u32, height: u32) -> Result<Vec<PathBuf>> {
    let originals: Vec<PathBuf> = (0..DIFFERENT.min(count))
        .map(|salt| {
            let path = folder.join(format!("original {salt}.jpg"));
            let mut bytes = Vec::new();
            JpegEncoder::new_with_quality(&mut bytes, 85)
                .encode_image(&picture(width, height, salt as u32))
                .context("a photo could not be made")?;
            std::fs::write(&path, bytes)?;
            Ok(path)
        })
        .collect::<Result<_>>()?;
    (0..count)
        .map(|index| {
            let path = folder.join(format!("photo {index}.jpg"));
            std::fs::hard_link(&originals[index % originals.len()], &path)?;
            Ok(path)
        })
        .collect()
}

/// Soft shapes with grain, so that a JPEG of it weighs what a photo does.
fn picture(width: u32, height: u32, salt: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let (u, v) = (x as f32 / width as f32, y as f32 / height as f32);
        let wave =
            |k: f32, shift: f32| ((u * k + v * shift + salt as f32).sin() * 90.0) as i32 + 120;
        let noise =
            x.wrapping_mul(73_856_093) ^ y.wrapping_mul(19_349_663) ^ salt.wrapping_mul(83_492_791);
        let grain = (noise >> 9 & 15) as i32;
        Rgb([wave(9.0, 3.0), wave(4.0, 11.0), wave(13.0, 7.0)]
            .map(|value| (value + grain).clamp(0, 255) as u8))
    })
}
