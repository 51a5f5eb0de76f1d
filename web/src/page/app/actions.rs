//! What the user does.

use web::message::{DeviceChoice, Order, PhotoId};
use web::record::Record;
use web_sys::{Blob, Element, HtmlElement};

use super::{App, Choice, shown_beside, tell};
use crate::link::Link;
use crate::photo::Photo;
use crate::{banner, class_panel, device_panel, dom, reload, tabs, threshold_panel, why};

impl App {
    /// Starts a fresh worker on the chosen bundle and device.
    pub fn restart(&mut self) {
        self.queue.take_back();
        self.has_bundle = false;
        self.workers += 1;
        self.draw_soon();
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
        self.say_tally();
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
        class_panel::show_busy(self.has_bundle);
        // A worker without a bundle would drop them: it gets them once it has opened one.
        if let Some(link) = self.link.as_ref().filter(|_| self.has_bundle) {
            link.send(&Order::Classes { names }, []);
        }
    }

    /// The threshold that stands at `share` (0 to 1) of the slider.
    pub fn threshold_at(&self, share: f64) -> Option<f64> {
        let (low, high) = self.standard()?.range();
        Some(low + (high - low) * share)
    }

    pub(super) fn add(&mut self, photos: Vec<(String, Blob)>) {
        if photos.is_empty() {
            return;
        }
        self.begin_queue();
        for (name, blob) in photos {
            let id = self.next;
            self.next += 1;
            self.photos.insert(id, Photo::new(name, blob));
            self.queue.add([id]);
        }
        for topic in ["reload", "clipboard"] {
            banner::dismiss(topic);
        }
        // New photos come first.
        self.scrolled.remove("verdicts");
        self.open_view("verdicts");
        self.pump();
        self.show_queue();
        // A tab that crashes tells nobody before.
        reload::keep(&self.kept());
    }

    /// Drops what waits; asked once more, also what the worker is at.
    pub(super) fn cancel(&mut self) {
        if self.queue.is_idle() {
            return;
        }
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

    pub(super) fn remove(&mut self, id: PhotoId) {
        self.queue.remove(id);
        if let Some(photo) = self.photos.remove(&id)
            && let Some(card) = &photo.card
        {
            hand_focus_on(card.root());
            card.root().remove();
        }
        if let Some(link) = self.link.as_ref().filter(|_| self.has_bundle) {
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
        if let Some(link) = self.link.as_ref().filter(|_| self.has_bundle) {
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

    pub(super) fn record(&self, id: PhotoId) -> Option<Record> {
        Some(self.photos.get(&id)?.record(&self.standard()?))
    }

    /// Opens the "why" view on a photo.
    pub fn ask_why(&mut self, id: PhotoId) {
        self.chosen = Some(id);
        self.scrolled.remove("why");
        self.open_view("why");
    }

    pub(super) fn open_view(&mut self, view: &'static str) {
        if self.view != view {
            tabs::remember(view);
        }
        self.switch_to(view);
    }

    pub(super) fn switch_to(&mut self, view: &'static str) {
        let before = std::mem::replace(&mut self.view, view);
        if before != view {
            self.scrolled.insert(before, dom::scrolled());
        }
        tabs::show(view);
        self.show_why();
        self.show_measured();
        if before != view {
            dom::scroll_to(self.scrolled.remove(view).unwrap_or(0.0));
        }
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
