//! The choice of method.

use shared::bundle::MethodEntry;
use shared::metric::OodRates;
use shared::score::{Input, method};
use wasm_bindgen::JsCast;
use web_sys::{Element, Event, HtmlElement, HtmlInputElement};

use super::app;
use super::dom;
use super::photo::Standard;

/// Listens.
pub fn start() {
    dom::on(
        &dom::by_id::<HtmlElement>("methods"),
        "change",
        |event: Event| {
            let input = event
                .target()
                .and_then(|target| target.dyn_into::<HtmlInputElement>().ok());
            if let Some(input) = input {
                app::with(|app| app.choose_method(input.value()));
            }
        },
    );
}

/// Whether the method can score against the classes: for edited ones there are their prompts, but
/// no linear probe and no labels mined far from them.
pub fn is_usable(id: &str, edited: bool) -> bool {
    let of_names = |input: &Input| {
        matches!(
            input,
            Input::Positive
                | Input::Negative
                | Input::ZeroShot
                | Input::PatchZeroShot
                | Input::LoCoOp
                | Input::PatchLoCoOp
        )
    };
    method(id).is_some_and(|method| !edited || method.needs().iter().all(of_names))
}

/// Shows the methods with what they reached, and the chosen one's equation.
pub fn show(standard: &Standard, edited: bool) {
    let list: Element = dom::by_id("methods");
    let entries = &standard.opened.methods;
    // Another bundle may have the same methods, and other figures of them.
    let wanted: Vec<HtmlElement> = entries.iter().map(choice).collect();
    let said = |element: &HtmlElement| element.inner_html();
    if dom::all("#methods label")
        .iter()
        .map(said)
        .ne(wanted.iter().map(said))
    {
        dom::replace(&list, wanted);
    }
    for input in dom::all("#methods input") {
        let input: HtmlInputElement = input.unchecked_into();
        let id = input.value();
        input.set_checked(id == standard.method);
        input.set_disabled(!is_usable(&id, edited));
    }
    // The figures are of the bundle's own classes.
    for figure in dom::all("#methods .figure") {
        figure.set_hidden(edited);
    }
    let chosen = method(standard.method);
    let equation = chosen.map_or("", |method| method.equation());
    dom::by_id::<Element>("method-equation").set_text_content(Some(equation));
    let again = chosen.is_some_and(|method| method.takes_patches());
    dom::by_id::<HtmlElement>("method-patches").set_hidden(!again);
}

fn choice(entry: &MethodEntry) -> HtmlElement {
    let label = dom::element("label", "", "");
    let input = dom::element("input", "", "");
    for (name, value) in [
        ("type", "radio"),
        ("name", "method"),
        ("value", entry.id.as_str()),
    ] {
        dom::set(&input, name, value);
    }
    dom::append(&label, &input);
    let name = method(&entry.id).map_or(entry.id.as_str(), |method| method.name());
    dom::append(&label, &dom::element("span", "", name));
    let figure = OodRates::average(entry.ood.values())
        .map(|rates| format!("AUROC {:.1}", rates.auroc * 100.0))
        .unwrap_or_default();
    let figure = dom::element("span", "figure", &figure);
    dom::set(
        &figure,
        "title",
        "Average over the out-of-distribution sets of the bundle",
    );
    dom::append(&label, &figure);
    label
}
