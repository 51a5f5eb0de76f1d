//! Other class names: through the text tower, behind the learned contexts.

use std::collections::HashMap;

use burn::tensor::Device;
use shared::bundle::{Bundle, Outsiders, Role, Tensors, tensor_name};
use shared::clip::text::TokenEmbedding;
use shared::clip::text::direct::{DirectTextTower, Suffixes, Tape};
use shared::clip::tokenizer::KnownWords;
use shared::clip::{TextTower, Tokenizer, Weights};
use shared::prompt::{suffixes, template};
use shared::score::{ClassFeatures, ImageFeatures};
use web::message::UnknownWords;

/// Names that go through the tower at a time: what they need in memory grows with it.
const TOGETHER: usize = 64;

/// Names whose features are kept for the next list that has them, where the list itself has no more.
const MOST_KNOWN: usize = 4_096;

/// The text tower with the learned contexts. It computes on the CPU, where a handful of names
/// takes less time than a GPU takes to compile for them.
pub struct TextSide {
    tower: Tower,
    words: Option<KnownWords>,
    /// Of the positive context.
    positive: Behind,
    /// Of the p negative contexts; none when the bundle has no negatives.
    negative: Option<Behind>,
    /// Of the hand-written words; none when the bundle has no such prompts.
    zero_shot: Option<Behind>,
    /// Of LoCoOp's context; none when the bundle has no such prompts.
    locoop: Option<Behind>,
    /// Photos of none of the bundle's classes.
    outsiders: Outsiders,
    /// What the tower makes of names, each as a list of one class.
    known: HashMap<String, ClassFeatures>,
}

/// From a name to what is behind contexts.
struct Tower {
    tokenizer: Tokenizer,
    tokens: TokenEmbedding,
    transformer: DirectTextTower,
}

/// Contexts that went through the tower: each name then costs only its own tokens.
struct Behind {
    passed: Tape,
    /// Tokens of a context.
    tokens: usize,
}

impl Tower {
    /// `contexts`: `[count, M, width]`.
    fn enter(&self, contexts: &[f32], [count, tokens, _]: [usize; 3]) -> Behind {
        let mut passed = Tape::default();
        let start = Suffixes::new(&self.tokens, self.tokenizer.start(), &[]);
        self.transformer
            .enter(contexts, count, true, &start, &mut passed);
        Behind { passed, tokens }
    }

    /// Text features `[count, k, d]`, rows of unit length.
    fn encode(&self, names: &[String], behind: &mut Behind) -> Vec<f32> {
        let room = self.transformer.context_length() - behind.tokens;
        let suffixes = suffixes(&self.tokenizer, names, room);
        let suffixes = Suffixes::new(&self.tokens, self.tokenizer.start(), &suffixes);
        // There is no way back, for which activations would be kept.
        let mut features = self
            .transformer
            .encode_behind(&suffixes, 0, &mut behind.passed);
        for row in features.chunks_exact_mut(self.transformer.embed_dim()) {
            let squares: f32 = row.iter().map(|value| value * value).sum();
            let norm = squares.sqrt().max(1e-12);
            row.iter_mut().for_each(|value| *value /= norm);
        }
        features
    }
}

impl TextSide {
    /// Builds the text tower from its `tensors`, with the vocabulary and the contexts of `bundle`.
    ///
    /// # Errors
    /// What is missing or does not fit, in words.
    pub fn new(mut bundle: Bundle, tensors: &Tensors, own: &ClassFeatures) -> Result<Self, String> {
        let outsiders = bundle.take_outsiders();
        let said = |error: &dyn std::fmt::Display| format!("{error}.");
        let device = Device::flex();
        let config = &bundle.manifest.model;
        let tower = TextTower::load(
            &Weights::new(tensors, &device),
            &config.text,
            config.embed_dim,
        )
        .map_err(|error| said(&error))?;
        let vocabulary = bundle
            .text(Role::Vocabulary)
            .map_err(|error| said(&error))?;
        let tokenizer = Tokenizer::from_vocabulary(vocabulary).map_err(|error| said(&error))?;
        let (makes, takes) = (tokenizer.vocabulary_size(), config.text.vocabulary_size);
        if makes != takes {
            return Err(format!(
                "The vocabulary of this bundle makes {makes} tokens, and its text tower has embeddings for {takes}: they do not belong together. Export the bundle again."
            ));
        }
        let words = bundle.text(Role::Words).ok().map(KnownWords::parse);
        let width = tower.width();
        let context = |name: &str| {
            let stored = bundle
                .tensor(Role::Prompts, name)
                .map_err(|error| said(&error))?;
            let shape: [usize; 3] = match stored.shape[..] {
                [tokens, width] => [1, tokens, width],
                [contexts, tokens, width] => [contexts, tokens, width],
                _ => return Err("The contexts of this bundle belong to its classes and cannot be put before other names.".to_owned()),
            };
            if shape[2] != width {
                return Err(format!(
                    "The contexts are {} wide and the text tower {width}.",
                    shape[2],
                ));
            }
            Ok((&stored.values, shape))
        };
        let tower = Tower {
            tokenizer,
            tokens: tower.tokens(),
            transformer: DirectTextTower::new(tower).ok_or("The text tower is not on the CPU.")?,
        };
        let enter = |values: &[f32], shape: [usize; 3]| {
            if shape[1] + 2 >= tower.transformer.context_length() {
                return Err(format!(
                    "Contexts of {} tokens leave no room for a name in prompts of {}.",
                    shape[1],
                    tower.transformer.context_length()
                ));
            }
            Ok(tower.enter(values, shape))
        };
        // As many as the bundle's own classes have of them, or scores of others would be of something
        // else.
        let behind = |name: &'static str, of_class: &[f32]| {
            let (values, shape) = context(name)?;
            let features = bundle.manifest.classes.len() * own.embed_dim;
            let expected = of_class.len() / features.max(1);
            if shape[0] != expected {
                return Err(format!(
                    "This bundle holds {} contexts as `{name}`, and its classes have features of {expected}. Export it again.",
                    shape[0]
                ));
            }
            enter(values, shape)
        };
        let positive = behind(tensor_name::POSITIVE_CONTEXT, &own.positive)?;
        let behind_if = |name, of_class: &[f32]| {
            let wanted = !of_class.is_empty();
            wanted.then(|| behind(name, of_class)).transpose()
        };
        let negative = behind_if(tensor_name::NEGATIVE_CONTEXT, &own.negative)?;
        let locoop = behind_if(tensor_name::LOCOOP_CONTEXT, &own.locoop)?;
        let by_hand = || {
            let words = template::PHOTO.trim_end_matches("{}.");
            let words = tower.tokenizer.encode(words);
            enter(&tower.tokens.rows(&words), [1, words.len(), width])
        };
        let zero_shot = (!own.zero_shot.is_empty()).then(by_hand).transpose()?;
        Ok(Self {
            positive,
            negative,
            zero_shot,
            locoop,
            outsiders,
            tower,
            words,
            known: HashMap::new(),
        })
    }

    /// The features of a class list: the bundle's own rows where it has them, else through the
    /// tower.
    ///
    /// # Errors
    /// What is wrong with the rows, in words.
    pub fn features(
        &mut self,
        names: &[String],
        bundle: &Bundle,
        own: &ClassFeatures,
    ) -> Result<ClassFeatures, String> {
        if self.known.len() > MOST_KNOWN.max(names.len()) {
            self.known.clear();
        }
        self.take_over(bundle, own);
        let new: Vec<String> = names
            .iter()
            .filter(|name| !self.known.contains_key(*name))
            .cloned()
            .collect();
        for names in new.chunks(TOGETHER) {
            self.encode(names, own);
        }
        let known = names.iter().filter_map(|name| self.known.get(name));
        let features = ClassFeatures::join(&known.collect::<Vec<_>>());
        features.check().map_err(|error| format!("{error}."))?;
        Ok(features)
    }

    /// Photos of none of the bundle's classes, with their patches; none in a bundle without methods
    /// that take these.
    pub fn outsiders(&self) -> Vec<ImageFeatures<'_>> {
        self.outsiders.photos()
    }

    /// Names with words that the tower was never trained on.
    pub fn unknown(&self, names: &[String]) -> Vec<UnknownWords> {
        let Some(known) = &self.words else {
            return Vec::new();
        };
        names
            .iter()
            .map(|name| UnknownWords {
                class: name.clone(),
                words: known.unknown(name),
            })
            .filter(|unknown| !unknown.words.is_empty())
            .collect()
    }

    /// The bundle's own classes need no tower.
    fn take_over(&mut self, bundle: &Bundle, own: &ClassFeatures) {
        if !self.known.is_empty() {
            return;
        }
        for (index, name) in bundle.manifest.classes.iter().enumerate() {
            let features = ClassFeatures {
                // Other names have no such prompts.
                no: Vec::new(),
                named: Vec::new(),
                ..own.of_classes(&[index])
            };
            self.known.insert(name.clone(), features);
        }
    }

    fn encode(&mut self, names: &[String], own: &ClassFeatures) {
        let tower = &self.tower;
        let encoded = |behind: Option<&mut Behind>| {
            behind.map_or_else(Vec::new, |behind| tower.encode(names, behind))
        };
        let features = ClassFeatures {
            embed_dim: own.embed_dim,
            logit_scale: own.logit_scale,
            positive: encoded(Some(&mut self.positive)),
            negative: encoded(self.negative.as_mut()),
            zero_shot: encoded(self.zero_shot.as_mut()),
            locoop: encoded(self.locoop.as_mut()),
            ..ClassFeatures::default()
        };
        for (index, name) in names.iter().enumerate() {
            self.known
                .insert(name.clone(), features.of_classes(&[index]));
        }
    }
}
