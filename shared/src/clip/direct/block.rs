//! The residual attention block over rows of tokens, forward and back.
//!
//! The weights are frozen, so that the way back needs neither their gradients nor what they were
//! multiplied with: of a block's activations only those are kept that a derivative is taken at.

use std::sync::OnceLock;

use burn::nn::{LayerNorm, Linear as BurnLinear};

use super::attention::{Context, ContextGradient, Sees, Shape, attend, attend_backward};
use super::elementwise::{Norm, activate, activate_backward};
use super::values;
use super::whole::attend_whole;
use crate::clip::config::Activation;
use crate::simd::matrix::Matrix;

/// A frozen linear layer; laid out for the way back once that is gone.
#[derive(Clone, Debug)]
pub struct Linear {
    forward: Matrix,
    backward: OnceLock<Matrix>,
    bias: Vec<f32>,
}

impl Linear {
    /// `weight`: `[inputs, outputs]`, `bias`: `[outputs]`.
    pub fn new(weight: &[f32], bias: Vec<f32>) -> Self {
        let outputs = bias.len();
        let inputs = weight.len() / outputs.max(1);
        Self {
            forward: Matrix::new(weight, inputs, outputs),
            backward: OnceLock::new(),
            bias,
        }
    }

    /// Columns `columns` of the outputs of a layer of Burn's.
    pub fn columns(linear: &BurnLinear, columns: std::ops::Range<usize>) -> Self {
        let [_, outputs] = linear.weight.dims();
        let weight: Vec<f32> = values(linear.weight.val())
            .chunks_exact(outputs)
            .flat_map(|row| row[columns.clone()].iter().copied())
            .collect();
        let bias = match &linear.bias {
            Some(bias) => values(bias.val())[columns].to_vec(),
            None => vec![0.0; columns.len()],
        };
        Self::new(&weight, bias)
    }

    fn whole(linear: &BurnLinear) -> Self {
        Self::columns(linear, 0..linear.weight.dims()[1])
    }

    fn way_back(&self) -> &Matrix {
        self.backward.get_or_init(|| self.forward.transpose())
    }

    /// `out = x W + b`; `x` `[rows, inputs]`. `wide`: all threads take part, for few rows; the result is
    /// the same. This and the others return how many multiplications they did.
    pub fn forward(&self, x: &[f32], out: &mut Vec<f32>, wide: bool) -> usize {
        let rows = x.len() / self.forward.inputs;
        out.resize(rows * self.bias.len(), 0.0);
        for row in out.chunks_exact_mut(self.bias.len()) {
            row.copy_from_slice(&self.bias);
        }
        add_product(&self.forward, x, out, wide)
    }

    /// `out = residual + x W + b`.
    fn forward_onto<'a>(
        &self,
        residual: impl Iterator<Item = &'a [f32]>,
        x: &[f32],
        out: &mut Vec<f32>,
        wide: bool,
    ) -> usize {
        let rows = x.len() / self.forward.inputs;
        out.resize(rows * self.bias.len(), 0.0);
        for (row, residual) in out.chunks_exact_mut(self.bias.len()).zip(residual) {
            for ((out, residual), bias) in row.iter_mut().zip(residual).zip(&self.bias) {
                *out = residual + bias;
            }
        }
        add_product(&self.forward, x, out, wide)
    }

    /// `out = gradient Wᵀ`: from the gradient with respect to the output `[rows, outputs]`, that
    /// with respect to the input.
    pub fn backward(&self, gradient: &[f32], out: &mut Vec<f32>, wide: bool) -> usize {
        let backward = self.way_back();
        let rows = gradient.len() / backward.inputs;
        out.clear();
        out.resize(rows * backward.outputs, 0.0);
        add_product(backward, gradient, out, wide)
    }
}

fn add_product(matrix: &Matrix, x: &[f32], out: &mut [f32], wide: bool) -> usize {
    if wide {
        return matrix.add_product_wide(x, out);
    }
    matrix.add_product(x, out)
}

/// A layer norm's parameters.
pub fn norm(norm: &LayerNorm) -> Norm {
    let gamma = values(norm.gamma.val());
    let beta = match &norm.beta {
        Some(beta) => values(beta.val()),
        None => vec![0.0; gamma.len()],
    };
    Norm { gamma, beta }
}

/// What one block keeps for the way back.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// The block's input, `[rows, width]`.
    pub x: Vec<f32>,
    /// Keys beside values, `[rows, 2 · width]`.
    pub key_value: Vec<f32>,
    query: Vec<f32>,
    /// The softmax's.
    weights: Vec<f32>,
    /// The residual stream between attention and perceptron.
    middle: Vec<f32>,
    /// The perceptron's hidden layer before the activation.
    hidden: Vec<f32>,
}

/// Room for what is not kept.
#[derive(Default)]
pub struct Scratch {
    pub rows: Vec<f32>,
    attended: Vec<f32>,
    query: Vec<f32>,
    middle: Vec<f32>,
    hidden: Vec<f32>,
    pub key_value: Vec<f32>,
    pub gradient: Vec<f32>,
    /// Whether all threads take part in each product.
    pub wide: bool,
    /// Multiplications with weights so far.
    pub multiplications: usize,
}

impl Scratch {
    /// For passes in whose products all threads take part.
    pub fn wide() -> Self {
        Self {
            wide: true,
            ..Self::default()
        }
    }
}

/// `x + attention(ln_1(x))`, then `x + mlp(ln_2(x))`.
#[derive(Clone, Debug)]
pub struct Block {
    ln_1: Norm,
    query: Linear,
    key_value: Linear,
    output: Linear,
    ln_2: Norm,
    mlp_in: Linear,
    mlp_out: Linear,
    activation: Activation,
}

impl Block {
    pub fn new(block: &crate::clip::transformer::Block) -> Self {
        let [width, _] = block.output.weight.dims();
        Self {
            ln_1: norm(&block.ln_1),
            query: Linear::columns(&block.query_key_value, 0..width),
            key_value: Linear::columns(&block.query_key_value, width..3 * width),
            output: Linear::whole(&block.output),
            ln_2: norm(&block.ln_2),
            mlp_in: Linear::whole(&block.mlp_in),
            mlp_out: Linear::whole(&block.mlp_out),
            activation: block.activation,
        }
    }

    /// Width of the perceptron's hidden layer.
    pub fn hidden(&self) -> usize {
        self.mlp_in.bias.len()
    }

    /// Runs the rows `kept.x` behind the keys and values `prefix` `[tokens, 2 · width]`; the rows
    /// that ask are what `out` becomes. Without `out` only keys and values are computed.
    pub fn forward(
        &self,
        shape: Shape<'_>,
        prefix: &[f32],
        kept: &mut Kept,
        scratch: &mut Scratch,
        out: Option<&mut Vec<f32>>,
    ) {
        let width = shape.width;
        let Scratch {
            rows: normed,
            attended,
            hidden,
            multiplications,
            wide,
            ..
        } = scratch;
        let wide = *wide;
        normed.resize(kept.x.len(), 0.0);
        self.ln_1.forward(&kept.x, normed);
        *multiplications += self.key_value.forward(normed, &mut kept.key_value, wide);
        let Some(out) = out else {
            return;
        };
        if shape.last_only {
            let mut last = Vec::with_capacity(shape.queries() * width);
            last_rows(shape, normed).for_each(|row| last.extend_from_slice(row));
            *multiplications += self.query.forward(&last, &mut kept.query, wide);
        } else {
            *multiplications += self.query.forward(normed, &mut kept.query, wide);
        }
        attended.resize(shape.queries() * width, 0.0);
        if shape.sees == Sees::All && !shape.last_only && prefix.is_empty() {
            attend_whole(shape, &kept.query, &kept.key_value, wide, attended);
        } else {
            let context = Context {
                prefix,
                own: &kept.key_value,
            };
            let weights = shape.weights(prefix.len() / (2 * width));
            kept.weights.resize(weights, 0.0);
            attend(shape, &kept.query, context, &mut kept.weights, attended);
        }
        if shape.last_only {
            let residual = last_rows(shape, &kept.x);
            *multiplications +=
                self.output
                    .forward_onto(residual, attended, &mut kept.middle, wide);
        } else {
            let residual = kept.x.chunks_exact(width);
            *multiplications +=
                self.output
                    .forward_onto(residual, attended, &mut kept.middle, wide);
        }
        normed.resize(kept.middle.len(), 0.0);
        self.ln_2.forward(&kept.middle, normed);
        *multiplications += self.mlp_in.forward(normed, &mut kept.hidden, wide);
        hidden.resize(kept.hidden.len(), 0.0);
        activate(self.activation, &kept.hidden, hidden);
        let residual = kept.middle.chunks_exact(width);
        *multiplications += self.mlp_out.forward_onto(residual, hidden, out, wide);
    }

    /// The way back: from `gradient`, with respect to the rows that asked, the one with respect to
    /// `kept.x` into `input`, and the one with respect to `prefix` added to `prefix_gradient`, for
    /// so many sequences to each of its sums.
    ///
    /// `scratch.key_value` holds the gradient with respect to this block's own keys and values
    /// from elsewhere, zeros if there is none. Without `gradient` there is nothing else.
    #[expect(clippy::too_many_arguments)]
    pub fn backward(
        &self,
        shape: Shape<'_>,
        prefix: &[f32],
        kept: &Kept,
        gradient: Option<&[f32]>,
        prefix_gradient: &mut [(usize, &mut [f32])],
        scratch: &mut Scratch,
        input: Option<&mut Vec<f32>>,
    ) {
        let width = shape.width;
        let Scratch {
            rows,
            attended,
            query,
            middle,
            hidden,
            key_value,
            multiplications,
            wide,
            ..
        } = scratch;
        let wide = *wide;
        if let Some(gradient) = gradient {
            *multiplications += self.mlp_out.backward(gradient, hidden, wide);
            activate_backward(self.activation, &kept.hidden, hidden);
            *multiplications += self.mlp_in.backward(hidden, rows, wide);
            middle.clear();
            middle.extend_from_slice(gradient);
            self.ln_2.add_backward(&kept.middle, rows, middle);
            *multiplications += self.output.backward(middle, attended, wide);
            query.resize(kept.query.len(), 0.0);
            let context = Context {
                prefix,
                own: &kept.key_value,
            };
            let context_gradient = ContextGradient {
                prefix: prefix_gradient,
                own: key_value,
            };
            attend_backward(
                shape,
                &kept.query,
                context,
                &kept.weights,
                attended,
                query,
                context_gradient,
            );
        }
        let Some(input) = input else {
            return;
        };
        *multiplications += self.key_value.backward(key_value, rows, wide);
        input.clear();
        input.resize(kept.x.len(), 0.0);
        if gradient.is_some() && shape.last_only {
            *multiplications += self.query.backward(query, attended, wide);
            let ends =
                ends(shape).zip(attended.chunks_exact(width).zip(middle.chunks_exact(width)));
            for (end, (normed, residual)) in ends {
                let row = end * width..(end + 1) * width;
                let sums = rows[row.clone()].iter_mut().zip(normed);
                sums.for_each(|(sum, value)| *sum += value);
                input[row].copy_from_slice(residual);
            }
        } else if gradient.is_some() {
            *multiplications += add_product(self.query.way_back(), query, rows, wide);
            input.copy_from_slice(middle);
        }
        self.ln_1.add_backward(&kept.x, rows, input);
    }
}

/// The last row of each sequence.
fn ends(shape: Shape<'_>) -> impl Iterator<Item = usize> {
    shape.lengths.iter().scan(0, |end, length| {
        *end += length;
        Some(*end - 1)
    })
}

fn last_rows<'a>(shape: Shape<'a>, rows: &'a [f32]) -> impl Iterator<Item = &'a [f32]> {
    ends(shape).map(move |end| &rows[end * shape.width..(end + 1) * shape.width])
}
