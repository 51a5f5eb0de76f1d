//! The card of a photo.
//!
//! For tests and scripts each card carries `data-file`, `data-verdict` (`in`, `out` or
//! `error`; none while it is read again), `data-class` (the class, or the nearest one of what is out),
//! `data-score` (in full) and `data-device` (`gpu` or `cpu`).

use js_sys::{Function, Object, Reflect};
use shared::score::Verdict;
use wasm_bindgen::JsCast;
use web::message::{MethodScore, PhotoId};
use web::wording;
use web_sys::{Element, Event, HtmlElement, HtmlImageElement, HtmlTemplateElement};

use super::photo::{Outcome, Photo, Standard};
use super::{dom, frame};

/// The elements of a card.
pub struct Card {
    root: HtmlElement,
    image: HtmlImageElement,
    sign: Element,
    word: Element,
    name: Element,
    gauge: HtmlElement,
    own: Element,
    cut: Element,
    rarity: Element,
    top: Element,
    negatives: HtmlElement,
    negative_list: Element,
    trouble: Element,
}

/// Listens. What a card needs to be drawn is there only while it can be seen, or nearly; it is most of
/// what a photo leaves behind (`cargo xtask bench load`).
pub fn start() {
    dom::on(
        &dom::by_id::<Element>("cards"),
        "contentvisibilityautostatechange",
        |event: Event| {
            let card = event.target().and_then(|card| card.dyn_into().ok());
            let Some(card): Option<HtmlElement> = card else {
                return;
            };
            let skipped = Reflect::get(&event, &"skipped".into());
            let skipped = skipped.is_ok_and(|skipped| skipped.is_truthy());
            hold_thumbnail(&card, !skipped);
            if skipped {
                drop_layout(&card);
                // A card that came back into sight meanwhile may not be told of any more.
                frame::soon(move || {
                    if is_in_sight(&card) {
                        hold_thumbnail(&card, true);
                    }
                });
            }
        },
    );
    // On paper every card can be seen.
    dom::on(&dom::window(), "beforeprint", |_: Event| {
        for card in dom::all("#cards .card") {
            hold_thumbnail(&card, true);
        }
    });
}

/// Whether the browser draws the card, or would if there were a frame.
fn is_in_sight(card: &HtmlElement) -> bool {
    let options = Object::new();
    // Setting a field of a plain object cannot fail.
    let _ = Reflect::set(&options, &"contentVisibilityAuto".into(), &true.into());
    let check = Reflect::get(card, &"checkVisibility".into()).ok();
    check
        .and_then(|check| check.dyn_into::<Function>().ok())
        .and_then(|check| check.call1(card, &options).ok())
        .is_some_and(|seen| seen.is_truthy())
}

/// Gives the thumbnail its address, or takes it away: of every image that has one the browser keeps
/// the pixels, about a megabyte a photo.
fn hold_thumbnail(card: &HtmlElement, held: bool) {
    let Ok(Some(image)) = card.query_selector(".photo img") else {
        return;
    };
    let (from, to) = match held {
        true => ("data-src", "src"),
        false => ("src", "data-src"),
    };
    if let Some(address) = image.get_attribute(from) {
        dom::set(&image, to, &address);
        let _ = image.remove_attribute(from);
    }
}

/// Has the browser forget styles and boxes of a card that it skips, about 0.16 MB. It keeps what it
/// has once laid out, but lays nothing out anew while it skips. The card keeps its place and size.
fn drop_layout(card: &HtmlElement) {
    dom::set_property(card, "display", "none");
    let style = web_sys::window().and_then(|window| window.get_computed_style(card).ok()?);
    if let Some(style) = style {
        // To be asked is what makes the browser act on it.
        let _ = style.get_property_value("display");
    }
    let _ = card.style().remove_property("display");
}

impl Card {
    /// An empty card for the photo `id` of the file `file`, called `shown`, not in the page yet.
    pub fn new(id: PhotoId, file: &str, shown: &str) -> Self {
        let template: HtmlTemplateElement = dom::by_id("card-template");
        let root: HtmlElement = match template.content().first_element_child() {
            Some(card) => card.clone_node_with_deep(true).map_or_else(
                |_| dom::element("article", "card", ""),
                JsCast::unchecked_into,
            ),
            None => dom::element("article", "card", ""),
        };
        dom::set(&root, "data-photo", &id.to_string());
        dom::set(&root, "data-file", file);
        let label: Element = dom::within(&root, ".file");
        label.set_text_content(Some(shown));
        dom::set(&label, "title", shown);
        for action in ["why", "copy", "remove"] {
            let button: Element = dom::within(&root, &format!(".act-{action}"));
            let word = button.text_content().unwrap_or_default();
            dom::set(&button, "aria-label", &format!("{word} {shown}"));
        }
        Self {
            image: dom::within(&root, "img"),
            sign: dom::within(&root, ".verdict use"),
            word: dom::within(&root, ".word"),
            name: dom::within(&root, ".name"),
            gauge: dom::within(&root, ".gauge"),
            own: dom::within(&root, ".own"),
            cut: dom::within(&root, ".cut"),
            rarity: dom::within(&root, ".rarity"),
            top: dom::within(&root, ".top"),
            negatives: dom::within(&root, ".negatives"),
            negative_list: dom::within(&root, ".negatives ol"),
            trouble: dom::within(&root, ".trouble"),
            root,
        }
    }

    /// The card itself.
    pub fn root(&self) -> &HtmlElement {
        &self.root
    }

    /// Shows the thumbnail at this address. One that is there already stays as it is: a card that is
    /// out of sight has put its own away.
    pub fn show_thumbnail(&self, address: &str, file: &str) {
        if ["src", "data-src"]
            .iter()
            .any(|name| self.image.has_attribute(name))
        {
            return;
        }
        self.image.set_src(address);
        self.image.set_alt(file);
    }

    /// Shows all that depends on classes, method and threshold.
    pub fn show(&self, photo: &Photo, standard: Option<&Standard>) {
        dom::set(&self.trouble, "title", &photo.detail);
        match (&photo.outcome, standard) {
            (Outcome::Unreadable(message), _) => {
                self.show_trouble(message);
            }
            (Outcome::Read(reading, device, device_name), Some(standard)) => {
                dom::set(&self.root, "data-device", device);
                dom::set(&self.root, "title", &format!("Computed on {device_name}"));
                match photo.score(standard) {
                    Some(score) => self.show_score(score, standard, reading.note.as_deref()),
                    None if photo.again => self.show_waiting(&photo.lack(standard)),
                    None => self.show_trouble(&photo.lack(standard)),
                }
            }
            (Outcome::Waiting, _) => {
                self.show_waiting("It is read with the bundle that was chosen.")
            }
            _ => {}
        }
        self.name_for_screen_readers(photo, standard);
    }

    /// Shows all that depends on the threshold.
    pub fn show_threshold(&self, photo: &Photo, standard: &Standard) {
        if let Some(score) = photo.score(standard) {
            self.show_verdict(score, standard);
            self.name_for_screen_readers(photo, Some(standard));
        }
    }

    fn name_for_screen_readers(&self, photo: &Photo, standard: Option<&Standard>) {
        dom::set(&self.root, "aria-label", &photo.sentence(standard));
    }

    fn show_trouble(&self, message: &str) {
        self.show_no_verdict("#sign-error", "Not read", message);
        dom::set(&self.root, "data-verdict", "error");
    }

    /// There will be a verdict; until then there is no attribute of one either.
    fn show_waiting(&self, message: &str) {
        self.show_no_verdict("#sign-again", "Reading again", message);
        // Removing what is not there is no error.
        let _ = self.root.remove_attribute("data-verdict");
    }

    fn show_no_verdict(&self, sign: &str, word: &str, message: &str) {
        for attribute in ["data-class", "data-score"] {
            // Removing what is not there is no error.
            let _ = self.root.remove_attribute(attribute);
        }
        dom::set(&self.sign, "href", sign);
        self.word.set_text_content(Some(word));
        self.name.set_text_content(None);
        self.trouble.set_text_content(Some(message));
    }

    fn show_score(&self, score: &MethodScore, standard: &Standard, note: Option<&str>) {
        let explanation = &score.explanation;
        dom::set(
            &self.root,
            "data-class",
            standard.class(explanation.predicted),
        );
        dom::set(&self.root, "data-score", &explanation.score.to_string());
        self.trouble.set_text_content(note);
        self.rarity.set_text_content(Some(&standard.rarity(score)));
        self.show_verdict(score, standard);
        dom::replace(&self.top, Self::bars(score, standard));
        self.negatives.set_hidden(explanation.negatives.is_empty());
        let several = explanation.negatives.iter().any(|fired| fired.context > 0);
        dom::replace(
            &self.negative_list,
            explanation.negatives.iter().map(|fired| {
                let which = if several {
                    format!(", prompt {}", fired.context + 1)
                } else {
                    String::new()
                };
                let name = format!("not {}{which}", standard.class(fired.class));
                // Of one weight, where many fire alike: a share would be read as a probability.
                let weight = format!("cosine {:.3}", fired.cosine);
                pair("", &name, &weight)
            }),
        );
    }

    /// The five most probable classes, each with its share of what the classes have together. Whether
    /// it is one of them at all is what verdict and gauge say.
    fn bars(score: &MethodScore, standard: &Standard) -> Vec<HtmlElement> {
        let explanation = &score.explanation;
        let shares = explanation.shares();
        explanation
            .top
            .iter()
            .zip(shares)
            .map(|(entry, share)| {
                let bar = pair("", standard.class(entry.class), &wording::percent(share));
                dom::set_property(&bar, "--share", &format!("{:.1}%", share * 100.0));
                bar
            })
            .collect()
    }

    fn show_verdict(&self, score: &MethodScore, standard: &Standard) {
        let explanation = &score.explanation;
        let verdict = Verdict::from_score(explanation.score, standard.threshold);
        let (word, name) = match verdict {
            Verdict::In => ("In", standard.class(explanation.predicted)),
            Verdict::Out => ("Out", "none of these"),
        };
        if self.root.get_attribute("data-verdict").as_deref() != Some(verdict.as_str()) {
            dom::set(&self.root, "data-verdict", verdict.as_str());
            dom::set(&self.sign, "href", &format!("#sign-{verdict}"));
            self.word.set_text_content(Some(word));
        }
        if self.name.text_content().as_deref() != Some(name) {
            self.name.set_text_content(Some(name));
        }
        let (low, high) = standard.range();
        let share = |value: f64| ((value - low) / (high - low)).clamp(0.0, 1.0) * 100.0;
        dom::set_property(
            &self.gauge,
            "--cut",
            &format!("{:.2}%", share(standard.threshold)),
        );
        dom::set_property(
            &self.gauge,
            "--at",
            &format!("{:.2}%", share(explanation.score)),
        );
        let [own, cut] = wording::beside(explanation.score, standard.threshold);
        let relation = if verdict == Verdict::In {
            "at or above"
        } else {
            "below"
        };
        dom::set(
            &self.gauge,
            "aria-label",
            &format!("Score {own}, {relation} the threshold {cut}"),
        );
        self.own.set_text_content(Some(&format!("score {own}")));
        self.cut.set_text_content(Some(&format!("threshold {cut}")));
    }
}

fn pair(class: &str, name: &str, value: &str) -> HtmlElement {
    let item = dom::element("li", class, "");
    dom::append(&item, &dom::element("span", "", name));
    dom::append(&item, &dom::element("span", "", value));
    item
}
