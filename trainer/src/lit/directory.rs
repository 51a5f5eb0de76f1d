//! The model directory on the disk.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Result, bail};
use shared::bundle::{Precision, Tensors, encode_tensors};
use shared::clip::ClipConfig;

use crate::model;
use crate::output::FolderWriter;

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

/// What [`write()`] puts into the directory.
const FILES: [&str; 6] = [
    model::IMAGE_FILE,
    model::TEXT_FILE,
    model::VOCABULARY_FILE,
    model::WORDS_FILE,
    model::CONFIG_FILE,
    model::CARD_FILE,
];

/// Fails when [`write()`] would put a model over files of something else.
///
/// # Errors
/// Naming the first such file.
pub fn check_place(out: &Path) -> Result<()> {
    let there = FILES.iter().find(|name| out.join(name).exists());
    if let Some(name) = there.filter(|_| !model::holds_model(out)) {
        bail!(
            "{} holds `{name}`, but is no model of this program, and the file would be lost: give another --out, or move it away",
            out.display()
        );
    }
    Ok(())
}

/// Writes the directory whole, and keeps what else lies in it (the concept corpus does),
/// folders among it.
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
        (model::CARD_FILE, card.as_bytes().to_vec()),
    ];
    check_place(out)?;
    let folder = FolderWriter::keeping(out)?;
    for (name, bytes) in &files {
        folder.write(name, bytes)?;
    }
    folder.finish()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use shared::bundle::TensorValues;

    #[test]
    fn other_files_of_the_directory_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("compact");
        fs::create_dir_all(out.join("photos")).unwrap();
        fs::write(out.join("concepts.jsonl"), "kept").unwrap();
        fs::write(out.join("photos/list.csv"), "kept too").unwrap();
        fs::write(out.join("words.txt"), "old").unwrap();
        let configuration = serde_json::to_vec(&ClipConfig::vit_b_32()).unwrap();
        fs::write(out.join("config.json"), configuration).unwrap();
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
        assert_eq!(read("photos/list.csv"), "kept too");
        assert_eq!(read("words.txt"), "tench\n");
        assert!(out.join("image.safetensors").is_file() && out.join("text.safetensors").is_file());
    }

    #[test]
    fn files_of_something_else_are_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        check_place(folder.path()).unwrap();
        fs::write(folder.path().join("concepts.jsonl"), "").unwrap();
        check_place(folder.path()).unwrap();
        for name in ["MODEL_CARD.md", "config.json"] {
            fs::write(folder.path().join(name), r#"{"name":"mine"}"#).unwrap();
            let error = check_place(folder.path()).unwrap_err().to_string();
            assert!(error.contains(&format!("holds `{name}`")), "{error}");
        }
    }
}
