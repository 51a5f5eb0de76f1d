//! Published checkpoints on the disk: which files they are, and their tensors.
//!
//! Pickle files are read by burn-store's own reader, which builds tensors from what the file
//! describes and never executes what it says.

mod archive;
mod files;
mod pickle;

use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use burn_store::burn_pack::Tensor as StoredTensor;
use burn_store::{ModuleStore, PytorchStore, SafetensorsStore};
use shared::clip::ClipConfig;
use shared::clip::import::{
    Checkpoint, canonical, check_parts, infer_config, open_clip_config, transformers_config,
};

use files::OPEN_CLIP_CONFIG;
pub use files::{CheckpointFiles, ShardIndex, WeightFiles};

use crate::containment::contain;
use crate::model::MAX_CONFIG_BYTES;
use crate::output;

/// Where PyTorch training scripts put the weights inside a checkpoint.
const NESTED_KEYS: &[&str] = &["state_dict", "model", "model_state_dict"];

/// An index names every weight once: this is room for hundreds of thousands.
const MAX_INDEX_BYTES: u64 = 64 << 20;

/// How many times its own size a checkpoint's tensors may take, for weights that several of them
/// share. PyTorch stores them uncompressed.
const MOST_SHARING: u64 = 4;

/// A checkpoint in canonical form, with its configuration.
#[derive(Debug)]
pub struct LoadedCheckpoint {
    pub config: ClipConfig,
    pub checkpoint: Checkpoint,
    /// Whether activation and heads are those of OpenAI's models because nothing tells of them.
    pub assumed: bool,
    /// The files that the weights came from.
    pub files: Vec<PathBuf>,
}

/// Reads a checkpoint from a file, or from a directory as `transformers` and open_clip write it.
///
/// # Errors
/// Names the file and says whether it is absent, cut short, or of something else.
pub fn load(path: &Path, name: &str) -> Result<LoadedCheckpoint> {
    let metadata = std::fs::metadata(path)
        .map_err(|error| output::explain(error, "open the checkpoint", path))?;
    let (folder, file) = if metadata.is_dir() {
        (path, None)
    } else {
        let folder = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        (
            folder.unwrap_or(Path::new(".")),
            path.file_name().map(Path::new),
        )
    };
    let chosen = choose(folder, file)?;
    let of = || path.display().to_string();
    // Before gigabytes are read: a model that is refused for its configuration.
    let described = match describe(folder, &chosen, name).with_context(of) {
        Err(error) if chosen.are_named_as_clip() => return Err(error),
        described => described,
    };
    let (stored, files) = read_weights(folder, &chosen.weights)?;
    let mut checkpoint = contained(path, || canonical(stored).with_context(of))?;
    // EfficientNet-Lite is published without a configuration: one beside it is of something else.
    let efficientnet = checkpoint.tensors.contains_key("visual.stem.weight");
    let described = if efficientnet { None } else { described? };
    let assumed = described.is_none() && !efficientnet && checkpoint.activation.is_none();
    let mut config = match described {
        Some(config) => config,
        None => infer_config(name, &checkpoint).with_context(of)?,
    };
    // What was learned counts for more than what the configuration began with.
    if let Some(scale) = checkpoint.logit_scale.take() {
        config.logit_scale = scale;
    }
    config.check().with_context(of)?;
    check_parts(&checkpoint.tensors, &config).with_context(of)?;
    Ok(LoadedCheckpoint {
        config,
        checkpoint,
        assumed,
        files,
    })
}

/// The tensors of one file or of all shards, in the order of their names, and the files.
fn read_weights(folder: &Path, weights: &WeightFiles) -> Result<(Vec<StoredTensor>, Vec<PathBuf>)> {
    let (WeightFiles::One(name) | WeightFiles::Sharded(name)) = weights;
    let (files, index) = match weights {
        WeightFiles::One(_) => (vec![folder.join(name)], None),
        WeightFiles::Sharded(_) => {
            let path = folder.join(name);
            let json = output::read_at_most(&path, MAX_INDEX_BYTES)?;
            let index = ShardIndex::parse(&json, &path.display().to_string())?;
            let shards = index
                .shards()
                .iter()
                .map(|name| folder.join(name))
                .collect();
            (shards, Some(index))
        }
    };
    let (mut stored, mut bytes) = (Vec::new(), 0);
    for file in &files {
        bytes += output::open_file(file, "read the checkpoint")?
            .metadata()
            .map_err(|error| output::explain(error, "read the checkpoint", file))?
            .len();
        stored.extend(contained(file, || read_tensors(file))?);
    }
    check_claims(&folder.join(name), &stored, bytes)?;
    // The readers keep no order; everything after this one does.
    stored.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(index) = index {
        let names: HashSet<_> = stored.iter().map(|tensor| tensor.name.as_str()).collect();
        index.require(|weight| names.contains(weight))?;
    }
    Ok((stored, files))
}

/// The checkpoint's files in `folder`; `file` where one was named.
fn choose(folder: &Path, file: Option<&Path>) -> Result<CheckpointFiles> {
    let names: Vec<String> = std::fs::read_dir(folder)
        .map_err(|error| output::explain(error, "open the checkpoint", folder))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    match file.map(|file| file.to_string_lossy().into_owned()) {
        None => CheckpointFiles::choose(&names, &folder.display().to_string()),
        Some(index) if index.ends_with(".index.json") => {
            Ok(CheckpointFiles::of(WeightFiles::Sharded(index), &names))
        }
        Some(file) => Ok(CheckpointFiles::of(WeightFiles::One(file), &names)),
    }
}

/// What the configuration beside the weights says; none where no configuration lies there.
///
/// # Errors
/// Names the file: it cannot be read, or describes a model that this program does not compute.
pub fn describe(folder: &Path, files: &CheckpointFiles, name: &str) -> Result<Option<ClipConfig>> {
    let read = |file: &String| {
        let path = folder.join(file);
        String::from_utf8(output::read_at_most(&path, MAX_CONFIG_BYTES)?)
            .with_context(|| format!("{} is no UTF-8 text", path.display()))
    };
    let Some(file) = &files.configuration else {
        return Ok(None);
    };
    let text = read(file)?;
    let parsed = if file == OPEN_CLIP_CONFIG {
        open_clip_config(name, &text)
    } else {
        let preprocessor = files.preprocessor.as_ref().map(read).transpose()?;
        transformers_config(name, &text, preprocessor.as_deref())
    };
    parsed
        .map(Some)
        .with_context(|| folder.join(file).display().to_string())
}

/// What a file's first bytes say it is.
enum Kind {
    Safetensors,
    Pickle,
}

fn read_tensors(file: &Path) -> Result<Vec<StoredTensor>> {
    match kind_of(file)? {
        Kind::Safetensors => read_safetensors(file),
        Kind::Pickle => read_pickle(file),
    }
}

fn kind_of(file: &Path) -> Result<Kind> {
    let mut start = Vec::new();
    output::open_file(file, "read the checkpoint")?
        .take(16)
        .read_to_end(&mut start)
        .map_err(|error| output::explain(error, "read the checkpoint", file))?;
    match start.as_slice() {
        [] => bail!("{} is empty: fetch it again", file.display()),
        // Eight bytes of length, then a JSON object.
        [_, _, _, _, _, _, _, _, b'{', ..] => Ok(Kind::Safetensors),
        [b'P', b'K', 3, 4, ..] | [0x80, ..] => Ok(Kind::Pickle),
        text if text.starts_with(b"version https:") => bail!(
            "{} is only a pointer to the checkpoint (Git LFS): fetch the file itself with `git lfs pull`",
            file.display()
        ),
        text if text.starts_with(b"<") => bail!(
            "{} is a web page, not a checkpoint: the download failed, fetch it again",
            file.display()
        ),
        _ => bail!(
            "{} is no checkpoint: it begins neither like safetensors nor like a PyTorch file",
            file.display()
        ),
    }
}

/// Runs a reader of strangers' files; a fault in it is the file's error.
fn contained<T>(file: &Path, read: impl FnOnce() -> Result<T>) -> Result<T> {
    contain(read).unwrap_or_else(|| Err(damaged(file, "the reader failed on it")))
}

/// That the tensors do not take far more memory than the file has bytes: few bytes of a pickle can
/// claim any shape, and few bytes of a compressed archive unpack to any size.
fn check_claims(path: &Path, stored: &[StoredTensor], bytes: u64) -> Result<()> {
    let claim = |tensor: &StoredTensor| {
        let volume = tensor
            .shape
            .iter()
            .try_fold(1u64, |volume, &size| volume.checked_mul(size as u64));
        volume.and_then(|volume| volume.checked_mul(tensor.dtype.size() as u64))
    };
    let claimed = stored
        .iter()
        .try_fold(0u64, |sum, tensor| sum.checked_add(claim(tensor)?));
    let most = bytes.saturating_mul(MOST_SHARING);
    if claimed.is_some_and(|claimed| claimed <= most) {
        return Ok(());
    }
    bail!(
        "{}: its tensors take {} bytes in memory and the file has {bytes}: it is compressed, or made to fill the memory; save its state_dict() again with torch.save",
        path.display(),
        claimed.map_or("more than 2^64".to_owned(), |claimed| claimed.to_string())
    )
}

fn read_safetensors(file: &Path) -> Result<Vec<StoredTensor>> {
    let mut store = SafetensorsStore::from_file(file);
    let tensors = store
        .get_all_tensors()
        .map_err(|error| damaged(file, &error.to_string()))?;
    Ok(tensors.values().cloned().collect())
}

fn read_pickle(file: &Path) -> Result<Vec<StoredTensor>> {
    archive::require_distinct_names(file)?;
    pickle::require_modest_objects(file)?;
    // Indices name the layers here; closing gaps between them would rename layers.
    let mut store = PytorchStore::from_file(file).map_indices_contiguous(false);
    let mut tensors: Vec<_> = store
        .get_all_tensors()
        .map_err(|error| match error.to_string() {
            // The classes that an archive of torch.jit brings with it.
            cause if cause.contains("__torch__") => no_state_dict(file),
            cause => damaged(file, &cause),
        })?
        .values()
        .cloned()
        .collect();
    if tensors.is_empty() {
        return Err(no_state_dict(file));
    }
    // A whole training checkpoint: the weights lie under one key, beside an optimizer's state.
    for key in NESTED_KEYS {
        let prefix = format!("{key}.");
        if tensors
            .iter()
            .any(|tensor| tensor.name.starts_with(&prefix))
        {
            tensors.retain(|tensor| tensor.name.starts_with(&prefix));
            for tensor in &mut tensors {
                tensor.name.drain(..prefix.len());
            }
            break;
        }
    }
    Ok(tensors)
}

fn no_state_dict(file: &Path) -> anyhow::Error {
    anyhow!(
        "{} is no state dict. An archive made by torch.jit (OpenAI's own downloads are) can be turned into one with: python -c \"import torch; torch.save(torch.jit.load('{}', map_location='cpu').state_dict(), 'state_dict.pt')\"",
        file.display(),
        file.display()
    )
}

/// Letters of a reader's message that are shown: some write out the whole object that they do not like.
const MOST_OF_A_CAUSE: usize = 400;

fn damaged(file: &Path, cause: &str) -> anyhow::Error {
    let cause = match cause.char_indices().nth(MOST_OF_A_CAUSE) {
        Some((end, _)) => format!("{} …", &cause[..end]),
        None => cause.to_owned(),
    };
    anyhow!(cause).context(format!(
        "{} cannot be read as a checkpoint: it was cut short, damaged, or made in a way that only PyTorch can read; fetch it again, or save its state_dict() with torch.save",
        file.display()
    ))
}
