//! The state of the page, and who changes it.

mod actions;
mod reports;
mod shown;

use std::cell::RefCell;
use std::collections::BTreeMap;

use wasm_bindgen::prelude::*;
use web::message::{BundleSource, DeviceChoice, Opened, PhotoId};
use web::queue::Queue;
use web_sys::{Blob, Element, Event, EventTarget, File, HtmlElement, KeyboardEvent};

use super::link::{Link, News};
use super::photo::Photo;
use super::{
    bundle_panel, camera, card, class_panel, device_panel, dom, focus, intake, method_panel,
    reload, samples, tabs, take_away, threshold_panel, why,
};

/// A bundle with the files that the user picked of it; `None` for the page's own.
type Choice = Option<(BundleSource, Vec<File>)>;

/// All that the page knows.
#[derive(Default)]
pub struct App {
    pub(super) link: Option<Link>,
    workers: u32,
    pub(super) failures: u32,
    pub(super) queue: Queue,
    pub(super) photos: BTreeMap<PhotoId, Photo>,
    next: PhotoId,
    /// The bundle that was opened last.
    pub(super) opened: Option<Box<Opened>>,
    /// Whether the present worker has opened it. Before that it would drop every other order.
    pub(super) has_bundle: bool,
    /// The bundle that is loaded, or that a worker is to load.
    pub(super) source: Choice,
    /// The bundle that was opened last, to go back to from one that is refused.
    pub(super) settled: Choice,
    pub(super) device: DeviceChoice,
    classes: Vec<String>,
    pub(super) edited: bool,
    /// The class names that were asked for and that nobody has answered yet. A worker that is
    /// replaced meanwhile takes the order with it, so the next one gets them.
    pub(super) choosing: Option<Vec<String>>,
    /// Whether the worker died over the names that stand in the class panel.
    pub(super) unapplied: bool,
    /// Whether a new worker has not taken the edited classes of the one before it yet.
    unconfirmed: bool,
    /// With edited classes, for each method: see [`Report::Scored`].
    outsiders: BTreeMap<String, Vec<f64>>,
    pub(super) method: String,
    thresholds: BTreeMap<String, f64>,
    view: &'static str,
    /// How far down the views were that are not shown.
    scrolled: BTreeMap<&'static str, f64>,
    chosen: Option<PhotoId>,
    /// When the worker could begin with what is in the queue.
    pub(super) queue_began: f64,
    /// How many photos of the queue were done by then.
    queue_done: usize,
    /// Photos that came back and are not drawn yet, in this order.
    pub(super) undrawn: Vec<PhotoId>,
    drawing: bool,
    drawn: f64,
    /// What an earlier life of this tab left.
    left: Option<reload::Kept>,
    /// Thresholds that it left, for the classes that the worker has not taken up yet.
    left_thresholds: Vec<(String, f64, f64)>,
}

thread_local! {
    static APP: RefCell<App> = RefCell::new(App { view: "verdicts", ..App::default() });
}

/// Lets `change` at the state. Not to be called from within itself.
pub fn with<R>(change: impl FnOnce(&mut App) -> R) -> R {
    APP.with_borrow_mut(change)
}

/// Starts the page.
pub fn start() {
    tabs::start();
    samples::start();
    intake::start();
    camera::start();
    threshold_panel::start();
    method_panel::start();
    class_panel::start();
    focus::start();
    device_panel::start();
    bundle_panel::start();
    take_away::start();
    why::start();
    card::start();
    listen_to_cards();
    dom::on(
        &dom::by_id::<HtmlElement>("queue-cancel"),
        "click",
        |_: Event| with(App::cancel),
    );
    reload::start();
    with(|app| {
        app.take_up(reload::take());
        app.restart();
    });
    if let Some(waiting) = dom::document().get_element_by_id("stuck") {
        waiting.remove();
    }
}

/// Takes photos in, in this order.
pub fn add_photos(photos: Vec<(String, Blob)>) {
    with(|app| app.add(photos));
}

/// Shows a view.
pub fn open_view(view: &'static str) {
    with(|app| app.open_view(view));
}

/// Shows a view that was left, where the browser goes back or forward to it.
pub fn go_back_to(view: &'static str) {
    with(|app| app.switch_to(view));
}

fn listen_to_cards() {
    dom::on(
        &dom::by_id::<HtmlElement>("cards"),
        "click",
        |event: Event| {
            let Some(target) = event
                .target()
                .and_then(|target| target.dyn_into::<Element>().ok())
            else {
                return;
            };
            let Some(id) = photo_of(&target) else { return };
            let classes = target.class_list();
            if classes.contains("act-why") {
                with(|app| app.ask_why(id));
            } else if classes.contains("act-remove") {
                with(|app| app.remove(id));
            } else if classes.contains("act-copy")
                && let Some(record) = with(|app| app.record(id))
            {
                take_away::copy(&record, target);
            }
        },
    );
    dom::on(
        &dom::by_id::<HtmlElement>("cards"),
        "keydown",
        |event: KeyboardEvent| {
            let Some(card) = event.target().and_then(|target| card_around(&target)) else {
                return;
            };
            // A feed is paged through card by card.
            let other = match event.key().as_str() {
                "PageDown" => shown_beside(card, true),
                "PageUp" => shown_beside(card, false),
                _ => return,
            };
            if let Some(other) = other {
                event.prevent_default();
                // Focus on a card that is there cannot fail.
                let _ = other.focus();
            }
        },
    );
    for name in ["all", "in", "out", "error"] {
        let choice: HtmlElement = dom::within(&dom::by_id("tally"), &format!("[value={name}]"));
        dom::on(&choice, "change", move |_: Event| {
            dom::set(&dom::by_id("cards"), "data-show", name)
        });
    }
}

fn card_around(target: &EventTarget) -> Option<Element> {
    target.dyn_ref::<Element>()?.closest(".card").ok().flatten()
}

/// The nearest card after this one, or before it, that the choice of In or Out does not hide.
fn shown_beside(mut card: Element, after: bool) -> Option<HtmlElement> {
    loop {
        card = match after {
            true => card.next_element_sibling()?,
            false => card.previous_element_sibling()?,
        };
        let shown = card.dyn_ref::<HtmlElement>()?;
        if shown.offset_parent().is_some() {
            return Some(shown.clone());
        }
    }
}

/// The number of the photo whose card or figure `element` is in.
pub fn photo_of(element: &Element) -> Option<PhotoId> {
    let holder = element.closest("[data-photo]").ok().flatten()?;
    holder.get_attribute("data-photo")?.parse().ok()
}

fn tell(number: u32, news: News) {
    with(|app| {
        if app.link.as_ref().is_none_or(|link| link.number() != number) {
            return;
        }
        match news {
            News::Report(report, attachment) => app.hear(*report, attachment),
            News::Died(cause) => app.worker_died(&cause),
        }
    });
}
