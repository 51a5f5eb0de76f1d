//! The page's figures: sizes and times. They are printed; the size of a first visit is held to
//! its bound. How small the WASM is depends on whether `wasm-opt` was there, and times on the
//! machine: `cargo xtask bench web` measures them.

use std::path::Path;

use super::stage::{Stage, page, sample};
use xtask::webdriver::Options;

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |data| data.len())
}

/// Bytes of what a first visit fetches, packed where the server sends it packed; raw and packed
/// bytes of the WASM.
fn sizes() -> (u64, u64, u64) {
    let page = page();
    let (mut visit, mut raw, mut packed) = (0, 0, 0);
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(page.join("bundle/bundle.json")).unwrap()).unwrap();
    // The text tower and what belongs to it come when the first new class name does.
    let lazy = ["text-tower", "vocabulary", "words", "prompts"];
    for file in manifest["files"].as_array().unwrap() {
        if lazy.contains(&file["role"].as_str().unwrap()) {
            continue;
        }
        visit += file["bytes"].as_u64().unwrap();
    }
    for folder in [page.clone(), page.join("samples")] {
        for path in std::fs::read_dir(folder)
            .unwrap()
            .flatten()
            .map(|entry| entry.path())
        {
            let small = path.with_extension(format!(
                "{}.br",
                path.extension().unwrap_or_default().to_string_lossy()
            ));
            let sent = if small.is_file() {
                size(&small)
            } else {
                size(&path)
            };
            if path.extension().is_some_and(|extension| extension == "br") || !path.is_file() {
                continue;
            }
            visit += sent;
            if path
                .extension()
                .is_some_and(|extension| extension == "wasm")
            {
                raw += size(&path);
                packed += sent;
            }
        }
    }
    (visit, raw, packed)
}

#[test]
fn a_first_visit_is_small() {
    let (visit, raw, packed) = sizes();
    let mega = |bytes: u64| bytes as f64 / 1e6;
    println!(
        "first visit {:.2} MB; WASM {:.2} MB raw, {:.2} MB packed",
        mega(visit),
        mega(raw),
        mega(packed)
    );
    assert!(visit < 16_000_000, "a first visit fetches {visit} bytes");
}

#[test]
fn the_first_verdict_comes_soon() {
    let stage = Stage::ready(&Options::default());
    stage
        .browser
        .await_script("await navigator.serviceWorker.ready; return true");
    stage.show(&[sample("coffee.jpg")], 300);
    // The second visit: from navigation to a verdict on a sample clicked at once.
    let mut times = Vec::new();
    for _ in 0..3 {
        stage.browser.open(&stage.address);
        stage.browser.wait("the samples", 300, "const sample = document.querySelector('[data-sample]'); sample?.click(); return sample !== null");
        let script = "
            if (!document.querySelector('.card')) return null;
            window.first ??= performance.now();
            return window.first;";
        times.push(
            stage
                .browser
                .wait("a verdict", 300, script)
                .as_f64()
                .unwrap(),
        );
    }
    times.sort_by(f64::total_cmp);
    println!("first verdict on a warm cache: {times:.0?} ms after navigation");
}
