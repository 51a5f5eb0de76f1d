//! The view that shows where a photo stands.

use std::collections::BTreeMap;

use wasm_bindgen::JsCast;
use web::message::PhotoId;
use web::plot::{self, MapPhoto, Mark};
use web::wording;
use web_sys::{Element, Event, HtmlElement, HtmlImageElement};

use super::app::{self, App};
use super::dom;
use super::photo::{Photo, Standard};

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
    let photo = chosen.and_then(|id| photos.get(&id));
    show_strip(photos, chosen);
    let text = |id: &str, text: &str| dom::by_id::<Element>(id).set_text_content(Some(text));
    let Some(standard) = standard else {
        text("why-summary", "The model is being loaded.");
        return;
    };
    text("why-title", photo.map_or("Why", |photo| &photo.name));
    text(
        "why-summary",
        &photo.map_or_else(
            || "Add a photo to see where it stands among those the model was tried on.".to_owned(),
            |photo| summary(photo, standard),
        ),
    );
    show_similarity(standard, photo);
    show_score(standard, photo);
    show_map(standard, photos, chosen);
}

/// The verdict's reasons in two sentences.
fn summary(photo: &Photo, standard: &Standard) -> String {
    let (Some(score), Some(reading)) = (photo.score(standard), photo.reading()) else {
        return "There is no verdict on this photo.".to_owned();
    };
    let explanation = &score.explanation;
    let class = standard.class(explanation.predicted);
    let similarity = match (reading.scores.positive, reading.scores.negative) {
        (Some(positive), Some(negative)) => format!(
            "Its cosine is {positive:.2} with the nearest positive prompt and {negative:.2} with the nearest negative one."
        ),
        (Some(positive), None) => format!("Its cosine with the nearest prompt is {positive:.2}."),
        _ => String::new(),
    };
    let (own, cut) = (
        wording::score(explanation.score),
        wording::score(standard.threshold),
    );
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
    format!("{verdict} {similarity} {}", wording::rarity(score.p_value))
}

fn show_strip(photos: &BTreeMap<PhotoId, Photo>, chosen: Option<PhotoId>) {
    let buttons = photos.iter().rev().filter_map(|(id, photo)| {
        let address = photo.thumbnail.as_ref()?;
        let item = dom::element("li", "", "");
        let button = dom::element("button", "", "");
        dom::set(&button, "data-photo", &id.to_string());
        dom::set(&button, "aria-pressed", &(chosen == Some(*id)).to_string());
        let image: HtmlImageElement = dom::element("img", "", "").unchecked_into();
        image.set_src(address);
        image.set_alt(&photo.name);
        dom::append(&button, &image);
        dom::append(&item, &button);
        Some(item)
    });
    dom::replace(&dom::by_id("why-photos"), buttons);
}

fn show_similarity(standard: &Standard, photo: Option<&Photo>) {
    let scores = photo
        .and_then(Photo::reading)
        .map(|reading| &reading.scores);
    let mut marks = Vec::new();
    if let Some(positive) = scores.and_then(|scores| scores.positive) {
        marks.push(Mark {
            value: f64::from(positive),
            label: format!("this photo {positive:.2}"),
            rows: "positive",
            dashed: false,
        });
    }
    if let Some(negative) = scores.and_then(|scores| scores.negative) {
        marks.push(Mark {
            value: f64::from(negative),
            label: format!("this photo {negative:.2}"),
            rows: "negative",
            dashed: true,
        });
    }
    let svg = standard
        .opened
        .figures
        .similarity
        .as_ref()
        .map(|figure| plot::histogram(figure, &marks));
    let caption = standard
        .opened
        .figures
        .similarity
        .as_ref()
        .map_or("", |figure| figure.title.as_str());
    fill("figure-similarity", svg, caption);
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
    let figure = standard.opened.figures.scores.get(standard.method);
    let caption = figure.map_or("", |figure| figure.title.as_str());
    fill(
        "figure-score",
        figure.map(|figure| plot::histogram(figure, &marks)),
        caption,
    );
}

fn show_map(standard: &Standard, photos: &BTreeMap<PhotoId, Photo>, chosen: Option<PhotoId>) {
    let placed: Vec<MapPhoto> = photos
        .iter()
        .filter_map(|(id, photo)| {
            Some(MapPhoto {
                id: *id,
                place: photo.reading()?.scores.place?,
                name: photo.name.clone(),
                thumbnail: photo.thumbnail.clone().unwrap_or_default(),
                chosen: chosen == Some(*id),
            })
        })
        .collect();
    let class = chosen
        .and_then(|id| photos.get(&id)?.score(standard))
        .map_or("", |score| standard.class(score.explanation.predicted));
    let map = standard.opened.figures.map.as_ref();
    let mut caption = map.map(|map| map.title.clone()).unwrap_or_default();
    if map.is_some() && !class.is_empty() {
        let end = if caption.ends_with('.') { "" } else { "." };
        caption.push_str(&format!("{end} The darker points are {class}."));
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
    fill("figure-map", svg, &caption);
}

/// Puts a figure in place; one that the bundle does not hold is left out.
fn fill(id: &str, svg: Option<String>, caption: &str) {
    let figure: HtmlElement = dom::by_id(id);
    figure.set_hidden(svg.is_none());
    dom::within::<Element>(&figure, "figcaption p").set_text_content(Some(caption));
    dom::within::<Element>(&figure, ".plot").set_inner_html(&svg.unwrap_or_default());
}
