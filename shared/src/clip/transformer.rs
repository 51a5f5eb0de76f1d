//! The residual attention block that both towers are made of.
//!
//! Reference: `ResidualAttentionBlock` in OpenAI's `clip/model.py`.

use burn::module::Module;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::Tensor;
use burn::tensor::activation::{gelu, sigmoid, softmax};
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;

use super::config::Activation;
use super::weights::{WeightError, Weights};

/// `x + attention(ln_1(x))`, then `x + mlp(ln_2(x))`.
#[derive(Module, Debug)]
pub struct Block {
    pub(super) ln_1: LayerNorm,
    pub(super) query_key_value: Linear,
    pub(super) output: Linear,
    pub(super) ln_2: LayerNorm,
    pub(super) mlp_in: Linear,
    pub(super) mlp_out: Linear,
    pub(super) heads: usize,
    #[module(skip)]
    pub(super) activation: Activation,
}

/// Queries, keys and values of one block, each `[batch, heads, tokens, head_width]`.
#[derive(Clone, Debug)]
pub struct Projected {
    /// Queries.
    pub query: Tensor<4>,
    /// Keys.
    pub key: Tensor<4>,
    /// Values.
    pub value: Tensor<4>,
}

impl Block {
    /// Reads one block under OpenAI's names (`ln_1`, `attn.in_proj_weight`, `mlp.c_fc`, …).
    pub fn load(
        weights: &Weights,
        width: usize,
        heads: usize,
        mlp_width: usize,
        activation: Activation,
    ) -> Result<Self, WeightError> {
        let attention = weights.below("attn");
        let mlp = weights.below("mlp");
        Ok(Self {
            ln_1: weights.below("ln_1").layer_norm(width)?,
            query_key_value: attention.linear_named(
                "in_proj_weight",
                Some("in_proj_bias"),
                width,
                3 * width,
            )?,
            output: attention.below("out_proj").linear(width, width)?,
            ln_2: weights.below("ln_2").layer_norm(width)?,
            mlp_in: mlp.below("c_fc").linear(width, mlp_width)?,
            mlp_out: mlp.below("c_proj").linear(mlp_width, width)?,
            heads,
            activation,
        })
    }

    /// The block over a whole sequence, every token seeing every other.
    ///
    /// `x`: `[batch, tokens, width]` → the same shape.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let Projected { query, key, value } = self.project(x.clone());
        let options = AttentionModuleOptions::default();
        let attended = attention(query, key, value, None, None, options);
        self.finish(x, attended)
    }

    /// The block over a whole sequence with an additive mask `[1, 1, tokens, tokens]`.
    ///
    /// `x`: `[batch, tokens, width]` → the same shape.
    pub fn forward_masked(&self, x: Tensor<3>, mask: Tensor<4>) -> Tensor<3> {
        let Projected { query, key, value } = self.project(x.clone());
        let weights = softmax(self.scores(query, key) + mask, 3);
        self.finish(x, weights.matmul(value))
    }

    /// Queries, keys and values of `x` `[batch, tokens, width]`, after the first layer norm.
    pub fn project(&self, x: Tensor<3>) -> Projected {
        let [batch, tokens, width] = x.dims();
        let projected = self.query_key_value.forward(self.ln_1.forward(x));
        let part = |index: usize| {
            projected
                .clone()
                .narrow(2, index * width, width)
                .reshape([batch, tokens, self.heads, width / self.heads])
                .swap_dims(1, 2)
        };
        Projected {
            query: part(0),
            key: part(1),
            value: part(2),
        }
    }

    /// Scaled similarities of queries and keys, `[batch, heads, queries, keys]`.
    pub fn scores(&self, query: Tensor<4>, key: Tensor<4>) -> Tensor<4> {
        let head_width = query.dims()[3] as f64;
        (query * head_width.powf(-0.5)).matmul(key.swap_dims(2, 3))
    }

    /// What follows attention: output projection, residuals and the multilayer perceptron.
    ///
    /// `x`: `[batch, tokens, width]`, `attended`: `[batch, heads, tokens, head_width]`.
    pub fn finish(&self, x: Tensor<3>, attended: Tensor<4>) -> Tensor<3> {
        let [batch, tokens, width] = x.dims();
        let attended = attended.swap_dims(1, 2).reshape([batch, tokens, width]);
        let x = x + self.output.forward(attended);
        let hidden = self.mlp_in.forward(self.ln_2.forward(x.clone()));
        x + self.mlp_out.forward(self.activate(hidden))
    }

    fn activate(&self, x: Tensor<3>) -> Tensor<3> {
        match self.activation {
            Activation::QuickGelu => x.clone() * sigmoid(x * 1.702),
            Activation::Gelu => gelu(x),
        }
    }
}
