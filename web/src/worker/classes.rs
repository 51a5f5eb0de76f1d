//! Other class names: through the text tower, behind the learned contexts.

use std::collections::HashMap;

use burn::tensor::{Device, Tensor, TensorData};
use shared::bundle::{Bundle, Role, Tensors, tensor_name};
use shared::clip::tokenizer::KnownWords;
use shared::clip::{Prefix, TextTower, Tokenizer, Weights, normalize};
use shared::prompt::{PromptEncoder, context_prefix, template};
use shared::score::ClassFeatures;
use web::message::UnknownWords;

/// Names that go through the tower at a time: what they need in memory grows with it.
const TOGETHER: usize = 64;

/// The text tower with the learned contexts. It computes on the CPU, where a handful of names
/// takes less time than a GPU takes to compile for them.
pub struct TextSide {
    tower: TextTower,
    tokenizer: Tokenizer,
    words: Option<KnownWords>,
    /// Of the positive context.
    positive: Behind,
    /// Of the p negative contexts; none when the bundle has no negatives.
    negative: Option<Behind>,
    /// Of the hand-written words; none when the bundle has no such prompts.
    zero_shot: Option<Behind>,
    /// Names that have been through the tower.
    known: HashMap<String, NameFeatures>,
}

/// Contexts that went through the tower: each name then costs only its own tokens.
struct Behind {
    prefix: Prefix,
    /// Tokens of a context.
    tokens: usize,
}

/// What the tower makes of a name; rows of unit length.
#[derive(Clone)]
struct NameFeatures {
    positive: Vec<f32>,
    /// `[p, d]`.
    negative: Vec<f32>,
    zero_shot: Vec<f32>,
}

impl TextSide {
    /// Builds the text tower from its `tensors`, with the vocabulary and the contexts of `bundle`.
    ///
    /// # Errors
    /// What is missing or does not fit, in words.
    pub fn new(bundle: &Bundle, tensors: &Tensors, own: &ClassFeatures) -> Result<Self, String> {
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
        let words = bundle.text(Role::Words).ok().map(KnownWords::parse);
        let context = |name: &str| -> Result<Tensor<3>, String> {
            let stored = bundle
                .tensor(Role::Prompts, name)
                .map_err(|error| said(&error))?;
            let shape: [usize; 3] = match stored.shape[..] {
                [tokens, width] => [1, tokens, width],
                [contexts, tokens, width] => [contexts, tokens, width],
                _ => return Err("The contexts of this bundle belong to its classes and cannot be put before other names.".to_owned()),
            };
            if shape[2] != tower.width() {
                return Err(format!(
                    "The contexts are {} wide and the text tower {}.",
                    shape[2],
                    tower.width()
                ));
            }
            Ok(Tensor::from_data(
                TensorData::new(stored.values.clone(), shape),
                &device,
            ))
        };
        let behind = |contexts: Tensor<3>| Behind {
            tokens: contexts.dims()[1],
            prefix: context_prefix(&tower, tokenizer.start(), contexts),
        };
        let positive = behind(context(tensor_name::POSITIVE_CONTEXT)?);
        let negative = match own.negative.is_empty() {
            true => None,
            false => Some(behind(context(tensor_name::NEGATIVE_CONTEXT)?)),
        };
        let words_before = tokenizer.encode(template::PHOTO.trim_end_matches("{}."));
        let zero_shot = (!own.zero_shot.is_empty()).then(|| behind(tower.embed(&words_before, 1)));
        Ok(Self {
            positive,
            negative,
            zero_shot,
            tower,
            tokenizer,
            words,
            known: HashMap::new(),
        })
    }

    /// The features of a class list: the bundle's own rows where it has them, else through the
    /// tower.
    ///
    /// # Errors
    /// What the device says when its result cannot be read.
    pub async fn features(
        &mut self,
        names: &[String],
        bundle: &Bundle,
        own: &ClassFeatures,
    ) -> Result<ClassFeatures, String> {
        self.take_over(bundle, own);
        let new: Vec<String> = names
            .iter()
            .filter(|name| !self.known.contains_key(*name))
            .cloned()
            .collect();
        for names in new.chunks(TOGETHER) {
            self.encode(names).await?;
        }
        let mut features = ClassFeatures {
            embed_dim: own.embed_dim,
            logit_scale: own.logit_scale,
            ..ClassFeatures::default()
        };
        let rows: Vec<&NameFeatures> = names
            .iter()
            .filter_map(|name| self.known.get(name))
            .collect();
        let contexts = rows
            .first()
            .map_or(0, |row| row.negative.len() / own.embed_dim.max(1));
        for row in &rows {
            features.positive.extend(&row.positive);
            features.zero_shot.extend(&row.zero_shot);
        }
        // Context by context, as scores take them.
        for context in 0..contexts {
            let range = context * own.embed_dim..(context + 1) * own.embed_dim;
            for row in &rows {
                features.negative.extend(&row.negative[range.clone()]);
            }
        }
        features.check().map_err(|error| format!("{error}."))?;
        Ok(features)
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
        let (width, classes) = (own.embed_dim, bundle.manifest.classes.len());
        let row = |rows: &[f32], index: usize| {
            rows.get(index * width..(index + 1) * width)
                .unwrap_or_default()
                .to_vec()
        };
        for (index, name) in bundle.manifest.classes.iter().enumerate() {
            let contexts = own.negative.len() / (width * classes).max(1);
            let features = NameFeatures {
                positive: row(&own.positive, index),
                negative: (0..contexts)
                    .flat_map(|context| row(&own.negative, context * classes + index))
                    .collect(),
                zero_shot: row(&own.zero_shot, index),
            };
            self.known.insert(name.clone(), features);
        }
    }

    async fn encode(&mut self, names: &[String]) -> Result<(), String> {
        let encoded = |behind: &Behind| {
            PromptEncoder::new(&self.tower, &self.tokenizer, names, behind.tokens)
                .encode_behind(&self.tower, &behind.prefix)
        };
        let positive = rows(encoded(&self.positive)).await?;
        let negative = match &self.negative {
            Some(contexts) => rows(encoded(contexts)).await?,
            None => Vec::new(),
        };
        let zero_shot = match &self.zero_shot {
            Some(words) => rows(encoded(words)).await?,
            None => Vec::new(),
        };
        let width = positive.len() / names.len();
        let row = |values: &[f32], index: usize| {
            values
                .get(index * width..(index + 1) * width)
                .unwrap_or_default()
                .to_vec()
        };
        let contexts = negative.len() / (width * names.len()).max(1);
        for (index, name) in names.iter().enumerate() {
            let features = NameFeatures {
                positive: row(&positive, index),
                negative: (0..contexts)
                    .flat_map(|context| row(&negative, context * names.len() + index))
                    .collect(),
                zero_shot: row(&zero_shot, index),
            };
            self.known.insert(name.clone(), features);
        }
        Ok(())
    }
}

/// Text features `[contexts, k, d]` → rows of unit length, flattened in this order.
async fn rows(features: Tensor<3>) -> Result<Vec<f32>, String> {
    let [contexts, classes, width] = features.dims();
    let unit = normalize(features.reshape([contexts * classes, width]));
    let data = unit
        .into_data_async()
        .await
        .map_err(|error| format!("{error:?}"))?;
    data.try_to_vec().map_err(|error| format!("{error:?}"))
}
