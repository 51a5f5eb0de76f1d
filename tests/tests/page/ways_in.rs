//! Every way in which photos come: picked (all other tests), dropped, pasted, photographed, and as
//! a folder.

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
        "return document.querySelector('.banner')?.textContent.includes('1 of the 3 files')";
    // Picked.
    stage
        .browser
        .upload("#folder", std::slice::from_ref(&folder));
    wait_for_card(&stage, "cat.jpg");
    wait_for_card(&stage, "rocket.jpg");
    stage.browser.wait("word of the diary", 60, left_out);
    assert_eq!(stage.count(), 2);
    stage.browser.click("#clear");
    stage.browser.click(".banner .act");
    // Dropped, as the browser itself drops.
    for kind in ["dragEnter", "dragOver", "drop"] {
        let event = json!({ "type": kind, "x": 300, "y": 300, "data": {
            "items": [], "files": [folder.display().to_string()], "dragOperationsMask": 1,
        }});
        stage.browser.chromium("Input.dispatchDragEvent", event);
    }
    wait_for_card(&stage, "cat.jpg");
    wait_for_card(&stage, "rocket.jpg");
    stage.browser.wait("word of the diary", 60, left_out);
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
    stage.browser.click("#camera-take");
    wait_for_card(&stage, "camera 1.png");
    let off = "return !document.querySelector('#camera-dialog').open && document.querySelector('#camera-view').srcObject === null";
    assert_eq!(stage.browser.run(off), true, "the camera is off again");
}

#[test]
fn a_camera_that_is_refused_says_so() {
    let stage = Stage::ready(&Options::default());
    stage.browser.click("#camera");
    stage.browser.wait(
        "a reason",
        60,
        "return document.querySelector('#camera-note').textContent.includes('There is no camera to use')",
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
