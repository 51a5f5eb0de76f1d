//! Vision transformers on a GPU, through wgpu and WebGPU: a block is seven kernels, written for these
//! shapes, and what stands before and behind the blocks six.
//!
//! In Burn's operations a block is some sixty, and most of their time goes to products whose tiles suit far
//! more rows than the tokens of a photo (`benches/RESULTS.md`).

mod kernel;

use burn::backend::Cube;
use burn::backend::wgpu::{CubeTensor, into_contiguous};
use burn::nn::{LayerNorm as BurnLayerNorm, Linear as BurnLinear};
use burn::tensor::{Device, Tensor};

use self::kernel::{Attention, LayerNorm as LayerNormKernel, Product};
pub use self::kernel::{Patches, Then};
use super::config::{Activation, VitConfig};
use super::transformer::Block as BurnBlock;

/// Rows of a tile; rows that go through blocks come in whole tiles.
pub const TILE: usize = 32;

/// The widest head: a query and its sums have to fit an invocation's registers, and keys beside values
/// the 16 KiB of a workgroup.
const WIDEST_HEAD: usize = 128;

/// Rows of values, `[whole tiles, width]`, or weights.
pub type Values = CubeTensor;

/// Whether these kernels compute a tower of this configuration on this device. They carry no gradients.
pub fn fits(device: &Device, config: &VitConfig, embed_dim: usize) -> bool {
    let head_width = config.width / config.heads;
    let on_gpu = Tensor::<1>::zeros([1], device).try_into_primitive::<Cube>();
    !device.is_autodiff()
        && on_gpu.is_ok()
        && [config.width, config.mlp_width, embed_dim]
            .iter()
            .all(|width| width.is_multiple_of(TILE))
        && head_width.is_multiple_of(4)
        && head_width <= WIDEST_HEAD
}

/// A frozen linear layer.
#[derive(Clone, Debug)]
pub struct Linear {
    weight: Values,
    bias: Values,
    inputs: usize,
    outputs: usize,
}

impl Linear {
    fn new(linear: &BurnLinear) -> Self {
        let bias = linear.bias.as_ref().map(|bias| bias.val());
        Self::of(linear.weight.val(), bias)
    }

    /// `weight` `[inputs, outputs]`, both multiples of [`TILE`]; `bias` `[outputs]`, zeros where there is
    /// none.
    pub fn of(weight: Tensor<2>, bias: Option<Tensor<1>>) -> Self {
        let [inputs, outputs] = weight.dims();
        let bias = bias.unwrap_or_else(|| Tensor::zeros([outputs], &weight.device()));
        Self {
            weight: values(weight),
            bias: values(bias),
            inputs,
            outputs,
        }
    }

    /// `then(x W + b)`; `x` `[rows, inputs]`; `added`: what [`Then`] adds.
    pub fn forward(&self, x: &Values, then: Then, added: Option<&Values>) -> Values {
        let product = Product {
            inputs: self.inputs,
            outputs: self.outputs,
            then,
        };
        product.launch(x, &self.weight, &self.bias, added)
    }
}

/// A frozen layer norm.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    gamma: Values,
    beta: Values,
    width: usize,
}

impl LayerNorm {
    /// With the same weights.
    pub fn new(norm: &BurnLayerNorm) -> Self {
        let [width] = norm.gamma.dims();
        let beta = norm.beta.as_ref().map(|beta| beta.val());
        let zeros = || Tensor::zeros([width], &norm.gamma.device());
        Self {
            gamma: values(norm.gamma.val()),
            beta: values(beta.unwrap_or_else(zeros)),
            width,
        }
    }

    /// `x` `[rows, width]` → the same shape.
    pub fn forward(&self, x: &Values) -> Values {
        self.forward_some(x, kernel::rows(x, self.width), 1)
    }

    /// Of the first of each `every` rows: `x` `[any, width]` → `[rows, width]`, of which at least `count`
    /// are filled.
    pub fn forward_some(&self, x: &Values, count: usize, every: usize) -> Values {
        let kernel = LayerNormKernel {
            width: self.width,
            every,
        };
        kernel.launch(x, count.next_multiple_of(TILE), &self.gamma, &self.beta)
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
    /// The same block for these kernels, with the same weights, where they [fit](fits).
    pub fn new(block: &BurnBlock) -> Self {
        Self {
            ln_1: LayerNorm::new(&block.ln_1),
            query_key_value: Linear::new(&block.query_key_value),
            output: Linear::new(&block.output),
            ln_2: LayerNorm::new(&block.ln_2),
            mlp_in: Linear::new(&block.mlp_in),
            mlp_out: Linear::new(&block.mlp_out),
            heads: block.heads,
            activation: block.activation,
        }
    }

    /// `x` `[rows, width]`, of which the first are the tokens of images → the same shape; every token of
    /// an image sees every other.
    pub fn forward(&self, x: &Values, images: usize, tokens: usize) -> Values {
        let attention = Attention {
            width: self.output.inputs,
            heads: self.heads,
            tokens,
        };
        let attended = attention.launch(&self.project(x), images);
        self.finish(x, &attended)
    }

    /// The block with every token seeing itself alone.
    pub fn forward_apart(&self, x: &Values) -> Values {
        let width = self.output.inputs;
        let projected = tensor::<2>(self.project(x));
        self.finish(x, &values(projected.narrow(1, 2 * width, width)))
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

/// The tensor's values on the GPU that it is on, row by row.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Values {
    let on_gpu = tensor.try_into_primitive::<Cube>();
    into_contiguous(on_gpu.expect("a tower and its input are on the device that it fits"))
}

/// Values as Burn's operations take them.
pub fn tensor<const D: usize>(values: Values) -> Tensor<D> {
    Tensor::from_primitive::<Cube>(values)
}
