use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{BundleError, MAX_SHARD_BYTES, Precision};

/// A content file of a bundle.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct FileEntry {
    /// `ROLE-HASH.EXTENSION` with the first 16 hexadecimal digits of the hash.
    pub name: String,
    /// What it holds.
    pub role: Role,
    /// Its size in bytes, at most [`MAX_SHARD_BYTES`].
    pub bytes: u64,
    /// Its SHA-256, 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// How its values are stored.
    pub dtype: Dtype,
}

/// What a content file holds. Tensors of one role may be spread over several files.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Weights of the image tower.
    ImageTower,
    /// Weights of the text tower, for edited class lists.
    TextTower,
    /// The learned contexts.
    Prompts,
    /// Text features, linear probe and the features of the map.
    Features,
    /// The tokenizer's merges, as text.
    Vocabulary,
    /// The words that a compact text tower has seen, as text, one a line.
    Words,
    /// Stored inputs of known answers.
    KnownAnswers,
    /// Photos of none of the classes, to hold methods that take patches against when the classes are
    /// edited.
    Outsiders,
}

/// How the values of a file are stored.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Dtype {
    /// Single precision.
    #[serde(rename = "f32")]
    F32,
    /// Half precision.
    #[serde(rename = "f16")]
    F16,
    /// Eight bits with one scale a channel.
    #[serde(rename = "int8")]
    Int8,
    /// Text.
    #[serde(rename = "utf-8")]
    Utf8,
}

impl From<Precision> for Dtype {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::F16 => Self::F16,
            Precision::Int8 => Self::Int8,
        }
    }
}

impl Role {
    /// The name in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ImageTower => "image-tower",
            Self::TextTower => "text-tower",
            Self::Prompts => "prompts",
            Self::Features => "features",
            Self::Vocabulary => "vocabulary",
            Self::Words => "words",
            Self::KnownAnswers => "known-answers",
            Self::Outsiders => "outsiders",
        }
    }

    /// Whether it is text rather than tensors.
    pub fn is_text(self) -> bool {
        matches!(self, Self::Vocabulary | Self::Words)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FileEntry {
    /// The entry of a file with these bytes.
    pub(super) fn of(role: Role, dtype: Dtype, bytes: &[u8]) -> Self {
        let sha256 = sha256_hex(bytes);
        Self {
            name: name_of(role, &sha256),
            role,
            bytes: bytes.len() as u64,
            sha256,
            dtype,
        }
    }

    /// Checks what a manifest says of a file, before any of its bytes are fetched.
    pub(super) fn check(&self, field: &str) -> Result<(), BundleError> {
        let refuse = |cause: &str| {
            Err(BundleError::FileName {
                name: self.name.chars().take(100).collect(),
                cause: cause.to_owned(),
            })
        };
        // The last rule implies the first two; these say what is wrong in words.
        if self.name.contains(['/', '\\', ':', '\0']) {
            return refuse("it leads out of the bundle's folder");
        }
        if self.name.contains("..") || self.name.starts_with('.') {
            return refuse("it is hidden or leads out of the bundle's folder");
        }
        let is_digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        if self.sha256.len() != 64 || !self.sha256.chars().all(is_digit) {
            let cause = "it is not 64 lower-case hexadecimal digits";
            return Err(BundleError::field(format!("{field}.sha256"), cause));
        }
        if self.name != name_of(self.role, &self.sha256) {
            return refuse("a file is named ROLE-HASH.EXTENSION, after its role and SHA-256");
        }
        if self.bytes > MAX_SHARD_BYTES as u64 {
            let cause = format!("{} is above the limit of {MAX_SHARD_BYTES}", self.bytes);
            return Err(BundleError::field(format!("{field}.bytes"), cause));
        }
        if self.role.is_text() != (self.dtype == Dtype::Utf8) {
            let cause = format!("a file of {} cannot be stored like this", self.role);
            return Err(BundleError::field(format!("{field}.dtype"), cause));
        }
        Ok(())
    }

    /// Checks a file's bytes by size, then by hash.
    pub(super) fn verify(&self, bytes: &[u8]) -> Result<(), BundleError> {
        if bytes.len() as u64 != self.bytes {
            return Err(BundleError::Size {
                name: self.name.clone(),
                expected: self.bytes,
                found: bytes.len() as u64,
            });
        }
        let found = sha256_hex(bytes);
        if found != self.sha256 {
            return Err(BundleError::Hash {
                name: self.name.clone(),
                expected: self.sha256.clone(),
                found,
            });
        }
        Ok(())
    }
}

/// The SHA-256 of `bytes` as 64 lower-case hexadecimal digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `sha256` must be ASCII and at least 16 long.
fn name_of(role: Role, sha256: &str) -> String {
    let extension = if role.is_text() { "txt" } else { "safetensors" };
    format!("{role}-{}.{extension}", &sha256[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_the_standard_says() {
        assert_eq!(
            sha256_hex(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn names_carry_role_and_hash() {
        let entry = FileEntry::of(Role::KnownAnswers, Dtype::F16, b"abc");
        assert_eq!(entry.name, "known-answers-ba7816bf8f01cfea.safetensors");
        entry.check("files[0]").unwrap();
        let json = serde_json::to_value(&entry).unwrap();
        assert_eq!(
            (&json["role"], &json["dtype"]),
            (&"known-answers".into(), &"f16".into())
        );
        let text = FileEntry::of(Role::Words, Dtype::Utf8, b"abc");
        assert_eq!(text.name, "words-ba7816bf8f01cfea.txt");
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let good = FileEntry::of(Role::Features, Dtype::F32, b"abc");
        for name in [
            "../features-ba7816bf8f01cfea.safetensors",
            "..\\x",
            "/etc/passwd",
            "c:x",
            ".hidden",
            "features-ba7816bf8f01cfeb.safetensors",
            "prompts-ba7816bf8f01cfea.safetensors",
            "features-ba7816bf8f01cfea.safetensors\0",
            "",
        ] {
            let entry = FileEntry {
                name: name.to_owned(),
                ..good.clone()
            };
            let error = entry.check("files[0]").unwrap_err();
            assert!(
                matches!(error, BundleError::FileName { .. }),
                "{name}: {error}"
            );
        }
        for sha256 in ["", "BA", "äöü", &"g".repeat(64), &"é".repeat(32)] {
            let entry = FileEntry {
                sha256: sha256.to_owned(),
                ..good.clone()
            };
            assert!(entry.check("files[0]").is_err());
        }
        let entry = FileEntry {
            bytes: u64::MAX,
            ..good.clone()
        };
        assert!(entry.check("files[0]").is_err());
        let entry = FileEntry {
            dtype: Dtype::Utf8,
            ..good
        };
        assert!(entry.check("files[0]").is_err());
    }

    #[test]
    fn size_is_checked_before_the_hash() {
        let entry = FileEntry::of(Role::Features, Dtype::F32, b"abc");
        entry.verify(b"abc").unwrap();
        assert!(matches!(
            entry.verify(b"ab"),
            Err(BundleError::Size { found: 2, .. })
        ));
        assert!(matches!(
            entry.verify(b"abd"),
            Err(BundleError::Hash { .. })
        ));
    }
}
