//! What the worker does with its orders.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use shared::bundle::{Bundle, BundleReader, Manifest, Role};
use shared::clip::preprocess::preprocess;
use shared::score::ClassFeatures;
use wasm_bindgen::prelude::*;
use web::message::{
    BundleSource, DeviceChoice, DeviceKind, Opened, Order, PhotoId, Reading, Report, Timings,
};
use web::scoring;
use web_sys::Blob;

use super::classes::TextSide;
use super::device::{self, Chosen};
use super::line::{self, Received};
use super::model::Model;
use super::source::Source;
use super::{browser, photo};

/// Roles that only other class names need; they are fetched when the first such name comes.
const LAZY: [Role; 4] = [
    Role::TextTower,
    Role::Vocabulary,
    Role::Words,
    Role::Prompts,
];

/// Bytes between two reports of progress.
const STEP: u64 = 200_000;

/// A loaded bundle on a device.
struct Session {
    source: Source,
    /// Without what only other class names need.
    bundle: Bundle,
    /// With it.
    manifest: Manifest,
    model: Model,
    device: DeviceKind,
    own: ClassFeatures,
    classes: ClassFeatures,
    text: Option<TextSide>,
    map_features: Vec<f32>,
    photos: HashMap<PhotoId, Vec<f32>>,
}

thread_local! {
    static SESSION: RefCell<Option<Session>> = const { RefCell::new(None) };
}

/// Carries an order out and reports.
pub async fn obey((order, attachments): Received) {
    if let Order::Open { source, device } = &order {
        match Session::open(source, *device, attachments).await {
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
        Order::Photos { photos } => session.read(&photos, attachments).await,
        Order::Classes { names } => session.change_classes(names).await,
        Order::Forget { photos } => session.photos.retain(|photo, _| !photos.contains(photo)),
    }
    SESSION.set(Some(session));
}

impl Session {
    async fn open(
        from: &BundleSource,
        choice: DeviceChoice,
        attachments: Vec<JsValue>,
    ) -> Result<(Self, Opened), String> {
        let said = |error: &dyn std::fmt::Display| format!("{error}.");
        let source = Source::open(from, attachments).await?;
        let manifest = Manifest::parse(&source.manifest().await?).map_err(|error| said(&error))?;
        let (bundle, cached) = fetch(&source, &manifest, &LAZY).await?;
        source.forget_others(&manifest).await;
        loading("Setting up the device");
        let largest = bundle
            .role(Role::ImageTower)
            .map_err(|error| said(&error))?;
        let largest = largest
            .values()
            .map(|tensor| 4 * tensor.values.len() as u64)
            .max()
            .unwrap_or(0);
        let chosen = device::choose(choice, largest).await;
        let (model, chosen) = trusted(&bundle, chosen).await?;
        let own = bundle.class_features().map_err(|error| said(&error))?;
        let map_features = bundle
            .role(Role::Features)
            .ok()
            .and_then(|tensors| tensors.get(shared::bundle::tensor_name::MAP_FEATURES))
            .map(|tensor| tensor.values.clone())
            .unwrap_or_default();
        let opened = Opened {
            model: manifest.model.name.clone(),
            description: describe(&manifest),
            bytes: manifest.total_bytes(),
            cached,
            classes: manifest.classes.clone(),
            methods: manifest
                .usable_methods()
                .filter(|(_, method)| own.offers(*method, false))
                .map(|(entry, _)| entry.clone())
                .collect(),
            figures: manifest.figures.clone(),
            has_text_tower: !manifest.prompts.class_specific
                && manifest
                    .files
                    .iter()
                    .any(|entry| entry.role == Role::TextTower),
            batch: chosen.batch,
            device: chosen.report,
        };
        let device = opened.device.kind;
        let session = Self {
            source,
            bundle,
            manifest,
            model,
            device,
            classes: own.clone(),
            own,
            text: None,
            map_features,
            photos: HashMap::new(),
        };
        Ok((session, opened))
    }

    async fn read(&mut self, photos: &[PhotoId], blobs: Vec<JsValue>) {
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
        let features = match self.model.encode(pixels).await {
            Ok(features) => features,
            // A GPU that gives no results is as good as lost, whether the browser said so yet or not.
            Err(message) if self.device == DeviceKind::Gpu => {
                return line::send(&Report::DeviceLost { message });
            }
            Err(cause) => return line::report_death(&cause),
        };
        let encode = (browser::now() - began) / decoded.len() as f64;
        for ((id, (width, height), note, timings, thumbnail), feature) in
            decoded.into_iter().zip(features)
        {
            let began = browser::now();
            match self.score(&feature) {
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
                        scores,
                    });
                    line::send_with(&Report::Photo { id, reading }, &thumbnail);
                    self.photos.insert(id, feature);
                }
                Err(error) => line::send(&Report::Unreadable {
                    id,
                    message: format!("{error}."),
                }),
            }
        }
    }

    fn score(&self, feature: &[f32]) -> Result<web::message::Scores, scoring::ScoringError> {
        let map = self.manifest.figures.map.as_ref();
        let place = map.and_then(|map| scoring::place(feature, map, &self.map_features));
        scoring::score(feature, &self.classes, &self.manifest.methods, place)
    }

    async fn change_classes(&mut self, names: Vec<String>) {
        match self.features_of(&names).await {
            Ok(classes) => self.classes = classes,
            Err(message) => return line::send(&Report::ClassesRefused { message }),
        }
        let edited = names != self.manifest.classes;
        let outsiders = match &self.manifest.figures.map {
            Some(map) if edited => {
                let methods = &self.manifest.methods;
                scoring::outsiders(map, &self.map_features, &self.classes, methods)
                    .unwrap_or_default()
            }
            _ => BTreeMap::new(),
        };
        let photos = self
            .photos
            .iter()
            .filter_map(|(id, feature)| Some((*id, self.score(feature).ok()?)));
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
            let (full, _) = fetch(
                &self.source,
                &self.manifest,
                &[Role::ImageTower, Role::KnownAnswers],
            )
            .await?;
            self.text = Some(TextSide::new(&full, &self.own)?);
        }
        match &mut self.text {
            Some(text) => text.features(names, &self.bundle, &self.own).await,
            None => Err("The text tower is not there.".to_owned()),
        }
    }
}

/// The files of a bundle but for those of some roles.
async fn fetch(
    source: &Source,
    manifest: &Manifest,
    without: &[Role],
) -> Result<(Bundle, bool), String> {
    let said = |error: &dyn std::fmt::Display| format!("{error}.");
    let mut part = manifest.clone();
    part.files.retain(|entry| !without.contains(&entry.role));
    if without.contains(&Role::KnownAnswers) {
        part.known_answers.clear();
    }
    let files = part.files.clone();
    let total: u64 = files.iter().map(|entry| entry.bytes).sum();
    let mut reader = BundleReader::new(part);
    let (mut before, mut cached) = (0, true);
    for entry in &files {
        let mut last = 0;
        let mut progress = |bytes: u64| {
            if bytes - last >= STEP || bytes == entry.bytes {
                last = bytes;
                let what = "Loading the model".to_owned();
                line::send(&Report::Loading {
                    what,
                    loaded: before + bytes,
                    total,
                });
            }
        };
        let (bytes, from_cache) = source.file(entry, &mut progress).await?;
        cached &= from_cache;
        reader
            .add(&entry.name, &bytes)
            .map_err(|error| said(&error))?;
        before += entry.bytes;
    }
    Ok((reader.finish().map_err(|error| said(&error))?, cached))
}

/// A model on the chosen device if it computes rightly there, else on the CPU.
async fn trusted(bundle: &Bundle, chosen: Chosen) -> Result<(Model, Chosen), String> {
    loading("Checking the device");
    let refusal = match tried(bundle, &chosen).await {
        Ok((model, check)) => return Ok((model, with_check(chosen, check))),
        Err(refusal) => refusal,
    };
    if chosen.report.kind == DeviceKind::Cpu {
        return Err(format!(
            "The CPU backend is not usable: {refusal}. Open the page in another browser."
        ));
    }
    let cpu = device::cpu(Some(format!(
        "{} is not used, because {refusal}.",
        chosen.report.name
    )));
    match tried(bundle, &cpu).await {
        Ok((model, check)) => Ok((model, with_check(cpu, check))),
        Err(refusal) => Err(format!(
            "Neither the GPU nor the CPU is usable: {refusal}. Open the page in another browser."
        )),
    }
}

async fn tried(bundle: &Bundle, chosen: &Chosen) -> Result<(Model, Option<(usize, f32)>), String> {
    let model = Model::new(bundle, &chosen.device)?;
    let check = model.check(bundle).await?;
    Ok((model, check))
}

fn with_check(mut chosen: Chosen, check: Option<(usize, f32)>) -> Chosen {
    chosen.report.check = check;
    chosen
}

fn loading(what: &str) {
    line::send(&Report::Loading {
        what: what.to_owned(),
        loaded: 0,
        total: 0,
    });
}

/// The bundle in a line.
fn describe(manifest: &Manifest) -> String {
    let prompts = &manifest.prompts;
    let trained: Vec<&str> = manifest
        .provenance
        .data
        .iter()
        .filter(|source| source.used_for.contains("train") || source.used_for.contains("learn"))
        .map(|source| source.name.as_str())
        .collect();
    let trained = match trained.is_empty() {
        true => String::new(),
        false => format!(", learned on {}", trained.join(" and ")),
    };
    let negatives = match prompts.negatives {
        1 => "1 negative prompt a class".to_owned(),
        count => format!("{count} negative prompts a class"),
    };
    format!(
        "{} classes, {negatives}{trained}, seed {};",
        manifest.classes.len(),
        prompts.seed
    )
}
