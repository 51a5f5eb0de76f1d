//! A whole run: pairs → features → the "no" tower → a model directory.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, bail};
use burn::tensor::{Device, Tensor};
use shared::bundle::{Precision, TensorValues, Tensors, encode_tensors};
use shared::clip::import::NO_PROMPTS;
use shared::clip::preprocess::DecodeLimits;
use shared::clip::{NoTextTower, TextTower, Tokenizer, Weights};

use super::learn::{Course, Obedience, Pairs, Started, learn, obedience, optimizer};
use super::pairs::Captioned;
use crate::command::encode::say_skipped;
use crate::features::{
    EncodeOptions, FeatureCache, FeaturePrecision, Resume, Worker, check_destination, encode,
};
use crate::lit::tower::tensors as tower_tensors;
use crate::model::{CARD_FILE, MODEL, ModelDirectory, NO_TEXT_FILE, TEXT_FILE};
use crate::output::{self, FolderWriter, shown};
use crate::progress::{duration_text, say};
use crate::training::batches::shuffled;
use crate::training::module_checkpoint::{ModuleCheckpoint, SavedModule, numbered};
use crate::training::run::{frozen_text_tower, values};
use crate::training::run_lock::RunLock;

/// Every so many pairs one is held out to measure on, and at most so many.
const HELD_OUT_EVERY: usize = 10;
const MOST_HELD_OUT: usize = 500;

/// Name under which the losses stand in a checkpoint.
const LOSSES: &str = "losses";

/// What a run is told.
pub struct Run {
    /// The model that gets a "no" tower.
    pub model: ModelDirectory,
    /// Images with captions.
    pub data: PathBuf,
    /// The model directory to write.
    pub out: PathBuf,
    /// Where image features are kept.
    pub work: PathBuf,
    /// How many "no" prompts are learned; 0 for the tower alone.
    pub prompts: usize,
    /// How long and how fast.
    pub course: Course,
    /// How the tower is kept.
    pub precision: Precision,
    /// Larger images are left out.
    pub limits: DecodeLimits,
    /// Go on from the checkpoint of a killed run.
    pub resume: bool,
    /// Where it is computed.
    pub device: Device,
}

/// Learns a "no" tower and writes the model with it.
pub fn run(run: &Run) -> Result<()> {
    let since = Instant::now();
    MODEL.check(&run.out)?;
    let captioned = Captioned::open(&run.data)?;
    output::create_folder(&run.work)?;
    let _turn = RunLock::take(&run.work, "--work")?;
    for warning in &captioned.dataset.warnings {
        say(&format!("note: {warning}"));
    }
    let autodiff = run.device.clone().autodiff();
    let yes = frozen_text_tower(&run.model, &autodiff)?;
    let tokenizer = run.model.tokenizer()?;
    let (learning, held_out) = halves(&features(run, &captioned)?, &captioned, run, &tokenizer)?;
    say(&format!(
        "{} pairs to learn from, {} to measure on",
        learning.texts.len(),
        held_out.texts.len()
    ));
    let checkpoint = checkpoint(run, &learning)?;
    let start = start(run, &checkpoint, &autodiff)?;
    let learned = learn(&yes, start, &learning, &run.course, &autodiff, |state| {
        checkpoint.save(state.losses.len(), &saved(state)?, &state.optimizer)
    })?;
    let obeys = obedience(&yes, &learned.tower, &held_out)?;
    let tensors = tensors(&learned.tower)?;
    let story = story(run, &learning, &held_out, obeys, &learned.losses);
    write(run, &tensors, &story)?;
    say(&format!(
        "{} in {}: of pairs held out, {:.1} % of images say yes to their own caption, and no to {:.1} % of the others",
        shown(&run.out),
        duration_text(since.elapsed().as_secs_f64()),
        100.0 * obeys.yes_to_own,
        100.0 * obeys.no_to_others
    ));
    Ok(())
}

fn features(run: &Run, captioned: &Captioned) -> Result<FeatureCache> {
    let file = run.work.join("pairs.safetensors");
    check_destination(&file)?;
    let loaded = run.model.image_tower(&run.device)?;
    let report = encode(
        &captioned.dataset,
        &run.model.config,
        &loaded.key,
        &[Worker {
            tower: &loaded.tower,
            device: &run.device,
        }],
        &file,
        &EncodeOptions {
            batch: 16,
            precision: FeaturePrecision::F16,
            limits: run.limits,
            resume: Resume::WhereItFits,
            part: None,
        },
    )?;
    say_skipped(&report);
    FeatureCache::open(&file)
}

/// Pairs to learn from and pairs to measure on, drawn by the seed.
fn halves(
    features: &FeatureCache,
    captioned: &Captioned,
    run: &Run,
    tokenizer: &Tokenizer,
) -> Result<(Pairs, Pairs)> {
    let count = features.len();
    if count < 4 {
        bail!(
            "{}: {count} images with a caption could be read; a \"no\" is learned from the other captions, of four or more",
            run.data.display()
        );
    }
    let order = shuffled(count, run.course.seed ^ 0x4A1F);
    let held_out = (count / HELD_OUT_EVERY).clamp(2, MOST_HELD_OUT);
    let files = features.files();
    let of = |rows: &[usize]| Pairs {
        images: features.gather(rows.iter().copied()),
        texts: rows
            .iter()
            .map(|&row| {
                let caption = captioned.caption(files[row]);
                tokenizer.tokenize(caption, run.model.config.text.context_length)
            })
            .collect(),
        logit_scale: run.model.config.logit_scale,
        width: features.width(),
    };
    Ok((of(&order[held_out..]), of(&order[..held_out])))
}

/// The checkpoint of this run and no other.
fn checkpoint(run: &Run, learning: &Pairs) -> Result<ModuleCheckpoint> {
    let told = format!("{:?} {} {}", run.course, run.prompts, run.model.text_key()?);
    let images: Vec<u8> = learning
        .images
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let texts: Vec<u8> = learning
        .texts
        .iter()
        .flatten()
        .flat_map(|id| id.to_le_bytes())
        .collect();
    Ok(ModuleCheckpoint::new(
        &run.work,
        &[told.as_bytes(), &images, &texts],
    ))
}

/// What a checkpoint holds beside the optimizer's state.
fn saved(state: &Started) -> Result<Tensors> {
    let mut tensors = tensors(&state.tower)?;
    let losses = TensorValues::new([state.losses.len()], state.losses.clone())?;
    tensors.insert(LOSSES.to_owned(), losses);
    Ok(tensors)
}

/// Where a killed run stood, or the start.
fn start(run: &Run, checkpoint: &ModuleCheckpoint, device: &Device) -> Result<Started> {
    let saved = match run.resume {
        true => checkpoint.open(optimizer())?,
        false => None,
    };
    let Some(SavedModule {
        step,
        tensors,
        optimizer,
    }) = saved
    else {
        return Ok(Started {
            tower: numbered(begin(run, device)?),
            optimizer: optimizer(),
            losses: Vec::new(),
        });
    };
    say(&format!("resuming the \"no\" text tower at step {step}"));
    let config = &run.model.config;
    let weights = Weights::new(&tensors, device);
    let tower = NoTextTower::load(&weights, &config.text, config.embed_dim)?;
    let losses = tensors.get(LOSSES);
    Ok(Started {
        tower: numbered(tower),
        optimizer,
        losses: losses
            .map(|losses| losses.values.clone())
            .unwrap_or_default(),
    })
}

/// The model's own text tower once more, with "no" prompts of zeros.
fn begin(run: &Run, device: &Device) -> Result<NoTextTower> {
    let config = &run.model.config;
    let tensors = run.model.tensors(TEXT_FILE)?;
    let weights = Weights::new(&tensors, device);
    let tower = TextTower::load(&weights, &config.text, config.embed_dim)?;
    let prompts = (run.prompts > 0).then(|| {
        let shape = [run.prompts, config.text.context_length, config.text.width];
        Tensor::zeros(shape, device)
    });
    Ok(NoTextTower::new(tower, prompts))
}

fn tensors(tower: &NoTextTower) -> Result<Tensors> {
    let mut tensors = tower_tensors(tower.tower())?;
    if let Some(prompts) = tower.prompts() {
        let shape = prompts.dims().to_vec();
        let values = values(prompts.detach())?;
        tensors.insert(NO_PROMPTS.to_owned(), TensorValues { shape, values });
    }
    Ok(tensors)
}

/// For the model card.
fn story(
    run: &Run,
    learning: &Pairs,
    held_out: &Pairs,
    obeys: Obedience,
    losses: &[f32],
) -> String {
    let loss = |loss: Option<&f32>| loss.map_or("–".to_owned(), |loss| format!("{loss:.3}"));
    format!(
        "\n## The \"no\" text tower\n\nLearned by `trainer clipn` as in CLIPN (Wang et al., ICCV 2023) from {} images \
         with captions: {} \"no\" prompts, {} steps of {} pairs, rate {}, seed {}; loss from {} to {}. Of {} pairs held \
         out, {:.1} % of images say yes to their own caption, and no to {:.1} % of the others.\n",
        learning.texts.len(),
        run.prompts,
        run.course.steps,
        run.course.batch.min(learning.texts.len()),
        run.course.rate,
        run.course.seed,
        loss(losses.first()),
        loss(losses.last()),
        held_out.texts.len(),
        100.0 * obeys.yes_to_own,
        100.0 * obeys.no_to_others,
    )
}

/// The files of the model, with the tower beside them.
fn write(run: &Run, tensors: &Tensors, story: &str) -> Result<()> {
    let folder = FolderWriter::new(&run.out, &MODEL)?;
    for file in run.model.files() {
        match file {
            NO_TEXT_FILE | CARD_FILE => {}
            file => folder.write(file, &run.model.read(file)?)?,
        }
    }
    let mut card = match run.model.files().contains(&CARD_FILE) {
        true => run.model.read(CARD_FILE)?.into_owned(),
        false => format!("# {}\n", run.model.config.name).into_bytes(),
    };
    card.extend_from_slice(story.as_bytes());
    folder.write(CARD_FILE, &card)?;
    folder.write(NO_TEXT_FILE, &encode_tensors(tensors, run.precision)?)?;
    folder.finish()
}
