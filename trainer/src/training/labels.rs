//! The text of methods that learn nothing: "no" prompts, and negative labels mined from WordNet.

use std::time::Instant;

use anyhow::{Context, Result};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use shared::clip::tokenizer::KnownWords;
use shared::clip::{NoTextTower, TextTower, Tokenizer, normalize};
use shared::prompt::template;
use shared::score::{ClassFeatures, far_labels};

use super::run::frozen_text_tower;
use crate::model::ModelDirectory;
use crate::progress::Progress;

/// Words of WordNet, made by `models/wordnet/make_pool.py`.
const POOL: &str = include_str!("../../../models/wordnet/pool.txt");

/// Names that stand for many things, for adjectives to modify.
///
/// Source: Chen et al., *Conjugated Semantic Pool Improves OOD Detection with Pre-trained
/// Vision-Language Models*, NeurIPS 2024.
const SUPERCLASSES: [&str; 14] = [
    "area",
    "creature",
    "environment",
    "item",
    "landscape",
    "object",
    "pattern",
    "place",
    "scene",
    "space",
    "structure",
    "thing",
    "view",
    "vista",
];

/// Share of nouns, and of adjectives, that become negative labels, as in NegLabel.
const SHARE: f64 = 0.15;

/// Prompts that pass through the text tower together.
const PROMPT_BATCH: usize = 256;

/// What the text tower makes of class names and negative labels, ready for scoring.
pub struct NegativeLabels {
    /// Unit features `[classes, d]` of the "no" prompts: of the model's own "no" text tower, or the mean
    /// of [`template::NO`] in the one text tower.
    no: Vec<f32>,
    /// Unit features `[classes, d]` of the class names in the prompt of the labels.
    named: Vec<f32>,
    /// Nouns and adjectives.
    pub words: LabelPool,
    /// Nouns and modified superclass names.
    conjugated: LabelPool,
    /// Seconds that the pool and the class names took.
    pub seconds: f64,
    /// Seconds that the "no" prompts took.
    pub no_seconds: f64,
}

/// Words with how near they are to the class names.
pub struct LabelPool {
    /// The nouns, then the others.
    words: Vec<String>,
    nouns: usize,
    /// `[words, d]`, unit rows.
    features: Vec<f32>,
    /// `[words, classes]`.
    cosines: Vec<f32>,
    classes: usize,
}

/// Encodes class names and a pool of at most `most` words of WordNet, of which the text tower
/// knows all parts; none where `most` is 0.
pub fn negative_labels(
    model: &ModelDirectory,
    classes: &[String],
    most: usize,
    device: &Device,
) -> Result<Option<NegativeLabels>> {
    if most == 0 {
        return Ok(None);
    }
    let since = Instant::now();
    let text = Text::of(model, device)?;
    let known = model.words()?.map(|words| KnownWords::parse(&words));
    let (nouns, adjectives) = pool(known.as_ref(), most);
    let modified: Vec<String> = adjectives
        .iter()
        .zip(SUPERCLASSES.iter().cycle())
        .map(|(adjective, superclass)| format!("{adjective} {superclass}"))
        .collect();
    let named = text.encode("class names", classes, &[template::NAMED])?;
    let noun_features = text.encode("nouns", &nouns, &[template::NAMED])?;
    let pool = |title: &str, others: &[String]| -> Result<LabelPool> {
        let mut features = noun_features.clone();
        features.extend(text.encode(title, others, &[template::NAMED])?);
        Ok(LabelPool {
            words: nouns.iter().chain(others).cloned().collect(),
            nouns: nouns.len(),
            cosines: cosines(&features, &named, text.width)?,
            features,
            classes: classes.len(),
        })
    };
    let words = pool("adjectives", &adjectives)?;
    let conjugated = pool("modified superclass names", &modified)?;
    let seconds = since.elapsed().as_secs_f64();
    let no = match model.no_text_tower(&device.clone().autodiff())? {
        Some(tower) => text.encode_no(&tower.no_grad(), classes)?,
        None => text.encode("\"no\" prompts", classes, &template::NO)?,
    };
    Ok(Some(NegativeLabels {
        no,
        named,
        words,
        conjugated,
        seconds,
        no_seconds: since.elapsed().as_secs_f64() - seconds,
    }))
}

/// Unit features `[names, d]` of names in hand-written prompts: the direction of the mean over these.
pub fn encode_names(
    model: &ModelDirectory,
    names: &[String],
    templates: &[&str],
    device: &Device,
) -> Result<Vec<f32>> {
    Text::of(model, device)?.encode("hand-written prompts", names, templates)
}

impl NegativeLabels {
    /// Puts them beside the learned prompts of the same classes.
    pub fn add_to(&self, classes: &mut ClassFeatures) {
        let all: Vec<usize> = (0..self.words.classes).collect();
        classes.no.clone_from(&self.no);
        classes.named.clone_from(&self.named);
        classes.mined = self.words.rows(&self.words.mine(&all));
        classes.conjugated = self.conjugated.rows(&self.conjugated.mine(&all));
    }

    /// One sentence on the labels, for reports.
    pub fn note(&self) -> String {
        let all: Vec<usize> = (0..self.words.classes).collect();
        let mined = self.words.mine(&all);
        let some: Vec<&str> = mined
            .iter()
            .step_by((mined.len() / 8).max(1))
            .map(|&word| self.words.words[word].as_str())
            .collect();
        format!(
            "NegLabel's {} negative labels were mined from {} words of WordNet that the text tower knows, by \
             distance to the class names alone ({}, …). The pool knows nothing of the out-of-distribution \
             sets, and may hold the names of what they show, as in NegLabel's own protocol.",
            mined.len(),
            self.words.words.len(),
            some.join(", "),
        )
    }
}

impl LabelPool {
    /// The words far from all the `kept` classes, as positions in the pool, ascending.
    pub fn mine(&self, kept: &[usize]) -> Vec<usize> {
        let (nouns, others) = self.cosines.split_at(self.nouns * self.classes);
        let mut far = far_labels(nouns, self.classes, kept, SHARE);
        let of_others = far_labels(others, self.classes, kept, SHARE);
        far.extend(of_others.into_iter().map(|word| self.nouns + word));
        far
    }

    /// The features of all words, `[words, d]`.
    pub fn features(&self) -> &[f32] {
        &self.features
    }

    /// How many words there are.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    fn rows(&self, words: &[usize]) -> Vec<f32> {
        let width = self.features.len() / self.words.len().max(1);
        words
            .iter()
            .flat_map(|&word| &self.features[word * width..(word + 1) * width])
            .copied()
            .collect()
    }
}

/// Nouns and adjectives of WordNet, evenly thinned to at most `most` words together.
fn pool(known: Option<&KnownWords>, most: usize) -> (Vec<String>, Vec<String>) {
    let (mut nouns, mut adjectives) = (Vec::new(), Vec::new());
    let mut of_adjectives = false;
    for line in POOL.lines() {
        match line.strip_prefix("# ") {
            Some(title) => of_adjectives = title == "adjective",
            None if known.is_none_or(|known| known.unknown(line).is_empty()) => {
                let list = if of_adjectives {
                    &mut adjectives
                } else {
                    &mut nouns
                };
                list.push(line.to_owned());
            }
            None => {}
        }
    }
    let all = nouns.len() + adjectives.len();
    if all > most {
        let thin = |words: Vec<String>| -> Vec<String> {
            let kept = words.len() * most / all;
            let at = |place: usize| words[place * words.len() / kept].clone();
            (0..kept).map(at).collect()
        };
        return (thin(nouns), thin(adjectives));
    }
    (nouns, adjectives)
}

struct Text {
    tower: TextTower,
    tokenizer: Tokenizer,
    width: usize,
}

impl Text {
    fn of(model: &ModelDirectory, device: &Device) -> Result<Self> {
        Ok(Self {
            tower: frozen_text_tower(model, device)?,
            tokenizer: model.tokenizer()?,
            width: model.config.embed_dim,
        })
    }

    /// Unit features `[names, d]`: the direction of the mean over the templates.
    fn encode(&self, title: &str, names: &[String], templates: &[&str]) -> Result<Vec<f32>> {
        self.encode_by(title, names, templates, |prompts| {
            self.tower.forward(prompts)
        })
    }

    /// The same by CLIPN's "no" text tower: of the prompt that says "yes" where its "no" prompts are
    /// learned, else of those written by hand, as in its two releases.
    fn encode_no(&self, tower: &NoTextTower, names: &[String]) -> Result<Vec<f32>> {
        let templates: &[&str] = match tower.prompts() {
            Some(_) => &[template::PHOTO],
            None => &template::NO,
        };
        self.encode_by("\"no\" prompts", names, templates, |prompts| {
            tower.forward(prompts)
        })
    }

    fn encode_by(
        &self,
        title: &str,
        names: &[String],
        templates: &[&str],
        forward: impl Fn(&[Vec<u32>]) -> Tensor<2>,
    ) -> Result<Vec<f32>> {
        let label = format!("encoding {title}");
        let progress = Progress::new(label, "prompts", (names.len() * templates.len()) as u64);
        let mut features = Vec::with_capacity(names.len() * self.width);
        // Names of like length together: a batch is as long as its longest prompt.
        let mut order: Vec<usize> = (0..names.len()).collect();
        order.sort_by_key(|&name| names[name].len());
        for batch in order.chunks(PROMPT_BATCH) {
            let names: Vec<&str> = batch.iter().map(|&name| names[name].as_str()).collect();
            let mut sum: Option<Tensor<2>> = None;
            for template in templates {
                let length = self.tower.context_length();
                let prompts = template::tokenize(&self.tokenizer, template, &names, length);
                let unit = normalize(forward(&prompts)).inner();
                sum = Some(match sum {
                    Some(sum) => sum + unit,
                    None => unit,
                });
                progress.advance(names.len() as u64);
            }
            if let Some(sum) = sum {
                let values = normalize(sum).into_data().try_into_vec::<f32>();
                features.extend(values.context("reading text features from the device")?);
            }
        }
        let mut in_order = vec![0.0; features.len()];
        for (row, &name) in features.chunks_exact(self.width).zip(&order) {
            in_order[name * self.width..(name + 1) * self.width].copy_from_slice(row);
        }
        Ok(in_order)
    }
}

/// `[rows, names]`: products of unit rows.
fn cosines(rows: &[f32], names: &[f32], width: usize) -> Result<Vec<f32>> {
    let device = Device::flex();
    let tensor = |values: &[f32]| -> Tensor<2> {
        let shape = [values.len() / width.max(1), width];
        Tensor::from_data(
            burn::tensor::TensorData::new(values.to_vec(), shape),
            &device,
        )
    };
    let products = tensor(rows).matmul(tensor(names).transpose());
    products
        .into_data()
        .try_into_vec::<f32>()
        .context("reading cosines from the device")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_holds_nouns_and_adjectives_and_thins_evenly() {
        let (nouns, adjectives) = pool(None, usize::MAX);
        assert!(nouns.len() > 40_000 && adjectives.len() > 9_000);
        assert!(nouns.contains(&"giraffe".to_owned()) && !nouns.contains(&"# noun".to_owned()));
        let (few, fewer) = pool(None, 1_000);
        assert!(few.len() + fewer.len() <= 1_000 && few.len() > 700 && fewer.len() > 150);
        let known = KnownWords::parse("red apple");
        assert_eq!(
            pool(Some(&known), 10),
            (vec!["apple".to_owned(), "red".to_owned()], Vec::new())
        );
    }
}
