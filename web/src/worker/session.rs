//! What the worker does with its orders.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use shared::bundle::{Bundle, Manifest};
use shared::clip::preprocess::preprocess;
use shared::score::{ClassFeatures, ImageFeatures};
use wasm_bindgen::prelude::*;
use web::message::{DeviceKind, Order, PhotoId, Reading, Report, Timings};
use web::scoring;
use web_sys::Blob;

use super::classes::TextSide;
use super::line::{self, Received};
use super::model::Model;
use super::source::Source;
use super::{browser, opening, photo};

/// A loaded bundle on a device.
pub struct Session {
    pub(super) source: Rc<Source>,
    /// Without what only other class names need.
    pub(super) bundle: Bundle,
    /// With it.
    pub(super) manifest: Manifest,
    pub(super) model: Model,
    pub(super) device: DeviceKind,
    pub(super) own: ClassFeatures,
    pub(super) classes: ClassFeatures,
    pub(super) text: Option<TextSide>,
    pub(super) map_features: Vec<f32>,
    pub(super) photos: HashMap<PhotoId, Vec<f32>>,
}

thread_local! {
    static SESSION: RefCell<Option<Session>> = const { RefCell::new(None) };
}

/// Carries an order out and reports.
pub async fn obey((order, attachments): Received) {
    if let Order::Open { source, device } = &order {
        match opening::open(source, *device, attachments).await {
            Ok((session, opened)) => {
                SESSION.set(Some(session));
                line::send(&Report::Opened(Box::new(opened)));
            }
            Err(message) => line::send(&Report::NotOpened { message }),
        }
        return;
    }
    // Orders come one at a time, so nobody misses the session meanwhile.
    let Some(mut session) = SESSION.take() else {
        return;
    };
    match order {
        Order::Open { .. } => {}
        Order::Photos { photos, patches } => session.read(&photos, patches, attachments).await,
        Order::Classes { names } => session.change_classes(names).await,
        Order::Forget { photos } => session.photos.retain(|photo, _| !photos.contains(photo)),
    }
    SESSION.set(Some(session));
}

impl Session {
    async fn read(&mut self, photos: &[PhotoId], patches: bool, blobs: Vec<JsValue>) {
        let mut pixels = Vec::new();
        let mut decoded = Vec::new();
        for (&id, blob) in photos.iter().zip(blobs) {
            let began = browser::now();
            match photo::read(&blob.unchecked_into::<Blob>()).await {
                Ok(photo) => {
                    let read = browser::now();
                    pixels.extend(preprocess(
                        &photo.image,
                        &self.bundle.manifest.model.preprocessing,
                    ));
                    let timings = Timings {
                        decode: read - began,
                        preprocess: browser::now() - read,
                        ..Timings::default()
                    };
                    // The full image is dropped here, so that a batch holds thumbnails only.
                    let size = photo.image.dimensions();
                    decoded.push((
                        id,
                        size,
                        photo.note,
                        timings,
                        photo::thumbnail(&photo.image),
                    ));
                }
                Err(message) => line::send(&Report::Unreadable { id, message }),
            }
        }
        if decoded.is_empty() {
            return;
        }
        let began = browser::now();
        let encoded = match self.model.encode(pixels, patches).await {
            Ok(encoded) => encoded,
            // A GPU that gives no results is as good as lost, whether the browser said so yet or not.
            Err(message) if self.device == DeviceKind::Gpu => {
                return line::send(&Report::DeviceLost { message });
            }
            Err(cause) => return line::report_death(&cause),
        };
        let encode = (browser::now() - began) / decoded.len() as f64;
        for ((id, (width, height), note, timings, thumbnail), encoded) in
            decoded.into_iter().zip(encoded)
        {
            let began = browser::now();
            let image = ImageFeatures {
                global: &encoded.feature,
                patches: &encoded.patches,
            };
            match self.score(&image) {
                Ok(scores) => {
                    let timings = Timings {
                        encode,
                        score: browser::now() - began,
                        ..timings
                    };
                    let reading = Box::new(Reading {
                        width,
                        height,
                        note,
                        timings,
                        memory: browser::memory(),
                        patches,
                        scores,
                    });
                    line::send_with(&Report::Photo { id, reading }, &thumbnail);
                    // Patches are dropped: they take fifty times the room and more.
                    self.photos.insert(id, encoded.feature);
                }
                Err(error) => line::send(&Report::Unreadable {
                    id,
                    message: format!("{error}."),
                }),
            }
        }
    }

    fn score(&self, image: &ImageFeatures) -> Result<web::message::Scores, scoring::ScoringError> {
        let map = self.manifest.figures.map.as_ref();
        let place = map.and_then(|map| scoring::place(image.global, map, &self.map_features));
        scoring::score(image, &self.classes, &self.manifest.methods, place)
    }

    async fn change_classes(&mut self, names: Vec<String>) {
        match self.features_of(&names).await {
            Ok(classes) => self.classes = classes,
            Err(message) => return line::send(&Report::ClassesRefused { names, message }),
        }
        let edited = names != self.manifest.classes;
        let outsiders = match edited {
            true => scoring::outsiders(
                self.manifest.figures.map.as_ref(),
                &self.map_features,
                &self
                    .text
                    .as_ref()
                    .map(TextSide::outsiders)
                    .unwrap_or_default(),
                &self.classes,
                &self.manifest.methods,
            )
            .unwrap_or_default(),
            false => BTreeMap::new(),
        };
        let photos = self
            .photos
            .iter()
            .filter_map(|(id, feature)| Some((*id, self.score(&scoring::whole(feature)).ok()?)));
        let report = Report::Scored {
            edited,
            outsiders,
            unknown: self
                .text
                .as_ref()
                .map(|text| text.unknown(&names))
                .unwrap_or_default(),
            photos: photos.collect(),
            classes: names,
        };
        line::send(&report);
    }

    async fn features_of(&mut self, names: &[String]) -> Result<ClassFeatures, String> {
        if *names == self.manifest.classes {
            return Ok(self.own.clone());
        }
        if self.text.is_none() {
            self.text = Some(opening::text_side(&self.source, &self.manifest, &self.own).await?);
        }
        match &mut self.text {
            Some(text) => text.features(names, &self.bundle, &self.own),
            None => Err("The text tower is not there.".to_owned()),
        }
    }
}
