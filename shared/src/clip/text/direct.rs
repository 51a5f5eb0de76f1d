//! The text tower on a CPU: frozen weights, forward to the text features and back to the contexts.
//!
//! Prompts are cut into chunks of one to four hundred tokens, which pass through the whole tower by
//! themselves, one thread a chunk: threads meet twice a step. Suffixes of any lengths stand in a
//! chunk end to end, so that no position is padding. Every product is with a frozen weight matrix
//! that lies ready for its direction, and the way back leaves out what nobody asks for: gradients of
//! weights, and of the suffixes' own embeddings.
//!
//! Burn's operations ([`TextTower`]) do the same on a GPU; `tests/` holds both against PyTorch and
//! against the plain path over whole prompts.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::Device;

use super::{TextTower, TokenEmbedding};
use crate::clip::direct::attention::{Sees, Shape};
use crate::clip::direct::block::{self, Block, Kept, Linear, Scratch};
use crate::clip::direct::elementwise::Norm;
use crate::clip::direct::{CHUNK, values};
use crate::simd::parallel;

/// Tokens of a part, at most, until there are [`PARTS`].
const PART: usize = 96;
/// Parts, at most, into which the prompts behind one context are cut. Each has a sum of its own for
/// the gradient of the prefix. They do not depend on the number of threads as chunks do, so that a
/// run repeats bit for bit on any machine.
const PARTS: usize = 16;

/// A frozen [`TextTower`] on the CPU.
#[derive(Clone, Debug)]
pub struct DirectTextTower {
    width: usize,
    heads: usize,
    embed_dim: usize,
    /// `[context_length, width]`.
    positions: Vec<f32>,
    blocks: Vec<Block>,
    ln_final: Norm,
    projection: Linear,
}

/// The tokens behind a context, class by class, and their embeddings.
#[derive(Clone, Debug)]
pub struct Suffixes {
    /// Embedding of `[SOS]`, `[width]`.
    start: Vec<f32>,
    /// Rows of `table`, class by class.
    rows: Vec<Vec<usize>>,
    /// One row a different token, `[tokens, width]`.
    table: Arc<[f32]>,
}

/// The activations of a forward pass, kept for the way back; its memory serves the next pass.
#[derive(Clone, Debug, Default)]
pub struct Tape {
    count: usize,
    shared: bool,
    tokens: usize,
    /// Of each shared context, block by block.
    prefixes: Vec<Vec<Kept>>,
    chunks: Vec<Chunk>,
    contexts: Vec<f32>,
    multiplications: usize,
}

impl Tape {
    /// Multiplications with weights, of the pass and of the way back if it was gone: what a step
    /// costs, all but attention's own products and whatever is done once an element.
    pub fn multiplications(&self) -> usize {
        self.multiplications
    }
}

/// Prompts that pass through the tower together.
#[derive(Clone, Debug, Default)]
struct Chunk {
    context: usize,
    classes: Range<usize>,
    /// The first of the parts of its context that it covers, or the one that it is a piece of.
    part: usize,
    /// Prompts of each of these parts.
    of_parts: Vec<usize>,
    /// Tokens of each prompt, or of its suffix.
    lengths: Vec<usize>,
    /// Block by block, and the last one's output; nothing when it is computed again on the way back.
    kept: Vec<Kept>,
    is_kept: bool,
}

/// A pass that is not kept, beside the room for one block.
#[derive(Default)]
struct Workspace {
    scratch: Scratch,
    kept: Vec<Kept>,
}

impl Suffixes {
    /// Looks up `[SOS]` and the suffixes of all classes.
    pub fn new(tokens: &TokenEmbedding, start: u32, suffixes: &[Vec<u32>]) -> Self {
        let mut different: Vec<u32> = suffixes.iter().flatten().copied().collect();
        different.sort_unstable();
        different.dedup();
        let rows = suffixes
            .iter()
            .map(|suffix| {
                let row = |token| different.partition_point(|other| other < token);
                suffix.iter().map(row).collect()
            })
            .collect();
        Self {
            start: tokens.rows(&[start]),
            rows,
            table: tokens.rows(&different).into(),
        }
    }

    /// Those of `classes`, in that order.
    pub fn select(&self, classes: &[usize]) -> Self {
        let rows = classes.iter().map(|&class| self.rows[class].clone());
        Self {
            rows: rows.collect(),
            ..self.clone()
        }
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.rows.len()
    }
}

impl DirectTextTower {
    /// `tower`'s weights, laid out for these loops; `None` when the tower is not on the CPU, where
    /// Burn's operations are the fast ones. A tower that nobody else holds goes block by block.
    pub fn new(tower: TextTower) -> Option<Self> {
        if tower.device().inner() != Device::flex() {
            return None;
        }
        let [_, embed_dim] = tower.projection.dims();
        Some(Self {
            width: tower.width(),
            heads: tower.blocks.first().map_or(1, |block| block.heads),
            embed_dim,
            positions: values(tower.positional_embedding.val()),
            blocks: tower
                .blocks
                .into_iter()
                .map(|block| Block::new(&block))
                .collect(),
            ln_final: block::norm(&tower.ln_final),
            projection: Linear::new(&values(tower.projection.val()), vec![0.0; embed_dim]),
        })
    }

    /// Width of the text features, `d`.
    pub fn embed_dim(&self) -> usize {
        self.embed_dim
    }

    /// Most tokens in a prompt.
    pub fn context_length(&self) -> usize {
        self.positions.len() / self.width.max(1)
    }

    /// `contexts`: `[count, M, width]` shared by all classes, or `[count, k, M, width]` when not
    /// `shared` → text features `[count, k, d]`, not normalised.
    ///
    /// Of the activations as many are kept as go into `memory` bytes; the others are computed again
    /// on the way back.
    pub fn encode(
        &self,
        contexts: &[f32],
        count: usize,
        shared: bool,
        suffixes: &Suffixes,
        memory: usize,
        tape: &mut Tape,
    ) -> Vec<f32> {
        self.enter(contexts, count, shared, suffixes, tape);
        self.encode_behind(suffixes, memory, tape)
    }

    /// The first half of [`DirectTextTower::encode`]: what all classes share goes through the tower,
    /// `[SOS]` of `suffixes` and the contexts. After it any class lists can be encoded.
    pub fn enter(
        &self,
        contexts: &[f32],
        count: usize,
        shared: bool,
        suffixes: &Suffixes,
        tape: &mut Tape,
    ) {
        let own = if shared { 1 } else { suffixes.classes() };
        tape.contexts = contexts.to_vec();
        tape.count = count;
        tape.shared = shared;
        tape.tokens = contexts.len() / (count * own * self.width).max(1);
        tape.prefixes
            .resize_with(if shared { count } else { 0 }, Vec::new);
        let size = tape.tokens * self.width;
        let mut numbered: Vec<_> = tape.prefixes.iter_mut().enumerate().collect();
        let done = each_context(&mut numbered, |(context, kept), scratch| {
            let context = &contexts[*context * size..(*context + 1) * size];
            self.prefix(context, suffixes, kept, scratch);
            std::mem::take(&mut scratch.multiplications)
        });
        tape.multiplications = done.iter().sum();
    }

    /// The second half: the classes behind the contexts on `tape`.
    pub fn encode_behind(&self, suffixes: &Suffixes, memory: usize, tape: &mut Tape) -> Vec<f32> {
        self.plan(tape, suffixes, memory);
        let Tape {
            shared,
            tokens,
            prefixes,
            chunks,
            contexts,
            multiplications,
            ..
        } = tape;
        let (shared, tokens) = (*shared, *tokens);
        let (prefixes, contexts) = (&*prefixes, &*contexts);
        let parts = parallel::each(chunks, |chunk, workspace: &mut Workspace| {
            let mut kept = std::mem::take(&mut chunk.kept);
            let used = if chunk.is_kept {
                &mut kept
            } else {
                &mut workspace.kept
            };
            self.input(contexts, tokens, shared, suffixes, chunk, used);
            let features = self.forward(prefixes, chunk, used, &mut workspace.scratch);
            chunk.kept = kept;
            let done = std::mem::take(&mut workspace.scratch.multiplications);
            (features, done)
        });
        *multiplications += parts.iter().map(|(_, done)| done).sum::<usize>();
        // Chunks follow each other as the features do.
        parts
            .into_iter()
            .flat_map(|(features, _)| features)
            .collect()
    }

    /// From `gradient` `[count, k, d]`, with respect to the features of the pass on `tape`, the one
    /// with respect to its contexts, of their shape.
    pub fn gradient(&self, suffixes: &Suffixes, tape: &mut Tape, gradient: &[f32]) -> Vec<f32> {
        let Tape {
            shared,
            tokens,
            prefixes,
            chunks,
            contexts,
            multiplications,
            count,
        } = tape;
        let (shared, tokens, count) = (*shared, *tokens, *count);
        let (prefixes, contexts) = (&*prefixes, &*contexts);
        let classes = suffixes.classes();
        // Pieces of one part one after the other, for their common sum.
        let mut parts: Vec<&mut [Chunk]> = chunks
            .chunk_by_mut(|a, b| (a.context, a.part) == (b.context, b.part))
            .collect();
        let done = parallel::each(&mut parts, |chunks, workspace: &mut Workspace| {
            let covered = chunks.first().map_or(0, |chunk| chunk.of_parts.len());
            let rows = if shared { 1 + tokens } else { 0 };
            let mut of_prefix = vec![PrefixGradient::new(self, rows); covered];
            let mut of_contexts = Vec::new();
            for chunk in chunks.iter() {
                let kept = if chunk.is_kept {
                    &chunk.kept
                } else {
                    let kept = &mut workspace.kept;
                    self.input(contexts, tokens, shared, suffixes, chunk, kept);
                    self.forward(prefixes, chunk, kept, &mut workspace.scratch);
                    &workspace.kept
                };
                let first = (chunk.context * classes + chunk.classes.start) * self.embed_dim;
                let size = chunk.classes.len() * self.embed_dim;
                let gradient = &gradient[first..first + size];
                let scratch = &mut workspace.scratch;
                let of_prefix = &mut of_prefix[..];
                self.backward(prefixes, chunk, kept, gradient, of_prefix, !shared, scratch);
                if !shared {
                    let mut start = 0;
                    for length in &chunk.lengths {
                        let rows = start + 1..start + 1 + tokens;
                        let place = rows.start * self.width..rows.end * self.width;
                        of_contexts.extend_from_slice(&scratch.gradient[place]);
                        start += length;
                    }
                }
            }
            let done = std::mem::take(&mut workspace.scratch.multiplications);
            (of_prefix, of_contexts, done)
        });
        *multiplications += done.iter().map(|(_, _, done)| done).sum::<usize>();
        if !shared {
            return done.into_iter().flat_map(|(_, of, _)| of).collect();
        }
        let contexts = parts.iter().map(|chunks| chunks[0].context);
        let mut sums: Vec<(usize, PrefixGradient)> = Vec::with_capacity(count);
        for (context, (of_parts, _, _)) in contexts.zip(done) {
            for part in of_parts {
                match sums.get_mut(context) {
                    Some((_, sum)) => sum.add(&part),
                    None => sums.push((context, part)),
                }
            }
        }
        let done = each_context(&mut sums, |(context, sum), scratch| {
            let of_context = self.prefix_backward(&prefixes[*context], sum, scratch);
            (of_context, std::mem::take(&mut scratch.multiplications))
        });
        *multiplications += done.iter().map(|(_, done)| done).sum::<usize>();
        done.into_iter()
            .flat_map(|(of_context, _)| of_context)
            .collect()
    }

    /// Deals the prompts into chunks, each within one context.
    fn plan(&self, tape: &mut Tape, suffixes: &Suffixes, memory: usize) {
        let count = tape.count;
        let before = if tape.shared { 0 } else { 1 + tape.tokens };
        let lengths: Vec<usize> = suffixes
            .rows
            .iter()
            .map(|suffix| before + suffix.len())
            .collect();
        let pieces = deal(&lengths, count, parallel::threads());
        tape.chunks
            .resize_with(count * pieces.len(), Chunk::default);
        let mut left = memory / size_of::<f32>();
        let places =
            (0..count).flat_map(|context| pieces.iter().map(move |piece| (context, piece)));
        for (chunk, (context, piece)) in tape.chunks.iter_mut().zip(places) {
            chunk.context = context;
            chunk.classes = piece.classes.clone();
            chunk.part = piece.part;
            chunk.of_parts.clone_from(&piece.of_parts);
            chunk.lengths = lengths[piece.classes.clone()].to_vec();
            let needed = self.kept_values(
                &chunk.lengths,
                if tape.shared { 1 + tape.tokens } else { 0 },
            );
            chunk.is_kept = needed <= left;
            if chunk.is_kept {
                left -= needed;
            } else {
                chunk.kept = Vec::new();
            }
        }
    }

    /// Values that a chunk keeps.
    fn kept_values(&self, lengths: &[usize], prefix: usize) -> usize {
        let hidden = self.blocks.first().map_or(0, Block::hidden);
        let rows: usize = lengths.iter().sum();
        let shape = self.shape(lengths, 0);
        self.blocks.len() * (rows * (5 * self.width + hidden) + shape.weights(prefix))
    }

    fn shape<'a>(&self, lengths: &'a [usize], layer: usize) -> Shape<'a> {
        Shape {
            width: self.width,
            heads: self.heads,
            lengths,
            sees: Sees::Before,
            // Of the last layer only the [EOS] token is read.
            last_only: layer + 1 == self.blocks.len(),
        }
    }

    /// Embeddings with positions of a chunk's tokens, into `kept[0].x`.
    fn input(
        &self,
        contexts: &[f32],
        tokens: usize,
        shared: bool,
        suffixes: &Suffixes,
        chunk: &Chunk,
        kept: &mut Vec<Kept>,
    ) {
        kept.resize_with(self.blocks.len() + 1, Kept::default);
        let x = &mut kept[0].x;
        x.clear();
        for class in chunk.classes.clone() {
            let sequence = x.len();
            if !shared {
                let own = (chunk.context * suffixes.classes() + class) * tokens * self.width;
                x.extend_from_slice(&suffixes.start);
                x.extend_from_slice(&contexts[own..own + tokens * self.width]);
            }
            for row in &suffixes.rows[class] {
                x.extend_from_slice(&suffixes.table[row * self.width..(row + 1) * self.width]);
            }
            let first = if shared { 1 + tokens } else { 0 };
            add_positions(&mut x[sequence..], &self.positions[first * self.width..]);
        }
    }

    /// Runs `[SOS]` and a context; what the last block would compute beyond keys and values is
    /// never used.
    fn prefix(
        &self,
        context: &[f32],
        suffixes: &Suffixes,
        kept: &mut Vec<Kept>,
        scratch: &mut Scratch,
    ) {
        kept.resize_with(self.blocks.len(), Kept::default);
        let Some(first) = kept.first_mut() else {
            return;
        };
        first.x.clear();
        first.x.extend_from_slice(&suffixes.start);
        first.x.extend_from_slice(context);
        add_positions(&mut first.x, &self.positions);
        let lengths = [1 + context.len() / self.width];
        for (layer, block) in self.blocks.iter().enumerate() {
            let (now, next) = kept.split_at_mut(layer + 1);
            let shape = Shape {
                last_only: false,
                ..self.shape(&lengths, layer)
            };
            let out = next.first_mut().map(|next| &mut next.x);
            block.forward(shape, &[], &mut now[layer], scratch, out);
        }
    }

    /// The chunk whose input stands in `kept[0].x` → its features, prompt by prompt.
    fn forward(
        &self,
        prefixes: &[Vec<Kept>],
        chunk: &Chunk,
        kept: &mut [Kept],
        scratch: &mut Scratch,
    ) -> Vec<f32> {
        for (layer, block) in self.blocks.iter().enumerate() {
            let (now, next) = kept.split_at_mut(layer + 1);
            let shape = self.shape(&chunk.lengths, layer);
            let prefix = key_value(prefixes, chunk.context, layer);
            block.forward(
                shape,
                prefix,
                &mut now[layer],
                scratch,
                next.first_mut().map(|next| &mut next.x),
            );
        }
        let ends = &kept[self.blocks.len()].x;
        scratch.rows.resize(ends.len(), 0.0);
        self.ln_final.forward(ends, &mut scratch.rows);
        let mut features = Vec::new();
        scratch.multiplications += self.projection.forward(&scratch.rows, &mut features, false);
        features
    }

    /// Leaves the gradient with respect to the chunk's input in `scratch.gradient` if `input` is
    /// asked for.
    #[expect(clippy::too_many_arguments)]
    fn backward(
        &self,
        prefixes: &[Vec<Kept>],
        chunk: &Chunk,
        kept: &[Kept],
        gradient: &[f32],
        of_prefix: &mut [PrefixGradient],
        input: bool,
        scratch: &mut Scratch,
    ) {
        let mut rows = std::mem::take(&mut scratch.rows);
        scratch.multiplications += self.projection.backward(gradient, &mut rows, false);
        let ends = &kept[self.blocks.len()].x;
        let mut now = vec![0.0; ends.len()];
        self.ln_final.add_backward(ends, &rows, &mut now);
        scratch.rows = rows;
        let mut next = std::mem::take(&mut scratch.gradient);
        for (layer, block) in self.blocks.iter().enumerate().rev() {
            let shape = self.shape(&chunk.lengths, layer);
            scratch.key_value.clear();
            scratch.key_value.resize(kept[layer].key_value.len(), 0.0);
            let of_prefix = chunk.of_parts.iter().zip(&mut *of_prefix);
            let mut of_prefix: Vec<_> = of_prefix
                .map(|(&sequences, sum)| (sequences, sum.layer(layer)))
                .collect();
            block.backward(
                shape,
                key_value(prefixes, chunk.context, layer),
                &kept[layer],
                Some(&now),
                &mut of_prefix,
                scratch,
                (layer > 0 || input).then_some(&mut next),
            );
            std::mem::swap(&mut now, &mut next);
        }
        scratch.gradient = now;
    }

    /// From the gradient with respect to a prefix's keys and values, that with respect to its
    /// context `[M, width]`.
    fn prefix_backward(
        &self,
        kept: &[Kept],
        of_prefix: &mut PrefixGradient,
        scratch: &mut Scratch,
    ) -> Vec<f32> {
        let lengths = [kept.first().map_or(0, |kept| kept.x.len() / self.width)];
        let (mut now, mut next) = (Vec::new(), Vec::new());
        for (layer, block) in self.blocks.iter().enumerate().rev() {
            let shape = Shape {
                last_only: false,
                ..self.shape(&lengths, layer)
            };
            scratch.key_value.clear();
            scratch.key_value.extend_from_slice(of_prefix.layer(layer));
            let gradient = (layer + 1 < self.blocks.len()).then_some(now.as_slice());
            block.backward(
                shape,
                &[],
                &kept[layer],
                gradient,
                &mut [],
                scratch,
                Some(&mut next),
            );
            std::mem::swap(&mut now, &mut next);
        }
        // [SOS] is not learned.
        now.split_off(self.width.min(now.len()))
    }
}

/// Calls `of` for what belongs to each context: side by side, or where there are more threads than contexts
/// one after the other, with all threads in each product.
fn each_context<C: Send, T: Send>(
    contexts: &mut [C],
    of: impl Fn(&mut C, &mut Scratch) -> T + Sync,
) -> Vec<T> {
    if contexts.len() >= parallel::threads() {
        return parallel::each(contexts, of);
    }
    parallel::inside(|| {
        let mut scratch = Scratch::wide();
        let one = |context| of(context, &mut scratch);
        contexts.iter_mut().map(one).collect()
    })
}

/// Prompts behind one context that pass through the tower together.
#[derive(Debug, PartialEq)]
struct Piece {
    classes: Range<usize>,
    part: usize,
    of_parts: Vec<usize>,
}

/// Cuts prompts of these lengths, as they stand behind each of `contexts` contexts, into parts, and
/// deals the parts out: several to a chunk, or a part to several chunks, so that all threads have
/// some and no chunk is much larger than [`CHUNK`].
fn deal(lengths: &[usize], contexts: usize, threads: usize) -> Vec<Piece> {
    let total: usize = lengths.iter().sum();
    let parts = cut(lengths, total.div_ceil(PART).min(PARTS));
    let size = (total * contexts / threads).clamp(PART, CHUNK);
    let part_size = (total / parts.len().max(1)).max(1);
    if part_size > size {
        let pieces = |(part, range): (usize, &Range<usize>)| {
            let inner = cut(&lengths[range.clone()], (part_size + size / 2) / size);
            let first = range.start;
            inner.into_iter().map(move |inner| Piece {
                classes: first + inner.start..first + inner.end,
                part,
                of_parts: vec![inner.len()],
            })
        };
        return parts.iter().enumerate().flat_map(pieces).collect();
    }
    let together = (size + part_size / 2) / part_size;
    let sizes: Vec<usize> = parts
        .iter()
        .map(|range| lengths[range.clone()].iter().sum())
        .collect();
    cut(&sizes, parts.len().div_ceil(together))
        .into_iter()
        .map(|group| Piece {
            classes: parts[group.start].start..parts[group.end - 1].end,
            part: group.start,
            of_parts: parts[group].iter().map(Range::len).collect(),
        })
        .collect()
}

/// Cuts things of these sizes into `count` runs of about equal size; fewer where things are few.
fn cut(sizes: &[usize], count: usize) -> Vec<Range<usize>> {
    let total: usize = sizes.iter().sum();
    let mut runs = Vec::with_capacity(count);
    let (mut start, mut before) = (0, 0);
    for (place, size) in sizes.iter().enumerate() {
        // A run ends where the sum is nearest to its share of the whole.
        let share = total * (runs.len() + 1);
        if place > start && (2 * before + size) * count > 2 * share {
            runs.push(start..place);
            start = place;
        }
        before += size;
    }
    if start < sizes.len() {
        runs.push(start..sizes.len());
    }
    runs
}

/// The gradient with respect to a prefix's keys and values.
#[derive(Clone)]
struct PrefixGradient {
    /// `[layers, tokens, 2 · width]`.
    values: Vec<f32>,
    of_layer: usize,
}

impl PrefixGradient {
    fn new(tower: &DirectTextTower, tokens: usize) -> Self {
        let of_layer = tokens * 2 * tower.width;
        Self {
            values: vec![0.0; tower.blocks.len() * of_layer],
            of_layer,
        }
    }

    fn layer(&mut self, layer: usize) -> &mut [f32] {
        &mut self.values[layer * self.of_layer..(layer + 1) * self.of_layer]
    }

    fn add(&mut self, other: &Self) {
        let pairs = self.values.iter_mut().zip(&other.values);
        pairs.for_each(|(sum, value)| *sum += value);
    }
}

/// A prefix's keys and values in one layer; nothing when prompts run as a whole.
fn key_value(prefixes: &[Vec<Kept>], context: usize, layer: usize) -> &[f32] {
    prefixes
        .get(context)
        .map_or(&[], |kept| kept[layer].key_value.as_slice())
}

fn add_positions(x: &mut [f32], positions: &[f32]) {
    x.iter_mut().zip(positions).for_each(|(x, at)| *x += at);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each prompt once, parts the same on any number of threads, chunks of about the size asked
    /// for.
    #[test]
    fn prompts_are_dealt_out() {
        for classes in [1, 2, 37, 100, 1000, 4000] {
            let lengths: Vec<usize> = (0..classes).map(|class| 4 + class % 3).collect();
            let parts = |pieces: &[Piece]| {
                let mut sizes = vec![0; PARTS];
                for piece in pieces {
                    for (part, prompts) in (piece.part..).zip(&piece.of_parts) {
                        sizes[part] += prompts;
                    }
                }
                sizes
            };
            let expected = parts(&deal(&lengths, 2, 1));
            for (contexts, threads) in [(1, 1), (2, 2), (2, 8), (1, 64)] {
                let pieces = deal(&lengths, contexts, threads);
                let mut next = 0;
                for piece in &pieces {
                    assert_eq!(piece.classes.start, next);
                    assert_eq!(piece.of_parts.iter().sum::<usize>(), piece.classes.len());
                    let rows: usize = lengths[piece.classes.clone()].iter().sum();
                    assert!(rows <= CHUNK * 3 / 2 + 6, "{classes} classes: {rows} rows");
                    next = piece.classes.end;
                }
                assert_eq!(next, classes);
                assert_eq!(
                    parts(&pieces),
                    expected,
                    "{classes} classes, {threads} threads"
                );
            }
        }
        let chunks = |threads| deal(&[5; 100], 2, threads).len();
        assert_eq!([1, 2, 4, 64].map(chunks), [2, 2, 2, 6]);
        assert!(deal(&[], 2, 2).is_empty());
    }
}
