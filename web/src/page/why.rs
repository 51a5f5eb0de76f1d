//! The view that shows where a photo stands.

use std::cell::Cell;
use std::collections::BTreeMap;

use shared::bundle::Histogram;
use shared::score::{Input, Verdict, method};
use wasm_bindgen::JsCast;
use web::message::PhotoId;
use web::plot::{self, MapPhoto, Mark};
use web::wording;
use web_sys::{Element, Event, HtmlElement, HtmlImageElement};

use super::app::{self, App};
use super::dom;
use super::photo::{Outcome, Photo, Standard};

thread_local! {
    /// The photo that was brought into sight last: who scrolls on is not called back to it.
    static BROUGHT: Cell<Option<PhotoId>> = const { Cell::new(None) };
}

/// Listens.
pub fn start() {
    for id in ["why-photos", "figure-map"] {
        dom::on(&dom::by_id::<HtmlElement>(id), "click", |event: Event| {
            let target = event
                .target()
                .and_then(|target| target.dyn_into::<Element>().ok());
            if let Some(id) = target.and_then(|target| app::photo_of(&target)) {
                app::with(|app: &mut App| app.ask_why(id));
            }
        });
    }
}

/// Shows the figures with the chosen photo in them.
pub fn show(
    standard: Option<&Standard>,
    photos: &BTreeMap<PhotoId, Photo>,
    chosen: Option<PhotoId>,
) {
    show_strip(photos, chosen);
    let Some(standard) = standard else {
        text("why-summary", "The model is being loaded.");
        return;
    };
    let photo = chosen.and_then(|id| photos.get(&id));
    text("why-title", photo.map_or("Why", |photo| &photo.name));
    show_threshold(standard, photos, chosen);
    show_similarity(standard, photo);
    show_map(standard, photos, chosen);
    if BROUGHT.replace(chosen) != chosen {
        for (holder, inner) in [
            ("#why-photos", "[aria-pressed=true]"),
            ("#figure-map .plot", "[data-chosen=true]"),
        ] {
            let holder = dom::all(holder).into_iter().next();
            if let Some(holder) = holder
                && let Ok(Some(inner)) = holder.query_selector(inner)
            {
                dom::bring_into_sight(&holder, &inner);
            }
        }
    }
}

/// Shows what depends on the threshold.
pub fn show_threshold(
    standard: &Standard,
    photos: &BTreeMap<PhotoId, Photo>,
    chosen: Option<PhotoId>,
) {
    let photo = chosen.and_then(|id| photos.get(&id));
    text(
        "why-summary",
        &photo.map_or_else(
            || {
                match photos.is_empty() {
                    true => {
                        "Add a photo to see where it stands among those the model was tried on."
                    }
                    false => "None of the photos has been read yet.",
                }
                .to_owned()
            },
            |photo| summary(photo, standard),
        ),
    );
    let head: Element = dom::within(&dom::by_id("view-why"), ".why-head");
    let verdict = photo.and_then(|photo| photo.verdict(standard));
    dom::set(&head, "data-verdict", verdict.map_or("", Verdict::as_str));
    text(
        "why-word",
        verdict.map_or("", |verdict| match verdict {
            Verdict::In => "In",
            Verdict::Out => "Out",
        }),
    );
    show_score(standard, photo);
}

/// Puts photos that came beside those that are there; the figures of the chosen one stay.
pub fn add(standard: &Standard, photos: &BTreeMap<PhotoId, Photo>, came: &[PhotoId]) {
    let strip: Element = dom::by_id("why-photos");
    let svg = dom::by_id::<Element>("figure-map").query_selector(".plot svg");
    let svg = svg.ok().flatten();
    for id in came {
        let Some(photo) = photos.get(id) else {
            continue;
        };
        let known = format!("[data-photo=\"{id}\"]");
        if strip
            .query_selector(&known)
            .is_ok_and(|found| found.is_none())
            && let Some(button) = strip_button(*id, photo, false)
        {
            // Prepending to an element that is there cannot fail.
            let _ = strip.prepend_with_node_1(&button);
        }
        let map = standard.opened.figures.map.as_ref();
        let (Some(map), Some(svg)) = (map, &svg) else {
            continue;
        };
        if let Ok(Some(old)) = svg.query_selector(&known) {
            old.remove();
        }
        if let Some(placed) = on_the_map(*id, photo, false) {
            // The figure is well-formed, so this cannot fail.
            let _ = svg.insert_adjacent_html("beforeend", &plot::map_photo(map, &placed));
        }
    }
}

fn text(id: &str, text: &str) {
    dom::by_id::<Element>(id).set_text_content(Some(text));
}

/// The verdict's reasons in two sentences.
fn summary(photo: &Photo, standard: &Standard) -> String {
    let (Some(score), Some(reading)) = (photo.score(standard), photo.reading()) else {
        return match &photo.outcome {
            Outcome::Read(..) => photo.lack(standard),
            Outcome::Waiting => "It is being read.".to_owned(),
            Outcome::Unreadable(message) => format!("It was not read. {message}"),
        };
    };
    let explanation = &score.explanation;
    let class = standard.class(explanation.predicted);
    // Only of prompts that the method goes by.
    let needs =
        |input| method(standard.method).is_some_and(|method| method.needs().contains(&input));
    let positive = reading.scores.positive.filter(|_| needs(Input::Positive));
    let negative = reading.scores.negative.filter(|_| needs(Input::Negative));
    let [positive, negative] = [positive, negative].map(|cosine| cosine.map(wording::cosine));
    let similarity = match (positive, negative) {
        (Some(positive), Some(negative)) => format!(
            "Its cosine is {positive} with the nearest positive prompt and {negative} with the nearest negative one."
        ),
        (Some(positive), None) => format!("Its cosine with the nearest prompt is {positive}."),
        _ => String::new(),
    };
    let left_out = match standard.outsiders {
        Some(_) => " The other figures are of the bundle's own classes, and left out for yours.",
        None => "",
    };
    let [own, cut] = wording::beside(explanation.score, standard.threshold);
    let verdict = if explanation.score >= standard.threshold {
        format!(
            "In, as {class}: {} gives it {own}, and the threshold is {cut}.",
            standard.method_name()
        )
    } else {
        format!(
            "Out: {} gives it {own}, below the threshold {cut}; {class} is nearest.",
            standard.method_name()
        )
    };
    format!(
        "{verdict} {similarity} {}{left_out}",
        standard.rarity(score)
    )
}

fn show_strip(photos: &BTreeMap<PhotoId, Photo>, chosen: Option<PhotoId>) {
    let strip: Element = dom::by_id("why-photos");
    let wanted = photos
        .iter()
        .rev()
        .filter(|(_, photo)| photo.thumbnail.is_some());
    let wanted: Vec<String> = wanted.map(|(id, _)| id.to_string()).collect();
    let shown = dom::all("#why-photos [data-photo]");
    let same = shown.len() == wanted.len()
        && shown
            .iter()
            .zip(&wanted)
            .all(|(button, id)| button.get_attribute("data-photo").as_ref() == Some(id));
    if same {
        // The pictures stay, so that nothing flickers.
        let chosen = chosen.map(|id| id.to_string());
        for (button, id) in shown.iter().zip(&wanted) {
            let pressed = chosen.as_ref() == Some(id);
            dom::set(button, "aria-pressed", &pressed.to_string());
        }
        return;
    }
    let buttons = photos.iter().rev();
    let buttons = buttons.filter_map(|(id, photo)| strip_button(*id, photo, chosen == Some(*id)));
    dom::replace(&strip, buttons);
}

fn strip_button(id: PhotoId, photo: &Photo, chosen: bool) -> Option<HtmlElement> {
    let address = photo.thumbnail.as_ref()?;
    let item = dom::element("li", "", "");
    let button = dom::element("button", "", "");
    dom::set(&button, "data-photo", &id.to_string());
    dom::set(&button, "aria-pressed", &chosen.to_string());
    let image: HtmlImageElement = dom::element("img", "", "").unchecked_into();
    image.set_src(address);
    image.set_alt(&photo.name);
    dom::append(&button, &image);
    dom::append(&item, &button);
    Some(item)
}

fn show_similarity(standard: &Standard, photo: Option<&Photo>) {
    let scores = photo
        .and_then(Photo::reading)
        .map(|reading| &reading.scores);
    let mut marks = Vec::new();
    if let Some(positive) = scores.and_then(|scores| scores.positive) {
        marks.push(Mark {
            value: f64::from(positive),
            label: format!("this photo {}", wording::cosine(positive)),
            rows: "positive",
            dashed: false,
        });
    }
    if let Some(negative) = scores.and_then(|scores| scores.negative) {
        marks.push(Mark {
            value: f64::from(negative),
            label: format!("this photo {}", wording::cosine(negative)),
            rows: "negative",
            dashed: true,
        });
    }
    // Prompts of edited classes are others than those the bundle measured.
    let figure = match standard.outsiders {
        None => standard.opened.figures.similarity.as_ref(),
        Some(_) => None,
    };
    let svg = figure.map(|figure| plot::histogram(figure, &marks));
    let mut caption =
        "Cosine with the nearest prompt of each kind, over the photos that the model was tried on."
            .to_owned();
    if !marks.is_empty() {
        caption.push_str(" The full line is this photo and the positive prompts, the broken line this photo and the negative ones.");
    }
    dom::fill_figure("figure-similarity", &svg.unwrap_or_default(), &caption);
}

fn show_score(standard: &Standard, photo: Option<&Photo>) {
    let mut marks = vec![Mark {
        value: standard.threshold,
        label: "threshold".to_owned(),
        rows: "",
        dashed: true,
    }];
    if let Some(score) = photo.and_then(|photo| photo.score(standard)) {
        let value = score.explanation.score;
        marks.push(Mark {
            value,
            label: format!("this photo {}", wording::score(value)),
            rows: "",
            dashed: false,
        });
    }
    // Scores against edited classes stand on another scale than those the bundle measured.
    let figure = match standard.outsiders {
        None => standard.opened.figures.scores.get(standard.method),
        Some(_) => None,
    };
    let caption = format!(
        "By {}. What stands to the right of the broken line is in.",
        standard.method_name()
    );
    let svg = figure.map(|figure| {
        let own = marks.get(1).map(|mark| format!(", {}", mark.label));
        let title = format!(
            "Scores by {}: threshold {}{}",
            standard.method_name(),
            wording::score(standard.threshold),
            own.unwrap_or_default()
        );
        let figure = Histogram {
            title,
            ..figure.clone()
        };
        plot::histogram(&figure, &marks)
    });
    dom::fill_figure("figure-score", &svg.unwrap_or_default(), &caption);
}

fn show_map(standard: &Standard, photos: &BTreeMap<PhotoId, Photo>, chosen: Option<PhotoId>) {
    let placed: Vec<MapPhoto> = photos
        .iter()
        .filter_map(|(id, photo)| on_the_map(*id, photo, chosen == Some(*id)))
        .collect();
    let class = chosen
        .and_then(|id| photos.get(&id)?.score(standard))
        .map_or("", |score| standard.class(score.explanation.predicted));
    let map = standard.opened.figures.map.as_ref();
    let mut caption = map.map(|map| map.title.clone()).unwrap_or_default();
    // Of an edited class the bundle may know no photo.
    let larger = map.is_some_and(|map| {
        let mut points = map.points.iter();
        points.any(|point| point.label.as_deref() == Some(class))
    });
    if larger {
        let end = if caption.ends_with('.') { "" } else { "." };
        caption.push_str(&format!("{end} The larger points are {class}."));
    }
    let svg = map.map(|map| {
        let names = map
            .series
            .iter()
            .enumerate()
            .map(|(index, name)| plot::legend(name, index));
        let legend: String = names.collect();
        format!(
            "{}<ul class=\"legend\">{legend}</ul>",
            plot::map(map, &placed, class)
        )
    });
    dom::fill_figure("figure-map", &svg.unwrap_or_default(), &caption);
}

fn on_the_map(id: PhotoId, photo: &Photo, chosen: bool) -> Option<MapPhoto> {
    Some(MapPhoto {
        id,
        place: photo.reading()?.scores.place?,
        name: photo.name.clone(),
        thumbnail: photo.thumbnail.clone().unwrap_or_default(),
        chosen,
    })
}
