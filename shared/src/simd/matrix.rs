//! Products with a matrix that stays, laid out once for the loop that reads it.

use std::cell::Cell;
use std::ops::Range;

use pulp::{Simd, WithSimd};

#[cfg(any(feature = "model", test))]
use super::parallel;
use super::{LANES, dispatch};

/// Inputs that are worked through before the next rows: panels of so many stay in the caches next to
/// the registers while all rows pass.
const DEPTH: usize = 256;

/// Inputs of a row that are laid out side by side: copied as one, and worked through without a check or a
/// jump between them. A processor that starts four instructions at once has none to spare.
const RUN: usize = 4;

/// Values of `x` that are laid out at once, if `DEPTH` inputs of all rows are not more: so many, 768
/// KiB, stay in the second-level cache while all panels pass. Of a panel all their inputs are then
/// worked through one after the other, so that its outputs are at hand from one to the next.
const PACKED: usize = 196_608;

thread_local! {
    /// Where rows are laid out: one product after the other in the same memory.
    static ROOM: Cell<Vec<[f32; RUN]>> = const { Cell::new(Vec::new()) };
}

/// A weight matrix `[inputs, outputs]`, cut into panels of [`LANES`] outputs.
#[derive(Clone, Debug)]
pub struct Matrix {
    pub inputs: usize,
    pub outputs: usize,
    /// `[panels, runs of inputs]`, zeros where outputs end within a panel and inputs within a run.
    panels: Vec<[Lanes; RUN]>,
}

/// One input's weights within a panel, aligned so that no load crosses two lines of the cache: with
/// loads that do, products ran at 86 to 89 GFLOP/s where these run at 104.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Lanes([f32; LANES]);

impl Matrix {
    /// `weight`: `[inputs, outputs]`, row by row.
    #[cfg(any(feature = "model", test))]
    pub fn new(weight: &[f32], inputs: usize, outputs: usize) -> Self {
        Self::from_fn(inputs, outputs, |input, output| {
            weight[input * outputs + output]
        })
    }

    /// The transpose of `weight` `[outputs, inputs]`: what takes a gradient back through it.
    pub fn transposed(weight: &[f32], inputs: usize, outputs: usize) -> Self {
        Self::from_fn(inputs, outputs, |input, output| {
            weight[output * inputs + input]
        })
    }

    /// The matrix of `at(input, output)`.
    pub fn from_fn(inputs: usize, outputs: usize, at: impl Fn(usize, usize) -> f32) -> Self {
        let runs = inputs.div_ceil(RUN);
        let mut panels = vec![[Lanes([0.0; LANES]); RUN]; outputs.div_ceil(LANES) * runs];
        for (panel, values) in panels.chunks_exact_mut(runs).enumerate() {
            for (values, input) in values.as_flattened_mut().iter_mut().zip(0..inputs) {
                let first = panel * LANES;
                for (value, output) in values.0.iter_mut().zip(first..outputs) {
                    *value = at(input, output);
                }
            }
        }
        Self {
            inputs,
            outputs,
            panels,
        }
    }

    /// The same weights for the way back, `[outputs, inputs]`.
    #[cfg(any(feature = "model", test))]
    pub fn transpose(&self) -> Self {
        Self::from_fn(self.outputs, self.inputs, |output, input| {
            let run = output / LANES * self.inputs.div_ceil(RUN) + input / RUN;
            self.panels[run][input % RUN].0[output % LANES]
        })
    }

    /// Adds `x` `[rows, inputs]` times this matrix to `out` `[rows, outputs]`; returns how many
    /// multiplications that took.
    pub fn add_product(&self, x: &[f32], out: &mut [f32]) -> usize {
        let panels = 0..self.outputs.div_ceil(LANES);
        dispatch(Product {
            of: self,
            panels,
            x,
            out,
        });
        x.len() * self.outputs
    }

    /// The same with the outputs shared out among the machine's threads: for rows that are too few
    /// to be shared out themselves, and whose time is that of reading the weights.
    #[cfg(any(feature = "model", test))]
    pub fn add_product_wide(&self, x: &[f32], out: &mut [f32]) -> usize {
        let panels = self.outputs.div_ceil(LANES);
        let share = panels.div_ceil(parallel::threads());
        let rows = x.len() / self.inputs;
        let mut shares: Vec<Range<usize>> = (0..panels)
            .step_by(share)
            .map(|first| first..panels.min(first + share))
            .collect();
        let columns =
            |panels: &Range<usize>| panels.start * LANES..self.outputs.min(panels.end * LANES);
        // From what is there, as where one thread does it all: the sums are the same to the last bit.
        let before: &[f32] = out;
        let parts = parallel::each(&mut shares, |panels, _: &mut ()| {
            let mut part = Vec::with_capacity(rows * columns(panels).len());
            for row in before.chunks_exact(self.outputs) {
                part.extend_from_slice(&row[columns(panels)]);
            }
            dispatch(Product {
                of: self,
                panels: panels.clone(),
                x,
                out: &mut part,
            });
            part
        });
        for (panels, part) in shares.iter().zip(&parts) {
            let columns = columns(panels);
            for (out, part) in out
                .chunks_exact_mut(self.outputs)
                .zip(part.chunks_exact(columns.len()))
            {
                out[columns.clone()].copy_from_slice(part);
            }
        }
        x.len() * self.outputs
    }
}

/// `x` times some of the panels, added to `out` `[rows, the outputs of these panels]`.
struct Product<'a> {
    of: &'a Matrix,
    panels: Range<usize>,
    x: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        // As many rows and panels at once as there are registers for their sums, and for a value of each
        // row beside them: the compiler fetches those first.
        match S::F32_LANES {
            16 => self.run::<S, 7, 3, 1>(simd),
            8 => self.run::<S, 6, 1, 2>(simd),
            4 => self.run::<S, 2, 1, 4>(simd),
            _ => self.run::<S, 1, 1, LANES>(simd),
        }
    }
}

impl Product<'_> {
    /// Tiles of `R` rows and `P` panels of `V` vectors each.
    #[inline(always)]
    fn run<S: Simd, const R: usize, const P: usize, const V: usize>(&mut self, simd: S) {
        let Matrix { inputs, .. } = *self.of;
        let Range { start, end } = self.panels;
        let outputs = self.of.outputs.min(end * LANES) - start * LANES;
        let rows = self.out.len() / outputs;
        let tiles = rows.div_ceil(R);
        let group = PACKED / (tiles * R * DEPTH).max(1);
        let group = (group.max(1) * DEPTH).min(inputs);
        let mut room = ROOM.take();
        room.resize(room.len().max(tiles * R * group.div_ceil(RUN)), [0.0; RUN]);
        let (packed, _) = room.as_chunks_mut::<R>();
        for first in (0..inputs).step_by(group) {
            let group = group.min(inputs - first);
            let blocks = (0..group)
                .step_by(DEPTH)
                .map(|at| at..group.min(at + DEPTH));
            let place =
                |block: &Range<usize>| block.start / RUN * tiles..block.end.div_ceil(RUN) * tiles;
            for block in blocks.clone() {
                let inputs = first + block.start..first + block.end;
                self.pack(inputs, &mut packed[place(&block)]);
            }
            for panel in (start..end).step_by(P) {
                let column = (panel - start) * LANES;
                for block in blocks.clone() {
                    let x = packed[place(&block)].chunks_exact(block.len().div_ceil(RUN));
                    let tiles = x.zip(self.out.chunks_mut(R * outputs));
                    let weights = |panel: usize| {
                        let start = panel * inputs.div_ceil(RUN) + (first + block.start) / RUN;
                        &self.of.panels[start..][..block.len().div_ceil(RUN)]
                    };
                    if panel + P <= end {
                        let weights = std::array::from_fn(|p| weights(panel + p));
                        for (x, out) in tiles {
                            add_tile::<S, R, P, V>(simd, x, weights, out, outputs, column);
                        }
                        continue;
                    }
                    for (x, out) in tiles {
                        for panel in panel..end {
                            let column = (panel - start) * LANES;
                            let weights = [weights(panel)];
                            add_tile::<S, R, 1, V>(simd, x, weights, out, outputs, column);
                        }
                    }
                }
            }
        }
        ROOM.set(room);
    }

    /// Inputs `inputs` of the rows of a tile, [`RUN`] of each row after the other, so that the loop
    /// reads one stream; zeros below the last row and behind the last input.
    #[inline(always)]
    fn pack<const R: usize>(&self, inputs: Range<usize>, packed: &mut [[[f32; RUN]; R]]) {
        let mut rows = self.x.chunks_exact(self.of.inputs);
        for packed in packed.chunks_exact_mut(inputs.len().div_ceil(RUN)) {
            for row in 0..R {
                let x = rows.next().map_or(&[][..], |x| &x[inputs.clone()]);
                let (runs, rest) = x.as_chunks::<RUN>();
                let mut packed = packed.iter_mut();
                for (run, packed) in runs.iter().zip(&mut packed) {
                    packed[row] = *run;
                }
                for packed in packed {
                    packed[row] = [0.0; RUN];
                    packed[row][..rest.len()].copy_from_slice(rest);
                }
            }
        }
    }
}

/// `x`, as [`Product::pack`] lays out a tile, times `P` panels, added to columns `column..` of `out`'s
/// first `R` rows.
#[inline(always)]
fn add_tile<S: Simd, const R: usize, const P: usize, const V: usize>(
    simd: S,
    x: &[[[f32; RUN]; R]],
    weights: [&[[Lanes; RUN]]; P],
    out: &mut [f32],
    outputs: usize,
    column: usize,
) {
    let mut sums = [[[simd.splat_f32s(0.0); V]; P]; R];
    let runs = weights[0].len();
    let weights = weights.map(|weights| &weights[..runs]);
    // Not by iterators: the compiler then keeps sums in memory, at 0.7 of the speed.
    for at in 0..runs {
        let x = &x[at];
        for input in 0..RUN {
            let weights: [[S::f32s; V]; P] = std::array::from_fn(|p| {
                let (vectors, _) = S::as_simd_f32s(&weights[p][at][input].0);
                std::array::from_fn(|v| vectors[v])
            });
            for row in 0..R {
                let value = simd.splat_f32s(x[row][input]);
                for p in 0..P {
                    for v in 0..V {
                        sums[row][p][v] =
                            simd.mul_add_e_f32s(value, weights[p][v], sums[row][p][v]);
                    }
                }
            }
        }
    }
    for (out, sums) in out.chunks_mut(outputs).zip(&sums) {
        for (p, sums) in sums.iter().enumerate() {
            let column = column + p * LANES;
            let out = &mut out[column..outputs.min(column + LANES)];
            if out.len() == LANES {
                let (vectors, _) = S::as_mut_simd_f32s(out);
                for (out, sum) in vectors.iter_mut().zip(sums) {
                    *out = simd.add_f32s(*out, *sum);
                }
                continue;
            }
            for (out, sum) in out.chunks_mut(S::F32_LANES).zip(sums) {
                let before = simd.partial_load_f32s(out);
                simd.partial_store_f32s(out, simd.add_f32s(before, *sum));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes that fill no tile, no panel and no depth, and more than is laid out at once.
    #[test]
    fn a_product_is_added() {
        for (rows, inputs, outputs) in [
            (1, 1, 1),
            (29, 300, 50),
            (12, 256, 32),
            (5, 17, 40),
            (300, 1100, 40),
        ] {
            let draw = |at: usize| ((at * 7919 + 13) % 101) as f32 / 50.0 - 1.0;
            let x: Vec<f32> = (0..rows * inputs).map(draw).collect();
            let weight: Vec<f32> = (0..inputs * outputs).map(|at| draw(at + 5)).collect();
            let swapped: Vec<f32> = (0..inputs * outputs)
                .map(|at| weight[at % inputs * outputs + at / inputs])
                .collect();
            let before: Vec<f32> = (0..rows * outputs).map(|at| draw(at + 9)).collect();
            for matrix in [
                Matrix::new(&weight, inputs, outputs),
                Matrix::transposed(&swapped, inputs, outputs),
                Matrix::new(&swapped, outputs, inputs).transpose(),
            ] {
                let mut out = before.clone();
                let mut wide = before.clone();
                matrix.add_product(&x, &mut out);
                matrix.add_product_wide(&x, &mut wide);
                assert_eq!(out, wide);
                for (at, (out, before)) in out.iter().zip(&before).enumerate() {
                    let (row, output) = (at / outputs, at % outputs);
                    let wanted = (0..inputs).fold(f64::from(*before), |sum, input| {
                        let x = f64::from(x[row * inputs + input]);
                        sum + x * f64::from(weight[input * outputs + output])
                    });
                    assert!(
                        (f64::from(*out) - wanted).abs() < 1e-4,
                        "{rows}×{inputs}×{outputs} at {at}: {out} for {wanted}"
                    );
                }
            }
        }
    }
}
