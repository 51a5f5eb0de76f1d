//! EfficientNet-Lite on a CPU, put together so that little leaves the cache.
//!
//! A 1×1 expansion makes a map six times as large as its input, which the depthwise convolution
//! and the 1×1 projection make small again. Here a band of rows goes through all three while it is
//! in the second-level cache; activations stand with their channels together, so that every loop
//! runs over whole vectors; bias, residual and ReLU6 are applied before a value is stored.
//! Explicit SIMD by `pulp`: AVX-512, AVX2, NEON and WASM's SIMD from one source.

use std::ops::Range;

use super::depthwise::{Depthwise, DepthwiseRun};
use super::pointwise::{Pointwise, stride};
use super::{BlockShape, block_shapes};
use crate::clip::config::EfficientNetLiteConfig;
use crate::clip::weights::{WeightError, Weights};
use crate::simd::{dispatch, parallel};

/// Side of the stem's kernel.
const KERNEL: usize = 3;
/// Output pixels of a band, at least, where the map has so many.
const BAND: usize = 112;

/// One image's activations: `[rows, columns, stride(channels)]`, the padding zero.
#[derive(Clone, Debug)]
struct Map {
    rows: usize,
    columns: usize,
    channels: usize,
    values: Vec<f32>,
}

impl Map {
    fn zeros(rows: usize, columns: usize, channels: usize) -> Self {
        Self {
            rows,
            columns,
            channels,
            values: vec![0.0; rows * columns * stride(channels)],
        }
    }

    /// Mean over all pixels, `[channels]`.
    fn mean(&self) -> Vec<f32> {
        let mut sum = vec![0.0; self.channels];
        for pixel in self.values.chunks_exact(stride(self.channels)) {
            let pairs = sum.iter_mut().zip(pixel);
            pairs.for_each(|(sum, value)| *sum += value);
        }
        let pixels = (self.rows * self.columns) as f32;
        sum.iter().map(|sum| sum / pixels).collect()
    }
}

/// Expansion, depthwise, projection.
#[derive(Clone, Debug)]
struct Bottleneck {
    expand: Option<Pointwise>,
    depthwise: Depthwise,
    project: Pointwise,
    residual: bool,
}

impl Bottleneck {
    fn load(weights: &Weights, shape: &BlockShape) -> Result<Self, WeightError> {
        let &BlockShape {
            inputs,
            hidden,
            outputs,
            kernel,
            stride,
        } = shape;
        let depthwise = weights.below("depthwise");
        let taps = depthwise.values("weight", &[hidden, 1, kernel, kernel])?;
        let bias = depthwise.values("bias", &[hidden])?;
        Ok(Self {
            expand: shape
                .expands()
                .then(|| pointwise(&weights.below("expand"), [hidden, inputs, 1, 1], true))
                .transpose()?,
            depthwise: Depthwise::new(taps, bias, kernel, stride),
            project: pointwise(&weights.below("project"), [outputs, hidden, 1, 1], false)?,
            residual: shape.residual(),
        })
    }

    fn run(&self, x: &Map) -> Map {
        let depthwise = &self.depthwise;
        let rows = x.rows.div_ceil(depthwise.step);
        let columns = x.columns.div_ceil(depthwise.step);
        let mut output = Map::zeros(rows, columns, self.project.outputs);
        let band = BAND.div_ceil(columns).min(rows);
        let mut hidden = Hidden {
            line: x.columns * stride(depthwise.channels),
            values: Vec::new(),
            rows: 0..0,
        };
        let line = columns * stride(depthwise.channels);
        let output_line = columns * stride(self.project.outputs);
        let mut filtered = vec![0.0; band * line];
        for row in (0..rows).step_by(band) {
            let last = (row + band).min(rows);
            let needed =
                depthwise.seen(row, x.rows).0.start..depthwise.seen(last - 1, x.rows).0.end;
            let (source, first) = match &self.expand {
                Some(expand) => {
                    hidden.advance(expand, x, needed);
                    (&hidden.values, hidden.rows.start)
                }
                None => (&x.values, 0),
            };
            for (row, out) in (row..last).zip(filtered.chunks_exact_mut(line)) {
                dispatch(DepthwiseRun {
                    of: depthwise,
                    x: source,
                    first,
                    rows: x.rows,
                    columns: x.columns,
                    row,
                    out,
                });
            }
            let place = row * output_line..last * output_line;
            self.project.run(
                &filtered[..(last - row) * line],
                stride(depthwise.channels),
                self.residual.then(|| &x.values[place.clone()]),
                &mut output.values[place],
            );
        }
        output
    }
}

/// The expanded rows that the present band sees.
struct Hidden {
    /// Floats in a row.
    line: usize,
    values: Vec<f32>,
    /// Which rows of the map `values` holds.
    rows: Range<usize>,
}

impl Hidden {
    /// Forgets the rows before `needed` and expands those that are missing.
    fn advance(&mut self, expand: &Pointwise, x: &Map, needed: Range<usize>) {
        let known = self.rows.end.max(needed.start);
        let kept = needed.start.max(self.rows.start)..self.rows.end;
        if kept.start < kept.end {
            let start = (kept.start - self.rows.start) * self.line;
            let end = (kept.end - self.rows.start) * self.line;
            self.values.copy_within(start..end, 0);
        }
        self.values
            .resize((needed.end - needed.start) * self.line, 0.0);
        let input_line = x.columns * stride(x.channels);
        expand.run(
            &x.values[known * input_line..needed.end * input_line],
            stride(x.channels),
            None,
            &mut self.values[(known - needed.start) * self.line..],
        );
        self.rows = needed;
    }
}

/// A 3×3 convolution at stride 2, as a 1×1 one over gathered neighbourhoods.
fn stem(pointwise: &Pointwise, pixels: &[f32], size: usize) -> Map {
    let columns = size.div_ceil(2);
    let before = ((columns - 1) * 2 + KERNEL).saturating_sub(size) / 2;
    let mut map = Map::zeros(columns, columns, pointwise.outputs);
    let taps = pointwise.inputs;
    let mut gathered = vec![0.0; columns * taps];
    let line = columns * stride(pointwise.outputs);
    let inside = |place: usize| place.checked_sub(before).filter(|place| *place < size);
    for (row, out) in map.values.chunks_exact_mut(line).enumerate() {
        for tap in 0..taps {
            let (plane, tap_row, tap_column) = (tap / 9, tap / KERNEL % KERNEL, tap % KERNEL);
            let source = inside(row * 2 + tap_row)
                .map(|y| &pixels[(plane * size + y) * size..(plane * size + y + 1) * size]);
            for column in 0..columns {
                gathered[column * taps + tap] = match (source, inside(column * 2 + tap_column)) {
                    (Some(source), Some(x)) => source[x],
                    _ => 0.0,
                };
            }
        }
        pointwise.run(&gathered, taps, None, out);
    }
    map
}

/// A convolution whose taps are read as one row of inputs.
fn pointwise(weights: &Weights, shape: [usize; 4], relu6: bool) -> Result<Pointwise, WeightError> {
    let weight = weights.values("weight", &shape)?;
    let bias = weights.values("bias", &shape[..1])?;
    Ok(Pointwise::new(weight, bias, relu6))
}

/// The convolutions and the average pool.
#[derive(Clone, Debug)]
pub struct Direct {
    /// Over neighbourhoods of 3 · 3 · 3 values.
    stem: Pointwise,
    blocks: Vec<Bottleneck>,
    head: Pointwise,
}

impl Direct {
    /// Reads `stem`, `blocks.N` and `head` below `visual`.
    ///
    /// # Errors
    /// Names the first tensor that is missing or of another shape.
    pub fn load(visual: &Weights, config: &EfficientNetLiteConfig) -> Result<Self, WeightError> {
        let shapes = block_shapes(config);
        let last = shapes.last().map_or(config.stem_width, |last| last.outputs);
        let stem = [config.stem_width, 3, KERNEL, KERNEL];
        Ok(Self {
            stem: pointwise(&visual.below("stem"), stem, true)?,
            blocks: shapes
                .iter()
                .enumerate()
                .map(|(n, shape)| Bottleneck::load(&visual.below(format!("blocks.{n}")), shape))
                .collect::<Result<_, _>>()?,
            head: pointwise(&visual.below("head"), [config.head_width, last, 1, 1], true)?,
        })
    }

    /// Width of the pooled feature.
    pub fn width(&self) -> usize {
        self.head.outputs
    }

    /// `pixels`: `[batch, 3, size, size]` → pooled features `[batch, width]`. Images are shared
    /// out among the machine's threads, each of which takes whole images.
    pub fn pooled(&self, pixels: &[f32], size: usize) -> Vec<f32> {
        let image = (3 * size * size).max(1);
        let batch = pixels.len() / image;
        let mut pooled = vec![0.0; batch * self.width()];
        let share = batch.div_ceil(parallel::threads()).max(1);
        let mut shares: Vec<_> = pixels
            .chunks(share * image)
            .zip(pooled.chunks_mut(share * self.width()))
            .collect();
        parallel::each(&mut shares, |(pixels, pooled), _: &mut ()| {
            let rows = pooled.chunks_exact_mut(self.width());
            for (pixels, row) in pixels.chunks_exact(image).zip(rows) {
                row.copy_from_slice(&self.pooled_one(pixels, size));
            }
        });
        pooled
    }

    /// `pixels`: `[batch, 3, size, size]` → the last maps, `[batch, rows · columns, width]`, on one
    /// thread.
    pub fn maps(&self, pixels: &[f32], size: usize) -> Vec<f32> {
        let step = stride(self.width());
        pixels
            .chunks_exact((3 * size * size).max(1))
            .flat_map(|pixels| {
                let map = self.map(pixels, size);
                let rows = map.values.chunks_exact(step);
                rows.flat_map(|pixel| pixel[..self.width()].to_vec())
                    .collect::<Vec<f32>>()
            })
            .collect()
    }

    fn pooled_one(&self, pixels: &[f32], size: usize) -> Vec<f32> {
        self.map(pixels, size).mean()
    }

    fn map(&self, pixels: &[f32], size: usize) -> Map {
        let x = stem(&self.stem, pixels, size);
        let x = self.blocks.iter().fold(x, |x, block| block.run(&x));
        let mut map = Map::zeros(x.rows, x.columns, self.head.outputs);
        let step = stride(x.channels);
        self.head.run(&x.values, step, None, &mut map.values);
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A convolution as its definition has it, in double precision: `x` `[inputs, size, size]`.
    fn convolution(
        x: &[f64],
        size: usize,
        (weight, bias): (&[f32], &[f32]),
        (kernel, step, groups): (usize, usize, usize),
    ) -> (Vec<f64>, usize) {
        let (outputs, of_group) = (bias.len(), weight.len() / bias.len() / kernel / kernel);
        let columns = size.div_ceil(step);
        let before = ((columns - 1) * step + kernel).saturating_sub(size) / 2;
        let mut out = Vec::new();
        for output in 0..outputs {
            let group = output / (outputs / groups);
            for place in 0..columns * columns {
                let mut sum = f64::from(bias[output]);
                for tap in 0..of_group * kernel * kernel {
                    let input = group * of_group + tap / (kernel * kernel);
                    let y = (place / columns * step + tap / kernel % kernel).checked_sub(before);
                    let x_at = (place % columns * step + tap % kernel).checked_sub(before);
                    if let (Some(y), Some(x_at)) = (y, x_at)
                        && y < size
                        && x_at < size
                    {
                        let weight = weight[output * of_group * kernel * kernel + tap];
                        sum += x[(input * size + y) * size + x_at] * f64::from(weight);
                    }
                }
                out.push(sum);
            }
        }
        (out, columns)
    }

    fn draws(count: usize, spread: f32, seed: &mut u64) -> Vec<f32> {
        let mut draw = || {
            *seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((*seed >> 40) as f32 / (1u64 << 24) as f32 - 0.5) * spread
        };
        (0..count).map(|_| draw()).collect()
    }

    /// Channel counts that are no multiple of a vector, odd sizes, both strides and kernels, and
    /// bands that end within the map.
    #[test]
    fn a_block_is_its_three_convolutions() {
        for (size, inputs, outputs, expand, kernel, step) in [
            (30, 24, 24, 6, 3, 1),
            (31, 8, 20, 6, 5, 2),
            (60, 16, 24, 1, 3, 2),
            (5, 40, 40, 3, 5, 1),
            (1, 3, 5, 2, 3, 2),
        ] {
            let seed = &mut 11;
            let hidden = inputs * expand;
            let x = draws(inputs * size * size, 4.0, seed);
            let [expansion, taps, projection] = [
                (hidden * inputs, hidden),
                (hidden * kernel * kernel, hidden),
                (outputs * hidden, outputs),
            ]
            .map(|(weights, biases)| (draws(weights, 1.5, seed), draws(biases, 1.0, seed)));
            let residual = step == 1 && inputs == outputs;
            let block = Bottleneck {
                expand: (expand > 1).then(|| Pointwise::new(&expansion.0, &expansion.1, true)),
                depthwise: Depthwise::new(&taps.0, &taps.1, kernel, step),
                project: Pointwise::new(&projection.0, &projection.1, false),
                residual,
            };
            let mut map = Map::zeros(size, size, inputs);
            for (at, value) in x.iter().enumerate() {
                map.values[at % (size * size) * stride(inputs) + at / (size * size)] = *value;
            }
            let found = block.run(&map);

            let x: Vec<f64> = x.into_iter().map(f64::from).collect();
            let relu6 = |values: Vec<f64>| -> Vec<f64> {
                values
                    .into_iter()
                    .map(|value| value.clamp(0.0, 6.0))
                    .collect()
            };
            let pair = |(weight, bias): &(Vec<f32>, Vec<f32>)| (weight.clone(), bias.clone());
            let (weight, bias) = pair(&expansion);
            let expanded = if expand > 1 {
                relu6(convolution(&x, size, (&weight, &bias), (1, 1, 1)).0)
            } else {
                x.clone()
            };
            let (weight, bias) = pair(&taps);
            let (filtered, columns) =
                convolution(&expanded, size, (&weight, &bias), (kernel, step, hidden));
            let (weight, bias) = pair(&projection);
            let (mut wanted, _) =
                convolution(&relu6(filtered), columns, (&weight, &bias), (1, 1, 1));
            if residual {
                wanted.iter_mut().zip(&x).for_each(|(sum, x)| *sum += x);
            }
            assert_eq!((found.rows, found.columns), (columns, columns));
            for (at, wanted) in wanted.iter().enumerate() {
                let (channel, pixel) = (at / (columns * columns), at % (columns * columns));
                let found = f64::from(found.values[pixel * stride(outputs) + channel]);
                assert!(
                    (found - wanted).abs() < 1e-4 * (1.0 + wanted.abs()),
                    "size {size}, channel {channel}, pixel {pixel}: {found} for {wanted}"
                );
            }
        }
    }
}
