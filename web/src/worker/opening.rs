//! From a bundle's files to a session that judges photos.

use std::collections::HashMap;
use std::rc::Rc;

use shared::bundle::{Bundle, BundleReader, FileEntry, Manifest, MethodEntry, Role, tensor_name};
use shared::score::ClassFeatures;
use wasm_bindgen::prelude::*;
use web::message::{BundleSource, DeviceChoice, DeviceKind, Opened, Report};

use super::arrivals::Arrivals;
use super::classes::TextSide;
use super::device::{self, Chosen};
use super::model::{self, Model};
use super::session::Session;
use super::source::Source;
use super::{browser, line};

/// Roles that only other class names need; they are fetched when the first such name comes.
const LAZY: [Role; 5] = [
    Role::TextTower,
    Role::Vocabulary,
    Role::Words,
    Role::Prompts,
    Role::Outsiders,
];

/// Opens a bundle on the device that was chosen, or on the CPU with the reason why not.
///
/// # Errors
/// What is missing or does not fit, and the way out, in words.
pub async fn open(
    from: &BundleSource,
    choice: DeviceChoice,
    attachments: Vec<JsValue>,
) -> Result<(Session, Opened), String> {
    let said = |error: &dyn std::fmt::Display| format!("{error}.");
    let source = Rc::new(Source::open(from, attachments).await?);
    let text = source.manifest().await?;
    let manifest = Manifest::parse(&text).map_err(|error| said(&error))?;
    let small = of_roles(&manifest, |role| {
        role != Role::ImageTower && !LAZY.contains(&role)
    });
    let tower = of_roles(&manifest, |role| role == Role::ImageTower);
    // One order for all, so that no file waits for another; the small ones come first.
    let mut files = Arrivals::start(&source, small.iter().chain(&tower).cloned(), model_loading);
    let bundle = read(&manifest, &small, &mut files).await?;
    let own = bundle.class_features().map_err(|error| said(&error))?;
    let chosen = device::choose(choice, &manifest.model).await;
    let methods: Vec<MethodEntry> = manifest
        .usable_methods()
        .filter(|(_, method)| own.offers(*method, true))
        .map(|(entry, _)| entry.clone())
        .collect();
    if methods.is_empty() {
        return Err("This bundle is not used: of none of its methods it holds all that this page takes to score with it. Export it again.".to_owned());
    }
    let (model, chosen, cached) = trusted(&source, &bundle, tower, files, chosen).await?;
    source.settle(&text, &manifest).await;
    let map_features = bundle
        .tensor(Role::Features, tensor_name::MAP_FEATURES)
        .map(|tensor| tensor.values.clone())
        .unwrap_or_default();
    let opened = Opened {
        model: manifest.model.name.clone(),
        description: describe(&manifest),
        bytes: manifest.total_bytes(),
        cached,
        kept: source.keeps(),
        classes: manifest.classes.clone(),
        methods,
        figures: manifest.figures.clone(),
        data: manifest.provenance.data.clone(),
        has_text_tower: !manifest.prompts.class_specific
            && manifest
                .files
                .iter()
                .any(|entry| entry.role == Role::TextTower),
        batch: chosen.batch,
        memory: browser::memory(),
        device: chosen.report,
    };
    let session = Session {
        source,
        bundle,
        manifest,
        model,
        device: opened.device.kind,
        classes: own.clone(),
        own,
        text: None,
        map_features,
        photos: HashMap::new(),
    };
    Ok((session, opened))
}

/// What other class names need of a bundle.
///
/// # Errors
/// What does not come or does not fit, in words.
pub async fn text_side(
    source: &Rc<Source>,
    manifest: &Manifest,
    own: &ClassFeatures,
) -> Result<TextSide, String> {
    let small = of_roles(manifest, |role| {
        role == Role::Features || (LAZY.contains(&role) && role != Role::TextTower)
    });
    let tower = of_roles(manifest, |role| role == Role::TextTower);
    let report = |loaded, total| Report::LoadingClasses { loaded, total };
    let mut files = Arrivals::start(source, small.iter().chain(&tower).cloned(), report);
    let bundle = read(manifest, &small, &mut files).await?;
    let tensors = model::tensors(&mut files, |tensor| tensor).await?;
    TextSide::new(bundle, &tensors, own)
}

fn of_roles(manifest: &Manifest, wanted: impl Fn(Role) -> bool) -> Vec<FileEntry> {
    let files = manifest.files.iter();
    files.filter(|entry| wanted(entry.role)).cloned().collect()
}

/// A bundle of these files alone, which come next.
async fn read(
    manifest: &Manifest,
    files: &[FileEntry],
    arrivals: &mut Arrivals,
) -> Result<Bundle, String> {
    let said = |error: &dyn std::fmt::Display| format!("{error}.");
    let mut part = manifest.clone();
    part.files = files.to_vec();
    if !files.iter().any(|entry| entry.role == Role::KnownAnswers) {
        // Answers whose pixels lie in such a file cannot be asked without it.
        part.known_answers
            .retain(|answer| matches!(answer.input, shared::bundle::KnownInput::Seed { .. }));
    }
    let mut reader = BundleReader::new(part);
    for _ in files {
        if let Some((entry, bytes)) = arrivals.next().await? {
            reader
                .add(&entry.name, bytes)
                .map_err(|error| said(&error))?;
        }
    }
    reader.finish().map_err(|error| said(&error))
}

/// A model on the chosen device if it computes rightly there, else on the CPU; and whether every file
/// came out of the cache.
///
/// # Errors
/// A weight that is missing or of another shape; known answers that the CPU does not give either.
async fn trusted(
    source: &Rc<Source>,
    bundle: &Bundle,
    tower: Vec<FileEntry>,
    files: Arrivals,
    chosen: Chosen,
) -> Result<(Model, Chosen, bool), String> {
    let config = &bundle.manifest.model;
    let (model, files) = Model::load(config, &chosen.device, files).await?;
    let cached = files.are_cached();
    loading("Checking the device");
    let refusal = match model.check(bundle).await {
        Ok(check) => return Ok((model, with_check(chosen, check), cached)),
        Err(refusal) => refusal,
    };
    if chosen.report.kind == DeviceKind::Cpu {
        return Err(unknown_answers(&refusal));
    }
    drop(model);
    let cpu = device::cpu(Some(format!(
        "{} is not used, because {refusal}.",
        chosen.report.name
    )));
    let files = Arrivals::start(source, tower, model_loading);
    let (model, _) = Model::load(config, &cpu.device, files).await?;
    match model.check(bundle).await {
        Ok(check) => Ok((model, with_check(cpu, check), cached)),
        Err(refusal) => Err(unknown_answers(&refusal)),
    }
}

/// No device gives the known answers: nobody can tell from here who is to blame.
fn unknown_answers(refusal: &str) -> String {
    format!(
        "This bundle is not used, because {refusal}. Either its weights are damaged, or this browser computes wrongly: export the bundle again, or open the page in another browser."
    )
}

fn with_check(mut chosen: Chosen, check: Option<(usize, f32)>) -> Chosen {
    chosen.report.check = check;
    chosen
}

fn model_loading(loaded: u64, total: u64) -> Report {
    Report::Loading {
        what: "Loading the model".to_owned(),
        loaded,
        total,
    }
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
        .map(|source| source.source.as_str())
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
