//! What computes, and how long it takes.

use std::cell::RefCell;

use wasm_bindgen::JsCast;
use web::message::{DeviceChoice, DeviceKind, DeviceReport, Timings};
use web::wording;
use web_sys::{Element, Event, HtmlElement, HtmlInputElement};

use super::app::{self, App};
use super::dom;

/// Photos that the median is taken over.
const REMEMBERED: usize = 200;

thread_local! {
    static TIMINGS: RefCell<Vec<Timings>> = const { RefCell::new(Vec::new()) };
}

/// Listens.
pub fn start() {
    for choice in dom::all("input[name=device]") {
        let input: HtmlInputElement = choice.unchecked_into();
        let value = input.value();
        dom::on(&input, "change", move |_: Event| {
            app::with(|app: &mut App| app.choose_device(DeviceChoice::from_value(&value)));
        });
    }
}

/// Checks the choice that was made for the user.
pub fn choose(device: DeviceChoice) {
    for choice in dom::all("input[name=device]") {
        let input: HtmlInputElement = choice.unchecked_into();
        input.set_checked(DeviceChoice::from_value(&input.value()) == device);
    }
}

/// Shows how far loading has come.
pub fn show_loading(what: &str, loaded: u64, total: u64) {
    let text = match total {
        0 => format!("{what}…"),
        total => format!(
            "{what}: {} of {}",
            wording::bytes(loaded),
            wording::bytes(total)
        ),
    };
    show_state("loading", &text);
}

/// Shows that nothing will be computed.
pub fn show_failure(text: &str) {
    show_state("failed", text);
}

/// Shows what computes.
pub fn show(device: &DeviceReport) {
    TIMINGS.take();
    let short = match (device.kind, device.software) {
        (DeviceKind::Gpu, false) => format!("GPU: {}", device.name),
        (DeviceKind::Gpu, true) => format!("{}, a GPU imitated in software", device.name),
        (DeviceKind::Cpu, _) => device.name.clone(),
    };
    show_state("ready", &short);
    let line: Element = dom::by_id("device-line");
    dom::set(&line, "data-device", device.kind.as_str());
    dom::by_id::<Element>("device-name").set_text_content(Some(&short));
    let mut note = device.note.clone().unwrap_or_default();
    if let Some((count, error)) = device.check {
        let answers = if count == 1 {
            "1 known answer".to_owned()
        } else {
            format!("{count} known answers")
        };
        note.push_str(&format!(" It gives {answers} to within {error:.0e}."));
    }
    dom::by_id::<Element>("device-note").set_text_content(Some(note.trim()));
    show_timings();
}

/// Shows what the worker holds.
pub fn show_memory(bytes: u64) {
    let line: Element = dom::by_id("device-line");
    let bytes_text = bytes.to_string();
    if line.get_attribute("data-memory").as_deref() != Some(&bytes_text) {
        dom::set(&line, "data-memory", &bytes_text);
        let text = format!("The worker holds {} of memory.", wording::bytes(bytes));
        dom::by_id::<Element>("device-memory").set_text_content(Some(&text));
    }
}

/// Shows whether photos are being read.
pub fn show_busy(busy: bool) {
    let line: Element = dom::by_id("device-line");
    let state = line.get_attribute("data-state").unwrap_or_default();
    if state == "ready" || state == "busy" {
        dom::set(&line, "data-state", if busy { "busy" } else { "ready" });
    }
}

/// A photo took this long; [`show_timings`] shows it.
pub fn remember(timings: &Timings) {
    TIMINGS.with_borrow_mut(|all| {
        if all.len() == REMEMBERED {
            all.remove(0);
        }
        all.push(*timings);
    });
}

/// Forgets how long photos took.
pub fn forget_timings() {
    TIMINGS.take();
    show_timings();
}

type Part = (&'static str, fn(&Timings) -> f64);

const PARTS: [Part; 5] = [
    ("decode", |timings| timings.decode),
    ("preprocess", |timings| timings.preprocess),
    ("encode", |timings| timings.encode),
    ("score", |timings| timings.score),
    ("together", Timings::together),
];

/// Shows how long photos take.
pub fn show_timings() {
    let body: Element = dom::within(&dom::by_id("timings"), "tbody");
    if body.first_element_child().is_none() {
        dom::replace(&body, PARTS.map(|(name, _)| row(name)));
    }
    TIMINGS.with_borrow(|all| {
        for (name, part) in PARTS {
            let mut times: Vec<f64> = all.iter().map(part).collect();
            let last = times.last().copied();
            times.sort_by(f64::total_cmp);
            let median = times.get(times.len() / 2).copied();
            for (kind, time) in [("last", last), ("median", median)] {
                let text = time.map_or("–".to_owned(), wording::milliseconds);
                let cell = format!("[data-timing={name}-{kind}]");
                dom::within::<Element>(&body, &cell).set_text_content(Some(&text));
            }
        }
    });
}

fn row(name: &str) -> HtmlElement {
    let row = dom::element("tr", "", "");
    let head = dom::element("th", "", name);
    dom::set(&head, "scope", "row");
    dom::append(&row, &head);
    for kind in ["last", "median"] {
        let cell = dom::element("td", "", "");
        dom::set(&cell, "data-timing", &format!("{name}-{kind}"));
        dom::append(&row, &cell);
    }
    row
}

fn show_state(state: &str, text: &str) {
    dom::set(&dom::by_id("device-line"), "data-state", state);
    dom::by_id::<Element>("device-short").set_text_content(Some(text));
}
