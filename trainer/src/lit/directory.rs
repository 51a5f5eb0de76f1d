//! The model directory on the disk.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::Result;
use shared::bundle::{Precision, Tensors, encode_tensors};
use shared::clip::ClipConfig;

use crate::model;
use crate::output::{FolderWriter, explain, read_file};

/// What goes into the directory.
pub struct Content<'a> {
    pub config: &'a ClipConfig,
    /// Both towers in canonical naming.
    pub tensors: Tensors,
    /// Merges.
    pub vocabulary: &'a str,
    /// Words that the text tower has seen.
    pub seen: &'a BTreeSet<String>,
    /// The model card, in Markdown.
    pub card: &'a str,
}

/// Writes the directory whole, and keeps what else lies in it (the concept corpus does).
pub fn write(out: &Path, content: Content) -> Result<()> {
    let Content {
        config,
        tensors,
        vocabulary,
        seen,
        card,
    } = content;
    let (image, text): (Tensors, Tensors) = tensors
        .into_iter()
        .partition(|(name, _)| name.starts_with("visual."));
    let mut configuration = serde_json::to_vec_pretty(config)?;
    configuration.push(b'\n');
    let seen = seen
        .iter()
        .map(|word| format!("{word}\n"))
        .collect::<String>();
    let files = [
        (model::IMAGE_FILE, encode_tensors(&image, Precision::F16)?),
        (model::TEXT_FILE, encode_tensors(&text, Precision::F16)?),
        (model::VOCABULARY_FILE, vocabulary.as_bytes().to_vec()),
        (model::WORDS_FILE, seen.into_bytes()),
        (model::CONFIG_FILE, configuration),
        ("MODEL_CARD.md", card.as_bytes().to_vec()),
    ];
    let folder = FolderWriter::new(out)?;
    for (name, bytes) in others(out, &files)? {
        folder.write(&name, &bytes)?;
    }
    for (name, bytes) in &files {
        folder.write(name, bytes)?;
    }
    folder.finish()
}

/// Files of `directory` that are not about to be written.
fn others(directory: &Path, written: &[(&str, Vec<u8>)]) -> Result<Vec<(String, Vec<u8>)>> {
    if !directory.exists() {
        return Ok(Vec::new());
    }
    let mut others = Vec::new();
    let entries = fs::read_dir(directory).map_err(|error| explain(error, "read", directory))?;
    for entry in entries {
        let path = entry
            .map_err(|error| explain(error, "read", directory))?
            .path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_file() && !written.iter().any(|(file, _)| *file == name) {
            others.push((name, read_file(&path)?));
        }
    }
    Ok(others)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::bundle::TensorValues;

    #[test]
    fn other_files_of_the_directory_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("compact");
        fs::create_dir(&out).unwrap();
        fs::write(out.join("concepts.jsonl"), "kept").unwrap();
        fs::write(out.join("words.txt"), "old").unwrap();
        let tensor = TensorValues::new([1], vec![0.5]).unwrap();
        let tensors = ["visual.a", "b"].map(|name| (name.to_owned(), tensor.clone()));
        let content = Content {
            config: &ClipConfig::vit_b_32(),
            tensors: Tensors::from(tensors),
            vocabulary: "#version: 0.2\n",
            seen: &BTreeSet::from(["tench".to_owned()]),
            card: "# card\n",
        };
        write(&out, content).unwrap();
        let read = |name: &str| fs::read_to_string(out.join(name)).unwrap();
        assert_eq!(read("concepts.jsonl"), "kept");
        assert_eq!(read("words.txt"), "tench\n");
        assert!(out.join("image.safetensors").is_file() && out.join("text.safetensors").is_file());
    }
}
