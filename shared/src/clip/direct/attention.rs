//! Attention over sequences laid end to end, behind a prefix that they may share.

use std::cell::RefCell;
use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::elementwise::{exp, largest, sum};
use crate::simd::{LANES, dispatch};

/// Values that sums are held for at once.
const BLOCK: usize = 2 * LANES;

/// The tokens of its own sequence that one attends to; beside them the whole prefix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sees {
    /// Those up to itself.
    Before,
    All,
    Itself,
}

/// What attends to what.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'a> {
    pub width: usize,
    pub heads: usize,
    /// Tokens of each sequence.
    pub lengths: &'a [usize],
    pub sees: Sees,
    /// Only the last token of each sequence asks; all do otherwise.
    pub last_only: bool,
}

impl Shape<'_> {
    /// Rows of keys and values.
    pub fn rows(&self) -> usize {
        self.lengths.iter().sum()
    }

    /// Rows of queries.
    pub fn queries(&self) -> usize {
        if self.last_only {
            self.lengths.len()
        } else {
            self.rows()
        }
    }

    /// Weights in all, behind a prefix of so many tokens.
    pub fn weights(&self, prefix: usize) -> usize {
        let sum: usize = self
            .sequences()
            .map(|sequence| {
                let seen = sequence.queries().map(|seen| prefix + seen.len());
                seen.sum::<usize>()
            })
            .sum();
        self.heads * sum
    }

    #[inline(always)]
    fn sequences(&self) -> impl Iterator<Item = Sequence> {
        let (mut start, mut asked) = (0, 0);
        self.lengths.iter().map(move |&length| {
            let queries = if self.last_only { 1 } else { length };
            let sequence = Sequence {
                rows: start..start + length,
                asked: asked..asked + queries,
                sees: self.sees,
            };
            (start, asked) = (sequence.rows.end, sequence.asked.end);
            sequence
        })
    }
}

struct Sequence {
    /// Its rows of keys and values.
    rows: Range<usize>,
    /// Its rows of queries: of its last tokens.
    asked: Range<usize>,
    sees: Sees,
}

impl Sequence {
    /// For each query in order the rows that it sees.
    #[inline(always)]
    fn queries(&self) -> impl Iterator<Item = Range<usize>> {
        let Range { start, end } = self.rows;
        let sees = self.sees;
        (end - self.asked.len()..end).map(move |row| match sees {
            Sees::Before => start..row + 1,
            Sees::All => start..end,
            Sees::Itself => row..row + 1,
        })
    }
}

/// Keys beside values, `[tokens, 2 · width]`.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub prefix: &'a [f32],
    pub own: &'a [f32],
}

/// Attends: `query` `[queries, width]` → `out` `[queries, width]`, and the softmax weights, head by
/// head and query by query, for the way back.
pub fn attend(
    shape: Shape<'_>,
    query: &[f32],
    context: Context<'_>,
    weights: &mut [f32],
    out: &mut [f32],
) {
    dispatch(Attend {
        shape,
        query,
        context,
        weights,
        out,
    });
}

struct Attend<'a> {
    shape: Shape<'a>,
    query: &'a [f32],
    context: Context<'a>,
    weights: &'a mut [f32],
    out: &'a mut [f32],
}

impl WithSimd for Attend<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Shape { width, heads, .. } = self.shape;
        let scale = ((width / heads) as f32).powf(-0.5);
        let mut rest = self.weights;
        let mut prefix = Prefix::default();
        for head in 0..heads {
            let head = Head::new(self.shape, head);
            prefix.take(head, self.context.prefix);
            let mut queries = self
                .query
                .chunks_exact(width)
                .zip(self.out.chunks_exact_mut(width));
            for sequence in self.shape.sequences() {
                for seen in sequence.queries() {
                    let Some((query, out)) = queries.next() else {
                        return;
                    };
                    let (query, out) = (&query[head.keys()], &mut out[head.keys()]);
                    let own = &self.context.own[head.place(seen)];
                    let seen = prefix.tokens + own.len() / (2 * width);
                    let (weights, after) = std::mem::take(&mut rest).split_at_mut(seen);
                    rest = after;
                    prefix.products(&prefix.across.keys, query, own, head.keys(), weights);
                    weights.iter_mut().for_each(|weight| *weight *= scale);
                    softmax(weights);
                    out.fill(0.0);
                    let values = head.seen(&prefix.rows.values, own, head.values());
                    add_weighted(out, weights.iter().copied(), values);
                }
            }
        }
    }
}

/// Gradients with respect to keys and values, laid out like a [`Context`].
pub struct ContextGradient<'a, 'b> {
    /// Sums, each for the next so many sequences.
    pub prefix: &'a mut [(usize, &'b mut [f32])],
    pub own: &'a mut [f32],
}

/// The way back of [`attend`]: from `gradient`, that with respect to its output, puts the one with
/// respect to the queries into `query_gradient` and adds those with respect to keys and values.
pub fn attend_backward(
    shape: Shape<'_>,
    query: &[f32],
    context: Context<'_>,
    weights: &[f32],
    gradient: &[f32],
    query_gradient: &mut [f32],
    context_gradient: ContextGradient<'_, '_>,
) {
    dispatch(AttendBackward {
        shape,
        query,
        context,
        weights,
        gradient,
        query_gradient,
        context_gradient,
    });
}

struct AttendBackward<'a, 'b> {
    shape: Shape<'a>,
    query: &'a [f32],
    context: Context<'a>,
    weights: &'a [f32],
    gradient: &'a [f32],
    query_gradient: &'a mut [f32],
    context_gradient: ContextGradient<'a, 'b>,
}

impl WithSimd for AttendBackward<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Shape { width, heads, .. } = self.shape;
        let scale = ((width / heads) as f32).powf(-0.5);
        let ContextGradient {
            prefix: parts,
            own: own_gradient,
        } = self.context_gradient;
        let mut all: [(usize, &mut [f32]); 1] = [(self.shape.lengths.len(), &mut [])];
        let parts = if parts.is_empty() { &mut all } else { parts };
        let mut rest = self.weights;
        let (mut prefix, mut of_prefix) = (Prefix::default(), HeadTokens::default());
        let mut of_scores = Vec::new();
        // What the queries of one sequence give each token of the prefix.
        let (mut prefix_scores, mut prefix_weights) = (Vec::new(), Vec::new());
        for head in 0..heads {
            let head = Head::new(self.shape, head);
            prefix.take(head, self.context.prefix);
            let tokens = prefix.tokens;
            let mut sequences = self.shape.sequences();
            for (count, part) in parts.iter_mut() {
                of_prefix.take(head, part);
                for sequence in sequences.by_ref().take(*count) {
                    let asked = sequence.asked.start * width..sequence.asked.end * width;
                    let asked_queries = self.query[asked.clone()].chunks_exact(width);
                    let asked_queries = asked_queries.map(|row| &row[head.keys()]);
                    let gradients = self.gradient[asked.clone()].chunks_exact(width);
                    let gradients = gradients.map(|row| &row[head.keys()]);
                    let query_gradients = self.query_gradient[asked].chunks_exact_mut(width);
                    prefix_scores.clear();
                    prefix_weights.clear();
                    for (((seen, query), gradient), query_gradient) in sequence
                        .queries()
                        .zip(asked_queries.clone())
                        .zip(gradients.clone())
                        .zip(query_gradients)
                    {
                        let place = head.place(seen);
                        let own = &self.context.own[place.clone()];
                        let (weights, after) = rest.split_at(tokens + own.len() / (2 * width));
                        rest = after;
                        of_scores.resize(weights.len(), 0.0);
                        let across = &prefix.across.values;
                        prefix.products(across, gradient, own, head.values(), &mut of_scores);
                        let pairs = of_scores.iter().zip(weights);
                        let mean: f32 = pairs.map(|(of_weight, weight)| of_weight * weight).sum();
                        for (of_score, weight) in of_scores.iter_mut().zip(weights) {
                            *of_score = weight * (*of_score - mean) * scale;
                        }
                        let query_gradient = &mut query_gradient[head.keys()];
                        query_gradient.fill(0.0);
                        let keys = head.seen(&prefix.rows.keys, own, head.keys());
                        add_weighted(query_gradient, of_scores.iter().copied(), keys);
                        let (of_prefix_scores, of_scores) = of_scores.split_at(tokens);
                        prefix_scores.extend_from_slice(of_prefix_scores);
                        prefix_weights.extend_from_slice(&weights[..tokens]);
                        for ((token, of_score), weight) in own_gradient[place]
                            .chunks_exact_mut(2 * width)
                            .zip(of_scores)
                            .zip(&weights[tokens..])
                        {
                            add_scaled(&mut token[head.keys()], *of_score, query);
                            add_scaled(&mut token[head.values()], *weight, gradient);
                        }
                    }
                    for token in 0..tokens {
                        let place = token * head.size..(token + 1) * head.size;
                        let scores = prefix_scores[token..].iter().step_by(tokens).copied();
                        let sum = &mut of_prefix.keys[place.clone()];
                        add_weighted(sum, scores, asked_queries.clone());
                        let weights = prefix_weights[token..].iter().step_by(tokens).copied();
                        add_weighted(&mut of_prefix.values[place], weights, gradients.clone());
                    }
                }
                of_prefix.put(head, part);
            }
        }
    }
}

/// Where a head's values stand in rows of queries and in rows of keys beside values.
#[derive(Clone, Copy)]
struct Head {
    first: usize,
    size: usize,
    width: usize,
}

impl Head {
    fn new(shape: Shape<'_>, head: usize) -> Self {
        let size = shape.width / shape.heads;
        Self {
            first: head * size,
            size,
            width: shape.width,
        }
    }

    /// Columns of keys, and of queries.
    fn keys(self) -> Range<usize> {
        self.first..self.first + self.size
    }

    fn values(self) -> Range<usize> {
        self.width + self.first..self.width + self.first + self.size
    }

    /// Where these rows of keys beside values stand.
    fn place(self, rows: Range<usize>) -> Range<usize> {
        2 * self.width * rows.start..2 * self.width * rows.end
    }

    /// The tokens of a prefix, then `columns` of the rows `own`.
    #[inline(always)]
    fn seen<'a>(
        self,
        prefix: &'a [f32],
        own: &'a [f32],
        columns: Range<usize>,
    ) -> impl Iterator<Item = &'a [f32]> + Clone {
        let own = own.chunks_exact(2 * self.width);
        let own = own.map(move |row| &row[columns.clone()]);
        prefix.chunks_exact(self.size).chain(own)
    }
}

/// A head's keys and values of a prefix, by themselves: as columns of its rows they are a power of two
/// apart, and would all have to share a few lines of the first-level cache.
#[derive(Default)]
struct Prefix {
    tokens: usize,
    /// Token after token.
    rows: HeadTokens,
    /// Column after column, the tokens filled up with zeros to whole blocks.
    across: HeadTokens,
    sums: RefCell<Vec<f32>>,
}

#[derive(Default)]
struct HeadTokens {
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl Prefix {
    fn take(&mut self, head: Head, rows: &[f32]) {
        self.tokens = rows.len() / (2 * head.width);
        self.rows.take(head, rows);
        let padded = self.tokens.next_multiple_of(BLOCK);
        self.sums.get_mut().resize(padded, 0.0);
        for (across, rows) in [
            (&mut self.across.keys, &self.rows.keys),
            (&mut self.across.values, &self.rows.values),
        ] {
            across.clear();
            across.resize(head.size * padded, 0.0);
            for (token, row) in rows.chunks_exact(head.size).enumerate() {
                let column = across[token..].iter_mut().step_by(padded);
                column.zip(row).for_each(|(to, value)| *to = *value);
            }
        }
    }

    /// `x` times each token of the prefix, which `across` holds, and times `columns` of the rows `own`.
    #[inline(always)]
    fn products(
        &self,
        across: &[f32],
        x: &[f32],
        own: &[f32],
        columns: Range<usize>,
        out: &mut [f32],
    ) {
        let (of_prefix, of_own) = out.split_at_mut(self.tokens);
        if !of_prefix.is_empty() {
            // All tokens at once: a product by itself spends most of its time on the last sum.
            let mut sums = self.sums.borrow_mut();
            sums.fill(0.0);
            let columns = across.chunks_exact(sums.len());
            add_weighted(&mut sums, x.iter().copied(), columns);
            of_prefix.copy_from_slice(&sums[..of_prefix.len()]);
        }
        let rows = own.chunks_exact(own.len() / of_own.len().max(1));
        for (out, row) in of_own.iter_mut().zip(rows) {
            *out = dot(x, &row[columns.clone()]);
        }
    }
}

impl HeadTokens {
    fn take(&mut self, head: Head, rows: &[f32]) {
        self.keys.clear();
        self.values.clear();
        for row in rows.chunks_exact(2 * head.width) {
            self.keys.extend_from_slice(&row[head.keys()]);
            self.values.extend_from_slice(&row[head.values()]);
        }
    }

    fn put(&self, head: Head, rows: &mut [f32]) {
        let keys = self.keys.chunks_exact(head.size);
        let tokens = keys.zip(self.values.chunks_exact(head.size));
        for (row, (keys, values)) in rows.chunks_exact_mut(2 * head.width).zip(tokens) {
            row[head.keys()].copy_from_slice(keys);
            row[head.values()].copy_from_slice(values);
        }
    }
}

#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    sum([a, b], |[a, b]| a * b)
}

#[inline(always)]
fn add_scaled(out: &mut [f32], factor: f32, x: &[f32]) {
    for (out, x) in out.iter_mut().zip(x) {
        *out += factor * x;
    }
}

/// `out += Σ weight · row`.
#[inline(always)]
fn add_weighted<'a>(
    out: &mut [f32],
    weights: impl Iterator<Item = f32> + Clone,
    rows: impl Iterator<Item = &'a [f32]> + Clone,
) {
    let (blocks, rest) = out.as_chunks_mut::<BLOCK>();
    let mut column = 0;
    for out in blocks {
        let mut sums = *out;
        for (weight, row) in weights.clone().zip(rows.clone()) {
            let row = &row[column..column + BLOCK];
            for lane in 0..BLOCK {
                sums[lane] += weight * row[lane];
            }
        }
        *out = sums;
        column += BLOCK;
    }
    if rest.is_empty() {
        return;
    }
    for (weight, row) in weights.zip(rows) {
        for (out, x) in rest.iter_mut().zip(&row[column..]) {
            *out += weight * x;
        }
    }
}

/// One row of weights.
#[inline(always)]
pub fn softmax(values: &mut [f32]) {
    let largest = largest(values);
    for value in values.iter_mut() {
        *value = exp(*value - largest);
    }
    let share = 1.0 / sum([values], |[value]| value);
    values.iter_mut().for_each(|value| *value *= share);
}
