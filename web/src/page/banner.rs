//! Messages above everything, for what concerns no single photo.

use wasm_bindgen::JsCast;
use web_sys::{Element, Event, HtmlElement, HtmlTemplateElement};

use super::dom;

/// A message. One with the same topic replaces it.
pub struct Banner<'a> {
    /// What it is about, in one word.
    pub topic: &'a str,
    /// `trouble` or `note`.
    pub kind: &'a str,
    /// What happened and what helps, for people.
    pub text: &'a str,
    /// What a program said of it, behind a disclosure; empty for nothing.
    pub detail: &'a str,
}

/// Shows a message until it is dismissed.
pub fn show(topic: &str, kind: &str, text: &str) {
    let detail = "";
    Banner {
        topic,
        kind,
        text,
        detail,
    }
    .show();
}

impl Banner<'_> {
    /// Shows it until it is dismissed.
    pub fn show(&self) {
        self.show_with("Dismiss", || {});
    }

    /// Shows it with a button that does something.
    pub fn show_with(&self, button: &str, act: impl FnOnce() + 'static) {
        dismiss(self.topic);
        let template: HtmlTemplateElement = dom::by_id("banner-template");
        let Some(banner) = template.content().first_element_child() else {
            return;
        };
        let Ok(banner) = banner.clone_node_with_deep(true) else {
            return;
        };
        let banner: HtmlElement = banner.unchecked_into();
        dom::set(&banner, "data-topic", self.topic);
        dom::set(&banner, "data-kind", self.kind);
        dom::within::<Element>(&banner, "p").set_text_content(Some(self.text));
        dom::within::<HtmlElement>(&banner, "details").set_hidden(self.detail.is_empty());
        dom::within::<Element>(&banner, ".detail").set_text_content(Some(self.detail));
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
}

/// Takes the message on this topic away.
pub fn dismiss(topic: &str) {
    for banner in dom::all(".banner[data-topic]") {
        if banner.get_attribute("data-topic").as_deref() == Some(topic) {
            banner.remove();
        }
    }
}
