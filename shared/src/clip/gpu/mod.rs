//! Transformers on a GPU, through wgpu and WebGPU: a block is seven kernels, written for these shapes.
//!
//! In Burn's operations it is some sixty, and most of their time goes to products whose tiles suit far
//! more rows than the tokens of a photo (`benches/RESULTS.md`).

mod kernel;

use burn::backend::Cube;
use burn::backend::wgpu::{CubeTensor, into_contiguous};
use burn::nn::{LayerNorm as BurnLayerNorm, Linear as BurnLinear};
use burn::tensor::{DType, Tensor};

use self::kernel::{Attention, LayerNorm as LayerNormKernel, Product, Then};
use super::config::Activation;
use super::transformer::Block as BurnBlock;

/// Rows of a tile; rows that go through blocks come in whole tiles.
pub const TILE: usize = 32;

/// The widest head: a query and its sums have to fit an invocation's registers, and keys beside values
/// the 16 KiB of a workgroup.
const WIDEST_HEAD: usize = 128;

/// Rows of values, `[whole tiles, width]`, or weights.
type Values = CubeTensor;

/// A frozen linear layer.
#[derive(Clone, Debug)]
struct Linear {
    weight: Values,
    bias: Values,
    inputs: usize,
    outputs: usize,
}

impl Linear {
    fn new(linear: &BurnLinear) -> Option<Self> {
        let [inputs, outputs] = linear.weight.dims();
        if !inputs.is_multiple_of(TILE) || !outputs.is_multiple_of(TILE) {
            return None;
        }
        Some(Self {
            weight: on_gpu(linear.weight.val())?,
            bias: on_gpu(linear.bias.as_ref()?.val())?,
            inputs,
            outputs,
        })
    }

    /// `then(x W + b)`; `x` `[rows, inputs]`.
    fn forward(&self, x: &Values, then: Then, residual: Option<&Values>) -> Values {
        let product = Product {
            inputs: self.inputs,
            outputs: self.outputs,
            then,
        };
        product.launch(x, &self.weight, &self.bias, residual)
    }
}

#[derive(Clone, Debug)]
struct LayerNorm {
    gamma: Values,
    beta: Values,
    width: usize,
}

impl LayerNorm {
    fn new(norm: &BurnLayerNorm) -> Option<Self> {
        let [width] = norm.gamma.dims();
        Some(Self {
            gamma: on_gpu(norm.gamma.val())?,
            beta: on_gpu(norm.beta.as_ref()?.val())?,
            width,
        })
    }

    fn forward(&self, x: &Values) -> Values {
        LayerNormKernel { width: self.width }.launch(x, &self.gamma, &self.beta)
    }
}

/// `x + attention(ln_1(x))`, then `x + mlp(ln_2(x))`, every token seeing every other.
#[derive(Clone, Debug)]
pub struct Block {
    ln_1: LayerNorm,
    query_key_value: Linear,
    output: Linear,
    ln_2: LayerNorm,
    mlp_in: Linear,
    mlp_out: Linear,
    heads: usize,
    activation: Activation,
}

impl Block {
    /// The same block for these kernels, with the same weights; `None` where they do not fit: its
    /// device is no GPU, or a width is no multiple of [`TILE`].
    pub fn new(block: &BurnBlock) -> Option<Self> {
        let [width, _] = block.output.weight.dims();
        let head_width = width / block.heads;
        if !head_width.is_multiple_of(4) || head_width > WIDEST_HEAD {
            return None;
        }
        Some(Self {
            ln_1: LayerNorm::new(&block.ln_1)?,
            query_key_value: Linear::new(&block.query_key_value)?,
            output: Linear::new(&block.output)?,
            ln_2: LayerNorm::new(&block.ln_2)?,
            mlp_in: Linear::new(&block.mlp_in)?,
            mlp_out: Linear::new(&block.mlp_out)?,
            heads: block.heads,
            activation: block.activation,
        })
    }

    fn forward(&self, x: &Values, images: usize, tokens: usize) -> Values {
        let attention = Attention {
            width: self.output.inputs,
            heads: self.heads,
            tokens,
        };
        let attended = attention.launch(&self.project(x), images);
        self.finish(x, &attended)
    }

    /// The block with every token seeing itself alone.
    fn forward_apart(&self, x: &Values) -> Values {
        let width = self.output.inputs;
        let projected = Tensor::<2>::from_primitive::<Cube>(self.project(x));
        self.finish(x, &on_device(projected.narrow(1, 2 * width, width)))
    }

    /// Queries beside keys beside values.
    fn project(&self, x: &Values) -> Values {
        let normed = self.ln_1.forward(x);
        self.query_key_value.forward(&normed, Then::Nothing, None)
    }

    fn finish(&self, x: &Values, attended: &Values) -> Values {
        let x = self.output.forward(attended, Then::Add, Some(x));
        let normed = self.ln_2.forward(&x);
        let then = match self.activation {
            Activation::QuickGelu => Then::QuickGelu,
            Activation::Gelu => Then::Gelu,
        };
        let hidden = self.mlp_in.forward(&normed, then, None);
        self.mlp_out.forward(&hidden, Then::Add, Some(&x))
    }
}

/// `x` `[images, tokens, width]` through blocks in which every token sees every other, then through
/// those in which it sees itself `apart`.
pub fn forward(blocks: &[Block], apart: &[Block], x: Tensor<3>) -> Tensor<3> {
    let [images, tokens, width] = x.dims();
    let rows = images * tokens;
    let padding = rows.next_multiple_of(TILE) - rows;
    let mut x = x.reshape([rows, width]);
    if padding > 0 {
        let zeros = Tensor::zeros([padding, width], &x.device());
        x = Tensor::cat(vec![x, zeros], 0);
    }
    let x = on_device(x);
    let x = blocks
        .iter()
        .fold(x, |x, block| block.forward(&x, images, tokens));
    let x = apart.iter().fold(x, |x, block| block.forward_apart(&x));
    let x = Tensor::<2>::from_primitive::<Cube>(x);
    x.narrow(0, 0, rows).reshape([images, tokens, width])
}

/// What a tower computes with, which is where its blocks are: on a GPU.
fn on_device(tensor: Tensor<2>) -> Values {
    on_gpu(tensor).expect("a tower and its input are on one device, and its blocks are on a GPU")
}

/// The tensor's values on a GPU, row by row; `None` if it is elsewhere or in another precision.
fn on_gpu<const D: usize>(tensor: Tensor<D>) -> Option<Values> {
    let values = tensor.try_into_primitive::<Cube>().ok()?;
    (values.dtype == DType::F32).then(|| into_contiguous(values))
}
