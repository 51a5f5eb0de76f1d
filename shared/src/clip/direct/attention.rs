//! Attention over sequences laid end to end, behind a prefix that they may share.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::elementwise::{exp, total};
use crate::simd::{LANES, dispatch};

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
        let mut sum = 0;
        self.each_query(|_, seen| sum += prefix + seen.len());
        self.heads * sum
    }

    /// For each query in order: the first row of its sequence and the rows that it sees.
    #[inline(always)]
    fn each_query(&self, mut each: impl FnMut(usize, Range<usize>)) {
        let mut start = 0;
        for &length in self.lengths {
            let first = if self.last_only { length - 1 } else { 0 };
            for row in start + first..start + length {
                let seen = match self.sees {
                    Sees::Before => start..row + 1,
                    Sees::All => start..start + length,
                    Sees::Itself => row..row + 1,
                };
                each(start, seen);
            }
            start += length;
        }
    }
}

/// Keys beside values, `[tokens, 2 · width]`.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub prefix: &'a [f32],
    pub own: &'a [f32],
}

/// Attends: `query` `[queries, width]` → `out` `[queries, width]`, and the softmax weights, query
/// by query and head by head, for the way back.
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
        let head_width = width / heads;
        let scale = (head_width as f32).powf(-0.5);
        let step = 2 * width;
        let prefix_tokens = self.context.prefix.len() / step;
        let mut queries = self
            .query
            .chunks_exact(width)
            .zip(self.out.chunks_exact_mut(width));
        let mut rest = self.weights;
        self.shape.each_query(|_, seen| {
            let Some((query, out)) = queries.next() else {
                return;
            };
            let own = &self.context.own[seen.start * step..seen.end * step];
            let seen = prefix_tokens + seen.len();
            for head in 0..heads {
                let (weights, after) = std::mem::take(&mut rest).split_at_mut(seen);
                rest = after;
                let columns = head * head_width..(head + 1) * head_width;
                let query = &query[columns.clone()];
                let tokens = || {
                    let prefix = self.context.prefix.chunks_exact(step);
                    prefix.chain(own.chunks_exact(step))
                };
                for (weight, token) in weights.iter_mut().zip(tokens()) {
                    *weight = dot(query, &token[columns.clone()]) * scale;
                }
                softmax(weights);
                let out = &mut out[columns.clone()];
                out.fill(0.0);
                for (weight, token) in weights.iter().zip(tokens()) {
                    let value = &token[width + columns.start..width + columns.end];
                    add_scaled(out, *weight, value);
                }
            }
        });
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
        let head_width = width / heads;
        let scale = (head_width as f32).powf(-0.5);
        let step = 2 * width;
        let ContextGradient {
            prefix: sums,
            own: own_gradient,
        } = self.context_gradient;
        let mut sums = sums.iter_mut();
        let mut prefix_gradient: &mut [f32] = &mut [];
        // Rows of the sequences that the sums so far are for.
        let mut rows = 0;
        let mut lengths = self.shape.lengths.iter();
        let prefix_tokens = self.context.prefix.len() / step;
        let longest = self.shape.lengths.iter().max().copied().unwrap_or(0);
        let mut of_weights = vec![0.0; prefix_tokens + longest];
        let mut queries = self
            .query
            .chunks_exact(width)
            .zip(self.gradient.chunks_exact(width))
            .zip(self.query_gradient.chunks_exact_mut(width));
        let mut rest = self.weights;
        self.shape.each_query(|start, seen| {
            let Some(((query, gradient), query_gradient)) = queries.next() else {
                return;
            };
            while start >= rows
                && let Some((sequences, sum)) = sums.next()
            {
                prefix_gradient = sum;
                rows += lengths.by_ref().take(*sequences).sum::<usize>();
            }
            let place = seen.start * step..seen.end * step;
            let seen = prefix_tokens + seen.len();
            let own = &self.context.own[place.clone()];
            for head in 0..heads {
                let (weights, after) = rest.split_at(seen);
                rest = after;
                let keys = head * head_width..(head + 1) * head_width;
                let values = width + keys.start..width + keys.end;
                let (query, gradient) = (&query[keys.clone()], &gradient[keys.clone()]);
                let query_gradient = &mut query_gradient[keys.clone()];
                query_gradient.fill(0.0);
                let tokens = || {
                    let prefix = self.context.prefix.chunks_exact(step);
                    prefix.chain(own.chunks_exact(step))
                };
                let of_weights = &mut of_weights[..seen];
                let mut mean = 0.0;
                for ((of_weight, weight), token) in of_weights.iter_mut().zip(weights).zip(tokens())
                {
                    *of_weight = dot(gradient, &token[values.clone()]);
                    mean += *of_weight * weight;
                }
                let token_gradients = prefix_gradient
                    .chunks_exact_mut(step)
                    .chain(own_gradient[place.clone()].chunks_exact_mut(step));
                let weights = weights.iter().zip(of_weights.iter());
                for (((weight, of_weight), token), token_gradient) in
                    weights.zip(tokens()).zip(token_gradients)
                {
                    let of_score = weight * (of_weight - mean) * scale;
                    add_scaled(query_gradient, of_score, &token[keys.clone()]);
                    add_scaled(&mut token_gradient[keys.clone()], of_score, query);
                    add_scaled(&mut token_gradient[values.clone()], *weight, gradient);
                }
            }
        });
    }
}

#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    total(sums) + rest
}

#[inline(always)]
fn add_scaled(out: &mut [f32], factor: f32, x: &[f32]) {
    for (out, x) in out.iter_mut().zip(x) {
        *out += factor * x;
    }
}

/// One row of weights.
#[inline(always)]
pub fn softmax(values: &mut [f32]) {
    let largest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for value in values.iter_mut() {
        *value = exp(*value - largest);
        sum += *value;
    }
    let share = 1.0 / sum;
    values.iter_mut().for_each(|value| *value *= share);
}
