//! What the worker says.

use std::collections::BTreeSet;

use js_sys::{Array, Uint8Array};
use shared::bundle::MethodEntry;
use wasm_bindgen::prelude::*;
use web::message::{BundleSource, Opened, Order, PhotoId, Reading, Report, Scores, UnknownWords};
use web::wording;
use web_sys::{Blob, BlobPropertyBag, Url};

use super::App;
use crate::photo::Outcome;
use crate::{banner, bundle_panel, class_panel, device_panel, dom, reload};

impl App {
    pub(super) fn hear(&mut self, report: Report, attachment: Option<Uint8Array>) {
        match report {
            Report::Started => self.open(),
            Report::Outdated => self.outdated(),
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
                    self.take_up_thresholds();
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
            Report::ClassesRefused { names, message } => {
                self.left_thresholds.clear();
                // Where another list was applied after it, only the answer to that is of interest.
                let last = self.choosing.as_ref().is_none_or(|asked| *asked == names);
                if last {
                    self.choosing = None;
                }
                if std::mem::take(&mut self.unconfirmed) {
                    self.back_to_own_classes();
                }
                if last {
                    class_panel::show_refusal(&message);
                }
            }
            Report::DeviceLost { message } => self.device_lost(&message),
        }
    }

    pub(super) fn open(&mut self) {
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

    pub(super) fn opened(&mut self, opened: Box<Opened>) {
        banner::dismiss("bundle");
        self.has_bundle = true;
        (self.queue_began, self.queue_done) = (dom::now(), self.queue.progress().0);
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
        if let Some(body) = dom::document().body() {
            dom::set(&body, "data-model", "some");
        }
        device_panel::show(&opened.device);
        device_panel::show_memory(opened.memory);
        let source = self.source.as_ref().map(|(source, _)| source);
        bundle_panel::show(&opened, source);
        let edited = self.edited;
        if !same {
            (self.unapplied, self.unconfirmed, self.choosing) = (false, false, None);
            // What was typed was for the other bundle.
            class_panel::settle();
            class_panel::show(&self.classes, false, &[], opened.classes.len(), true);
        }
        self.opened = Some(opened);
        let left = self.left.take().unwrap_or_default();
        if !same {
            self.left_thresholds = left.thresholds;
            if left.classes.is_empty() {
                self.take_up_thresholds();
            }
        }
        self.show_settings();
        if !same {
            self.read_all_again();
            self.show_all();
            if !left.classes.is_empty() {
                self.choose_classes(Some(left.classes));
            }
        } else {
            self.unconfirmed = edited;
            let asked = self.choosing.clone();
            let names = asked.or_else(|| edited.then(|| self.classes.clone()));
            if let (Some(names), Some(link)) = (names, &self.link) {
                class_panel::show_busy(true);
                link.send(&Order::Classes { names }, []);
            }
        }
        self.pump();
    }

    /// A new worker does not take the edited classes: it scores against the bundle's own, and so does
    /// the page from here on.
    pub(super) fn back_to_own_classes(&mut self) {
        let Some(opened) = &self.opened else { return };
        let own = opened.classes.clone();
        class_panel::show(&own, false, &[], own.len(), self.choosing.is_none());
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
    pub(super) fn take_up(&mut self, left: Option<reload::Kept>) {
        let Some(left) = left else { return };
        let discarded = reload::was_discarded();
        self.method.clone_from(&left.method);
        self.device = left.device;
        device_panel::choose(self.device);
        if left.photos > 0 {
            let text = wording::lost_photos(left.photos, discarded);
            banner::show("reload", "note", &text);
        } else if !left.classes.is_empty() || !left.thresholds.is_empty() {
            banner::show("reload", "note", wording::KEPT);
        }
        self.left = Some(left);
    }

    /// Moves the thresholds of the bundle's methods to where an earlier life of this tab had them.
    fn take_up_thresholds(&mut self) {
        let methods = self
            .opened
            .as_ref()
            .map_or(&[][..], |opened| &opened.methods);
        for (id, own, to) in self.left_thresholds.drain(..) {
            let is_its_own = |entry: &MethodEntry| entry.id == id && entry.threshold == own;
            if methods.iter().any(is_its_own) {
                self.thresholds.insert(id, to);
            }
        }
    }

    /// What another life of this tab will need.
    pub fn kept(&self) -> reload::Kept {
        // What the life before left, where this one has not come to it yet.
        let left = self.left.as_ref();
        let own = self.opened.as_ref().map(|opened| &opened.classes);
        let asked = self.choosing.as_ref().filter(|names| Some(*names) != own);
        let edited = self.edited.then_some(&self.classes);
        let before = left.map(|left| &left.classes);
        let before = before.filter(|names| !names.is_empty());
        let classes = before.or(asked).or(edited);
        let mut thresholds = left
            .map_or(&self.left_thresholds, |left| &left.thresholds)
            .clone();
        for entry in self.opened.iter().flat_map(|opened| &opened.methods) {
            if let Some(to) = self.thresholds.get(&entry.id) {
                thresholds.push((entry.id.clone(), entry.threshold, *to));
            }
        }
        reload::Kept {
            photos: match left {
                Some(left) if self.photos.is_empty() => left.photos,
                _ => self.photos.len(),
            },
            method: self.method.clone(),
            device: self.device,
            classes: classes.cloned().unwrap_or_default(),
            thresholds,
        }
    }

    pub(super) fn read(
        &mut self,
        id: PhotoId,
        reading: Box<Reading>,
        thumbnail: Option<Uint8Array>,
    ) {
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
            photo.detail.clear();
        }
        self.settle(id);
    }

    pub(super) fn unreadable(&mut self, id: PhotoId, message: String) {
        if let Some(photo) = self.photos.get_mut(&id) {
            photo.fail(message);
        }
        self.settle(id);
    }

    pub(super) fn scored(
        &mut self,
        changed: bool,
        unknown: &[UnknownWords],
        photos: Vec<(PhotoId, Scores)>,
    ) {
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
            let last = self.choosing.is_none();
            class_panel::show(&self.classes, self.edited, unknown, own, last);
        }
        self.choose_usable_method();
        self.read_what_lacks();
        self.show_settings();
        self.show_all();
        if changed {
            self.say_tally();
        }
        self.pump();
    }
}

fn jpeg_address(bytes: &Uint8Array) -> Option<String> {
    let options = BlobPropertyBag::new();
    options.set_type("image/jpeg");
    let blob = Blob::new_with_u8_array_sequence_and_options(&Array::of1(bytes), &options).ok()?;
    Url::create_object_url_with_blob(&blob).ok()
}
