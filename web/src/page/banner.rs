//! Messages above everything, for what concerns no single photo.

use wasm_bindgen::JsCast;
use web_sys::{Element, Event, HtmlElement, HtmlTemplateElement};

use super::dom;

/// Shows a message until it is dismissed. One with the same `topic` replaces it.
pub fn show(topic: &str, kind: &str, text: &str) {
    show_with(topic, kind, text, "Dismiss", || {});
}

/// The same, with a button that does something.
pub fn show_with(topic: &str, kind: &str, text: &str, button: &str, act: impl FnOnce() + 'static) {
    dismiss(topic);
    let template: HtmlTemplateElement = dom::by_id("banner-template");
    let Some(banner) = template.content().first_element_child() else {
        return;
    };
    let Ok(banner) = banner.clone_node_with_deep(true) else {
        return;
    };
    let banner: HtmlElement = banner.unchecked_into();
    dom::set(&banner, "data-topic", topic);
    dom::set(&banner, "data-kind", kind);
    dom::within::<Element>(&banner, "p").set_text_content(Some(text));
    let act_button: HtmlElement = dom::within(&banner, ".act");
    act_button.set_text_content(Some(button));
    let (shown, mut act) = (banner.clone(), Some(act));
    dom::on(&act_button, "click", move |_: Event| {
        shown.remove();
        if let Some(act) = act.take() {
            act();
        }
    });
    dom::append(&dom::by_id::<Element>("banners"), &banner);
}

/// Takes the message on this topic away.
pub fn dismiss(topic: &str) {
    for banner in dom::all(".banner[data-topic]") {
        if banner.get_attribute("data-topic").as_deref() == Some(topic) {
            banner.remove();
        }
    }
}
