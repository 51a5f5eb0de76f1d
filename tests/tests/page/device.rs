//! Devices: the software adapter computes what the CPU computes, one that is lost comes back, and
//! one that computes wrongly is not used.
//!
//! What no browser does on demand is done to the browser's WebGPU from the start of the worker's
//! script: the page's own program has no hook for it.

use super::parity::compare;
use super::stage::{Stage, sample};
use xtask::webdriver::{Adapter, Options};

/// Keeps every GPU device that is handed out, and destroys them when the page is told so.
const DEVICES_CAN_BE_LOST: &str = "
    const request = GPUAdapter.prototype.requestDevice;
    GPUAdapter.prototype.requestDevice = async function (...wishes) {
        const device = await request.apply(this, wishes);
        const channel = new BroadcastChannel('devices');
        channel.onmessage = () => { channel.postMessage('gone'); channel.close(); device.destroy(); };
        return device;
    };";

/// A driver that computes wrongly: what large buffers hold is not what was written.
const GPU_COMPUTES_WRONGLY: &str = "
    const write = GPUQueue.prototype.writeBuffer;
    GPUQueue.prototype.writeBuffer = function (buffer, at, data, from, size) {
        const bytes = data instanceof ArrayBuffer ? new Uint8Array(data) : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
        const copy = bytes.slice();
        if (copy.length > 100_000) copy.fill(0, copy.length >> 1);
        return write.call(this, buffer, at, copy, from, size);
    };";

/// The browser has WebGPU and gives no adapter, as where an administrator forbids it.
const WEBGPU_IS_REFUSED: &str = "
    Object.defineProperty(WorkerNavigator.prototype, 'gpu', { get: () => ({
        requestAdapter: () => Promise.reject(new DOMException('forbidden here', 'NotAllowedError')),
    }) });";

const ON_GPU: &str = "
    const line = document.querySelector('#device-line');
    return ['ready', 'busy'].includes(line.dataset.state) && line.dataset.device === 'gpu'";

fn software_gpu() -> Options {
    Options {
        adapter: Adapter::Software,
        ..Options::default()
    }
}

#[test]
fn the_software_adapter_agrees_with_predict_and_comes_back_when_it_is_lost() {
    let stage = Stage::altered(&software_gpu(), DEVICES_CAN_BE_LOST);
    stage.wait_ready(300);
    // Nobody is left on a software adapter unasked.
    let device = "return document.querySelector('#device-line').dataset.device";
    assert_eq!(stage.browser.run(device), "cpu");
    let note = stage.text("#device-note");
    assert!(note.contains("imitated in software"), "{note}");
    stage.browser.click("input[name=device][value=gpu]");
    stage.browser.wait("the GPU", 300, ON_GPU);
    compare(&stage, &["astronaut.jpg", "rocket.jpg"].map(sample), 300);
    assert_eq!(stage.card("rocket.jpg")["device"], "gpu");
    stage.browser.screenshot("webgpu");

    // The device goes while one photo is with it and another waits.
    stage
        .browser
        .upload("#photos", &["coffee.jpg", "cat.jpg"].map(sample));
    let gone = stage.browser.await_script(
        "const channel = new BroadcastChannel('devices');
         return new Promise((heard) => {
             channel.onmessage = (event) => heard(event.data);
             channel.postMessage('be lost');
         });",
    );
    assert_eq!(gone, "gone", "the worker's device was destroyed");
    stage.browser.wait(
        "word of the loss",
        60,
        "return document.querySelector('.banner')?.textContent.includes('The graphics device stopped')",
    );
    // In words for people; what the program said stands behind a disclosure.
    let (said, detail) = stage.banner();
    assert!(said.ends_with("are read again."), "{said}");
    assert!(
        !detail.is_empty() && !said.contains(&detail),
        "{said} {detail}"
    );
    let closed = "return document.querySelector('.banner details').open === false";
    assert_eq!(stage.browser.run(closed), true);
    stage.browser.wait(
        "the photos that the lost device had",
        300,
        "return document.querySelectorAll('.card').length === 4 && document.querySelector('#queue').hidden",
    );
    for file in ["coffee.jpg", "cat.jpg"] {
        let card = stage.card(file);
        assert_eq!(card["device"], "gpu", "{card}");
        assert!(
            matches!(card["verdict"].as_str(), Some("in" | "out")),
            "{card}"
        );
    }
    stage.browser.screenshot("gpu-lost");
}

#[test]
fn a_gpu_that_computes_wrongly_is_refused_with_a_reason() {
    let stage = Stage::altered(&software_gpu(), GPU_COMPUTES_WRONGLY);
    stage.wait_ready(300);
    stage.browser.click("input[name=device][value=gpu]");
    stage.browser.wait(
        "a device",
        300,
        "return document.querySelector('#device-line').dataset.state === 'ready'",
    );
    let note = stage.text("#device-note");
    assert!(
        note.contains("is not used, because it computes wrongly"),
        "{note}"
    );
    stage.show(&[sample("coffee.jpg")], 300);
    assert_eq!(stage.card("coffee.jpg")["device"], "cpu");
}

#[test]
fn where_webgpu_is_refused_the_cpu_computes() {
    let stage = Stage::altered(&Options::default(), WEBGPU_IS_REFUSED);
    stage.wait_ready(300);
    let note = stage.text("#device-note");
    assert!(
        note.contains("WebGPU was refused (forbidden here)"),
        "{note}"
    );
    stage.show(&[sample("coffee.jpg")], 300);
    assert_eq!(stage.card("coffee.jpg")["device"], "cpu");
}
