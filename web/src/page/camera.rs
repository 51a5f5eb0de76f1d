//! Photographs from the device's camera.

use std::cell::RefCell;

use js_sys::{Array, Object, Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{
    Blob, CanvasRenderingContext2d, Element, Event, HtmlButtonElement, HtmlCanvasElement,
    HtmlDialogElement, HtmlElement, HtmlVideoElement, MediaStream, MediaStreamConstraints,
    MediaStreamTrack,
};

use super::{app, dom};

thread_local! {
    static STREAM: RefCell<Option<MediaStream>> = const { RefCell::new(None) };
    static TAKEN: RefCell<u32> = const { RefCell::new(0) };
}

/// Listens.
pub fn start() {
    dom::on(&dom::by_id::<HtmlElement>("camera"), "click", |_: Event| {
        open()
    });
    dom::on(
        &dom::by_id::<HtmlElement>("camera-take"),
        "click",
        |_: Event| {
            spawn_local(async {
                match take().await {
                    Ok(photo) => {
                        let number = TAKEN.with_borrow_mut(|taken| {
                            *taken += 1;
                            *taken
                        });
                        app::add_photos(vec![(format!("camera {number}.png"), photo)]);
                        close();
                    }
                    Err(error) => note(&format!("No photo came of it ({}).", dom::said(&error))),
                }
            });
        },
    );
    dom::on(
        &dom::by_id::<HtmlElement>("camera-close"),
        "click",
        |_: Event| close(),
    );
    // Closing with the Escape key ends here as well.
    dom::on(
        &dom::by_id::<HtmlElement>("camera-dialog"),
        "close",
        |_: Event| stop(),
    );
}

fn open() {
    let dialog: HtmlDialogElement = dom::by_id("camera-dialog");
    // Before the dialog opens, which gives its first button the focus.
    take_button().set_disabled(true);
    if dialog.show_modal().is_err() {
        return;
    }
    note("Waiting for the camera; the browser asks for your permission.");
    spawn_local(async {
        match stream().await {
            // Closed while the browser was asking.
            Ok(stream) if !dom::by_id::<HtmlDialogElement>("camera-dialog").open() => end(&stream),
            Ok(stream) => {
                let video: HtmlVideoElement = dom::by_id("camera-view");
                video.set_src_object(Some(&stream));
                // Closed and opened again while the browser was asking, there are two.
                // The stream's own `clone` would open another one.
                if let Some(other) = STREAM.replace(Some(Clone::clone(&stream))) {
                    end(&other);
                }
                if let Ok(playing) = video.play() {
                    // A video that does not play shows its first picture.
                    let _ = JsFuture::from(playing).await;
                }
                // The same may have happened while it began to play.
                if STREAM.with_borrow(|held| held.as_ref() == Some(&stream)) {
                    note("");
                    take_button().set_disabled(false);
                    // Focus on a button that is there cannot fail.
                    let _ = take_button().focus();
                }
            }
            Err(error) if is_none(&error) => note(
                "The browser finds no camera on this device. Plug one in, or choose photos instead.",
            ),
            Err(error) => note(&format!(
                "There is no camera to use ({}). Allow it in the browser's settings, or choose photos instead.",
                dom::said(&error)
            )),
        }
    });
}

/// Whether the error says that there is no camera, rather than that none may be used.
fn is_none(error: &JsValue) -> bool {
    Reflect::get(error, &"name".into()).is_ok_and(|name| name == "NotFoundError")
}

async fn stream() -> Result<MediaStream, JsValue> {
    let devices = dom::window().navigator().media_devices()?;
    let video = Object::new();
    Reflect::set(&video, &"facingMode".into(), &"environment".into())?;
    let constraints = MediaStreamConstraints::new();
    constraints.set_video(&video);
    JsFuture::from(devices.get_user_media_with_constraints(&constraints)?)
        .await?
        .dyn_into()
}

async fn take() -> Result<Blob, JsValue> {
    let video: HtmlVideoElement = dom::by_id("camera-view");
    let canvas: HtmlCanvasElement = dom::element("canvas", "", "").unchecked_into();
    canvas.set_width(video.video_width());
    canvas.set_height(video.video_height());
    let context = canvas
        .get_context("2d")?
        .ok_or("the browser has no canvas")?;
    context
        .unchecked_into::<CanvasRenderingContext2d>()
        .draw_image_with_html_video_element(&video, 0.0, 0.0)?;
    let promise = Promise::new(&mut |resolve, reject| {
        if let Err(error) = canvas.to_blob(&resolve) {
            // The promise then fails with this error.
            let _ = reject.call1(&JsValue::NULL, &error);
        }
    });
    JsFuture::from(promise).await?.dyn_into()
}

fn close() {
    dom::by_id::<HtmlDialogElement>("camera-dialog").close();
}

fn stop() {
    dom::by_id::<HtmlVideoElement>("camera-view").set_src_object(None);
    if let Some(stream) = STREAM.take() {
        end(&stream);
    }
}

fn end(stream: &MediaStream) {
    let tracks: Array = stream.get_tracks().unchecked_into();
    for track in tracks.iter() {
        track.unchecked_into::<MediaStreamTrack>().stop();
    }
}

fn take_button() -> HtmlButtonElement {
    dom::by_id("camera-take")
}

fn note(text: &str) {
    dom::by_id::<Element>("camera-note").set_text_content(Some(text));
}
