//! A model of several files: fetched side by side, taken up again where it broke off, kept, and put on
//! the GPU without ever being in the worker's memory.

use serde_json::json;

use super::stage::{Stage, sample};
use xtask::webdriver::{Adapter, Options};

/// What the worker may take beside twice the largest file: its program, a photo, its books.
const BESIDE: u64 = 64_000_000;

const ON_GPU: &str = "
    const line = document.querySelector('#device-line');
    return line.dataset.state === 'ready' && line.dataset.device === 'gpu'";

fn memory(stage: &Stage) -> u64 {
    let memory = stage
        .browser
        .run("return Number(document.querySelector('#device-line').dataset.memory)");
    memory.as_f64().unwrap() as u64
}

#[test]
#[ignore = "nearly three minutes on a GPU imitated in software"]
fn a_large_model_streams_to_the_gpu_resumes_and_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut shards = Vec::new();
    for (name, bytes) in tests::large::bundle() {
        if name.starts_with("image-tower") {
            shards.push((format!("/bundle/{name}"), bytes.len() as u64));
        }
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let largest = shards.iter().map(|(_, bytes)| *bytes).max().unwrap();
    let whole: u64 = shards.iter().map(|(_, bytes)| bytes).sum();
    assert!(shards.len() >= 5, "{shards:?}");
    assert!(largest <= 32_000_000);
    let options = Options {
        adapter: Adapter::Software,
        ..Options::default()
    };
    let (stage, wire) = Stage::wired(&options, Some(folder.path()));
    // The third file breaks off half-way, and comes only after the page has given up once.
    let (broken, bytes) = &shards[2];
    wire.cut(broken, 3);
    stage.browser.open(&stage.address);
    stage.browser.wait(
        "a banner",
        120,
        "return document.querySelector('.banner .act')?.textContent === 'Try again'",
    );
    let of_shards = |asked: Vec<(String, u64)>| -> Vec<(String, u64)> {
        let shard = |(path, _): &(String, u64)| path.contains("image-tower");
        asked.into_iter().filter(shard).collect()
    };
    let first = of_shards(wire.asked());
    let tries: Vec<u64> = first
        .iter()
        .filter(|(path, _)| path == broken)
        .map(|(_, from)| *from)
        .collect();
    assert_eq!(tries, [0, bytes / 2, bytes / 2], "it goes on where it was");
    // Again: of that file the rest, and nothing of what had come.
    stage
        .browser
        .run("document.querySelector('.banner .act').click()");
    assert_eq!(stage.wait_ready(300), "cpu");
    let second = of_shards(wire.asked());
    let rest: Vec<&(String, u64)> = second.iter().filter(|(path, _)| path == broken).collect();
    assert_eq!(rest, [&(broken.clone(), bytes / 2)]);
    let whole_before = |path: &String| {
        let before = first.iter().position(|(asked, _)| asked == path);
        before.is_some_and(|before| before < 2)
    };
    assert!(
        !second.iter().any(|(path, _)| whole_before(path)),
        "{second:?}"
    );
    let on_cpu = memory(&stage);

    // On the GPU, out of the cache: the network is not asked for a single file of it.
    stage.browser.click("input[name=device][value=gpu]");
    stage.browser.wait("the GPU", 300, ON_GPU);
    assert_eq!(of_shards(wire.asked()), []);
    assert!(stage.text("#bundle-note").contains("cache"));
    let on_gpu = memory(&stage);
    println!(
        "{} files of {:.1} MB, the largest of {:.1}; WASM memory {:.1} MB on the GPU, {:.1} on the CPU",
        shards.len(),
        whole as f64 / 1e6,
        largest as f64 / 1e6,
        on_gpu as f64 / 1e6,
        on_cpu as f64 / 1e6
    );
    assert!(on_gpu <= 2 * largest + BESIDE, "{on_gpu} bytes");
    assert!(on_gpu < on_cpu);
    stage.show(&[sample("coffee.jpg")], 120);
    assert_eq!(stage.card("coffee.jpg")["device"], "gpu");
    assert!(memory(&stage) <= 2 * largest + BESIDE);
    stage.browser.screenshot("large-model");
}

/// An adapter that takes small buffers only.
const ADAPTER_IS_SMALL: &str = "
    const limits = Object.getOwnPropertyDescriptor(GPUAdapter.prototype, 'limits').get;
    Object.defineProperty(GPUAdapter.prototype, 'limits', { get() {
        return new Proxy(limits.call(this), { get: (all, name) => name === 'maxStorageBufferBindingSize' ? 1_000_000 : all[name] });
    } });";

#[test]
fn an_adapter_that_is_too_small_is_told_what_fits() {
    let options = Options {
        adapter: Adapter::Software,
        ..Options::default()
    };
    let stage = Stage::altered(&options, ADAPTER_IS_SMALL);
    stage.wait_ready(300);
    stage.browser.click("input[name=device][value=gpu]");
    stage.browser.wait(
        "a reason",
        120,
        "return document.querySelector('#device-note').textContent.includes('in one buffer')",
    );
    let note = stage.text("#device-note");
    assert!(note.contains("takes at most 1.0 MB"), "{note}");
    assert!(note.contains("So the CPU computes"), "{note}");
    assert_eq!(stage.wait_ready(60), "cpu");
    stage.browser.run_with(
        "document.querySelector(arguments[0]).scrollIntoView()",
        json!(["#panel-device"]),
    );
    stage.browser.screenshot("adapter-too-small");
}
