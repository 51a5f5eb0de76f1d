//! The threshold and what to expect of it.

use shared::score::ScoreScale;
use web::{edited, plot, wording};
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
    // At the end of the way.
    dom::on(&slider, "change", |_: Event| {
        app::with(|app: &mut App| app.say_tally());
    });
    dom::on(
        &dom::by_id::<HtmlElement>("threshold-reset"),
        "click",
        |_: Event| {
            app::with(|app: &mut App| app.choose_threshold(None));
        },
    );
}

/// Shows the threshold of the chosen method; `own` when the user has not moved it.
pub fn show(standard: &Standard, own: bool) {
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
    let (hit, false_alarm) = match standard.outsiders {
        None => {
            let expected = entry.calibration.at(standard.threshold);
            (Some(expected.hit_rate), expected.false_alarm)
        }
        Some(outsiders) => (
            None,
            edited::share_at_or_above(outsiders, standard.threshold),
        ),
    };
    let percent = |rate: Option<f64>| rate.map_or("–".to_owned(), wording::percent);
    let said = |rate: Option<f64>| rate.map_or("an unknown share".to_owned(), wording::percent);
    dom::set(
        &slider,
        "aria-valuetext",
        &format!(
            "{}: keeps {} of photos that belong, lets in {} of those that do not",
            wording::score(standard.threshold),
            said(hit),
            said(false_alarm)
        ),
    );
    let (hit, false_alarm) = (percent(hit), percent(false_alarm));
    let text = |id: &str, text: &str| dom::by_id::<Element>(id).set_text_content(Some(text));
    let mut value = format!("score {}", wording::score(standard.threshold));
    if standard.scale() == ScoreScale::Probability {
        let probability = standard.scale().display(standard.threshold);
        let probability = wording::percent(probability).replace(' ', "\u{a0}");
        value.push_str(&format!(" (as a probability {probability})"));
    }
    text("threshold-value", &value);
    text("rate-hit", &hit);
    text("rate-false", &false_alarm);
    let set = entry.reference_ood.as_deref();
    let note = match (standard.outsiders, set) {
        (Some([]), _) => "The threshold is the bundle's, for its own classes. With yours, nobody knows what it keeps and lets in: look at a few photos and move it.".to_owned(),
        (Some(outsiders), _) => format!(
            "Your classes were never measured. {} that show none of the bundle's were scored against them; until you move it, the threshold lets in as many of those as before. Some may show your classes, and count as let in all the same.",
            wording::photos(outsiders.len())
        ),
        (None, Some(set)) => format!(
            "Measured on held-out photos of the classes, and on photos of none of them: {}.",
            set.replace(" + ", ", ").replace('_', " ")
        ),
        (None, None) => {
            "Measured on held-out photos of the classes; the bundle holds no others.".to_owned()
        }
    };
    text("rate-note", &note);
    let reset: HtmlElement = dom::by_id("threshold-reset");
    reset.set_hidden(own);
    let back = match standard.outsiders {
        None => "Back to 95 %",
        Some(_) => "Back",
    };
    reset.set_text_content(Some(back));
    let curve = match standard.outsiders {
        None => plot::calibration(&entry.calibration, standard.threshold),
        Some(outsiders) => plot::outsiders(outsiders, standard.range(), standard.threshold),
    };
    dom::by_id::<Element>("threshold-curve").set_inner_html(&curve);
}
