//! The concept corpus: which words the text tower learns, and what they mean in terms of classes.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::output;

/// The most bytes of a corpus; ours has two million.
pub const MAX_BYTES: u64 = 256 << 20;

/// One line of `concepts.jsonl`.
#[derive(Deserialize, Debug)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Line {
    ImageNet(ImageNetClass),
    Caltech(PhotographedClass),
    Hypernym(Group),
    Noun(Group),
    Attribute(Group),
    Style(Group),
}

/// A class of the locked tower's own classifier.
#[derive(Deserialize, Clone, Debug)]
pub struct ImageNetClass {
    /// Row of the classifier.
    pub index: usize,
    /// WordNet's number, `n01440764`.
    pub synset: String,
    pub name: String,
    pub synonyms: Vec<String>,
    /// Nearest first.
    pub hypernyms: Vec<String>,
    /// Describing words of its definition.
    pub attributes: Vec<String>,
}

/// A class of the labelled photos.
#[derive(Deserialize, Clone, Debug)]
pub struct PhotographedClass {
    pub name: String,
    pub synonyms: Vec<String>,
    /// The classifier's class of the same name.
    #[serde(default)]
    pub same: Option<usize>,
    /// Classes of the classifier that it resembles.
    #[serde(default)]
    pub like: Vec<usize>,
}

/// A word that stands for several of the classifier's classes.
#[derive(Deserialize, Clone, Debug)]
pub struct Group {
    pub name: String,
    #[serde(default)]
    pub synonyms: Vec<String>,
    /// Rows of the classifier.
    pub leaves: Vec<usize>,
    /// How far a picture of this style moves away from the class it shows.
    #[serde(default)]
    pub weight: f32,
}

impl Group {
    /// All its names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.name.as_str()).chain(self.synonyms.iter().map(String::as_str))
    }
}

/// The corpus by kind.
#[derive(Clone, Debug, Default)]
pub struct Concepts {
    /// In the order of the classifier's rows.
    pub imagenet: Vec<ImageNetClass>,
    pub photographed: Vec<PhotographedClass>,
    pub hypernyms: Vec<Group>,
    pub nouns: Vec<Group>,
    pub attributes: Vec<Group>,
    pub styles: Vec<Group>,
}

impl Concepts {
    /// Reads and checks a corpus for a classifier of `rows` classes.
    ///
    /// # Errors
    /// Names the file and the line.
    pub fn open(path: &Path, rows: usize) -> Result<Self> {
        let text = String::from_utf8(output::read_at_most(path, MAX_BYTES)?)
            .with_context(|| format!("{} is no UTF-8 text", path.display()))?;
        Self::parse(&text, rows).with_context(|| {
            format!(
                "{} cannot be used as a concept corpus; make it with make_concepts.py",
                path.display()
            )
        })
    }

    /// Reads the lines of a corpus for a classifier of `rows` classes.
    pub fn parse(text: &str, rows: usize) -> Result<Self> {
        let mut concepts = Self::default();
        for (number, line) in text.lines().enumerate() {
            let at = || format!("line {}", number + 1);
            let (leaves, single) = match serde_json::from_str(line).with_context(at)? {
                Line::ImageNet(class) => {
                    ensure!(
                        class.index == concepts.imagenet.len(),
                        "{}: class {} stands in place {}",
                        at(),
                        class.index,
                        concepts.imagenet.len()
                    );
                    concepts.imagenet.push(class);
                    continue;
                }
                Line::Caltech(class) => {
                    concepts.photographed.push(class.clone());
                    (class.like.into_iter().chain(class.same).collect(), true)
                }
                Line::Hypernym(group) => (push(&mut concepts.hypernyms, group), false),
                Line::Noun(group) => (push(&mut concepts.nouns, group), false),
                Line::Attribute(group) => (push(&mut concepts.attributes, group), false),
                Line::Style(group) => (push(&mut concepts.styles, group), false),
            };
            if let Some(leaf) = leaves.iter().find(|&&leaf| leaf >= rows) {
                bail!(
                    "{}: there is no class {leaf}, the classifier has {rows}",
                    at()
                );
            }
            ensure!(
                single || !leaves.is_empty(),
                "{}: a concept of no class",
                at()
            );
        }
        ensure!(
            concepts.imagenet.len() == rows,
            "it names {} classes and the tower's classifier has {rows}",
            concepts.imagenet.len()
        );
        for (kind, empty) in [
            ("caltech", concepts.photographed.is_empty()),
            ("hypernym", concepts.hypernyms.is_empty()),
            ("style", concepts.styles.is_empty()),
        ] {
            ensure!(!empty, "it has no line of the kind `{kind}`");
        }
        Ok(concepts)
    }

    /// The prototype that stands for each photographed class: the classifier's row of the same
    /// name, or a row of its own behind them.
    pub fn photographed_rows(&self) -> Vec<usize> {
        let mut next = self.imagenet.len();
        let row = |class: &PhotographedClass| {
            class.same.unwrap_or_else(|| {
                next += 1;
                next - 1
            })
        };
        self.photographed.iter().map(row).collect()
    }

    /// One name for each prototype.
    pub fn prototype_names(&self) -> Vec<&str> {
        let own = self
            .photographed
            .iter()
            .filter(|class| class.same.is_none());
        let imagenet = self.imagenet.iter().map(|class| class.name.as_str());
        imagenet
            .chain(own.map(|class| class.name.as_str()))
            .collect()
    }

    /// The ImageNet classes by their WordNet number.
    pub fn synsets(&self) -> HashMap<&str, usize> {
        self.imagenet
            .iter()
            .map(|class| (class.synset.as_str(), class.index))
            .collect()
    }

    /// The texts whose words are worth tokens of their own; all others are spelled from pieces.
    pub fn core_texts(&self) -> Vec<&str> {
        let mut texts = self.prototype_names();
        for class in &self.photographed {
            texts.push(&class.name);
            texts.extend(class.synonyms.iter().map(String::as_str));
        }
        texts.extend(self.hypernyms.iter().map(|group| group.name.as_str()));
        texts.extend(self.styles.iter().flat_map(Group::names));
        texts
    }

    /// Every name and word.
    pub fn all_texts(&self) -> Vec<&str> {
        let mut texts = self.core_texts();
        for class in &self.imagenet {
            let words = class
                .synonyms
                .iter()
                .chain(&class.attributes)
                .chain(&class.hypernyms);
            texts.extend(words.map(String::as_str));
        }
        let groups = self
            .hypernyms
            .iter()
            .chain(&self.nouns)
            .chain(&self.attributes);
        texts.extend(groups.flat_map(Group::names));
        texts
    }
}

fn push(groups: &mut Vec<Group>, group: Group) -> Vec<usize> {
    let leaves = group.leaves.clone();
    groups.push(group);
    leaves
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A corpus of three classes and two photographed ones.
    pub const SMALL: &str = r#"{"kind":"imagenet","index":0,"synset":"n00000001","name":"tench","synonyms":["Tinca"],"hypernyms":["fish"],"attributes":["wet"]}
{"kind":"imagenet","index":1,"synset":"n00000002","name":"goldfish","synonyms":[],"hypernyms":["fish"],"attributes":[]}
{"kind":"imagenet","index":2,"synset":"n00000003","name":"hen","synonyms":[],"hypernyms":["bird"],"attributes":[]}
{"kind":"caltech","class":"hen","name":"hen","synonyms":[],"same":2}
{"kind":"caltech","class":"Faces","name":"Faces","synonyms":["face"],"like":[]}
{"kind":"hypernym","name":"fish","synonyms":[],"leaves":[0,1]}
{"kind":"noun","name":"carp","leaves":[0]}
{"kind":"attribute","name":"wet","leaves":[0,1]}
{"kind":"style","name":"drawing","synonyms":["sketch"],"leaves":[2],"weight":0.4}
"#;

    #[test]
    fn a_corpus_is_read() {
        let concepts = Concepts::parse(SMALL, 3).unwrap();
        assert_eq!(concepts.photographed_rows(), [2, 3]);
        assert_eq!(
            concepts.prototype_names(),
            ["tench", "goldfish", "hen", "Faces"]
        );
        assert_eq!(concepts.synsets()["n00000003"], 2);
        assert!(concepts.all_texts().contains(&"carp"));
        assert!(!concepts.core_texts().contains(&"carp"));
    }

    #[test]
    fn errors_name_the_line() {
        let text = |error: anyhow::Error| format!("{error:#}");
        assert!(text(Concepts::parse(SMALL, 4).unwrap_err()).contains("names 3 classes"));
        let broken = SMALL.replace(
            "\"leaves\":[0,1]}\n{\"kind\":\"noun\"",
            "\"leaves\":[9]}\n{\"kind\":\"noun\"",
        );
        let error = text(Concepts::parse(&broken, 3).unwrap_err());
        assert!(
            error.contains("line 6") && error.contains("no class 9"),
            "{error}"
        );
        assert!(text(Concepts::parse("{}", 3).unwrap_err()).contains("line 1"));
    }
}
