//! CLIP's causal text transformer, with a plain path and a prefix-shared one.
//!
//! The tower is causal, so two facts hold exactly: nothing after `[EOS]` matters
//! (prompts are encoded to their longest, not to the context length), and a
//! prefix that many prompts share (`[SOS] v_1 … v_M`) needs to run only once,
//! with every layer's keys and values kept for the suffixes.
//!
//! Reference: `CLIP.encode_text` in OpenAI's `clip/model.py`.

pub mod direct;

use burn::module::{Module, Param};
use burn::nn::LayerNorm;
use burn::tensor::activation::softmax;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

use super::config::TextTowerConfig;
use super::direct::values;
use super::transformer::{Block, Projected};
use super::weights::{WeightError, Weights};

/// Token embedding → causal transformer → layer norm → projection of the `[EOS]` token.
#[derive(Module, Debug)]
pub struct TextTower {
    token_embedding: Param<Tensor<2>>,
    positional_embedding: Param<Tensor<2>>,
    blocks: Vec<Block>,
    ln_final: LayerNorm,
    projection: Param<Tensor<2>>,
}

/// The tower's first step by itself: the embeddings of its tokens.
#[derive(Clone, Debug)]
pub struct TokenEmbedding {
    /// `[vocabulary, width]`.
    table: Tensor<2>,
}

impl TokenEmbedding {
    /// Ids of `rows` prompts of one `length` each → `[rows, length, width]`, without positions.
    pub fn embed(&self, tokens: &[u32], rows: usize) -> Tensor<3> {
        let length = tokens.len().checked_div(rows).unwrap_or(0);
        let indices: Vec<usize> = tokens.iter().map(|&token| token as usize).collect();
        let indices = index_tensor(&indices, &self.table.device());
        let [_, width] = self.table.dims();
        self.table
            .clone()
            .select(0, indices)
            .reshape([rows, length, width])
    }

    /// The same of one prompt, row by row.
    pub fn rows(&self, tokens: &[u32]) -> Vec<f32> {
        if tokens.is_empty() {
            // Burn takes a length of nothing for one that it shall find out.
            return Vec::new();
        }
        values(self.embed(tokens, 1))
    }
}

/// Keys and values of a shared prefix, one pair a layer.
#[derive(Clone, Debug)]
pub struct Prefix {
    /// Each `[contexts, heads, prefix, head_width]`.
    layers: Vec<(Tensor<4>, Tensor<4>)>,
}

impl Prefix {
    /// Tokens in the prefix, `[SOS]` included.
    pub fn tokens(&self) -> usize {
        self.layers.first().map_or(0, |(key, _)| key.dims()[2])
    }

    /// The prefixes at `indices` `[n]`, in that order.
    pub fn select(&self, indices: &[usize]) -> Self {
        let Some((key, _)) = self.layers.first() else {
            return self.clone();
        };
        let indices = index_tensor(indices, &key.device());
        let select = |tensor: &Tensor<4>| tensor.clone().select(0, indices.clone());
        let layers = self
            .layers
            .iter()
            .map(|(key, value)| (select(key), select(value)))
            .collect();
        Self { layers }
    }
}

impl TextTower {
    /// Reads the tower under OpenAI's names (`token_embedding.weight`, `transformer.resblocks.N`, …).
    ///
    /// The parameters are trainable; call [`Module::no_grad`] on a frozen tower.
    ///
    /// # Errors
    /// Names the first tensor that is missing or of another shape.
    pub fn load(
        weights: &Weights,
        config: &TextTowerConfig,
        embed_dim: usize,
    ) -> Result<Self, WeightError> {
        let &TextTowerConfig {
            context_length,
            vocabulary_size,
            width,
            layers,
            heads,
            mlp_width,
            activation,
        } = config;
        let blocks = (0..layers)
            .map(|layer| {
                let block = weights.below(format!("transformer.resblocks.{layer}"));
                Block::load(&block, width, heads, mlp_width, activation)
            })
            .collect::<Result<_, _>>()?;
        let parameter = |name: &str, shape| weights.tensor(name, shape).map(Param::from_tensor);
        Ok(Self {
            token_embedding: parameter("token_embedding.weight", [vocabulary_size, width])?,
            positional_embedding: parameter("positional_embedding", [context_length, width])?,
            blocks,
            ln_final: weights.below("ln_final").layer_norm(width)?,
            projection: parameter("text_projection", [width, embed_dim])?,
        })
    }

    /// Width of the residual stream.
    pub fn width(&self) -> usize {
        self.token_embedding.dims()[1]
    }

    /// Most tokens in a prompt.
    pub fn context_length(&self) -> usize {
        self.positional_embedding.dims()[0]
    }

    /// Where the weights are.
    pub fn device(&self) -> Device {
        self.token_embedding.device()
    }

    /// Its token embeddings, which may outlive it.
    pub fn tokens(&self) -> TokenEmbedding {
        TokenEmbedding {
            table: self.token_embedding.val(),
        }
    }

    /// Token embeddings without positions: ids of `rows` prompts of one `length` each →
    /// `[rows, length, width]`.
    pub fn embed(&self, tokens: &[u32], rows: usize) -> Tensor<3> {
        self.tokens().embed(tokens, rows)
    }

    /// The plain path: token ids of whole prompts (`[SOS] … [EOS]`, any lengths) →
    /// text features `[prompts, embed_dim]`, not normalised.
    pub fn forward(&self, prompts: &[Vec<u32>]) -> Tensor<2> {
        let (embeddings, ends) = self.embed_prompts(prompts);
        self.forward_embeddings(embeddings, &ends)
    }

    /// Token embeddings without positions of whole prompts, as long as the longest
    /// `[prompts, tokens, width]`, and the position of each prompt's `[EOS]`.
    pub fn embed_prompts(&self, prompts: &[Vec<u32>]) -> (Tensor<3>, Vec<usize>) {
        let longest = prompts.iter().map(Vec::len).max().unwrap_or(0);
        let mut tokens = Vec::with_capacity(prompts.len() * longest);
        for prompt in prompts {
            // Whatever follows [EOS] is never seen, so any token will do as padding.
            tokens.extend(
                prompt
                    .iter()
                    .copied()
                    .chain(std::iter::repeat(0))
                    .take(longest),
            );
        }
        let ends = prompts
            .iter()
            .map(|prompt| prompt.len().saturating_sub(1))
            .collect();
        (self.embed(&tokens, prompts.len()), ends)
    }

    /// The plain path from embeddings without positions `[prompts, tokens, width]`, with the
    /// position of each prompt's `[EOS]` → `[prompts, embed_dim]`, not normalised.
    pub fn forward_embeddings(&self, embeddings: Tensor<3>, ends: &[usize]) -> Tensor<2> {
        let [prompts, tokens, width] = embeddings.dims();
        let mask = causal_mask(tokens, &embeddings.device());
        let x = embeddings + self.positions(0, tokens);
        let x = self
            .blocks
            .iter()
            .fold(x, |x, block| block.forward_masked(x, mask.clone()));
        let rows: Vec<usize> = ends
            .iter()
            .enumerate()
            .map(|(row, end)| row * tokens + end)
            .collect();
        let ends = index_tensor(&rows, &x.device());
        self.project(x.reshape([prompts * tokens, width]).select(0, ends))
    }

    /// Runs prefixes once: embeddings without positions `[contexts, tokens, width]` → every
    /// layer's keys and values. What the last layer would compute beyond them is never used,
    /// so it is left out.
    pub fn prefix(&self, embeddings: Tensor<3>) -> Prefix {
        let tokens = embeddings.dims()[1];
        let mask = causal_mask(tokens, &embeddings.device());
        let mut x = embeddings + self.positions(0, tokens);
        let mut layers = Vec::with_capacity(self.blocks.len());
        for (index, block) in self.blocks.iter().enumerate() {
            let Projected { query, key, value } = block.project(x.clone());
            layers.push((key.clone(), value.clone()));
            if index + 1 < self.blocks.len() {
                let weights = softmax(block.scores(query, key) + mask.clone(), 3);
                x = block.finish(x, weights.matmul(value));
            }
        }
        Prefix { layers }
    }

    /// Runs suffixes that all end in `[EOS]` behind their prefix: embeddings without positions
    /// `[contexts, suffixes, tokens, width]` → `[contexts, suffixes, embed_dim]`, not normalised.
    ///
    /// Suffix `[c, n]` follows prefix `c`. The keys and values of a prefix are shared by its
    /// suffixes, never copied.
    pub fn suffix(&self, prefix: &Prefix, embeddings: Tensor<4>) -> Tensor<3> {
        let [contexts, suffixes, tokens, width] = embeddings.dims();
        let start = prefix.tokens();
        let mask = causal_mask(tokens, &embeddings.device());
        let mut x = embeddings.reshape([contexts * suffixes, tokens, width])
            + self.positions(start, tokens);
        for (index, block) in self.blocks.iter().enumerate() {
            let Projected { query, key, value } = block.project(x.clone());
            let last = index + 1 == self.blocks.len();
            // Of the last layer only the [EOS] token is read.
            let (x_in, query, mask) = if last {
                let end = tokens - 1;
                (
                    x.narrow(1, end, 1),
                    query.narrow(2, end, 1),
                    mask.clone().narrow(2, end, 1),
                )
            } else {
                (x, query, mask.clone())
            };
            let (prefix_key, prefix_value) = &prefix.layers[index];
            let to_prefix = {
                let query = group_by_context(query.clone(), contexts);
                let scores = block.scores(query, prefix_key.clone());
                ungroup(scores, suffixes)
            };
            let to_suffix = block.scores(query, key) + mask;
            let weights = softmax(Tensor::cat(vec![to_prefix, to_suffix], 3), 3);
            let from_prefix = {
                let weights = group_by_context(weights.clone().narrow(3, 0, start), contexts);
                ungroup(weights.matmul(prefix_value.clone()), suffixes)
            };
            let from_suffix = weights.narrow(3, start, tokens).matmul(value);
            x = block.finish(x_in, from_prefix + from_suffix);
        }
        let features = self.project(x.reshape([contexts * suffixes, width]));
        let embed_dim = features.dims()[1];
        features.reshape([contexts, suffixes, embed_dim])
    }

    fn positions(&self, start: usize, tokens: usize) -> Tensor<3> {
        self.positional_embedding
            .val()
            .narrow(0, start, tokens)
            .unsqueeze()
    }

    fn project(&self, x: Tensor<2>) -> Tensor<2> {
        self.ln_final.forward(x).matmul(self.projection.val())
    }
}

/// `[contexts · suffixes, heads, tokens, width]` → `[contexts, heads, suffixes · tokens, width]`.
fn group_by_context(x: Tensor<4>, contexts: usize) -> Tensor<4> {
    let [batch, heads, tokens, width] = x.dims();
    let suffixes = batch / contexts;
    x.reshape([contexts, suffixes, heads, tokens, width])
        .swap_dims(1, 2)
        .reshape([contexts, heads, suffixes * tokens, width])
}

/// The inverse of [`group_by_context`].
fn ungroup(x: Tensor<4>, suffixes: usize) -> Tensor<4> {
    let [contexts, heads, rows, width] = x.dims();
    let tokens = rows / suffixes;
    x.reshape([contexts, heads, suffixes, tokens, width])
        .swap_dims(1, 2)
        .reshape([contexts * suffixes, heads, tokens, width])
}

/// Zero on and below the diagonal, a large negative number above: `[1, 1, tokens, tokens]`.
fn causal_mask(tokens: usize, device: &Device) -> Tensor<4> {
    let above = Tensor::<2, Bool>::tril_mask([tokens, tokens], 0, device);
    // Not −∞: some GPU drivers turn −∞ − −∞ into NaN inside a softmax.
    Tensor::<2>::zeros([tokens, tokens], device)
        .mask_fill(above, -1e9)
        .unsqueeze()
}

/// Row numbers as an index tensor `[n]`.
fn index_tensor(indices: &[usize], device: &Device) -> Tensor<1, Int> {
    let indices: Vec<i32> = indices.iter().map(|&index| index as i32).collect();
    let length = indices.len();
    Tensor::from_data(TensorData::new(indices, [length]), device)
}
