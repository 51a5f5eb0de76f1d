//! 1×1 convolutions on a CPU.

use pulp::{Simd, WithSimd};

use crate::simd::{LANES, dispatch};

/// Floats between two pixels of a map with so many channels.
pub fn stride(channels: usize) -> usize {
    channels.next_multiple_of(LANES)
}

/// A 1×1 convolution with bias: a matrix product over pixels.
#[derive(Clone, Debug)]
pub struct Pointwise {
    pub inputs: usize,
    pub outputs: usize,
    relu6: bool,
    /// `[stride(outputs) / LANES, inputs, LANES]`.
    panels: Vec<f32>,
    /// `[stride(outputs)]`.
    bias: Vec<f32>,
}

impl Pointwise {
    /// `weight`: `[outputs, inputs]`, `bias`: `[outputs]`.
    pub fn new(weight: &[f32], bias: &[f32], relu6: bool) -> Self {
        let outputs = bias.len();
        let inputs = weight.len() / outputs.max(1);
        let mut panels = vec![0.0; stride(outputs) * inputs];
        for (output, row) in weight.chunks_exact(inputs).enumerate() {
            for (input, value) in row.iter().enumerate() {
                panels[(output / LANES * inputs + input) * LANES + output % LANES] = *value;
            }
        }
        let mut padded = bias.to_vec();
        padded.resize(stride(outputs), 0.0);
        Self {
            inputs,
            outputs,
            relu6,
            panels,
            bias: padded,
        }
    }

    /// `x`: pixels of `step` floats, whose first `inputs` are read → `out`: as many pixels of
    /// `stride(outputs)`; `residual`, laid out like `out`, is added.
    pub fn run(&self, x: &[f32], step: usize, residual: Option<&[f32]>, out: &mut [f32]) {
        dispatch(PointwiseRun {
            of: self,
            x,
            step,
            residual,
            out,
        });
    }
}

struct PointwiseRun<'a> {
    of: &'a Pointwise,
    x: &'a [f32],
    step: usize,
    residual: Option<&'a [f32]>,
    out: &'a mut [f32],
}

impl WithSimd for PointwiseRun<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        // As many pixels at once as there are registers for their sums.
        match S::F32_LANES {
            16 => self.tiles::<S, 14, 1>(simd),
            8 => self.tiles::<S, 6, 2>(simd),
            4 => self.tiles::<S, 2, 4>(simd),
            _ => self.tiles::<S, 1, LANES>(simd),
        }
    }
}

impl PointwiseRun<'_> {
    /// Tiles of `R` pixels, `V` vectors making up one panel; then what is left in smaller ones.
    #[inline(always)]
    fn tiles<S: Simd, const R: usize, const V: usize>(&mut self, simd: S) {
        let pixels = self.out.len() / self.of.bias.len();
        let mut at = 0;
        while pixels - at >= R {
            self.tile::<S, R, V>(simd, at);
            at += R;
        }
        if R > 7 && pixels - at >= 7 {
            self.tile::<S, 7, V>(simd, at);
            at += 7;
        }
        if R > 4 && pixels - at >= 4 {
            self.tile::<S, 4, V>(simd, at);
            at += 4;
        }
        if R > 2 && pixels - at >= 2 {
            self.tile::<S, 2, V>(simd, at);
            at += 2;
        }
        while at < pixels {
            self.tile::<S, 1, V>(simd, at);
            at += 1;
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize>(&mut self, simd: S, at: usize) {
        let (inputs, width) = (self.of.inputs, self.of.bias.len());
        let rows: [&[f32]; R] = std::array::from_fn(|row| {
            let start = (at + row) * self.step;
            &self.x[start..start + inputs]
        });
        let (bias, _) = S::as_simd_f32s(&self.of.bias);
        let (panels, _) = S::as_simd_f32s(&self.of.panels);
        let (bias, _) = bias.as_chunks::<V>();
        let (panels, _) = panels.as_chunks::<V>();
        for (panel, (bias, weights)) in bias.iter().zip(panels.chunks_exact(inputs)).enumerate() {
            let weights = &weights[..inputs];
            let mut sums = [*bias; R];
            for input in 0..inputs {
                let weight = weights[input];
                for row in 0..R {
                    let value = simd.splat_f32s(rows[row][input]);
                    for v in 0..V {
                        sums[row][v] = simd.mul_add_e_f32s(value, weight[v], sums[row][v]);
                    }
                }
            }
            for (row, sums) in sums.iter().enumerate() {
                let start = (at + row) * width + panel * LANES;
                let mut sums = *sums;
                if let Some(residual) = self.residual {
                    let (residual, _) = S::as_simd_f32s(&residual[start..start + LANES]);
                    for v in 0..V {
                        sums[v] = simd.add_f32s(sums[v], residual[v]);
                    }
                }
                let (out, _) = S::as_mut_simd_f32s(&mut self.out[start..start + LANES]);
                for v in 0..V {
                    out[v] = if self.of.relu6 {
                        clamp(simd, sums[v])
                    } else {
                        sums[v]
                    };
                }
            }
        }
    }
}

#[inline(always)]
pub fn clamp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let floor = simd.max_f32s(x, simd.splat_f32s(0.0));
    simd.min_f32s(floor, simd.splat_f32s(6.0))
}
