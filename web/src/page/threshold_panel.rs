//! The threshold and what to expect of it.

use shared::score::ScoreScale;
use web::{plot, wording};
use web_sys::{Element, Event, HtmlElement, HtmlInputElement};

use super::app::{self, App};
use super::dom;
use super::photo::Standard;

/// Steps of the slider.
const STEPS: f64 = 1000.0;

/// Listens.
pub fn start() {
    let slider: HtmlInputElement = dom::by_id("threshold");
    dom::on(&slider, "input", |_: Event| {
        let share = dom::by_id::<HtmlInputElement>("threshold").value_as_number() / STEPS;
        app::with(|app| {
            let threshold = app.threshold_at(share);
            app.choose_threshold(threshold);
        });
    });
    dom::on(
        &dom::by_id::<HtmlElement>("threshold-reset"),
        "click",
        |_: Event| {
            app::with(|app: &mut App| app.choose_threshold(None));
        },
    );
}

/// Shows the threshold of the chosen method; `own` when it is the bundle's.
pub fn show(standard: &Standard, edited: bool, own: bool) {
    let Some(entry) = standard
        .opened
        .methods
        .iter()
        .find(|entry| entry.id == standard.method)
    else {
        return;
    };
    let (low, high) = standard.range();
    let slider: HtmlInputElement = dom::by_id("threshold");
    slider.set_disabled(false);
    let place = ((standard.threshold - low) / (high - low)).clamp(0.0, 1.0) * STEPS;
    // The user's own position stays as it is, or the thumb would jump under the finger.
    if (slider.value_as_number() - place).abs() > 0.75 {
        slider.set_value_as_number(place.round());
    }
    let expected = entry.calibration.at(standard.threshold);
    let hit = wording::percent(expected.hit_rate);
    let false_alarm = expected
        .false_alarm
        .map_or("–".to_owned(), wording::percent);
    dom::set(
        &slider,
        "aria-valuetext",
        &format!(
            "{}: keeps {hit} of photos that belong, lets in {false_alarm} of those that do not",
            wording::score(standard.threshold)
        ),
    );
    let text = |id: &str, text: &str| dom::by_id::<Element>(id).set_text_content(Some(text));
    let mut value = format!("score {}", wording::score(standard.threshold));
    if standard.scale() == ScoreScale::Probability {
        let probability = standard.scale().display(standard.threshold);
        value.push_str(&format!(" (probability {})", wording::percent(probability)));
    }
    text("threshold-value", &value);
    text("rate-hit", &hit);
    text("rate-false", &false_alarm);
    let set = entry.reference_ood.as_deref();
    let mut note = match set {
        Some(set) => format!(
            "Measured on held-out photos of the classes, and on photos of none of them: {}.",
            set.replace(" + ", ", ").replace('_', " ")
        ),
        None => {
            "Measured on held-out photos of the classes; the bundle holds no others.".to_owned()
        }
    };
    if edited {
        note.push_str(" That was with the bundle's classes: with yours, expect other rates.");
    }
    text("rate-note", &note);
    dom::by_id::<HtmlElement>("threshold-reset").set_hidden(own);
    dom::by_id::<Element>("threshold-curve")
        .set_inner_html(&plot::calibration(&entry.calibration, standard.threshold));
}
