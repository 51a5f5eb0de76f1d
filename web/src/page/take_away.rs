//! Verdicts to take away.

use js_sys::Array;
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web::record::{self, Record};
use web::wording;
use web_sys::{
    Blob, BlobPropertyBag, Element, Event, HtmlAnchorElement, HtmlButtonElement, HtmlElement, Url,
};

use super::app::{self, App};
use super::{banner, dom};

/// How long "Copied" stands, in milliseconds.
const SHOWN: i32 = 1600;

/// Listens.
pub fn start() {
    dom::on(
        &dom::by_id::<HtmlElement>("export-csv"),
        "click",
        |_: Event| {
            let records = app::with(|app: &mut App| app.records());
            // Excel takes a file for UTF-8 by this mark alone.
            let text = format!("\u{feff}{}", record::csv(&records));
            save("verdicts.csv", "text/csv", &text);
        },
    );
    dom::on(
        &dom::by_id::<HtmlElement>("export-json"),
        "click",
        |_: Event| {
            let records = app::with(|app: &mut App| app.records());
            match record::json(&records) {
                Ok(json) => save("verdicts.json", "application/json", &json),
                Err(error) => banner::show(
                    "export",
                    "trouble",
                    &format!("The verdicts could not be written ({error})."),
                ),
            }
        },
    );
    dom::on(&dom::by_id::<HtmlElement>("clear"), "click", |_: Event| {
        let button: HtmlElement = dom::by_id("clear");
        if button.get_attribute(ASKED).is_some() {
            settle(&button);
            app::with(App::clear);
            return;
        }
        // Nothing brings them back, and the button stands beside others.
        let count = app::with(|app: &mut App| app.records().len());
        dom::set(&button, ASKED, "");
        let question = format!("Clear {}?", wording::photos(count));
        button.set_text_content(Some(&question));
        dom::later(ANSWER, move || settle(&button));
    });
}

/// Whether the button to clear everything has asked, and waits for the answer.
const ASKED: &str = "data-asked";
/// How long it waits, in milliseconds.
const ANSWER: i32 = 5000;

/// Takes the question back.
fn settle(button: &HtmlElement) {
    // Removing what is not there is no error.
    let _ = button.remove_attribute(ASKED);
    button.set_text_content(Some("Clear everything"));
}

/// Whether there is anything to take.
pub fn allow(any: bool) {
    for id in ["export-csv", "export-json", "clear"] {
        dom::by_id::<HtmlButtonElement>(id).set_disabled(!any);
    }
}

/// Puts a verdict on the clipboard and says so on `button`.
pub fn copy(record: &Record, button: Element) {
    let clipboard = dom::window().navigator().clipboard();
    let text = record::text(record);
    spawn_local(async move {
        let written = match clipboard.is_undefined() {
            // Calling what is not there would stop the page.
            true => Err("it has one for pages over https only".into()),
            false => JsFuture::from(clipboard.write_text(&text)).await,
        };
        match written {
            Ok(_) => {
                name(&button, "Copied");
                dom::later(SHOWN, move || name(&button, "Copy"));
            }
            Err(error) => banner::show(
                "clipboard",
                "trouble",
                &format!(
                    "The browser does not let the page write to the clipboard ({}).",
                    dom::said(&error)
                ),
            ),
        }
    });
}

/// Names the button that copies, for the eye and for a screen reader, to which it says of which photo.
fn name(button: &Element, word: &str) {
    let label = button.get_attribute("aria-label").unwrap_or_default();
    let file = label.split_once(' ').map_or("", |(_, file)| file);
    dom::set(button, "aria-label", &format!("{word} {file}"));
    button.set_text_content(Some(word));
}

fn save(name: &str, kind: &str, text: &str) {
    let options = BlobPropertyBag::new();
    options.set_type(kind);
    let saved = Blob::new_with_str_sequence_and_options(&Array::of1(&text.into()), &options)
        .and_then(|blob| Url::create_object_url_with_blob(&blob));
    match saved {
        Ok(address) => {
            let link: HtmlAnchorElement = dom::element("a", "", "").unchecked_into();
            link.set_href(&address);
            link.set_download(name);
            link.click();
            dom::later(10_000, move || {
                // An address that is not known any more is no loss.
                let _ = Url::revoke_object_url(&address);
            });
        }
        Err(error) => banner::show(
            "export",
            "trouble",
            &format!("The file could not be made ({}).", dom::said(&error)),
        ),
    }
}
