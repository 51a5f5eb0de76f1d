//! The sample photos, one click away. Their sources are in `web/samples/SOURCES.md`.

use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{Blob, Element, Event, HtmlImageElement, Response};

use super::{app, banner, dom, focus};

/// File name and description of each.
const SAMPLES: [(&str, &str); 7] = [
    ("astronaut.jpg", "an astronaut"),
    ("coffee.jpg", "a cup of coffee"),
    ("cat.jpg", "a cat"),
    ("rocket.jpg", "a rocket on its launch pad"),
    ("photographer.jpg", "a photographer at work"),
    ("galaxies.jpg", "galaxies"),
    ("bricks.jpg", "a brick wall"),
];

/// Shows the samples.
pub fn start() {
    let list: Element = dom::by_id("samples");
    for (file, description) in SAMPLES {
        let item = dom::element("li", "", "");
        let button = dom::element("button", "", "");
        dom::set(&button, "aria-label", &format!("Try {description}"));
        dom::set(&button, "data-sample", file);
        let image: HtmlImageElement = dom::element("img", "", "").unchecked_into();
        image.set_src(&format!("samples/{file}"));
        image.set_alt("");
        image.set_width(124);
        image.set_height(93);
        dom::append(&button, &image);
        dom::append(&item, &button);
        dom::append(&list, &item);
        let own = button.clone();
        dom::on(&button, "click", move |_: Event| {
            let own = own.clone();
            spawn_local(async move {
                match fetch(file).await {
                    Ok(blob) => {
                        app::add_photos(vec![(file.to_owned(), blob)]);
                        // The samples leave when there are photos.
                        focus::go_on_after(&own);
                    }
                    Err(error) => banner::show(
                        "samples",
                        "trouble",
                        &format!(
                            "The sample {file} could not be fetched ({}).",
                            dom::said(&error)
                        ),
                    ),
                }
            });
        });
    }
}

async fn fetch(file: &str) -> Result<Blob, JsValue> {
    let promise = dom::window().fetch_with_str(&format!("samples/{file}"));
    let response: Response = JsFuture::from(promise).await?.dyn_into()?;
    if !response.ok() {
        return Err(JsValue::from_str(&format!(
            "the server answered {}",
            response.status()
        )));
    }
    JsFuture::from(response.blob()?).await?.dyn_into()
}
