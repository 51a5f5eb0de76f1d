//! Captions and what they mean: contexts before names, with target vectors in the joint space.
//!
//! A batch has some contexts of one length, each before names of one length. So the text tower
//! runs a context once and shares its keys and values among its names, as prompt learning does
//! later, and no token is padding.

use std::collections::{BTreeMap, HashMap};

use shared::clip::Tokenizer;

use super::concepts::Concepts;
use super::meaning::{Item, items, mean_of, related, unit};
use super::random::{Random, Weighted};
use super::templates::{FILLING, RELATIONS, Relation};

/// Tokens of the longest name in a batch of its own.
const LONGEST_NAME: usize = 12;
/// Contexts are filled up to at most this many tokens, as many as a learned context has.
const LONGEST_CONTEXT: usize = 16;
/// How often a context is filled up.
const FILLED: f64 = 0.35;

/// Captions of one batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    pub contexts: usize,
    /// `[contexts, tokens]`, from `[SOS]` on.
    pub context_tokens: Vec<u32>,
    /// `[contexts · items, tokens]`, up to `[EOS]`.
    pub item_tokens: Vec<u32>,
    pub items: usize,
    /// `[contexts · items, width]`, unit rows.
    pub targets: Vec<f32>,
}

struct Context {
    relation: Relation,
    style: usize,
    head: Vec<u32>,
    tail: Vec<u32>,
}

/// All that captions are made of.
pub struct Captions {
    start: u32,
    end: u32,
    stop: Vec<u32>,
    filling: Vec<Vec<u32>>,
    relations: Weighted<Relation>,
    contexts: BTreeMap<Relation, Weighted<Context>>,
    items: Vec<Item>,
    /// Lengths by how much is said in them, and the items of each: all, and those that name a
    /// class.
    lengths: Weighted<usize>,
    by_length: HashMap<(usize, bool), Weighted<usize>>,
    /// Targets of captions about a class, by relation and prototype.
    related: BTreeMap<Relation, Vec<Vec<f32>>>,
    /// Mean prototype and weight of each style.
    styles: Vec<(Vec<f32>, f32)>,
    /// Unit rows.
    prototypes: Vec<Vec<f32>>,
}

impl Captions {
    /// `prototypes`: unit rows; `thing`: the direction of an image of nothing in particular.
    pub fn new(
        concepts: &Concepts,
        tokenizer: &Tokenizer,
        prototypes: Vec<Vec<f32>>,
        thing: &[f32],
    ) -> Self {
        let encode = |text: &str| tokenizer.encode(text.trim());
        let contexts = contexts(concepts, &encode);
        let styles: Vec<_> = concepts
            .styles
            .iter()
            .map(|style| (mean_of(&prototypes, &style.leaves), style.weight))
            .collect();
        let related = related(concepts, &prototypes, thing);
        let weighted = items(concepts, &encode, &prototypes, thing);

        let mut lengths: BTreeMap<usize, f64> = BTreeMap::new();
        let mut by_length: HashMap<(usize, bool), Vec<(usize, f64)>> = HashMap::new();
        let mut items = Vec::new();
        for (weight, item) in weighted {
            let length = item.tokens.len();
            if length <= LONGEST_NAME {
                *lengths.entry(length).or_default() += weight;
            }
            by_length
                .entry((length, false))
                .or_default()
                .push((items.len(), weight));
            if item.row.is_some() {
                by_length
                    .entry((length, true))
                    .or_default()
                    .push((items.len(), weight));
            }
            items.push(item);
        }
        Self {
            start: tokenizer.start(),
            end: tokenizer.end(),
            stop: encode("."),
            filling: FILLING.iter().map(|word| encode(word)).collect(),
            relations: Weighted::new(
                RELATIONS
                    .iter()
                    .map(|&(relation, share, _)| (relation, share)),
            ),
            contexts,
            items,
            lengths: Weighted::new(
                lengths
                    .into_iter()
                    .filter(|(length, _)| by_length.contains_key(&(*length, true))),
            ),
            by_length: by_length
                .into_iter()
                .map(|(key, pairs)| (key, Weighted::new(pairs)))
                .collect(),
            related,
            styles,
            prototypes,
        }
    }

    /// A batch of `count` contexts, each before `each` items; none without concepts.
    pub fn batch(&self, count: usize, each: usize, random: &mut Random) -> Option<Batch> {
        let contexts = self.draw_contexts(count, random)?;
        let length = *self.lengths.draw(random)?;
        let mut batch = Batch {
            contexts: count,
            context_tokens: Vec::new(),
            item_tokens: Vec::new(),
            items: each,
            targets: Vec::new(),
        };
        for (context, head) in &contexts {
            batch.context_tokens.push(self.start);
            batch.context_tokens.extend(head);
            let of_class = context.relation != Relation::Shows;
            // Name and tail together fill `length + 1` tokens; a tail too long is cut to a stop.
            let mut tail = context.tail.clone();
            let mut wanted = (length + 1).saturating_sub(tail.len()).max(1);
            if tail.len() > 1 && !self.by_length.contains_key(&(wanted, of_class)) {
                tail.truncate(0);
                wanted = length + 1;
            }
            if tail.is_empty() && !self.by_length.contains_key(&(wanted, of_class)) {
                tail = self.stop.clone();
                wanted = length;
            }
            tail.resize(
                length + 1 - wanted.min(length + 1),
                self.stop.first().copied()?,
            );
            let pool = self
                .by_length
                .get(&(wanted, of_class))
                .or_else(|| self.by_length.get(&(length, true)))?;
            for _ in 0..each {
                let item = &self.items[*pool.draw(random)?];
                batch.item_tokens.extend(&item.tokens);
                batch.item_tokens.extend(&tail);
                batch.item_tokens.push(self.end);
                batch.targets.extend(self.target(context, item));
            }
        }
        Some(batch)
    }

    fn target(&self, context: &Context, item: &Item) -> Vec<f32> {
        let Some(row) = item.row else {
            return item.target.clone();
        };
        match context.relation {
            Relation::Shows => item.target.clone(),
            Relation::Styled => {
                let (style, weight) = &self.styles[context.style];
                let class = self.prototypes[row].iter();
                unit(
                    class
                        .zip(style)
                        .map(|(c, s)| (1.0 - weight) * c + weight * s)
                        .collect(),
                )
            }
            relation => self.related[&relation][row].clone(),
        }
    }

    /// Contexts of one length, filled up where they are shorter.
    fn draw_contexts(
        &self,
        count: usize,
        random: &mut Random,
    ) -> Option<Vec<(&Context, Vec<u32>)>> {
        let draw = |random: &mut Random| {
            let relation = self.relations.draw(random)?;
            self.contexts.get(relation)?.draw(random)
        };
        let first = draw(random)?;
        let mut length = first.head.len();
        if random.uniform() < FILLED && length < LONGEST_CONTEXT {
            length += random.below(LONGEST_CONTEXT + 1 - length);
        }
        let mut drawn = vec![first];
        while drawn.len() < count {
            let fitting = (0..8).find_map(|_| {
                let context = draw(random)?;
                let own = context.head.len();
                (own == length || (own < length && random.uniform() < 0.4)).then_some(context)
            });
            let again = drawn[random.below(drawn.len())];
            drawn.push(fitting.unwrap_or(if random.uniform() < 0.5 { again } else { first }));
        }
        let fill = |context: &Context, random: &mut Random| {
            let mut tokens = Vec::new();
            while tokens.len() + context.head.len() < length {
                tokens.extend(&self.filling[random.below(self.filling.len())]);
            }
            tokens.truncate(length.saturating_sub(context.head.len()));
            tokens.extend(&context.head);
            tokens
        };
        Some(
            drawn
                .into_iter()
                .map(|context| (context, fill(context, random)))
                .collect(),
        )
    }
}

fn contexts(
    concepts: &Concepts,
    encode: &impl Fn(&str) -> Vec<u32>,
) -> BTreeMap<Relation, Weighted<Context>> {
    let mut contexts = BTreeMap::new();
    for (relation, _, groups) in RELATIONS {
        let mut weighted = Vec::new();
        for (weight, texts) in *groups {
            for text in *texts {
                let mut add = |text: &str, style: usize| {
                    if let Some((head, tail)) = text.split_once("{}") {
                        let context = Context {
                            relation: *relation,
                            style,
                            head: encode(head),
                            tail: encode(tail),
                        };
                        weighted.push((context, *weight));
                    }
                };
                if *relation == Relation::Styled {
                    for (style, group) in concepts.styles.iter().enumerate() {
                        group
                            .names()
                            .for_each(|name| add(&text.replace("{s}", name), style));
                    }
                } else {
                    add(text, 0);
                }
            }
        }
        contexts.insert(*relation, Weighted::new(weighted));
    }
    contexts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lit::templates;

    #[test]
    fn batches_are_rectangles_with_unit_targets() {
        let concepts = Concepts::parse(crate::lit::concepts::tests::SMALL, 3).unwrap();
        let sentences = templates::texts();
        let core = sentences
            .iter()
            .map(String::as_str)
            .chain(concepts.core_texts());
        let merges = Tokenizer::prune(Tokenizer::openai_merges(), core).unwrap();
        let tokenizer = Tokenizer::from_vocabulary(&merges).unwrap();
        let prototypes: Vec<_> = [[1.0, 0.1], [1.0, -0.1], [0.0, 1.0], [-1.0, 0.0]]
            .map(|vector| unit(vector.to_vec()))
            .to_vec();
        let captions = Captions::new(&concepts, &tokenizer, prototypes, &unit(vec![0.5, 0.5]));
        for seed in 0..200 {
            let batch = captions.batch(3, 4, &mut Random::new(seed, 0)).unwrap();
            assert_eq!(
                batch,
                captions.batch(3, 4, &mut Random::new(seed, 0)).unwrap()
            );
            let (context, item) = (batch.context_tokens.len() / 3, batch.item_tokens.len() / 12);
            assert_eq!(
                (context * 3, item * 12),
                (batch.context_tokens.len(), batch.item_tokens.len())
            );
            assert!(context <= 1 + LONGEST_CONTEXT.max(20) && item <= LONGEST_NAME + 2);
            for tokens in batch.context_tokens.chunks_exact(context) {
                assert_eq!(tokens[0], tokenizer.start());
            }
            for tokens in batch.item_tokens.chunks_exact(item) {
                let end = tokens.iter().position(|&token| token == tokenizer.end());
                assert_eq!(end, Some(item - 1));
            }
            for target in batch.targets.chunks_exact(2) {
                assert!((target[0].hypot(target[1]) - 1.0).abs() < 1e-5);
            }
        }
    }
}
