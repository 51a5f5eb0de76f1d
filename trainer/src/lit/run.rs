//! The whole of `trainer lit`, from a checkpoint to a model directory.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use shared::bundle::{Precision, TensorValues, Tensors, decode_tensors, encode_tensors};
use shared::clip::text::TextTower;
use shared::clip::tokenizer::words;
use shared::clip::{ClipConfig, ImageTowerConfig, Tokenizer, Weights};

use super::card::{Facts, card};
use super::concepts::{self, Concepts};
use super::directory;
use super::learn::{Course, learn};
use super::matrix::values;
use super::measure::{Measurement, folder_name};
use super::photos::{LockedTower, Photos};
use super::progress_file::Checkpoint;
use super::random::Random;
use super::space::{Labels, Space, Teacher};
use super::templates::{self, ENSEMBLE, SINGLE};
use super::tower;
use crate::data::{self, Split};
use crate::output::{create_folder, read_at_most, shown};
use crate::progress::{duration_text, say};
use crate::training::run_lock::RunLock;

/// Learning rate of fitting the image projection to the text features.
const REFIT_RATE: f64 = 3e-4;

/// The most bytes of a list of merges: OpenAI's has three million.
const MAX_MERGES_BYTES: u64 = 256 << 20;

/// What a run is asked to do.
pub struct Run {
    pub tower: PathBuf,
    pub data: PathBuf,
    pub measure: Option<PathBuf>,
    pub concepts: PathBuf,
    pub vocabulary: Option<PathBuf>,
    /// Width of the joint space.
    pub joint_width: usize,
    /// Width and layers of the text tower.
    pub width: usize,
    pub layers: usize,
    /// Steps that fit the joint space; three quarters of them fit the image projection at the end.
    pub space_steps: usize,
    pub bag_steps: usize,
    pub steps: usize,
    /// Steps between checkpoints.
    pub save_every: usize,
    pub seed: u64,
    pub out: PathBuf,
    pub work: PathBuf,
    pub resume: bool,
    pub device: Device,
    /// What the device is called.
    pub device_name: String,
}

/// Makes the model directory.
pub fn run(run: &Run) -> Result<()> {
    let started = Instant::now();
    if run.width == 0 || !run.width.is_multiple_of(tower::HEAD_WIDTH) {
        bail!(
            "--width {}: the width of the text tower must be a multiple of {}",
            run.width,
            tower::HEAD_WIDTH
        );
    }
    let locked = LockedTower::open(&run.tower)?;
    let concepts = Concepts::open(&run.concepts, locked.classes())?;
    directory::check_place(&run.out)?;
    create_folder(&run.work)?;
    let _turn = RunLock::take(&run.work, "--work")?;
    let merges = match &run.vocabulary {
        Some(path) => String::from_utf8(read_at_most(path, MAX_MERGES_BYTES)?)
            .with_context(|| format!("{} is no UTF-8 text", path.display()))?,
        None => Tokenizer::openai_merges().to_owned(),
    };
    let sentences = templates::texts();
    let core = sentences
        .iter()
        .map(String::as_str)
        .chain(concepts.core_texts());
    let vocabulary = Tokenizer::prune(&merges, core)?;
    let tokenizer = Tokenizer::from_vocabulary(&vocabulary)?;

    let labelled = data::open(&run.data)?;
    labelled.require_classes()?;
    let learned = match labelled.is_split() {
        true => labelled.split(Split::Train)?,
        false => labelled.clone(),
    };
    let photos = locked.pooled(&learned, "train", &run.work, &run.device)?;
    let teacher = teacher(&locked, &concepts, &photos, &run.device)?;
    let config = clip_config(run, &locked, &tokenizer);

    let shape = [run.joint_width, run.width, run.layers, run.space_steps];
    let parts: [&[u8]; 7] = [
        &read_at_most(&run.concepts, concepts::MAX_BYTES)?,
        vocabulary.as_bytes(),
        &run.seed.to_le_bytes(),
        &(run.bag_steps as u64).to_le_bytes(),
        &(run.steps as u64).to_le_bytes(),
        &shape.map(|size| (size as u64).to_le_bytes()).concat(),
        &photos
            .features
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect::<Vec<_>>(),
    ];
    let checkpoint = Checkpoint::new(&run.work, &parts);
    let course = Course {
        space_steps: run.space_steps,
        bag_steps: run.bag_steps,
        steps: run.steps,
        seed: run.seed,
        save_every: run.save_every,
        resume: run.resume,
        device: run.device.clone(),
    };
    let (space, text) = learn(
        &course,
        &concepts,
        &tokenizer,
        &teacher,
        &config,
        &checkpoint,
    )?;

    // From here on with the weights as they are stored.
    let text = decode_tensors("text", &encode_tensors(&text, Precision::F16)?)?;
    let loaded = TextTower::load(
        &Weights::new(&text, &run.device),
        &config.text,
        run.joint_width,
    )?;
    let names = concepts.prototype_names();
    let features = [&[SINGLE], ENSEMBLE]
        .map(|templates| tower::class_features(&loaded, &tokenizer, &names, templates));
    let space = teacher.fit(
        space,
        &features,
        run.space_steps * 3 / 4,
        REFIT_RATE,
        &mut Random::new(run.seed, 3),
    )?;
    let tensors = all_tensors(&locked, &teacher, &space, text)?;
    let config = ClipConfig {
        logit_scale: space.log_scale.clone().exp().into_scalar(),
        ..config
    };
    let seen = seen_words(&concepts, &sentences);
    let facts = Facts {
        tower: locked.name.clone(),
        image_size: locked.image.image_size,
        data: folder_name(&run.data),
        batch: super::train::CAPTIONS,
        resumed: run.resume,
        device: run.device_name.clone(),
        photos: photos.len(),
        photographed: concepts.photographed.len(),
        classes: concepts.imagenet.len(),
        concepts: concepts.prototype_names().len()
            + concepts.hypernyms.len()
            + concepts.nouns.len()
            + concepts.attributes.len()
            + concepts.styles.len(),
        bag_steps: run.bag_steps,
        steps: run.steps,
        seed: run.seed,
        minutes: started.elapsed().as_secs_f64() / 60.0,
        vocabulary: tokenizer.vocabulary_size(),
        words: seen.len(),
        d: run.joint_width,
        text: format!(
            "{} layers, width {}, {} heads, {} tokens of context",
            config.text.layers, config.text.width, config.text.heads, config.text.context_length
        ),
        logit_scale: config.logit_scale,
        image_parameters: count(&tensors, true),
        text_parameters: count(&tensors, false),
        held_out: None,
        measured: None,
    };
    let facts = Measurement {
        run,
        locked: &locked,
        concepts: &concepts,
        teacher: &teacher,
    }
    .measure(&space, &features, facts, &labelled)?;
    let content = directory::Content {
        config: &config,
        tensors,
        vocabulary: &vocabulary,
        seen: &seen,
        card: &card(&facts),
    };
    directory::write(&run.out, content)?;
    say(&format!(
        "{}: done in {}",
        shown(&run.out),
        duration_text(started.elapsed().as_secs_f64())
    ));
    Ok(())
}

/// What the tower's classifier and the labelled photos teach about the joint space.
fn teacher(
    locked: &LockedTower,
    concepts: &Concepts,
    photos: &Photos,
    device: &Device,
) -> Result<Teacher> {
    let names: Vec<_> = concepts
        .photographed
        .iter()
        .map(|class| class.name.as_str())
        .collect();
    let photographed = concepts.photographed_rows();
    let like = concepts
        .photographed
        .iter()
        .zip(&photographed)
        .flat_map(|(class, &row)| class.like.iter().map(move |&of| (of, row)))
        .collect();
    let labels = Labels {
        photos: photos.labels_among(&names)?,
        photographed,
        like,
    };
    labels.check(&names, locked.classes())?;
    let features = photos.features.clone();
    Teacher::new(
        locked.weight.clone(),
        locked.bias.clone(),
        features,
        labels,
        device,
    )
}

fn clip_config(run: &Run, locked: &LockedTower, tokenizer: &Tokenizer) -> ClipConfig {
    let mut image = locked.image.clone();
    image.projection = true;
    ClipConfig {
        name: "compact".to_owned(),
        embed_dim: run.joint_width,
        logit_scale: 1.0,
        image: ImageTowerConfig::EfficientnetLite(image),
        text: tower::config(tokenizer.vocabulary_size(), run.width, run.layers),
        preprocessing: locked.config.preprocessing.clone(),
    }
}

/// Both towers in canonical naming.
fn all_tensors(
    locked: &LockedTower,
    teacher: &Teacher,
    space: &Space,
    text: Tensors,
) -> Result<Tensors> {
    let mut tensors = locked.tensors.clone();
    let d = space.offset.dims()[1];
    let bias = space.offset.clone() - teacher.mean.clone().matmul(space.projection.clone());
    tensors.insert(
        "visual.proj.weight".to_owned(),
        TensorValues {
            shape: vec![d, locked.width()],
            values: values(space.projection.clone().transpose())?,
        },
    );
    tensors.insert(
        "visual.proj.bias".to_owned(),
        TensorValues {
            shape: vec![d],
            values: values(bias)?,
        },
    );
    tensors.extend(text);
    Ok(tensors)
}

fn count(tensors: &Tensors, image: bool) -> usize {
    let of = tensors
        .iter()
        .filter(|(name, _)| name.starts_with("visual.") == image);
    of.map(|(_, tensor)| tensor.values.len()).sum()
}

/// Every word of the training texts, sorted.
fn seen_words(concepts: &Concepts, sentences: &[String]) -> BTreeSet<String> {
    let texts = concepts.all_texts();
    texts
        .into_iter()
        .chain(sentences.iter().map(String::as_str))
        .flat_map(words)
        .collect()
}
