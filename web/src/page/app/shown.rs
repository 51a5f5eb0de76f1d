//! What is shown.

use shared::score::Verdict;
use wasm_bindgen::prelude::*;
use web::message::{Order, PhotoId};
use web::{edited, wording};
use web_sys::{Element, HtmlElement, HtmlProgressElement};

use super::{App, with};
use crate::card::Card;
use crate::photo::{Outcome, Standard};
use crate::{
    announcer, class_panel, device_panel, dom, frame, measured, method_panel, take_away,
    threshold_panel, why,
};

/// Least milliseconds between two drawings of what comes back from the worker. Every card moves
/// all others, so that drawing each by itself would take the time that the worker needs.
const PACE: f64 = 160.0;

impl App {
    pub(super) fn standard(&self) -> Option<Standard<'_>> {
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
    pub(super) fn pump(&mut self) {
        let (Some(link), Some(opened), true) = (&self.link, &self.opened, self.has_bundle) else {
            return;
        };
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

    pub(super) fn read_all_again(&mut self) {
        for photo in self.photos.values_mut() {
            photo.outcome = Outcome::Waiting;
            (photo.again, photo.stale, photo.again_failed) = (false, false, None);
        }
        self.queue.clear();
        self.begin_queue();
        self.queue.add(self.photos.keys().copied());
    }

    /// Photos are about to come into the queue: the pace counts from here, where it was empty.
    pub(crate) fn begin_queue(&mut self) {
        if self.queue.is_idle() {
            (self.queue_began, self.queue_done) = (dom::now(), 0);
        }
    }

    /// A photo came back.
    pub(super) fn settle(&mut self, id: PhotoId) {
        self.queue.finish(id);
        self.came_back(id);
        self.undrawn.push(id);
        self.pump();
    }

    pub(crate) fn draw_soon(&mut self) {
        if !std::mem::replace(&mut self.drawing, true) {
            frame::draw_after(self.drawn + PACE - dom::now(), || with(App::draw));
        }
    }

    /// Shows what came back since the last frame.
    pub(super) fn draw(&mut self) {
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

    pub(super) fn show_photo(&mut self, id: PhotoId) {
        let Some(mut photo) = self.photos.remove(&id) else {
            return;
        };
        if photo.card.is_none() {
            let card = Card::new(id, &photo.name, &photo.shown);
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

    pub(super) fn show_all(&mut self) {
        let standard = self.standard();
        for photo in self.photos.values() {
            if let Some(card) = &photo.card {
                card.show(photo, standard.as_ref());
            }
        }
        self.show_tally();
        self.show_why();
    }

    pub(super) fn show_settings(&self) {
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
    pub(super) fn choose_usable_method(&mut self) {
        let Some(opened) = &self.opened else { return };
        let usable = |id: &str| method_panel::is_usable(id, self.edited);
        if !usable(&self.method)
            && let Some(entry) = opened.methods.iter().find(|entry| usable(&entry.id))
        {
            self.method.clone_from(&entry.id);
        }
    }

    pub(super) fn show_queue(&self) {
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
        let since = done.saturating_sub(self.queue_done);
        let seconds = (dom::now() - self.queue_began) / 1000.0;
        let pace = if !self.has_bundle {
            ", waiting for the model".to_owned()
        } else if since > 1 && seconds > 1.0 {
            let left = (total - done) as f64 * seconds / since as f64;
            format!(
                ", {:.1} a second, {} left",
                since as f64 / seconds,
                wording::duration(left)
            )
        } else {
            String::new()
        };
        let text = format!("{done} of {}{pace}", wording::photos(total));
        dom::by_id::<Element>("queue-text").set_text_content(Some(&text));
    }

    pub(super) fn show_tally(&self) {
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

    /// Says to a screen reader what a change made of all verdicts.
    pub fn say_tally(&self) {
        let text = dom::by_id::<Element>("tally-text").text_content();
        if let Some(text) = text.filter(|_| !self.photos.is_empty()) {
            announcer::say(text);
        }
    }

    pub(super) fn show_measured(&self) {
        if self.view == "measured" {
            measured::show(self.standard().as_ref());
        }
    }

    pub(super) fn show_why(&mut self) {
        if self.view != "why" {
            return;
        }
        // One that is being read again stays chosen.
        let chosen = self.chosen.and_then(|id| self.photos.get(&id));
        if chosen.is_none_or(|photo| matches!(photo.outcome, Outcome::Unreadable(_))) {
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
