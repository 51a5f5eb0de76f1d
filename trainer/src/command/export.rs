//! `trainer export`: the bundle of a finished run, in another precision.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use burn::tensor::Device;
use clap::Args;
use shared::bundle::{
    self, Bundle, BundleContent, KnownAnswer, MANIFEST_FILE, Precision, Role, TensorGroup,
    TextFile, decode_tensors, encode_tensors,
};
use shared::clip::ImageTower;

use super::limits::ImageLimits;
use crate::agreement::{Agreement, Photos, Rounded};
use crate::detector::open_bundle;
use crate::output::kind::BUNDLE;
use crate::output::{self, FolderWriter, shown};
use crate::progress::say;
use crate::training::bundle::known_features;

/// Write the bundle of a finished run in another precision.
///
/// The towers are stored anew; class features, prompts, thresholds and calibration stay as they
/// were. Prints what the precision costs: the cosine of image and text features with those of the
/// run's own weights. `trainer eval` says what that means for detection on images of your own.
#[derive(Args, Debug)]
pub struct ExportArguments {
    /// Directory of the run (with `bundle` inside), or a bundle itself
    #[arg(value_name = "RUN", default_value = "out/default")]
    pub run: PathBuf,

    /// The bundle directory to write
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,

    /// How to keep the towers: f32, f16 or int8 (per channel)
    #[arg(long, default_value = "f16", value_name = "f32|f16|int8")]
    pub precision: Precision,

    /// Photos to hold the rounded weights against the run's on; generated pictures when left out
    #[arg(long, value_name = "DIR")]
    pub photos: Option<PathBuf>,

    /// Write the bundle even if its features agree with the run's to less than 0.99
    #[arg(long)]
    pub force: bool,

    #[command(flatten)]
    pub limits: ImageLimits,
}

/// Runs `trainer export`.
pub fn run(arguments: ExportArguments) -> Result<()> {
    let source = bundle_of(&arguments.run)?;
    BUNDLE.check(&arguments.out)?;
    if output::is_within(&arguments.out, &source) || output::is_within(&source, &arguments.out) {
        bail!(
            "--out {}: this is the bundle that is read, and what the towers lose in another precision would be gone: give another --out",
            arguments.out.display()
        );
    }
    let mut bundle = open_bundle(&source)?;
    let photos = Photos::read(
        arguments.photos.as_deref(),
        &bundle.manifest.model,
        &arguments.limits.into(),
    )?;
    let agreement = requantise(&mut bundle, arguments.precision, &photos)?;
    if !arguments.force {
        agreement.require()?;
    }
    answer_anew(&mut bundle, &Device::flex())?;
    let bytes = write(&bundle, arguments.precision, &arguments.out)?;
    say(&format!(
        "{}: {} of {:.1} MB, towers in {}; beside {}, {agreement}",
        shown(&arguments.out),
        bundle.manifest.model.name,
        bytes as f64 / 1e6,
        arguments.precision,
        shown(&source),
    ));
    Ok(())
}

fn bundle_of(run: &Path) -> Result<PathBuf> {
    let within = run.join("bundle");
    if run.join(MANIFEST_FILE).is_file() {
        Ok(run.to_path_buf())
    } else if within.join(MANIFEST_FILE).is_file() {
        Ok(within)
    } else {
        bail!(
            "{} is no finished run: it holds neither {MANIFEST_FILE} nor bundle/{MANIFEST_FILE}; finish it with `trainer train --out {} --resume`",
            run.display(),
            run.display()
        )
    }
}

/// Rounds the towers to `precision`, and holds them against what they were. A bundle may have no
/// text tower.
fn requantise(bundle: &mut Bundle, precision: Precision, photos: &Photos) -> Result<Agreement> {
    let mut towers = Vec::new();
    for role in [Role::ImageTower, Role::TextTower] {
        if let Some(exact) = bundle.tensors.get(&role) {
            let bytes = encode_tensors(exact, precision)?;
            towers.push((role, decode_tensors(&role.to_string(), &bytes)?));
        }
    }
    let rounded = |role: Role| {
        let (_, kept) = towers.iter().find(|(of, _)| *of == role)?;
        let exact = bundle.tensors.get(&role)?;
        Some(Rounded { exact, kept })
    };
    let agreement = Agreement::measure(
        &bundle.manifest.model,
        precision,
        rounded(Role::ImageTower).context("the bundle has no image tower: train again")?,
        rounded(Role::TextTower),
        photos,
    )?;
    bundle.tensors.extend(towers);
    Ok(agreement)
}

/// Brings the known answers in line with the towers.
fn answer_anew(bundle: &mut Bundle, device: &Device) -> Result<()> {
    let model = &bundle.manifest.model;
    let tower = ImageTower::load(bundle.role(Role::ImageTower)?, model, device)
        .context("the bundle's image tower")?;
    let mut answers = Vec::new();
    for answer in &bundle.manifest.known_answers {
        let pixels = bundle.known_pixels(answer)?;
        let patches = !answer.mean_patch.is_empty();
        let found = known_features(&tower, model, device, pixels, patches)?;
        if found.feature.len() != answer.feature.len() {
            return Err(anyhow!(
                "the known answer `{}` has {} numbers, and the image tower gives {}: train again",
                answer.name,
                answer.feature.len(),
                found.feature.len()
            ));
        }
        answers.push(KnownAnswer {
            feature: found.feature,
            mean_patch: found.mean_patch,
            ..answer.clone()
        });
    }
    bundle.manifest.known_answers = answers;
    Ok(())
}

/// Writes the bundle, whole or not at all; gives its size in bytes.
fn write(bundle: &Bundle, precision: Precision, out: &Path) -> Result<u64> {
    let manifest = &bundle.manifest;
    let kept = |role: Role| {
        let entry = manifest.files.iter().find(|entry| entry.role == role);
        entry.map_or(Precision::F32, |entry| match entry.dtype {
            bundle::Dtype::F16 => Precision::F16,
            bundle::Dtype::Int8 => Precision::Int8,
            bundle::Dtype::F32 | bundle::Dtype::Utf8 => Precision::F32,
        })
    };
    let mut provenance = manifest.provenance.clone();
    if let Some(config) = provenance.config.as_object_mut() {
        let before = config.insert("precision".to_owned(), precision.to_string().into());
        config.extend(before.map(|before| ("exported_from".to_owned(), before)));
    }
    let content = BundleContent {
        model: manifest.model.clone(),
        classes: manifest.classes.clone(),
        prompts: manifest.prompts.clone(),
        methods: manifest.methods.clone(),
        figures: manifest.figures.clone(),
        provenance,
        known_answers: manifest.known_answers.clone(),
        tensors: bundle
            .tensors
            .iter()
            .map(|(&role, tensors)| TensorGroup {
                role,
                precision: match role {
                    Role::ImageTower | Role::TextTower => precision,
                    _ => kept(role),
                },
                tensors: tensors.clone(),
            })
            .collect(),
        texts: bundle
            .texts
            .iter()
            .map(|(&role, content)| TextFile {
                role,
                content: content.clone(),
            })
            .collect(),
    };
    let folder = FolderWriter::new(out, &BUNDLE)?;
    let mut bytes = 0;
    for (name, content) in bundle::write(&content)? {
        bytes += content.len() as u64;
        folder.write(&name, &content)?;
    }
    folder.finish()?;
    Ok(bytes)
}
