//! Every way in which photos come: picked (all other tests), dropped, pasted, photographed, and as
//! a folder.

use std::path::Path;

use serde_json::json;

use super::stage::{Stage, encoded, noise, sample};
use xtask::webdriver::Options;

#[test]
fn photos_can_be_dropped_and_pasted() {
    let stage = Stage::ready(&Options::default());
    let script = "
        const blob = await (await fetch('samples/cat.jpg')).blob();
        const data = new DataTransfer();
        data.items.add(new File([blob], arguments_name, { type: 'image/jpeg' }));
        document.body.dispatchEvent(new DragEvent('dragover', { dataTransfer: data, bubbles: true, cancelable: true }));
        const veil = !document.querySelector('#veil').hidden;
        const event = arguments_event === 'drop'
            ? new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true })
            : new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true });
        document.body.dispatchEvent(event);
        return veil;";
    for (name, event) in [("dropped.jpg", "drop"), ("pasted.jpg", "paste")] {
        let script = script
            .replace("arguments_name", &format!("'{name}'"))
            .replace("arguments_event", &format!("'{event}'"));
        assert_eq!(stage.browser.await_script(&script), true);
        wait_for_card(&stage, name);
    }
    assert_eq!(
        stage.card("dropped.jpg")["score"],
        stage.card("pasted.jpg")["score"]
    );
    // A text that comes with its picture, as from a text processor, goes into a text field as text.
    let script = "
        const blob = await (await fetch('samples/cat.jpg')).blob();
        const clipboardData = new DataTransfer();
        clipboardData.items.add(new File([blob], 'text.jpg', { type: 'image/jpeg' }));
        clipboardData.setData('text/plain', 'coffee');
        const paste = (where) => document.querySelector(where).dispatchEvent(
            new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true }));
        return [paste('#classes'), paste('#bundle-address'), document.querySelector('#queue').hidden, paste('body')];";
    assert_eq!(
        stage.browser.await_script(script),
        json!([true, true, true, false])
    );
    wait_for_card(&stage, "text.jpg");
    // The button reads the clipboard itself, where the user allows it.
    stage.browser.chromium(
        "Browser.grantPermissions",
        json!({ "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"] }),
    );
    let copied = stage.browser.await_script(
        "const picture = await createImageBitmap(await (await fetch('samples/cat.jpg')).blob());
         const canvas = new OffscreenCanvas(picture.width, picture.height);
         canvas.getContext('2d').drawImage(picture, 0, 0);
         const png = await canvas.convertToBlob({ type: 'image/png' });
         await navigator.clipboard.write([new ClipboardItem({ 'image/png': png })]);
         return 'copied';",
    );
    assert_eq!(copied, "copied");
    stage.browser.click("#paste");
    wait_for_card(&stage, "pasted.png");
}

#[test]
fn a_folder_gives_its_photos() {
    let stage = Stage::ready(&Options::default());
    let folder = stage.files.path().join("holiday");
    std::fs::create_dir_all(folder.join("second day")).unwrap();
    std::fs::copy(sample("cat.jpg"), folder.join("cat.jpg")).unwrap();
    std::fs::copy(sample("rocket.jpg"), folder.join("second day/rocket.jpg")).unwrap();
    std::fs::write(folder.join("diary.txt"), "It rained.").unwrap();
    let left_out =
        "return document.querySelector('.banner')?.textContent.includes('One of the 3 files')";
    // Picked.
    stage
        .browser
        .upload("#folder", std::slice::from_ref(&folder));
    wait_for_card(&stage, "cat.jpg");
    wait_for_card(&stage, "rocket.jpg");
    stage.browser.wait("word of the diary", 60, left_out);
    assert_eq!(stage.count(), 2);
    // Cards tell files of one name apart by their folders; what is taken away holds no path.
    let shown = "return [...document.querySelectorAll('.card .file')].map((file) => file.textContent).sort()";
    let expected = json!(["cat.jpg", "second day/rocket.jpg"]);
    assert_eq!(stage.browser.run(shown), expected);
    stage.clear();
    stage.browser.click(".banner .act");
    drop_folder(&stage, &folder);
    wait_for_card(&stage, "cat.jpg");
    wait_for_card(&stage, "rocket.jpg");
    stage.browser.wait("word of the diary", 60, left_out);
    assert_eq!(stage.browser.run(shown), expected);
}

#[test]
fn a_folder_of_which_not_all_is_read_says_so() {
    let stage = Stage::ready(&Options::default());
    let folder = stage.files.path().join("life");
    std::fs::create_dir(&folder).unwrap();
    for day in 0..5_001 {
        std::fs::write(folder.join(format!("{day}.txt")), "").unwrap();
    }
    drop_folder(&stage, &folder);
    stage.browser.wait(
        "word of the rest",
        120,
        "return document.querySelector('.banner')?.textContent.includes('more than 5000 files')",
    );
}

/// Drops a folder on the page, as the browser itself drops.
fn drop_folder(stage: &Stage, folder: &Path) {
    for kind in ["dragEnter", "dragOver", "drop"] {
        let event = json!({ "type": kind, "x": 300, "y": 300, "data": {
            "items": [], "files": [folder.display().to_string()], "dragOperationsMask": 1,
        }});
        stage.browser.chromium("Input.dispatchDragEvent", event);
    }
}

#[test]
fn the_camera_takes_photos() {
    let arguments = vec![
        "--use-fake-device-for-media-stream".to_owned(),
        "--use-fake-ui-for-media-stream".to_owned(),
    ];
    let stage = Stage::ready(&Options {
        arguments,
        ..Options::default()
    });
    stage.browser.click("#camera");
    stage.browser.wait(
        "a picture",
        60,
        "return !document.querySelector('#camera-take').disabled",
    );
    stage.browser.screenshot("camera");
    let focused = "return document.activeElement.id";
    assert_eq!(stage.browser.run(focused), "camera-take");
    stage.browser.click("#camera-take");
    wait_for_card(&stage, "camera 1.png");
    let off = "return !document.querySelector('#camera-dialog').open && document.querySelector('#camera-view').srcObject === null";
    assert_eq!(stage.browser.run(off), true, "the camera is off again");
    // Asked for twice before it comes, as when the dialog is closed over the browser's question, none
    // of them stays on.
    stage.browser.run(
        "window.streams = [];
         const devices = navigator.mediaDevices, ask = devices.getUserMedia.bind(devices);
         devices.getUserMedia = async (wanted) => {
             const stream = await ask(wanted);
             window.streams.push(stream);
             while (window.streams.length < 2) await new Promise((later) => setTimeout(later, 20));
             return stream;
         };
         for (const id of ['camera', 'camera-close', 'camera']) document.querySelector(`#${id}`).click();",
    );
    stage.browser.wait(
        "a picture",
        60,
        "return !document.querySelector('#camera-take').disabled",
    );
    stage.browser.click("#camera-close");
    stage.browser.wait(
        "no camera",
        10,
        "return window.streams.length === 2 && window.streams.every((stream) => !stream.active)",
    );
}

#[test]
fn a_camera_that_is_refused_says_so() {
    let stage = Stage::ready(&Options::default());
    stage.browser.click("#camera");
    stage.browser.wait(
        "a reason",
        60,
        "return document.querySelector('#camera-note').textContent.includes('finds no camera')",
    );
    stage.browser.click("#camera-close");
    // One that is there and may not be used is another matter.
    stage.browser.run(
        "navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no', 'NotAllowedError'));
         document.querySelector('#camera').click()",
    );
    stage.browser.wait(
        "a reason",
        60,
        "return document.querySelector('#camera-note').textContent.includes('Allow it')",
    );
    stage.browser.click("#camera-close");
    // Nothing else is disturbed.
    stage.show(
        &[stage.file(
            "after.png",
            &encoded(&noise(64, 64, 1), image::ImageFormat::Png),
        )],
        60,
    );
}

fn wait_for_card(stage: &Stage, file: &str) {
    let found = format!("return document.querySelector('.card[data-file=\"{file}\"]') !== null");
    stage
        .browser
        .wait(&format!("the card of {file}"), 120, &found);
}
