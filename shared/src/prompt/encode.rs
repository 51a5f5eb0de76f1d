//! Contexts in front of many class names, encoded with the prefix shared.
//!
//! With k classes and p contexts the reference implementation runs k·p prompts of 77
//! tokens. Here each context runs once and each class costs its suffix `name . [EOS]`
//! against the kept keys and values; suffixes are grouped by length, so that no padding
//! is computed. The result is the same to rounding (see `tests/`), gradients included.

use burn::tensor::{Int, Tensor, TensorData};

use crate::clip::text::Prefix;
use crate::clip::{TextTower, Tokenizer};

/// Class names, tokenised once, ready to be encoded behind any contexts.
#[derive(Clone, Debug)]
pub struct PromptEncoder {
    start: u32,
    /// Token ids behind a context, class by class, each ending in `[EOS]`.
    suffixes: Vec<Vec<u32>>,
    /// Suffixes of equal length together.
    buckets: Vec<Bucket>,
    /// `order[j]` is where class `j` stands when the buckets are laid end to end.
    order: Vec<i32>,
}

#[derive(Clone, Debug)]
struct Bucket {
    /// Class indices.
    classes: Vec<usize>,
    /// Token ids, `classes.len()` rows of one length, each ending in `[EOS]`.
    tokens: Vec<u32>,
}

impl PromptEncoder {
    /// Tokenises `name .` for every class name. Names too long for `context_tokens` learned
    /// vectors in front of them are cut, `[EOS]` kept.
    pub fn new<S: AsRef<str>>(
        tower: &TextTower,
        tokenizer: &Tokenizer,
        names: &[S],
        context_tokens: usize,
    ) -> Self {
        let room = tower.context_length().saturating_sub(context_tokens);
        Self::from_suffixes(tokenizer.start(), &suffixes(tokenizer, names, room))
    }

    /// From suffixes that are already tokenised, each ending in `[EOS]`.
    pub fn from_suffixes(start: u32, suffixes: &[Vec<u32>]) -> Self {
        let mut lengths: Vec<usize> = suffixes.iter().map(Vec::len).collect();
        lengths.sort_unstable();
        lengths.dedup();
        let buckets: Vec<Bucket> = lengths
            .into_iter()
            .map(|length| {
                let classes: Vec<usize> = (0..suffixes.len())
                    .filter(|&j| suffixes[j].len() == length)
                    .collect();
                let tokens = classes
                    .iter()
                    .flat_map(|&j| suffixes[j].iter().copied())
                    .collect();
                Bucket { classes, tokens }
            })
            .collect();
        let mut order = vec![0; suffixes.len()];
        for (place, &class) in buckets
            .iter()
            .flat_map(|bucket| &bucket.classes)
            .enumerate()
        {
            order[class] = place as i32;
        }
        Self {
            start,
            suffixes: suffixes.to_vec(),
            buckets,
            order,
        }
    }

    /// Number of classes `k`.
    pub fn classes(&self) -> usize {
        self.suffixes.len()
    }

    /// Token id of `[SOS]`.
    pub fn start(&self) -> u32 {
        self.start
    }

    /// Token ids behind a context, class by class, each ending in `[EOS]`.
    pub fn suffixes(&self) -> &[Vec<u32>] {
        &self.suffixes
    }

    /// Of the same names only `classes`, in that order.
    pub fn select(&self, classes: &[usize]) -> Self {
        let suffixes: Vec<Vec<u32>> = classes
            .iter()
            .map(|&class| self.suffixes[class].clone())
            .collect();
        Self::from_suffixes(self.start, &suffixes)
    }

    /// Tokens that pass through the tower for `contexts` shared contexts of `context_tokens`
    /// vectors: what a step costs, to be compared with the reference's
    /// `contexts · k · context_length`.
    pub fn positions(&self, contexts: usize, context_tokens: usize) -> usize {
        let suffixes: usize = self.buckets.iter().map(|bucket| bucket.tokens.len()).sum();
        contexts * (1 + context_tokens + suffixes)
    }

    /// Contexts shared by all classes, `[contexts, M, width]` → text features
    /// `[contexts, k, d]`, not normalised.
    pub fn encode(&self, tower: &TextTower, contexts: Tensor<3>) -> Tensor<3> {
        let [count, _, width] = contexts.dims();
        let prefix = context_prefix(tower, self.start, contexts);
        let parts = self
            .buckets
            .iter()
            .map(|bucket| {
                let rows = bucket.classes.len();
                let length = bucket.tokens.len() / rows;
                let suffixes = tower
                    .embed(&bucket.tokens, rows)
                    .unsqueeze::<4>()
                    .expand([count, rows, length, width]);
                tower.suffix(&prefix, suffixes)
            })
            .collect();
        self.in_class_order(parts)
    }

    /// Contexts of each class's own, `[contexts, k, M, width]` → text features
    /// `[contexts, k, d]`, not normalised.
    pub fn encode_class_specific(&self, tower: &TextTower, contexts: Tensor<4>) -> Tensor<3> {
        let [count, classes, tokens, width] = contexts.dims();
        let flat = contexts.reshape([count * classes, tokens, width]);
        let prefix = context_prefix(tower, self.start, flat);
        let parts = self
            .buckets
            .iter()
            .map(|bucket| {
                let rows = bucket.classes.len();
                let length = bucket.tokens.len() / rows;
                let own: Vec<usize> = (0..count)
                    .flat_map(|context| bucket.classes.iter().map(move |j| context * classes + j))
                    .collect();
                let suffixes = tower
                    .embed(&bucket.tokens, rows)
                    .unsqueeze::<4>()
                    .expand([count, rows, length, width])
                    .reshape([count * rows, 1, length, width]);
                let features = tower.suffix(&prefix.select(&own), suffixes);
                let embed_dim = features.dims()[2];
                features.reshape([count, rows, embed_dim])
            })
            .collect();
        self.in_class_order(parts)
    }

    fn in_class_order(&self, mut parts: Vec<Tensor<3>>) -> Tensor<3> {
        if parts.len() == 1 {
            // One bucket holds the classes in order already.
            return parts.remove(0);
        }
        let features = Tensor::cat(parts, 1);
        let data = TensorData::new(self.order.clone(), [self.classes()]);
        let order: Tensor<1, Int> = Tensor::from_data(data, &features.device());
        features.select(1, order)
    }
}

/// `name . [EOS]` of every class name, tokenised. Names too long for `room` tokens, `[SOS]` among them,
/// are cut, `[EOS]` kept.
pub fn suffixes<S: AsRef<str>>(tokenizer: &Tokenizer, names: &[S], room: usize) -> Vec<Vec<u32>> {
    let room = room.saturating_sub(2).max(1);
    names
        .iter()
        .map(|name| {
            let mut tokens = tokenizer.encode(&format!("{}.", name.as_ref()));
            tokens.truncate(room);
            tokens.push(tokenizer.end());
            tokens
        })
        .collect()
}

/// Runs `[SOS]`, the token `start`, and contexts `[contexts, M, width]` through the tower.
fn context_prefix(tower: &TextTower, start: u32, contexts: Tensor<3>) -> Prefix {
    let [count, _, width] = contexts.dims();
    let start = tower.embed(&[start], 1).expand([count, 1, width]);
    tower.prefix(Tensor::cat(vec![start, contexts], 1))
}
