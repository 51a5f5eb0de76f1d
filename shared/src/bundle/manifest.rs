use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::check::{at_most, text};
use super::{
    BundleError, FORMAT, FORMAT_VERSION, Figures, FileEntry, KnownAnswer, KnownInput, MethodEntry,
    Provenance, Role,
};
use crate::clip::{ClipConfig, ConfigError};
use crate::score::Method;

/// The most bytes of `bundle.json`.
pub const MAX_MANIFEST_BYTES: usize = 16_000_000;
const MAX_TOTAL_BYTES: u64 = 8_000_000_000;
const MAX_FILES: usize = 1_024;
/// The most classes of a bundle.
pub const MAX_CLASSES: usize = 50_000;
const MAX_METHODS: usize = 64;
const MAX_KNOWN_ANSWERS: usize = 64;

/// `bundle.json`: what is in a bundle, and everything small enough to be said in place.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: String,
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The program and version that wrote it.
    pub created_by: String,
    /// The model: towers, preprocessing, logit scale.
    pub model: ClipConfig,
    /// Class names, in the order of all features and probabilities.
    pub classes: Vec<String>,
    /// How the prompts were learned.
    pub prompts: PromptEntry,
    /// The methods that were measured, the default first.
    pub methods: Vec<MethodEntry>,
    /// Data behind the figures.
    #[serde(default)]
    pub figures: Figures,
    /// Where it all comes from.
    pub provenance: Provenance,
    /// Inputs with known features, to test a device with.
    #[serde(default)]
    pub known_answers: Vec<KnownAnswer>,
    /// The content files.
    pub files: Vec<FileEntry>,
}

/// How the prompts were learned.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct PromptEntry {
    /// Context tokens a prompt, `M`.
    pub context_tokens: usize,
    /// Negative prompts a class, `p`.
    pub negatives: usize,
    /// Whether each class has contexts of its own.
    pub class_specific: bool,
    /// The seed of the run.
    pub seed: u64,
    /// What the contexts started from: a text, or the kind of random start.
    pub init: String,
}

impl Manifest {
    /// Reads and checks `bundle.json`.
    ///
    /// # Errors
    /// When it is no manifest, of another version, or says something that cannot be.
    pub fn parse(bytes: &[u8]) -> Result<Self, BundleError> {
        if bytes.len() > MAX_MANIFEST_BYTES {
            let cause = format!("{} bytes are above {MAX_MANIFEST_BYTES}", bytes.len());
            return Err(BundleError::NotABundle { cause });
        }
        // The version comes before the fields, which another version may call otherwise.
        let header: Header =
            serde_json::from_slice(bytes).map_err(|cause| BundleError::NotABundle {
                cause: cause.to_string(),
            })?;
        header.check()?;
        let manifest: Self =
            serde_json::from_slice(bytes).map_err(|cause| BundleError::field("content", cause))?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Checks the bytes of one content file by size, then by SHA-256.
    ///
    /// # Errors
    /// When they are not those that were written.
    pub fn verify(entry: &FileEntry, bytes: &[u8]) -> Result<(), BundleError> {
        entry.verify(bytes)
    }

    /// The content file of this name.
    pub fn file(&self, name: &str) -> Option<&FileEntry> {
        self.files.iter().find(|entry| entry.name == name)
    }

    /// The size of all content files together, in bytes.
    pub fn total_bytes(&self) -> u64 {
        let sizes = self.files.iter().map(|entry| entry.bytes);
        sizes.fold(0, u64::saturating_add)
    }

    /// The entry of this method.
    pub fn method(&self, id: &str) -> Option<&MethodEntry> {
        self.methods.iter().find(|entry| entry.id == id)
    }

    /// The methods that this program knows; a newer trainer may have measured others as well.
    pub fn usable_methods(&self) -> impl Iterator<Item = (&MethodEntry, &'static dyn Method)> {
        self.methods
            .iter()
            .filter_map(|entry| Some((entry, entry.method()?)))
    }

    /// Checks everything that can be known without the content files.
    pub(super) fn check(&self) -> Result<(), BundleError> {
        text("created_by", &self.created_by)?;
        self.check_model()?;
        self.check_classes()?;
        self.check_prompts()?;
        at_most("methods", self.methods.len(), MAX_METHODS)?;
        for (index, entry) in self.methods.iter().enumerate() {
            entry.check(&format!("methods[{index}]"))?;
            if self.methods[..index]
                .iter()
                .any(|other| other.id == entry.id)
            {
                let cause = format!("{} is there twice", entry.id);
                return Err(BundleError::field(format!("methods[{index}].id"), cause));
            }
        }
        if self.usable_methods().next().is_none() {
            let cause = "there is none that this program knows";
            return Err(BundleError::field("methods", cause));
        }
        self.figures.check()?;
        self.provenance.check()?;
        let answers = &self.known_answers;
        at_most("known_answers", answers.len(), MAX_KNOWN_ANSWERS)?;
        for (index, answer) in answers.iter().enumerate() {
            answer.check(&format!("known_answers[{index}]"), self.model.embed_dim)?;
        }
        self.check_files()
    }

    fn check_model(&self) -> Result<(), BundleError> {
        text("model.name", &self.model.name)?;
        self.model.check().map_err(|cause| match cause {
            ConfigError::Field {
                field,
                value,
                range,
            } => {
                let cause = format!("it is {value}, and has to be {range}");
                BundleError::field(format!("model.{field}"), cause)
            }
            ConfigError::Preprocessing(cause) => BundleError::field("model.preprocessing", cause),
        })
    }

    fn check_classes(&self) -> Result<(), BundleError> {
        at_most("classes", self.classes.len(), MAX_CLASSES)?;
        if self.classes.is_empty() {
            return Err(BundleError::field("classes", "there are none"));
        }
        let mut seen = HashSet::new();
        for (index, name) in self.classes.iter().enumerate() {
            let field = format!("classes[{index}]");
            text(&field, name)?;
            if name.trim().is_empty() {
                return Err(BundleError::field(field, "it has no name"));
            }
            if !seen.insert(name) {
                let cause = format!("{name:?} is there twice");
                return Err(BundleError::field(field, cause));
            }
        }
        Ok(())
    }

    fn check_prompts(&self) -> Result<(), BundleError> {
        text("prompts.init", &self.prompts.init)?;
        at_most("prompts.context_tokens", self.prompts.context_tokens, 1_024)?;
        at_most("prompts.negatives", self.prompts.negatives, 1_024)
    }

    fn check_files(&self) -> Result<(), BundleError> {
        at_most("files", self.files.len(), MAX_FILES)?;
        let mut names = HashSet::new();
        let mut texts = HashSet::new();
        for (index, entry) in self.files.iter().enumerate() {
            let field = format!("files[{index}]");
            entry.check(&field)?;
            if !names.insert(&entry.name) {
                return Err(BundleError::field(
                    field,
                    format!("{} is there twice", entry.name),
                ));
            }
            if entry.role.is_text() && !texts.insert(entry.role) {
                return Err(BundleError::field(
                    field,
                    format!("{} is there twice", entry.role),
                ));
            }
        }
        if self.total_bytes() > MAX_TOTAL_BYTES {
            let total = self.total_bytes();
            let cause = format!("{total} bytes in all are above {MAX_TOTAL_BYTES}");
            return Err(BundleError::field("files", cause));
        }
        let has = |role: Role| self.files.iter().any(|entry| entry.role == role);
        let stored = |answer: &KnownAnswer| matches!(answer.input, KnownInput::Tensor { .. });
        for (role, needed) in [
            (Role::ImageTower, true),
            (Role::Features, true),
            (Role::Vocabulary, has(Role::TextTower)),
            (Role::Prompts, has(Role::TextTower)),
            (Role::KnownAnswers, self.known_answers.iter().any(stored)),
        ] {
            if needed && !has(role) {
                let cause = format!("there is no file of role {role}");
                return Err(BundleError::field("files", cause));
            }
        }
        Ok(())
    }
}

/// What every version of the format says in the same way.
#[derive(Deserialize)]
struct Header {
    #[serde(default)]
    format: String,
    #[serde(default)]
    format_version: u64,
    #[serde(default)]
    created_by: String,
}

impl Header {
    fn check(&self) -> Result<(), BundleError> {
        if self.format != FORMAT {
            let found: String = self.format.chars().take(40).collect();
            let cause = format!("its format is {found:?}");
            return Err(BundleError::NotABundle { cause });
        }
        if self.format_version != u64::from(FORMAT_VERSION) {
            let by: String = self.created_by.chars().take(60).collect();
            return Err(BundleError::Version {
                found: self.format_version,
                by: if by.is_empty() {
                    by
                } else {
                    format!(" ({by})")
                },
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::example::content;
    use super::super::{MANIFEST_FILE, write};
    use super::*;

    fn manifest() -> Manifest {
        let (name, bytes) = write(&content()).unwrap().pop().unwrap();
        assert_eq!(name, MANIFEST_FILE);
        Manifest::parse(&bytes).unwrap()
    }

    fn parse_altered(alter: impl FnOnce(&mut serde_json::Value)) -> BundleError {
        let mut json = serde_json::to_value(manifest()).unwrap();
        alter(&mut json);
        Manifest::parse(&serde_json::to_vec(&json).unwrap()).unwrap_err()
    }

    #[test]
    fn says_both_versions() {
        for version in [0u64, 2, u64::MAX] {
            let error = parse_altered(|json| {
                json["format_version"] = version.into();
                // Another version may lack any field.
                json.as_object_mut().unwrap().remove("methods");
            });
            let message = error.to_string();
            assert!(matches!(error, BundleError::Version { .. }), "{message}");
            assert!(message.contains(&format!("version {version}")), "{message}");
            assert!(
                message.contains(&format!("version {FORMAT_VERSION}")),
                "{message}"
            );
            assert!(message.contains("negprompt 0."), "{message}");
        }
    }

    /// A manifest written again is the same: numbers come back with all their digits. (Found by
    /// fuzzing; `serde_json` needs its feature `float_roundtrip` for it.)
    #[test]
    fn numbers_come_back_as_they_were_written() {
        let mut manifest = manifest();
        manifest.methods[0].threshold = -3.948129554597239;
        let written = serde_json::to_vec(&manifest).unwrap();
        let read = Manifest::parse(&written).unwrap();
        assert_eq!(read, manifest);
        assert_eq!(serde_json::to_vec(&read).unwrap(), written);
    }

    #[test]
    fn tells_other_files_from_bundles() {
        let deep = "[".repeat(100_000);
        for bytes in [
            &b""[..],
            b"{}",
            b"[]",
            b"null",
            b"<html>",
            b"\xff\xfe",
            br#"{"format": "another", "format_version": 1}"#,
            br#"{"format": 3}"#,
            deep.as_bytes(),
        ] {
            let error = Manifest::parse(bytes).unwrap_err();
            assert!(matches!(error, BundleError::NotABundle { .. }), "{error}");
        }
        let long = vec![b' '; MAX_MANIFEST_BYTES + 1];
        assert!(Manifest::parse(&long).is_err());
    }

    #[test]
    fn names_the_field_that_cannot_be() {
        type Alteration = fn(&mut serde_json::Value);
        let alterations: [(&str, Alteration); 18] = [
            ("missing field `classes`", |json| {
                drop(json.as_object_mut().unwrap().remove("classes"))
            }),
            ("unknown variant", |json| {
                json["files"][0]["role"] = "program".into()
            }),
            ("classes", |json| json["classes"] = serde_json::json!([])),
            ("classes[1]", |json| {
                json["classes"][1] = json["classes"][0].clone()
            }),
            ("classes[2]", |json| json["classes"][2] = " ".into()),
            ("model.embed_dim", |json| {
                json["model"]["embed_dim"] = 0.into()
            }),
            ("model.logit_scale", |json| {
                json["model"]["logit_scale"] = (-1.0).into()
            }),
            ("model.logit_scale", |json| {
                json["model"]["logit_scale"] = 1e300.into()
            }),
            ("model.preprocessing", |json| {
                json["model"]["preprocessing"]["size"] = 900_000.into()
            }),
            ("model.preprocessing", |json| {
                json["model"]["preprocessing"]["size"] = 2.into()
            }),
            ("methods", |json| json["methods"] = serde_json::json!([])),
            ("methods[1].id", |json| {
                json["methods"][1] = json["methods"][0].clone()
            }),
            ("prompts.negatives", |json| {
                json["prompts"]["negatives"] = 1_000_000.into()
            }),
            ("known_answers[0].feature", |json| {
                json["known_answers"][0]["feature"] = serde_json::json!([1.0])
            }),
            ("figures.map.points[0]", |json| {
                json["figures"]["map"]["points"][0]["series"] = 9.into()
            }),
            ("files[1]", |json| {
                json["files"][1] = json["files"][0].clone()
            }),
            ("files[0].bytes", |json| {
                json["files"][0]["bytes"] = u64::MAX.into()
            }),
            ("role image-tower", |json| {
                drop(json["files"].as_array_mut().unwrap().remove(0))
            }),
        ];
        for (place, alteration) in alterations {
            let message = parse_altered(alteration).to_string();
            assert!(message.contains(place), "{place}: {message}");
        }
    }

    #[test]
    fn survives_any_cut_and_any_changed_byte() {
        let (_, bytes) = write(&content()).unwrap().pop().unwrap();
        for cut in (0..bytes.len()).step_by(97) {
            assert!(Manifest::parse(&bytes[..cut]).is_err());
        }
        for position in (0..bytes.len()).step_by(61) {
            let mut altered = bytes.clone();
            altered[position] ^= 0x15;
            // Whatever it says now, it is an answer and not a crash.
            let _ = Manifest::parse(&altered);
        }
    }

    #[test]
    fn methods_of_a_newer_trainer_are_left_aside() {
        let mut manifest = manifest();
        manifest.methods[1].id = "invented-later".to_owned();
        manifest.check().unwrap();
        assert_eq!(
            manifest.usable_methods().count(),
            manifest.methods.len() - 1
        );
        assert!(
            manifest
                .method("invented-later")
                .unwrap()
                .method()
                .is_none()
        );
        manifest.methods.truncate(2);
        manifest.methods.remove(0);
        assert!(manifest.check().is_err());
    }
}
