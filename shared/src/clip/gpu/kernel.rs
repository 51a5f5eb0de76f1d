//! The kernels and how they are launched. Sizes are constants of their text: a kernel is compiled once for
//! each kind of layer that a tower has, not for each number of photos.

use burn::backend::wgpu::{CubeDim, CubeTensor, KernelSource, SourceKernel, SourceTemplate};
use burn::cubecl::CubeCount;
use burn::cubecl::prelude::KernelId;
use burn::cubecl::server::KernelArguments;
use burn::tensor::{DType, Shape};

use super::{TILE, Values};
use crate::clip::config::LAYER_NORM_EPSILON;

/// What becomes of a product.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Then {
    Nothing,
    QuickGelu,
    Gelu,
    /// A residual is added.
    Add,
    /// Each token's position is added, `[tokens, outputs]`.
    AddPositions {
        tokens: usize,
    },
}

impl Then {
    /// What follows, where a row has `outputs` values.
    fn source(self, outputs: usize) -> String {
        let fixed = match self {
            Self::Nothing => {
                "fn then(value: vec4<f32>, place: u32) -> vec4<f32> { return value; }"
            }
            // Beyond e^80 nothing is left of the value, and WGSL promises no infinity.
            Self::QuickGelu => {
                "fn then(value: vec4<f32>, place: u32) -> vec4<f32> {
                    let power = min(-1.702 * value, vec4<f32>(80.0));
                    return value / (1.0 + exp(power));
                }"
            }
            // The error function as in Abramowitz and Stegun, 7.1.26: within 1.5e-7.
            Self::Gelu => {
                "fn then(value: vec4<f32>, place: u32) -> vec4<f32> {
                    let x = abs(value) * 0.70710678;
                    let t = 1.0 / (1.0 + 0.3275911 * x);
                    let series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741
                        + t * (-1.453152027 + t * 1.061405429))));
                    let erf = sign(value) * (1.0 - series * exp(-x * x));
                    return 0.5 * value * (1.0 + erf);
                }"
            }
            Self::Add => {
                "@group(0) @binding(4) var<storage, read_write> residual: array<vec4<f32>>;
                fn then(value: vec4<f32>, place: u32) -> vec4<f32> { return residual[place] + value; }"
            }
            Self::AddPositions { tokens } => {
                return format!(
                    "@group(0) @binding(4) var<storage, read_write> positions: array<vec4<f32>>;
                    fn then(value: vec4<f32>, place: u32) -> vec4<f32> {{ return positions[place % {}u] + value; }}",
                    tokens * outputs / 4
                );
            }
        };
        fixed.to_owned()
    }
}

/// A product with a weight, its bias, and what follows.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Product {
    pub inputs: usize,
    pub outputs: usize,
    pub then: Then,
}

impl Product {
    /// `x` `[rows, inputs]` → `[rows, outputs]`; `added`: what [`Then`] adds.
    pub fn launch(
        self,
        x: &Values,
        weight: &Values,
        bias: &Values,
        added: Option<&Values>,
    ) -> Values {
        let rows = rows(x, self.inputs);
        let out = empty(x, rows, self.outputs);
        let mut values = vec![x, weight, bias, &out];
        values.extend(added);
        launch(self, &values, [self.outputs / TILE, rows / TILE, 1]);
        out
    }
}

impl Kernel for Product {
    fn text(&self) -> SourceTemplate {
        SourceTemplate::new(include_str!("linear.wgsl"))
            .register("inputs", self.inputs.to_string())
            .register("outputs", self.outputs.to_string())
            .register("more", self.then.source(self.outputs))
    }
}

/// A layer norm of one row in `every`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct LayerNorm {
    pub width: usize,
    pub every: usize,
}

impl LayerNorm {
    /// `x` `[any, width]` → `[rows, width]`; `rows` are whole tiles.
    pub fn launch(self, x: &Values, rows: usize, gamma: &Values, beta: &Values) -> Values {
        let out = empty(x, rows, self.width);
        launch(self, &[x, gamma, beta, &out], [TILE, rows / TILE, 1]);
        out
    }
}

impl Kernel for LayerNorm {
    fn text(&self) -> SourceTemplate {
        SourceTemplate::new(include_str!("layer_norm.wgsl"))
            .register("width", self.width.to_string())
            .register("every", self.every.to_string())
            .register("epsilon", LAYER_NORM_EPSILON.to_string())
    }
}

/// Cuts images into patches.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Patches {
    pub image_size: usize,
    pub patch_size: usize,
}

impl Patches {
    /// Values of a row: those of a patch, filled up with zeros to a multiple of [`TILE`].
    pub fn columns(self) -> usize {
        (3 * self.patch_size.pow(2)).next_multiple_of(TILE)
    }

    /// `pixels` `[images, 3, image_size, image_size]` → `[rows, columns]`: a row for each token of each
    /// image, the class token's of zeros, and whole tiles of them.
    pub fn launch(self, pixels: &Values) -> Values {
        let images = rows(pixels, 3 * self.image_size.pow(2));
        let tokens = (self.image_size / self.patch_size).pow(2) + 1;
        let rows = (images * tokens).next_multiple_of(TILE);
        let out = empty(pixels, rows, self.columns());
        launch(
            self,
            &[pixels, &out],
            [self.columns() / TILE, rows / TILE, 1],
        );
        out
    }
}

impl Kernel for Patches {
    fn text(&self) -> SourceTemplate {
        SourceTemplate::new(include_str!("patches.wgsl"))
            .register("image_size", self.image_size.to_string())
            .register("patch_size", self.patch_size.to_string())
            .register("columns", self.columns().to_string())
    }
}

/// Attention of every token of an image to all of it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Attention {
    pub width: usize,
    pub heads: usize,
    pub tokens: usize,
}

impl Attention {
    /// Queries beside keys beside values `[rows, 3 · width]` → `[rows, width]`, of which the rows
    /// behind those of all images stay as they are.
    pub fn launch(self, projected: &Values, images: usize) -> Values {
        let out = empty(projected, rows(projected, 3 * self.width), self.width);
        let count = [self.tokens.div_ceil(64), self.heads, images];
        launch(self, &[projected, &out], count);
        out
    }
}

impl Kernel for Attention {
    fn text(&self) -> SourceTemplate {
        let head_width = self.width / self.heads;
        SourceTemplate::new(include_str!("attention.wgsl"))
            .register("width", self.width.to_string())
            .register("head_width", head_width.to_string())
            .register("tokens", self.tokens.to_string())
            .register("scale", (head_width as f32).powf(-0.5).to_string())
    }
}

/// The text of a kernel of 64 invocations.
trait Kernel: Copy + std::fmt::Debug + Eq + std::hash::Hash + Send + Sync + 'static {
    fn text(&self) -> SourceTemplate;
}

struct Source<K>(K);

impl<K: Kernel> KernelSource for Source<K> {
    fn source(&self) -> SourceTemplate {
        self.0.text()
    }

    fn id(&self) -> KernelId {
        KernelId::new::<Self>().info(self.0)
    }

    fn lang(&self) -> &'static str {
        "wgsl"
    }
}

fn launch(kernel: impl Kernel, values: &[&Values], count: [usize; 3]) {
    let [x, y, z] = count.map(|count| count as u32);
    let buffers = values.iter().map(|values| values.handle.clone().binding());
    values[0].client.launch(
        Box::new(SourceKernel::new(Source(kernel), CubeDim::new_1d(64))),
        CubeCount::Static(x, y, z),
        KernelArguments::new().with_buffers(buffers.collect()),
    );
}

/// How often `width` values are there.
pub fn rows(x: &Values, width: usize) -> usize {
    x.meta.shape().num_elements() / width
}

/// Room for a result beside `like`.
fn empty(like: &Values, rows: usize, width: usize) -> Values {
    let handle = like.client.empty(rows * width * size_of::<f32>());
    CubeTensor::new_contiguous(
        like.client.clone(),
        like.device.clone(),
        Shape::new([rows, width]),
        handle,
        DType::F32,
    )
}
