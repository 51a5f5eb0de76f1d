//! `trainer import`: a published checkpoint → a model directory.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use burn::tensor::Device;
use clap::Args;
use shared::bundle::{Precision, Tensors, decode_tensors, encode_tensors};
use shared::clip::import::NO_PROMPTS;
use shared::clip::{NoTextTower, Tokenizer, Weights};

use super::limits::ImageLimits;
use crate::agreement::{Agreement, Photos, Rounded};
use crate::checkpoint::{self, LoadedCheckpoint};
use crate::hub::{self, Environment, Repository, Snapshot};
use crate::model::{self, MODEL, ModelContent, ModelDirectory};
use crate::output::shown;
use crate::progress::say;

/// Turn a published checkpoint into a model directory.
///
/// Takes CLIP checkpoints of `transformers` (a directory with config.json and model.safetensors or
/// pytorch_model.bin, in one file or in shards with an index), state dicts of OpenAI's models,
/// open_clip and TinyCLIP (.pt, .bin, .safetensors, with open_clip_config.json beside them where
/// there is one), those of CLIPN with its "no" text tower, and EfficientNet-Lite (.pth), which has
/// an image tower only and gets a text tower by `trainer lit`. Pickle files are read without being
/// executed. OpenAI's own downloads are TorchScript: the error says how to make a state dict of one.
///
/// OWNER/NAME fetches the checkpoint from the Hugging Face hub. HF_ENDPOINT, HF_TOKEN, HF_HOME,
/// HF_HUB_CACHE and HF_HUB_OFFLINE mean what they mean to other tools, and the cache is theirs as
/// well. Every file is held against the hash that the hub gives; a download that breaks off goes on
/// where it was.
///
/// Without a configuration beside the weights, what a file does not say is taken as in OpenAI's models
/// (QuickGELU, 64 channels a head), and a note says so; TinyCLIP's, CLIPN's and OpenAI's own files say
/// it by their names.
#[derive(Args, Debug)]
pub struct ImportArguments {
    /// The checkpoint: a file, a directory with the weights and their configuration, or OWNER/NAME
    /// (or OWNER/NAME@REVISION) on the hub
    #[arg(value_name = "CHECKPOINT")]
    pub checkpoint: PathBuf,

    /// The model directory to write; for one from the hub it may be left out: `--model OWNER/NAME`
    /// then finds it
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    #[command(flatten)]
    pub options: ImportOptions,
}

#[derive(Args, Debug)]
pub struct ImportOptions {
    /// How to keep the weights: f32, f16 or int8 (per channel)
    #[arg(long, default_value = "f16", value_name = "f32|f16|int8")]
    pub precision: Precision,

    /// Name of the model in tables and reports [default: the checkpoint's own name]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,

    /// Photos to hold the rounded weights against the exact ones on; generated pictures when left
    /// out
    #[arg(long, value_name = "DIR")]
    pub photos: Option<PathBuf>,

    /// Write the model even if its features agree with the exact ones to less than 0.99
    #[arg(long)]
    pub force: bool,

    #[command(flatten)]
    pub limits: ImageLimits,
}

/// Runs `trainer import`.
pub fn run(arguments: ImportArguments) -> Result<()> {
    let ImportArguments {
        checkpoint,
        out,
        options,
    } = arguments;
    let repository = Repository::named_by(&checkpoint)?;
    let out = match (out, &repository) {
        (Some(out), _) => out,
        (None, Some(repository)) => repository.model_directory()?,
        (None, None) => {
            std::fs::metadata(&checkpoint).map_err(|error| {
                crate::output::explain(error, "open the checkpoint", &checkpoint)
            })?;
            anyhow::bail!("say where the model directory is to go: --out DIR")
        }
    };
    // Before anything is fetched or read: minutes may go into that.
    MODEL.check(&out)?;
    match repository {
        Some(repository) => import_from_hub(&repository, &out, &options),
        None => import(&checkpoint, None, &out, &options),
    }
}

/// The model directory at `path`; for OWNER/NAME, the imported one, imported now if it is not yet.
///
/// # Errors
/// When there is none and the hub has none either.
pub fn model_directory(path: &Path) -> Result<ModelDirectory> {
    let Some(repository) = Repository::named_by(path)? else {
        return ModelDirectory::open(path);
    };
    let directory = repository.model_directory()?;
    if !directory.join(model::CONFIG_FILE).is_file() {
        say(&format!(
            "{repository} is not imported yet; it is imported now, to {}",
            directory.display()
        ));
        let options = ImportOptions {
            precision: Precision::F16,
            name: None,
            photos: None,
            force: false,
            limits: ImageLimits::default(),
        };
        import_from_hub(&repository, &directory, &options)?;
    }
    ModelDirectory::open(&directory)
}

fn import_from_hub(repository: &Repository, out: &Path, options: &ImportOptions) -> Result<()> {
    let snapshot = hub::fetch(repository, &Environment::read()?)?;
    let origin = Origin {
        repository,
        snapshot: &snapshot,
    };
    import(&snapshot.weights, Some(&origin), out, options)
}

/// Where on the hub a checkpoint came from.
struct Origin<'a> {
    repository: &'a Repository,
    snapshot: &'a Snapshot,
}

fn import(
    checkpoint: &Path,
    origin: Option<&Origin>,
    out: &Path,
    options: &ImportOptions,
) -> Result<()> {
    let precision = options.precision;
    let name = options.name.clone().unwrap_or_else(|| match origin {
        Some(origin) => origin.repository.name().to_owned(),
        None => name_of(checkpoint),
    });
    let loaded = checkpoint::load(checkpoint, &name)?;
    if loaded.assumed {
        say(
            "note: no configuration lies beside the weights: QuickGELU and 64 channels a head are assumed, as in OpenAI's models; LAION's and others have GELU: put the model's open_clip JSON beside it as open_clip_config.json",
        );
    }
    let has_text = loaded.config.text.layers > 0;
    let vocabulary = has_text.then(|| vocabulary(&loaded)).transpose()?.flatten();
    let photos = Photos::read(
        options.photos.as_deref(),
        &loaded.config,
        &options.limits.into(),
    )?;
    // Both towers are built: every tensor is checked before anything is written.
    let agreement = agreement(&loaded, precision, &photos).with_context(|| shown(checkpoint))?;
    if let Some(no_text) = &loaded.checkpoint.no_text {
        let device = Device::flex();
        let weights = Weights::new(no_text, &device);
        NoTextTower::load(&weights, &loaded.config.text, loaded.config.embed_dim)
            .context("the \"no\" text tower")
            .with_context(|| shown(checkpoint))?;
    }
    if !options.force {
        agreement.require()?;
    }

    let card = card(&loaded, origin, precision, &agreement);
    let LoadedCheckpoint {
        config, checkpoint, ..
    } = loaded;
    let classifier = checkpoint.classifier.map(|classifier| {
        Tensors::from([
            ("weight".to_owned(), classifier.weight),
            ("bias".to_owned(), classifier.bias),
        ])
    });
    model::write(
        out,
        ModelContent {
            config: &config,
            tensors: checkpoint.tensors,
            precision,
            no_text: checkpoint.no_text,
            vocabulary,
            words: None,
            classifier,
            card: &card,
        },
    )?;
    say(&format!(
        "{}: {} ({precision}, image tower {:.1} MB), {agreement}",
        shown(out),
        config.name,
        size_of(&out.join(model::IMAGE_FILE)) as f64 / 1e6,
    ));
    if !has_text {
        say("it has an image tower only; `trainer lit` gives it a text tower");
    } else if vocabulary.is_none() {
        say(&format!(
            "note: its text tower has {} tokens, which are not OpenAI's: images can be encoded, prompts cannot until its merges lie in {}",
            config.text.vocabulary_size,
            out.join(model::VOCABULARY_FILE).display()
        ));
    }
    Ok(())
}

fn size_of(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |metadata| metadata.len())
}

fn name_of(path: &Path) -> String {
    let name = if path.is_dir() {
        path.file_name()
    } else {
        path.file_stem()
    };
    name.map_or_else(
        || "CLIP".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}

/// OpenAI's merges, if they are what the text tower was trained with.
fn vocabulary(loaded: &LoadedCheckpoint) -> Result<Option<&'static str>> {
    let openai = Tokenizer::openai()?;
    let fits = openai.vocabulary_size() == loaded.config.text.vocabulary_size;
    Ok(fits.then(Tokenizer::openai_merges))
}

/// The towers with the weights as they will be kept, beside those of the checkpoint.
fn agreement(
    loaded: &LoadedCheckpoint,
    precision: Precision,
    photos: &Photos,
) -> Result<Agreement> {
    let exact = &loaded.checkpoint.tensors;
    let kept = decode_tensors("the weights", &encode_tensors(exact, precision)?)?;
    let rounded = Rounded { exact, kept: &kept };
    let text = (loaded.config.text.layers > 0).then_some(rounded);
    Agreement::measure(&loaded.config, precision, rounded, text, photos)
}

fn card(
    loaded: &LoadedCheckpoint,
    origin: Option<&Origin>,
    precision: Precision,
    agreement: &Agreement,
) -> String {
    let config = &loaded.config;
    let from = match origin {
        Some(origin) => &origin.snapshot.files,
        None => &loaded.files,
    };
    let files: Vec<_> = from
        .iter()
        .filter_map(|file| file.file_name())
        .map(|name| format!("`{}`", name.to_string_lossy()))
        .collect();
    let place = origin.map_or(String::new(), |origin| {
        format!(
            " of `{}` on the Hugging Face hub, version `{}`",
            origin.repository.id, origin.snapshot.commit
        )
    });
    let parameters: usize = loaded
        .checkpoint
        .tensors
        .values()
        .map(|tensor| tensor.values.len())
        .sum();
    let text = if config.text.layers > 0 {
        format!(
            "{} layers, width {}, {} tokens",
            config.text.layers, config.text.width, config.text.vocabulary_size
        )
    } else {
        "none".to_owned()
    };
    let text = match &loaded.checkpoint.no_text {
        Some(no) if no.contains_key(NO_PROMPTS) => {
            format!("{text}; another for \"no\", with learned prompts (CLIPN)")
        }
        Some(_) => format!("{text}; another for \"no\" (CLIPN)"),
        None => text,
    };
    format!(
        "# {}\n\nImported by `trainer import` from {}{place}.\n\n\
         | | |\n|---|---|\n| parameters | {parameters} |\n| precision | {precision} |\n\
         | beside the exact weights | {agreement} |\n| joint width | {} |\n\
         | logit scale | {:.4} |\n| image size | {} pixels |\n| text tower | {text} |\n\n\
         The licence, the training data and the limits of this model are those of the checkpoint.\n",
        config.name,
        files.join(", "),
        config.embed_dim,
        config.logit_scale,
        config.image.image_size(),
    )
}
