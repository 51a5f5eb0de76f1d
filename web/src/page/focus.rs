//! Where the keyboard goes on from when the control that it was on hides, leaves or is disabled by what
//! it did.

use js_sys::Reflect;
use wasm_bindgen::prelude::*;
use web_sys::{Event, HtmlElement};

use super::dom;

/// Controls that may be gone after a click, with the place that belongs to each.
const PLACES: [(&str, &str); 6] = [
    ("threshold-reset", "threshold"),
    ("classes-apply", "classes"),
    ("classes-reset", "classes"),
    ("bundle-default", "bundle-address"),
    ("queue-cancel", "cards"),
    ("clear", "cards"),
];

/// Listens behind every control.
pub fn start() {
    dom::on(&dom::document(), "click", |event: Event| {
        // A click by the keyboard counts none.
        let count = Reflect::get(&event, &"detail".into()).ok();
        let by_keyboard = count.and_then(|count| count.as_f64()) == Some(0.0);
        let target = event.target().and_then(|target| target.dyn_into().ok());
        if let Some(control) = target.filter(|_| by_keyboard) {
            go_on_after(&control);
        }
    });
}

/// After the click of a key on `control`: focuses what belongs to it, if it is gone and nothing else has
/// the focus by now.
pub fn go_on_after(control: &HtmlElement) {
    let nobody = dom::document()
        .active_element()
        .is_none_or(|active| active.tag_name() == "BODY");
    if nobody || has_focus(control) {
        go_on(control);
    }
}

/// Hides `control` or shows it; the focus does not go with it.
pub fn set_hidden(control: &HtmlElement, hidden: bool) {
    // What is hidden has lost the focus as soon as anybody asks.
    let had_focus = has_focus(control);
    control.set_hidden(hidden);
    if had_focus {
        go_on(control);
    }
}

fn has_focus(control: &HtmlElement) -> bool {
    let active = dom::document().active_element();
    active.is_some_and(|active| control.contains(Some(&active)))
}

fn go_on(control: &HtmlElement) {
    if !is_gone(control) {
        return;
    }
    let id = control.id();
    let place = PLACES.iter().find(|(gone, _)| *gone == id);
    let place = place.map(|(_, place)| dom::by_id::<HtmlElement>(place));
    let tab = dom::all("[role=tab][aria-selected=true]")
        .into_iter()
        .next();
    if let Some(place) = place.filter(|place| !is_gone(place)).or(tab) {
        // Focus on an element that is there cannot fail.
        let _ = place.focus();
    }
}

/// Whether nobody can use it: it was removed, is not shown, or is disabled.
fn is_gone(element: &HtmlElement) -> bool {
    element.offset_parent().is_none() || element.matches(":disabled").unwrap_or(false)
}
