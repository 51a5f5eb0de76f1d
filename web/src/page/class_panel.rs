//! The class list and its editing.

use web::class_list;
use web::message::UnknownWords;
use web::wording;
use web_sys::{Element, Event, HtmlButtonElement, HtmlElement, HtmlTextAreaElement, KeyboardEvent};

use super::app::{self, App};
use super::{dom, focus};

/// Warnings about class names that are spelled out: all of them are read aloud.
const MOST_WARNINGS: usize = 10;

/// Listens.
pub fn start() {
    dom::on(
        &dom::by_id::<HtmlElement>("classes-apply"),
        "click",
        |_: Event| apply(),
    );
    dom::on(
        &dom::by_id::<HtmlElement>("classes-reset"),
        "click",
        |_: Event| {
            settle();
            app::with(|app: &mut App| app.choose_classes(None));
        },
    );
    let area: HtmlTextAreaElement = dom::by_id("classes");
    dom::on(&area, "input", |_: Event| {
        dom::by_id::<HtmlButtonElement>("classes-apply").set_disabled(false);
    });
    dom::on(&area, "keydown", |event: KeyboardEvent| {
        if event.key() == "Enter" && (event.ctrl_key() || event.meta_key()) {
            event.prevent_default();
            apply();
        }
    });
}

fn apply() {
    match class_list::parse(&dom::by_id::<HtmlTextAreaElement>("classes").value()) {
        Ok(names) => {
            settle();
            app::with(|app: &mut App| app.choose_classes(Some(names)));
        }
        Err(error) => show_refusal(&error.to_string()),
    }
}

/// From here on [`show`] may replace what stands in the text field; what is typed after this stays.
pub fn settle() {
    let area: HtmlTextAreaElement = dom::by_id("classes");
    // That it differs from its default is how a field says that it was typed in. To set it cannot
    // fail.
    let _ = area.set_default_value(&area.value());
}

/// Shows the classes that count, and what the text tower cannot know of them. Where these are not the
/// `last` that were applied, those stay in the field until they are answered.
pub fn show(classes: &[String], edited: bool, unknown: &[UnknownWords], own: usize, last: bool) {
    let area: HtmlTextAreaElement = dom::by_id("classes");
    let typed = area
        .default_value()
        .is_ok_and(|default| default != area.value());
    if !typed && last {
        area.set_value(&classes.join("\n"));
        settle();
    }
    let count = classes.len().to_string();
    dom::by_id::<Element>("classes-count").set_text_content(Some(&count));
    dom::by_id::<Element>("class-count").set_text_content(Some(&format!("the {count} classes")));
    dom::by_id::<HtmlButtonElement>("classes-apply").set_disabled(!typed);
    let reset: HtmlElement = dom::by_id("classes-reset");
    focus::set_hidden(&reset, !edited);
    let state = if edited {
        format!("Yours; the bundle has {own}.")
    } else {
        String::new()
    };
    show_state(&state);
    let warnings = unknown.iter().take(MOST_WARNINGS).map(|unknown| {
        let words: Vec<String> = unknown
            .words
            .iter()
            .map(|word| isolated(&format!("“{word}”")))
            .collect();
        let text = format!(
            "{}: the text tower has never seen {}; what it says of this class is a guess.",
            isolated(&unknown.class),
            words.join(", ")
        );
        dom::element("li", "", &text)
    });
    let more = unknown.len().saturating_sub(MOST_WARNINGS);
    let more = (more > 0).then(|| {
        let text = format!("And so of {more} more.");
        dom::element("li", "", &text)
    });
    dom::replace(&dom::by_id("classes-warnings"), warnings.chain(more));
    if !last {
        show_busy(true);
    }
}

/// The words apart from what is around them, where they run from right to left.
fn isolated(words: &str) -> String {
    format!("\u{2068}{words}\u{2069}")
}

/// Whether the bundle can take other names.
pub fn allow(has_text_tower: bool) {
    dom::by_id::<HtmlTextAreaElement>("classes").set_disabled(!has_text_tower);
    if !has_text_tower {
        show_state(
            "The classes of this bundle are fixed: it has no text tower, or contexts of single classes.",
        );
    }
}

/// The worker is at it, or will be once it has the model.
pub fn show_busy(has_model: bool) {
    show_state(match has_model {
        true => "Reading the names…",
        false => "The names wait for the model.",
    });
    dom::by_id::<HtmlButtonElement>("classes-apply").set_disabled(true);
}

/// The text tower is under way.
pub fn show_loading(loaded: u64, total: u64) {
    show_state(&format!(
        "Loading the text tower: {} of {}",
        wording::bytes(loaded),
        wording::bytes(total)
    ));
    // Nobody wants every part of a megabyte read aloud.
    dom::set(&dom::by_id::<Element>("classes-state"), "aria-live", "off");
}

/// The list cannot be used.
pub fn show_refusal(message: &str) {
    show_state("");
    dom::by_id::<HtmlButtonElement>("classes-apply").set_disabled(false);
    dom::replace(
        &dom::by_id("classes-warnings"),
        [dom::element("li", "", message)],
    );
}

fn show_state(text: &str) {
    let state: Element = dom::by_id("classes-state");
    // A missing attribute is no reason to fail.
    let _ = state.remove_attribute("aria-live");
    state.set_text_content(Some(text));
}
