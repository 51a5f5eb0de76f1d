//! The state of the page and what changes it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use js_sys::{Array, Uint8Array};
use shared::score::Verdict;
use wasm_bindgen::prelude::*;
use web::edited;
use web::message::{
    BundleSource, DeviceChoice, Opened, Order, PhotoId, Reading, Report, Scores, UnknownWords,
};
use web::queue::Queue;
use web::record::Record;
use web::wording;
use web_sys::{
    Blob, BlobPropertyBag, Element, Event, EventTarget, File, HtmlElement, HtmlProgressElement,
    KeyboardEvent, Url,
};

use super::card::Card;
use super::link::{Link, News};
use super::photo::{Outcome, Photo, Standard};
use super::{
    announcer, banner, bundle_panel, camera, card, class_panel, device_panel, dom, frame, intake,
    measured, method_panel, reload, samples, tabs, take_away, threshold_panel, why,
};

/// Least milliseconds between two drawings of what comes back from the worker. Every card moves
/// all others, so that drawing each by itself would take the time that the worker needs.
const PACE: f64 = 160.0;

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
    pub(super) opened: Option<Box<Opened>>,
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
    chosen: Option<PhotoId>,
    pub(super) queue_began: f64,
    /// Photos that came back and are not drawn yet, in this order.
    pub(super) undrawn: Vec<PhotoId>,
    drawing: bool,
    drawn: f64,
    /// What an earlier life of this tab left.
    left: Option<reload::Kept>,
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
    for name in ["all", "in", "out"] {
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

/// What the worker says.
impl App {
    fn hear(&mut self, report: Report, attachment: Option<Uint8Array>) {
        match report {
            Report::Started => self.open(),
            Report::Loading {
                what,
                loaded,
                total,
            } => device_panel::show_loading(&what, loaded, total),
            Report::Opened(opened) => self.opened(opened),
            Report::NotOpened { message } => self.not_opened(&message),
            Report::Photo { id, reading } => self.read(id, reading, attachment),
            Report::Unreadable { id, message } => self.unreadable(id, message),
            Report::Scored {
                classes,
                edited,
                unknown,
                photos,
                outsiders,
            } => {
                let changed = self.classes != classes;
                if changed {
                    // A threshold of the old classes says nothing of the new ones.
                    self.thresholds.clear();
                }
                if self.choosing.as_ref() == Some(&classes) {
                    self.choosing = None;
                }
                self.unconfirmed = false;
                self.outsiders = outsiders;
                (self.classes, self.edited) = (classes, edited);
                self.scored(changed, &unknown, photos);
            }
            Report::LoadingClasses { loaded, total } => class_panel::show_loading(loaded, total),
            Report::ClassesRefused { message } => {
                self.choosing = None;
                if std::mem::take(&mut self.unconfirmed) {
                    self.back_to_own_classes();
                }
                class_panel::show_refusal(&message);
            }
            Report::DeviceLost { message } => self.device_lost(&message),
        }
    }

    fn open(&mut self) {
        let Some(link) = &mut self.link else { return };
        link.set_ready();
        let (source, files) = self
            .source
            .clone()
            .unwrap_or((BundleSource::Page, Vec::new()));
        let order = Order::Open {
            source,
            device: self.device,
        };
        link.send(&order, files.into_iter().map(JsValue::from));
    }

    fn opened(&mut self, opened: Box<Opened>) {
        banner::dismiss("bundle");
        self.settled.clone_from(&self.source);
        let same = self.opened.as_ref().is_some_and(|old| {
            old.model == opened.model
                && old.classes == opened.classes
                && old.methods == opened.methods
        });
        if !same {
            self.classes.clone_from(&opened.classes);
            self.edited = false;
            self.outsiders.clear();
            self.thresholds.clear();
            if !opened.methods.iter().any(|entry| entry.id == self.method) {
                let first = opened.methods.first().map(|entry| entry.id.clone());
                self.method = first.unwrap_or_default();
            }
        }
        device_panel::show(&opened.device);
        device_panel::show_memory(opened.memory);
        bundle_panel::show(&opened, self.source.is_some());
        let edited = self.edited;
        if !same {
            (self.unapplied, self.choosing) = (false, None);
            // What was typed was for the other bundle.
            class_panel::settle();
            class_panel::show(&self.classes, false, &[], opened.classes.len());
        }
        self.opened = Some(opened);
        self.show_settings();
        let left = self.left.take().map(|left| left.classes);
        if !same {
            self.read_all_again();
            self.show_all();
            if let Some(names) = left.filter(|names| !names.is_empty()) {
                self.choose_classes(Some(names));
            }
        } else {
            self.unconfirmed = edited;
            let asked = self.choosing.clone();
            let names = asked.or_else(|| edited.then(|| self.classes.clone()));
            if let (Some(names), Some(link)) = (names, &self.link) {
                link.send(&Order::Classes { names }, []);
            }
        }
        self.pump();
    }

    /// A new worker does not take the edited classes: it scores against the bundle's own, and so does
    /// the page from here on.
    fn back_to_own_classes(&mut self) {
        let Some(opened) = &self.opened else { return };
        let own = opened.classes.clone();
        class_panel::show(&own, false, &[], own.len());
        (self.classes, self.edited) = (own, false);
        self.outsiders.clear();
        self.thresholds.clear();
        self.outdate_all_but(&BTreeSet::new());
        self.read_what_lacks();
        self.show_settings();
        self.show_all();
        self.pump();
    }

    /// Goes on as an earlier life of this tab was set, where that one had something to lose.
    fn take_up(&mut self, left: Option<reload::Kept>) {
        let Some(left) = left else { return };
        let discarded = reload::was_discarded();
        if left.photos == 0 && !discarded {
            return;
        }
        self.method.clone_from(&left.method);
        self.device = left.device;
        device_panel::choose(self.device);
        if left.photos > 0 {
            let text = wording::lost_photos(left.photos, discarded);
            banner::show("reload", "note", &text);
        }
        self.left = Some(left);
    }

    /// What another life of this tab will need.
    pub fn kept(&self) -> reload::Kept {
        reload::Kept {
            photos: self.photos.len(),
            method: self.method.clone(),
            device: self.device,
            classes: match self.edited {
                true => self.classes.clone(),
                false => Vec::new(),
            },
        }
    }

    fn read(&mut self, id: PhotoId, reading: Box<Reading>, thumbnail: Option<Uint8Array>) {
        self.failures = 0;
        device_panel::remember(&reading.timings);
        device_panel::show_memory(reading.memory);
        let device = self.opened.as_ref().map(|opened| &opened.device);
        let kind = device.map_or("cpu", |device| device.kind.as_str());
        let name = device.map(|device| device.name.clone()).unwrap_or_default();
        if let Some(photo) = self.photos.get_mut(&id) {
            if photo.thumbnail.is_none() {
                photo.thumbnail = thumbnail.and_then(|bytes| jpeg_address(&bytes));
            }
            photo.outcome = Outcome::Read(reading, kind, name);
            (photo.stale, photo.again_failed) = (false, None);
        }
        self.settle(id);
    }

    fn unreadable(&mut self, id: PhotoId, message: String) {
        if let Some(photo) = self.photos.get_mut(&id) {
            photo.fail(message);
        }
        self.settle(id);
    }

    fn scored(&mut self, changed: bool, unknown: &[UnknownWords], photos: Vec<(PhotoId, Scores)>) {
        let mut known = BTreeSet::new();
        for (id, scores) in photos {
            if let Some(photo) = self.photos.get_mut(&id)
                && let Outcome::Read(reading, ..) = &mut photo.outcome
            {
                reading.scores = scores;
                reading.patches = false;
                known.insert(id);
                photo.stale = false;
            }
        }
        if changed {
            // A worker that was replaced does not know the photos of the one before it.
            self.outdate_all_but(&known);
        }
        let own = self
            .opened
            .as_ref()
            .map_or(0, |opened| opened.classes.len());
        if !self.unapplied {
            class_panel::show(&self.classes, self.edited, unknown, own);
        }
        self.choose_usable_method();
        self.read_what_lacks();
        self.show_settings();
        self.show_all();
        self.pump();
    }
}

/// What the user does.
impl App {
    /// Starts a fresh worker on the chosen bundle and device.
    pub fn restart(&mut self) {
        self.queue.take_back();
        self.workers += 1;
        device_panel::show_loading("Starting", 0, 0);
        self.link = match Link::start(self.workers, tell) {
            Ok(link) => Some(link),
            Err(error) => {
                device_panel::show_failure("Not running");
                let text = format!(
                    "The browser starts no worker ({}). Reload the page.",
                    dom::said(&error)
                );
                banner::show("bundle", "trouble", &text);
                None
            }
        };
    }

    /// Computes on another device from here on.
    pub fn choose_device(&mut self, device: DeviceChoice) {
        self.device = device;
        self.failures = 0;
        banner::dismiss("device");
        self.restart();
    }

    /// Loads another bundle.
    pub fn choose_bundle(&mut self, source: Choice) {
        self.source = source;
        self.failures = 0;
        banner::dismiss("bundle");
        banner::dismiss("refused");
        // Also for one that is never opened there is a way back.
        dom::by_id::<HtmlElement>("bundle-default").set_hidden(self.source.is_none());
        self.restart();
    }

    /// Scores with another method.
    pub fn choose_method(&mut self, id: String) {
        self.method = id;
        self.read_what_lacks();
        self.show_settings();
        self.show_all();
        self.pump();
    }

    /// Moves the threshold; `None` for the bundle's own, or the one that goes with edited classes.
    pub fn choose_threshold(&mut self, threshold: Option<f64>) {
        match threshold {
            Some(threshold) => self.thresholds.insert(self.method.clone(), threshold),
            None => self.thresholds.remove(&self.method),
        };
        let Some(standard) = self.standard() else {
            return;
        };
        threshold_panel::show(&standard, threshold.is_none());
        for photo in self.photos.values() {
            if let Some(card) = &photo.card {
                card.show_threshold(photo, &standard);
            }
        }
        self.show_tally();
        if self.view == "why" {
            why::show_threshold(&standard, &self.photos, self.chosen);
        }
    }

    /// Scores against other classes; `None` for the bundle's.
    pub fn choose_classes(&mut self, names: Option<Vec<String>>) {
        let Some(opened) = &self.opened else {
            return;
        };
        let names = names.unwrap_or_else(|| opened.classes.clone());
        self.choosing = Some(names.clone());
        self.unapplied = false;
        class_panel::show_busy();
        // A worker without a bundle would drop them: it gets them once it has opened one.
        if let Some(link) = self.link.as_ref().filter(|link| link.is_ready())
            && !device_panel::is_loading()
        {
            link.send(&Order::Classes { names }, []);
        }
    }

    /// The threshold that stands at `share` (0 to 1) of the slider.
    pub fn threshold_at(&self, share: f64) -> Option<f64> {
        let (low, high) = self.standard()?.range();
        Some(low + (high - low) * share)
    }

    fn add(&mut self, photos: Vec<(String, Blob)>) {
        if photos.is_empty() {
            return;
        }
        if self.queue.is_idle() {
            self.queue_began = dom::now();
        }
        for (name, blob) in photos {
            let id = self.next;
            self.next += 1;
            self.photos.insert(id, Photo::new(name, blob));
            self.queue.add([id]);
        }
        banner::dismiss("reload");
        self.open_view("verdicts");
        self.pump();
        self.show_queue();
        // A tab that crashes tells nobody before.
        reload::keep(&self.kept());
    }

    /// Drops what waits; asked once more, also what the worker is at.
    fn cancel(&mut self) {
        let mut dropped = self.queue.cancel();
        if dropped.is_empty() {
            dropped = self.queue.abandon();
            self.restart();
        }
        for id in dropped {
            match self.photos.get_mut(&id) {
                // What was read before stays, with what other methods say of it.
                Some(photo) if photo.reading().is_some() => photo.again = false,
                Some(photo) if photo.card.is_some() => {
                    let text = "It was not read with this bundle, because that was cancelled: choose it again.";
                    photo.fail(text.to_owned());
                }
                _ => drop(self.photos.remove(&id)),
            }
        }
        self.show_queue();
        self.show_all();
    }

    fn remove(&mut self, id: PhotoId) {
        self.queue.remove(id);
        if let Some(photo) = self.photos.remove(&id)
            && let Some(card) = &photo.card
        {
            hand_focus_on(card.root());
            card.root().remove();
        }
        if let Some(link) = self.link.as_ref().filter(|link| link.is_ready()) {
            link.send(&Order::Forget { photos: vec![id] }, []);
        }
        if self.chosen == Some(id) {
            self.chosen = None;
        }
        self.show_queue();
        self.show_tally();
        self.show_why();
    }

    /// Drops every photo and verdict.
    pub fn clear(&mut self) {
        let photos: Vec<PhotoId> = self.photos.keys().copied().collect();
        if let Some(link) = self.link.as_ref().filter(|link| link.is_ready()) {
            link.send(&Order::Forget { photos }, []);
        }
        self.queue.clear();
        self.photos.clear();
        self.undrawn.clear();
        device_panel::forget_timings();
        self.chosen = None;
        dom::by_id::<Element>("cards").set_text_content(None);
        self.show_queue();
        self.show_tally();
        self.show_why();
        reload::keep(&self.kept());
    }

    /// Every verdict, to take away, newest photo first.
    pub fn records(&self) -> Vec<Record> {
        let Some(standard) = self.standard() else {
            return Vec::new();
        };
        let photos = self
            .photos
            .values()
            .rev()
            .filter(|photo| photo.card.is_some());
        photos.map(|photo| photo.record(&standard)).collect()
    }

    fn record(&self, id: PhotoId) -> Option<Record> {
        Some(self.photos.get(&id)?.record(&self.standard()?))
    }

    /// Opens the "why" view on a photo.
    pub fn ask_why(&mut self, id: PhotoId) {
        self.chosen = Some(id);
        self.open_view("why");
    }

    fn open_view(&mut self, view: &'static str) {
        self.view = view;
        tabs::show(view);
        self.show_why();
        self.show_measured();
    }
}

/// What is shown.
impl App {
    fn standard(&self) -> Option<Standard<'_>> {
        let opened = self.opened.as_deref()?;
        let entry = opened
            .methods
            .iter()
            .find(|entry| entry.id == self.method)?;
        let outsiders = self.edited.then(|| {
            let scores = self.outsiders.get(&self.method);
            scores.map_or(&[][..], Vec::as_slice)
        });
        let own = || {
            let measured_anew = outsiders.and_then(|scores| edited::threshold(entry, scores));
            measured_anew.unwrap_or(entry.threshold)
        };
        let chosen = self.thresholds.get(&self.method).copied();
        Some(Standard {
            opened,
            classes: &self.classes,
            method: &self.method,
            threshold: chosen.unwrap_or_else(own),
            outsiders,
        })
    }

    /// Sends the worker what it has room for.
    fn pump(&mut self) {
        let (Some(link), Some(opened)) = (&self.link, &self.opened) else {
            return;
        };
        if !link.is_ready() || device_panel::is_loading() {
            return;
        }
        let patches = self.takes_patches();
        while let Some(mut photos) = self.queue.next(opened.batch) {
            // Each number goes with its blob.
            photos.retain(|id| self.photos.contains_key(id));
            let blobs = photos.iter().filter_map(|id| self.photos.get(id));
            let blobs: Vec<JsValue> = blobs.map(|photo| photo.blob.clone().into()).collect();
            link.send(&Order::Photos { photos, patches }, blobs);
        }
        self.draw_soon();
    }

    fn read_all_again(&mut self) {
        for photo in self.photos.values_mut() {
            photo.outcome = Outcome::Waiting;
            (photo.again, photo.stale, photo.again_failed) = (false, false, None);
        }
        self.queue.clear();
        self.queue_began = dom::now();
        self.queue.add(self.photos.keys().copied());
    }

    /// A photo came back.
    fn settle(&mut self, id: PhotoId) {
        self.queue.finish(id);
        self.came_back(id);
        self.undrawn.push(id);
        self.pump();
    }

    pub(super) fn draw_soon(&mut self) {
        if !std::mem::replace(&mut self.drawing, true) {
            frame::draw_after(self.drawn + PACE - dom::now(), || with(App::draw));
        }
    }

    /// Shows what came back since the last frame.
    fn draw(&mut self) {
        self.drawing = false;
        self.drawn = dom::now();
        let came = std::mem::take(&mut self.undrawn);
        for id in &came {
            self.show_photo(*id);
        }
        self.show_queue();
        if came.is_empty() {
            return;
        }
        device_panel::show_timings();
        self.show_tally();
        if self.view != "why" {
            return;
        }
        match (self.chosen, self.standard()) {
            (Some(chosen), Some(standard)) if !came.contains(&chosen) => {
                why::add(&standard, &self.photos, &came);
            }
            _ => self.show_why(),
        }
    }

    fn show_photo(&mut self, id: PhotoId) {
        let Some(mut photo) = self.photos.remove(&id) else {
            return;
        };
        if photo.card.is_none() {
            let card = Card::new(id, &photo.name);
            // Prepending to an element that is there cannot fail.
            let _ = dom::by_id::<Element>("cards").prepend_with_node_1(card.root());
            photo.card = Some(card);
        }
        if let Some(card) = &photo.card {
            if let Some(address) = &photo.thumbnail {
                card.show_thumbnail(address, &photo.name);
            }
            let standard = self.standard();
            card.show(&photo, standard.as_ref());
            announcer::say(photo.sentence(standard.as_ref()));
        }
        self.photos.insert(id, photo);
    }

    fn show_all(&mut self) {
        let standard = self.standard();
        for photo in self.photos.values() {
            if let Some(card) = &photo.card {
                card.show(photo, standard.as_ref());
            }
        }
        self.show_tally();
        self.show_why();
    }

    fn show_settings(&self) {
        let Some(standard) = self.standard() else {
            return;
        };
        method_panel::show(&standard, self.edited);
        let own = !self.thresholds.contains_key(&self.method);
        self.show_measured();
        threshold_panel::show(&standard, own);
        class_panel::allow(standard.opened.has_text_tower);
    }

    /// A method without what edited classes offer makes room for the first that has it.
    fn choose_usable_method(&mut self) {
        let Some(opened) = &self.opened else { return };
        let usable = |id: &str| method_panel::is_usable(id, self.edited);
        if !usable(&self.method)
            && let Some(entry) = opened.methods.iter().find(|entry| usable(&entry.id))
        {
            self.method.clone_from(&entry.id);
        }
    }

    fn show_queue(&self) {
        if let Some(body) = dom::document().body() {
            let photos = if self.photos.is_empty() {
                "none"
            } else {
                "some"
            };
            dom::set(&body, "data-photos", photos);
        }
        let (done, total) = self.queue.progress();
        let idle = self.queue.is_idle();
        dom::by_id::<HtmlElement>("queue").set_hidden(idle);
        device_panel::show_busy(!idle);
        if idle {
            return;
        }
        let bar: HtmlProgressElement = dom::by_id("queue-progress");
        bar.set_max(total.max(1) as f64);
        bar.set_value(done as f64);
        let seconds = (dom::now() - self.queue_began) / 1000.0;
        let pace = if done > 1 && seconds > 1.0 {
            let left = (total - done) as f64 * seconds / done as f64;
            format!(
                ", {:.1} a second, {} left",
                done as f64 / seconds,
                wording::duration(left)
            )
        } else {
            String::new()
        };
        let text = format!("{done} of {}{pace}", wording::photos(total));
        dom::by_id::<Element>("queue-text").set_text_content(Some(&text));
    }

    fn show_tally(&self) {
        let shown = self.photos.values().filter(|photo| photo.card.is_some());
        let (mut count, mut inside, mut outside, mut again) = (0, 0, 0, 0);
        let standard = self.standard();
        for photo in shown {
            count += 1;
            match standard
                .as_ref()
                .and_then(|standard| photo.verdict(standard))
            {
                Some(Verdict::In) => inside += 1,
                Some(Verdict::Out) => outside += 1,
                None => again += usize::from(photo.is_read_again()),
            }
        }
        dom::by_id::<HtmlElement>("tally").set_hidden(count == 0);
        take_away::allow(count > 0);
        let mut text = format!("{}: {inside} in, {outside} out", wording::photos(count));
        let unread = count - inside - outside - again;
        for (count, what) in [(again, "being read again"), (unread, "not read")] {
            if count > 0 {
                text.push_str(&format!(", {count} {what}"));
            }
        }
        dom::by_id::<Element>("tally-text").set_text_content(Some(&text));
    }

    fn show_measured(&self) {
        if self.view == "measured" {
            measured::show(self.standard().as_ref());
        }
    }

    fn show_why(&mut self) {
        if self.view != "why" {
            return;
        }
        if self.chosen.is_none_or(|id| {
            self.photos
                .get(&id)
                .is_none_or(|photo| photo.reading().is_none())
        }) {
            let read = self
                .photos
                .iter()
                .rev()
                .find(|(_, photo)| photo.reading().is_some());
            self.chosen = read.map(|(id, _)| *id);
        }
        why::show(self.standard().as_ref(), &self.photos, self.chosen);
    }
}

/// Who removes a card by keyboard goes on from the next one.
fn hand_focus_on(card: &HtmlElement) {
    let focused = dom::document().active_element();
    if !focused.is_some_and(|element| card.contains(Some(&element))) {
        return;
    }
    let next = shown_beside(card.clone().into(), true)
        .or_else(|| shown_beside(card.clone().into(), false))
        .unwrap_or_else(|| dom::by_id::<HtmlElement>("cards"));
    // Focus on an element that is there cannot fail.
    let _ = next.focus();
}

fn jpeg_address(bytes: &Uint8Array) -> Option<String> {
    let options = BlobPropertyBag::new();
    options.set_type("image/jpeg");
    let blob = Blob::new_with_u8_array_sequence_and_options(&Array::of1(bytes), &options).ok()?;
    Url::create_object_url_with_blob(&blob).ok()
}
