//! What the page weighs. The size of a first visit is held to its bound; that of the WASM too,
//! where `wasm-opt` was there to shrink it. Times depend on the machine: `cargo xtask bench page`
//! and `cargo xtask bench web` measure them.

use std::path::Path;

use super::stage::{page, workspace};
use xtask::{run, tools};

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
    let lazy = ["text-tower", "vocabulary", "words", "prompts", "outsiders"];
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
    let built = run::other_target_folder(&workspace(), "web");
    if tools::wasm_opt(&built).is_some() {
        assert!(raw < 15_000_000, "the WASM has {raw} bytes");
        assert!(packed < 2_500_000, "the packed WASM has {packed} bytes");
    }
}
