//! Model directories on the disk: `config.json`, `image.safetensors`, `text.safetensors`,
//! `vocabulary.txt`, and what may lie beside them.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use shared::bundle::{Precision, Tensors, decode_tensors, encode_tensors, sha256_hex};
use shared::clip::{ClipConfig, ImageTower, NoTextTower, Tokenizer, Weights};

use crate::features::feature_key;
use crate::output::kind::{FolderKind, has_fields};
use crate::output::{self, FolderWriter};

pub const CONFIG_FILE: &str = "config.json";
pub const IMAGE_FILE: &str = "image.safetensors";
pub const TEXT_FILE: &str = "text.safetensors";
/// CLIPN's text tower for what an image does not show; absent where a model has none.
pub const NO_TEXT_FILE: &str = "no_text.safetensors";
pub const VOCABULARY_FILE: &str = "vocabulary.txt";
/// Words that a compact text tower has seen; absent where the tower knows all of them.
pub const WORDS_FILE: &str = "words.txt";
/// What the model is, in Markdown.
pub const CARD_FILE: &str = "MODEL_CARD.md";
/// The classifier that an image tower was published with: `weight` `[classes, width]` and `bias`.
pub const CLASSIFIER_FILE: &str = "classifier.safetensors";

/// No configuration comes near to this many bytes.
pub const MAX_CONFIG_BYTES: u64 = 16 << 20;
/// A vocabulary has a few megabytes.
const MAX_TEXT_BYTES: u64 = 256 << 20;

/// A model directory whose configuration was read.
#[derive(Clone, Debug)]
pub struct ModelDirectory {
    pub path: PathBuf,
    pub config: ClipConfig,
    /// The files of a model that is part of the program; none for one on the disk.
    embedded: Option<&'static [(&'static str, &'static [u8])]>,
}

/// An image tower on its device, with the key of the features it computes.
pub struct LoadedImageTower {
    pub tower: ImageTower,
    pub key: String,
}

impl ModelDirectory {
    /// Reads and checks `config.json`.
    pub fn open(path: &Path) -> Result<Self> {
        output::require_folder(path, "the model")?;
        let file = path.join(CONFIG_FILE);
        if !file.is_file() {
            bail!(
                "{} is no model directory, it has no {CONFIG_FILE}: make one from a checkpoint with `trainer import CHECKPOINT --out DIR`",
                path.display()
            );
        }
        Self::configured(path, &output::read_at_most(&file, MAX_CONFIG_BYTES)?, None)
    }

    /// A model that is part of the program; `name` stands for its path in messages.
    pub fn embedded(name: &str, files: &'static [(&'static str, &'static [u8])]) -> Result<Self> {
        let config = files.iter().find(|(file, _)| *file == CONFIG_FILE);
        let (_, config) = config.with_context(|| format!("{name} has no {CONFIG_FILE}"))?;
        Self::configured(Path::new(name), config, Some(files))
    }

    fn configured(
        path: &Path,
        config: &[u8],
        embedded: Option<&'static [(&'static str, &'static [u8])]>,
    ) -> Result<Self> {
        let file = path.join(CONFIG_FILE);
        let config: ClipConfig = serde_json::from_slice(config).with_context(|| {
            format!(
                "{} is not the configuration of a model directory of this program (one of `transformers` goes through `trainer import` first)",
                file.display()
            )
        })?;
        config.check().with_context(|| file.display().to_string())?;
        Ok(Self {
            path: path.to_path_buf(),
            config,
            embedded,
        })
    }

    /// Loads the image tower onto the device.
    pub fn image_tower(&self, device: &Device) -> Result<LoadedImageTower> {
        let bytes = self.read(IMAGE_FILE)?;
        let key = feature_key(&self.config, &bytes)?;
        let tensors = self.decode(IMAGE_FILE, &bytes)?;
        let tower = ImageTower::load(&tensors, &self.config, device)
            .with_context(|| self.path.join(IMAGE_FILE).display().to_string())?;
        Ok(LoadedImageTower { tower, key })
    }

    /// The key of the features that this model computes, without loading the tower.
    pub fn feature_key(&self) -> Result<String> {
        let bytes = self.read(IMAGE_FILE)?;
        Ok(feature_key(&self.config, &bytes)?)
    }

    /// What the text features of this model depend on: SHA-256 of each of its text towers.
    pub fn text_key(&self) -> Result<String> {
        let towers = [TEXT_FILE, NO_TEXT_FILE];
        let there = towers.into_iter().filter(|file| self.has(file));
        let keys = there.map(|file| Ok(sha256_hex(&self.read(file)?)));
        Ok(keys.collect::<Result<Vec<_>>>()?.join(" "))
    }

    /// CLIPN's text tower for what an image does not show, if the model has one.
    pub fn no_text_tower(&self, device: &Device) -> Result<Option<NoTextTower>> {
        if !self.has(NO_TEXT_FILE) {
            return Ok(None);
        }
        let tensors = self.tensors(NO_TEXT_FILE)?;
        let weights = Weights::new(&tensors, device);
        NoTextTower::load(&weights, &self.config.text, self.config.embed_dim)
            .with_context(|| self.path.join(NO_TEXT_FILE).display().to_string())
            .map(Some)
    }

    /// The files of the model that are there, by name.
    pub fn files(&self) -> Vec<&'static str> {
        FILES.into_iter().filter(|file| self.has(file)).collect()
    }

    fn has(&self, file: &str) -> bool {
        match self.embedded {
            Some(files) => files.iter().any(|(name, _)| *name == file),
            None => self.path.join(file).is_file(),
        }
    }

    /// The tokenizer that belongs to the text tower.
    ///
    /// # Errors
    /// When the model has no vocabulary, or another than its text tower was trained with.
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        let file = self.path.join(VOCABULARY_FILE);
        if !self.has(VOCABULARY_FILE) {
            let tokens = self.config.text.vocabulary_size;
            // `import` leaves it out for one reason alone.
            let (cause, way_out) = match tokens == Tokenizer::openai()?.vocabulary_size() {
                true => ("it is lost".to_owned(), "import the checkpoint again"),
                false => (
                    format!(
                        "its text tower has {tokens} tokens, which are not OpenAI's, and no merges came with the weights"
                    ),
                    "put the merges that belong to it there, under that name",
                ),
            };
            bail!(
                "{} has no {VOCABULARY_FILE}: {cause}; {way_out}",
                self.path.display()
            );
        }
        let tokenizer = Tokenizer::from_vocabulary(&self.text(VOCABULARY_FILE)?)
            .with_context(|| file.display().to_string())?;
        if tokenizer.vocabulary_size() != self.config.text.vocabulary_size {
            bail!(
                "{} makes {} tokens, and the text tower has embeddings for {}: they do not belong together; import the checkpoint again",
                file.display(),
                tokenizer.vocabulary_size(),
                self.config.text.vocabulary_size
            );
        }
        Ok(tokenizer)
    }

    /// The words that the text tower has seen, one a line, where the model comes with such a list.
    pub fn words(&self) -> Result<Option<String>> {
        if self.has(WORDS_FILE) {
            self.text(WORDS_FILE).map(Some)
        } else {
            Ok(None)
        }
    }

    /// The merges of the vocabulary, as the bundle takes them.
    pub fn vocabulary(&self) -> Result<String> {
        self.text(VOCABULARY_FILE)
    }

    /// All tensors of one of the directory's files, in f32.
    pub fn tensors(&self, file: &str) -> Result<Tensors> {
        let bytes = self.read(file)?;
        self.decode(file, &bytes)
    }

    /// The bytes of one of the directory's files.
    pub fn read(&self, file: &str) -> Result<Cow<'static, [u8]>> {
        let path = self.path.join(file);
        match self.embedded {
            Some(files) => {
                let found = files.iter().find(|(name, _)| *name == file);
                let (_, bytes) =
                    found.with_context(|| format!("there is no {}", path.display()))?;
                Ok(Cow::Borrowed(bytes))
            }
            None if file.ends_with(".safetensors") => output::read_file(&path).map(Cow::Owned),
            None => output::read_at_most(&path, MAX_TEXT_BYTES).map(Cow::Owned),
        }
    }

    fn decode(&self, file: &str, bytes: &[u8]) -> Result<Tensors> {
        let path = self.path.join(file).display().to_string();
        Ok(decode_tensors(&path, bytes)?)
    }

    fn text(&self, file: &str) -> Result<String> {
        let path = self.path.join(file);
        String::from_utf8(self.read(file)?.into_owned()).with_context(|| {
            format!(
                "{} is no UTF-8 text: import the model again",
                path.display()
            )
        })
    }
}

/// Every file that a model directory may hold.
const FILES: [&str; 8] = [
    CONFIG_FILE,
    IMAGE_FILE,
    TEXT_FILE,
    NO_TEXT_FILE,
    VOCABULARY_FILE,
    WORDS_FILE,
    CLASSIFIER_FILE,
    CARD_FILE,
];

/// A model directory, as [`write()`] leaves it.
pub const MODEL: FolderKind = FolderKind {
    name: "a model",
    holds: |name, _| FILES.contains(&name),
    is_own: holds_model,
};

/// Whether the folder has a configuration of this program; others call their own `config.json` too.
pub fn holds_model(folder: &Path) -> bool {
    let fields = [
        "name",
        "embed_dim",
        "logit_scale",
        "image",
        "text",
        "preprocessing",
    ];
    has_fields(&folder.join(CONFIG_FILE), &fields)
}

/// What [`write()`] puts into a model directory.
pub struct ModelContent<'a> {
    pub config: &'a ClipConfig,
    /// Both towers in canonical naming: what begins with `visual.` is the image tower.
    pub tensors: Tensors,
    pub precision: Precision,
    /// CLIPN's text tower for what an image does not show, with its prompts.
    pub no_text: Option<Tensors>,
    /// Merges of the vocabulary; none for an image tower alone.
    pub vocabulary: Option<&'a str>,
    /// Words that the text tower has seen, one a line.
    pub words: Option<&'a str>,
    /// `weight` and `bias` of a classifier over the image features.
    pub classifier: Option<Tensors>,
    /// The model card, in Markdown.
    pub card: &'a str,
}

/// Writes a model directory, whole or not at all.
pub fn write(directory: &Path, content: ModelContent) -> Result<()> {
    let folder = FolderWriter::new(directory, &MODEL)?;
    let (image, text): (Tensors, Tensors) = content
        .tensors
        .into_iter()
        .partition(|(name, _)| name.starts_with("visual."));
    folder.write(IMAGE_FILE, &encode_tensors(&image, content.precision)?)?;
    if !text.is_empty() {
        folder.write(TEXT_FILE, &encode_tensors(&text, content.precision)?)?;
    }
    if let Some(no_text) = &content.no_text {
        folder.write(NO_TEXT_FILE, &encode_tensors(no_text, content.precision)?)?;
    }
    if let Some(classifier) = &content.classifier {
        folder.write(
            CLASSIFIER_FILE,
            &encode_tensors(classifier, content.precision)?,
        )?;
    }
    if let Some(vocabulary) = content.vocabulary {
        folder.write(VOCABULARY_FILE, vocabulary.as_bytes())?;
    }
    if let Some(words) = content.words {
        folder.write(WORDS_FILE, words.as_bytes())?;
    }
    let mut config = serde_json::to_vec_pretty(content.config)?;
    config.push(b'\n');
    folder.write(CONFIG_FILE, &config)?;
    folder.write(CARD_FILE, content.card.as_bytes())?;
    folder.finish()
}
