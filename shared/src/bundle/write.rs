use std::collections::HashSet;

use super::pack::pack;
use super::{
    BundleError, Dtype, FORMAT, FORMAT_VERSION, Figures, FileEntry, KnownAnswer, MANIFEST_FILE,
    MAX_SHARD_BYTES, Manifest, MethodEntry, Precision, PromptEntry, Provenance, Role, TensorValues,
    Tensors, encode_tensors, tensor_name,
};
use crate::clip::ClipConfig;
use crate::score::ClassFeatures;

/// Everything that goes into a bundle.
#[derive(Clone, Debug)]
pub struct BundleContent {
    /// The model.
    pub model: ClipConfig,
    /// Class names.
    pub classes: Vec<String>,
    /// How the prompts were learned.
    pub prompts: PromptEntry,
    /// The measured methods, the default first.
    pub methods: Vec<MethodEntry>,
    /// Data behind the figures.
    pub figures: Figures,
    /// Where it all comes from.
    pub provenance: Provenance,
    /// Inputs with known features.
    pub known_answers: Vec<KnownAnswer>,
    /// Tensors by role. A role may come in several groups, of different precision.
    pub tensors: Vec<TensorGroup>,
    /// Text files.
    pub texts: Vec<TextFile>,
}

/// Tensors of one role and precision.
#[derive(Clone, Debug)]
pub struct TensorGroup {
    /// What they are.
    pub role: Role,
    /// How to store them.
    pub precision: Precision,
    /// The tensors.
    pub tensors: Tensors,
}

/// A text file.
#[derive(Clone, Debug)]
pub struct TextFile {
    /// [`Role::Vocabulary`] or [`Role::Words`].
    pub role: Role,
    /// Its content.
    pub content: String,
}

/// The files of a bundle as `(name, bytes)`, `bundle.json` last: once that is there, so is all
/// that it lists. Equal content gives equal bytes.
///
/// # Errors
/// When something cannot be stored (naming the tensor) or would not be read again (naming the
/// field).
pub fn write(content: &BundleContent) -> Result<Vec<(String, Vec<u8>)>, BundleError> {
    let mut entries = Vec::new();
    let mut files = Vec::new();
    let mut push = |entry: FileEntry, bytes: Vec<u8>| {
        files.push((entry.name.clone(), bytes));
        entries.push(entry);
    };
    let mut names = HashSet::new();
    for group in &content.tensors {
        if group.role.is_text() {
            let cause = "a text role cannot hold tensors";
            return Err(BundleError::content(group.role, cause));
        }
        for name in group.tensors.keys() {
            if !names.insert((group.role, name)) {
                return Err(BundleError::tensor(
                    name,
                    format!("it is twice in {}", group.role),
                ));
            }
        }
        pack(
            &group.tensors,
            group.precision,
            MAX_SHARD_BYTES,
            |tensors| {
                let bytes = encode_tensors(&tensors, group.precision)?;
                let entry = FileEntry::of(group.role, group.precision.into(), &bytes);
                push(entry, bytes);
                Ok(())
            },
        )?;
    }
    for text in &content.texts {
        let bytes = text.content.clone().into_bytes();
        push(FileEntry::of(text.role, Dtype::Utf8, &bytes), bytes);
    }
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        format_version: FORMAT_VERSION,
        created_by: concat!("negprompt ", env!("CARGO_PKG_VERSION")).to_owned(),
        model: content.model.clone(),
        classes: content.classes.clone(),
        prompts: content.prompts.clone(),
        methods: content.methods.clone(),
        figures: content.figures.clone(),
        provenance: content.provenance.clone(),
        known_answers: content.known_answers.clone(),
        files: entries,
    };
    manifest.check()?;
    let json =
        serde_json::to_vec(&manifest).map_err(|cause| BundleError::field("content", cause))?;
    // JSON has no NaN; what slipped through as null is found here rather than by the reader.
    Manifest::parse(&json)?;
    files.push((MANIFEST_FILE.to_owned(), json));
    Ok(files)
}

/// The tensors of [`Role::Features`] for a class list.
pub fn class_feature_tensors(features: &ClassFeatures) -> Result<Tensors, BundleError> {
    let rows = |values: &[f32]| {
        let shape = [values.len() / features.embed_dim.max(1), features.embed_dim];
        TensorValues::new(shape, values.to_vec())
    };
    let mut tensors = Tensors::new();
    for (name, values) in [
        (tensor_name::POSITIVE, &features.positive),
        (tensor_name::NEGATIVE, &features.negative),
        (tensor_name::ZERO_SHOT, &features.zero_shot),
        (tensor_name::NO, &features.no),
        (tensor_name::NAMED, &features.named),
        (tensor_name::MINED, &features.mined),
        (tensor_name::CONJUGATED, &features.conjugated),
        (tensor_name::LOCOOP, &features.locoop),
    ] {
        if !values.is_empty() {
            tensors.insert(name.to_owned(), rows(values)?);
        }
    }
    if let Some(probe) = &features.probe {
        let bias = TensorValues::new([probe.bias.len()], probe.bias.clone())?;
        tensors.insert(tensor_name::PROBE_WEIGHT.to_owned(), rows(&probe.weight)?);
        tensors.insert(tensor_name::PROBE_BIAS.to_owned(), bias);
    }
    if let Some(clip) = features.react_clip {
        let clip = TensorValues::new([1], vec![clip])?;
        tensors.insert(tensor_name::REACT_CLIP.to_owned(), clip);
    }
    Ok(tensors)
}
