//! Many photos leave nothing behind but their thumbnails. `cargo xtask bench load` does it with a
//! thousand large ones and measures; here what is made and let go is counted.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::stage::{Stage, encoded, noise};
use xtask::webdriver::Options;

/// Counts what the browser decodes for the worker and what the worker lets go, and tells on request.
const BITMAPS_ARE_COUNTED: &str = "
    const counts = { made: 0, closed: 0 };
    const make = self.createImageBitmap;
    self.createImageBitmap = async (...of) => {
        const bitmap = await make.apply(self, of);
        counts.made += 1;
        return bitmap;
    };
    const close = ImageBitmap.prototype.close;
    ImageBitmap.prototype.close = function () { counts.closed += 1; return close.call(this); };
    const channel = new BroadcastChannel('counts');
    channel.onmessage = () => channel.postMessage(counts);";

/// Counts the addresses of blobs in the page.
const ADDRESSES_ARE_COUNTED: &str = "
    window.addresses = new Set();
    const [make, let_go] = [URL.createObjectURL, URL.revokeObjectURL];
    URL.createObjectURL = (blob) => { const address = make.call(URL, blob); window.addresses.add(address); return address; };
    URL.revokeObjectURL = (address) => { window.addresses.delete(address); return let_go.call(URL, address); };";

/// A Windows icon, which the browser decodes and the worker does not.
fn icon(salt: u32) -> Vec<u8> {
    let picture = encoded(&noise(64, 64, salt), image::ImageFormat::Png);
    let mut bytes = vec![0, 0, 1, 0, 1, 0, 64, 64, 0, 0, 1, 0, 24, 0];
    bytes.extend((picture.len() as u32).to_le_bytes());
    bytes.extend(22u32.to_le_bytes());
    bytes.extend(picture);
    bytes
}

fn photos(stage: &Stage, kind: &str, from: u32, count: u32) -> Vec<PathBuf> {
    (from..from + count)
        .map(|salt| match kind {
            "ico" => stage.file(&format!("{salt}.ico"), &icon(salt)),
            _ => stage.file(
                &format!("{salt}.jpg"),
                &encoded(&noise(640, 480, salt), image::ImageFormat::Jpeg),
            ),
        })
        .collect()
}

/// Of a photo that was read the worker keeps the feature, some kilobytes.
const FEATURES: f64 = 1e6;

fn memory(stage: &Stage) -> f64 {
    let memory = stage
        .browser
        .run("return Number(document.querySelector('#device-line').dataset.memory)");
    memory.as_f64().unwrap()
}

fn addresses(stage: &Stage) -> Value {
    stage.browser.run("return window.addresses.size")
}

#[test]
fn sixty_photos_leave_nothing_behind_but_their_thumbnails() {
    let stage = Stage::altered(&Options::default(), BITMAPS_ARE_COUNTED);
    let script = json!({ "source": ADDRESSES_ARE_COUNTED });
    stage
        .browser
        .chromium("Page.addScriptToEvaluateOnNewDocument", script);
    stage.browser.open(&stage.address);
    stage.wait_ready(300);
    stage.show(&photos(&stage, "jpg", 0, 20), 120);
    stage.show(&photos(&stage, "ico", 100, 5), 120);
    let settled = memory(&stage);
    stage.show(&photos(&stage, "jpg", 20, 30), 120);
    stage.show(&photos(&stage, "ico", 200, 5), 120);
    let read = "return document.querySelectorAll('.card[data-verdict=in], .card[data-verdict=out]').length";
    assert_eq!(stage.browser.run(read), 60, "no card is lost");
    let grown = memory(&stage) - settled;
    assert!(grown < FEATURES, "the worker took {grown} bytes more");
    let counts = stage.browser.await_script(
        "const channel = new BroadcastChannel('counts');
         return new Promise((heard) => {
             channel.onmessage = (event) => heard(event.data);
             channel.postMessage('how many');
         });",
    );
    assert_eq!(counts, json!({ "made": 10, "closed": 10 }));
    assert_eq!(addresses(&stage), 60, "a thumbnail a card");
    stage
        .browser
        .run("document.querySelector('.card .act-remove').click()");
    assert_eq!(addresses(&stage), 59);
    stage.clear();
    assert_eq!(addresses(&stage), 0);
    // And the same once more costs nothing more.
    stage.show(&photos(&stage, "jpg", 300, 20), 120);
    let grown = memory(&stage) - settled;
    assert!(grown < FEATURES, "the worker took {grown} bytes more");
}
