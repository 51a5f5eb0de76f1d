//! Depthwise convolutions on a CPU.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::pointwise::{clamp, stride};
use crate::simd::LANES;

/// A depthwise convolution with bias and ReLU6, padded as TensorFlow's `SAME`.
#[derive(Clone, Debug)]
pub struct Depthwise {
    kernel: usize,
    pub step: usize,
    pub channels: usize,
    /// `[kernel², stride(channels)]`.
    taps: Vec<f32>,
    /// `[stride(channels)]`.
    bias: Vec<f32>,
}

impl Depthwise {
    /// `weight`: `[channels, 1, kernel, kernel]`, `bias`: `[channels]`; `step` is the stride of
    /// the convolution.
    pub fn new(weight: &[f32], bias: &[f32], kernel: usize, step: usize) -> Self {
        let channels = bias.len();
        let width = stride(channels);
        let mut taps = vec![0.0; kernel * kernel * width];
        for (channel, square) in weight.chunks_exact(kernel * kernel).enumerate() {
            for (tap, value) in square.iter().enumerate() {
                taps[tap * width + channel] = *value;
            }
        }
        let mut padded = bias.to_vec();
        padded.resize(width, 0.0);
        Self {
            kernel,
            step,
            channels,
            taps,
            bias: padded,
        }
    }

    /// Which input places an output place sees, and which tap falls on the first of them.
    pub fn seen(&self, output: usize, size: usize) -> (Range<usize>, usize) {
        let total = ((size.div_ceil(self.step) - 1) * self.step + self.kernel).saturating_sub(size);
        let (place, before) = (output * self.step, total / 2);
        let start = place.saturating_sub(before);
        let end = (place + self.kernel).saturating_sub(before).min(size);
        (start..end, start + before - place)
    }
}

/// One output row of a depthwise convolution.
pub struct DepthwiseRun<'a> {
    pub of: &'a Depthwise,
    /// Rows `first..` of the input, of which there are `rows` in all.
    pub x: &'a [f32],
    pub first: usize,
    pub rows: usize,
    pub columns: usize,
    pub row: usize,
    pub out: &'a mut [f32],
}

impl WithSimd for DepthwiseRun<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // Several vectors at a time hide the latency of their sums; the rest one panel at a time.
        match S::F32_LANES {
            16 => self.row::<S, 4, 1>(simd),
            8 => self.row::<S, 8, 2>(simd),
            4 => self.row::<S, 8, 4>(simd),
            _ => self.row::<S, LANES, LANES>(simd),
        }
    }
}

impl DepthwiseRun<'_> {
    /// `WIDE` vectors of channels at a time, then `V`, which are one panel.
    #[inline(always)]
    fn row<S: Simd, const WIDE: usize, const V: usize>(self, simd: S) {
        let width = self.of.bias.len();
        let (rows, first_tap_row) = self.of.seen(self.row, self.rows);
        let rows = rows.start - self.first..rows.end - self.first;
        for (column, out) in self.out.chunks_exact_mut(width).enumerate() {
            let (columns, first_tap) = self.of.seen(column, self.columns);
            let window = Window {
                of: self.of,
                x: self.x,
                rows: rows.clone(),
                columns,
                map_columns: self.columns,
                first_tap: first_tap_row * self.of.kernel + first_tap,
            };
            let mut channel = 0;
            while channel + WIDE * S::F32_LANES <= width {
                window.sum::<S, WIDE>(simd, channel, out);
                channel += WIDE * S::F32_LANES;
            }
            while channel < width {
                window.sum::<S, V>(simd, channel, out);
                channel += LANES;
            }
        }
    }
}

/// What one output pixel looks at.
struct Window<'a> {
    of: &'a Depthwise,
    x: &'a [f32],
    rows: Range<usize>,
    columns: Range<usize>,
    map_columns: usize,
    first_tap: usize,
}

impl Window<'_> {
    /// `V` vectors from `channel` on.
    #[inline(always)]
    fn sum<S: Simd, const V: usize>(&self, simd: S, channel: usize, out: &mut [f32]) {
        let (width, count) = (self.of.bias.len(), V * S::F32_LANES);
        let mut sums = vectors::<S, V>(&self.of.bias[channel..channel + count]);
        let mut first_tap = self.first_tap * width + channel;
        for row in self.rows.clone() {
            let mut tap = first_tap;
            let mut at = (row * self.map_columns + self.columns.start) * width + channel;
            for _ in self.columns.clone() {
                let x = vectors::<S, V>(&self.x[at..at + count]);
                let weight = vectors::<S, V>(&self.of.taps[tap..tap + count]);
                for v in 0..V {
                    sums[v] = simd.mul_add_e_f32s(x[v], weight[v], sums[v]);
                }
                at += width;
                tap += width;
            }
            first_tap += self.of.kernel * width;
        }
        let (out, _) = S::as_mut_simd_f32s(&mut out[channel..channel + count]);
        for v in 0..V {
            out[v] = clamp(simd, sums[v]);
        }
    }
}

#[inline(always)]
fn vectors<S: Simd, const V: usize>(values: &[f32]) -> [S::f32s; V] {
    let (vectors, _) = S::as_simd_f32s(values);
    std::array::from_fn(|v| vectors[v])
}
