//! Pillow's bicubic resampling, bit for bit (`src/libImaging/Resample.c` of Pillow 13): a
//! horizontal and a vertical pass, each with weights rounded to 22 fractional bits, each
//! rounding to 8 bits.
//!
//! Not `fast_image_resize`: it takes the vertical pass first for 8-bit images, and with the
//! overshoot cut off in the other place it was measured up to 30 levels off Pillow (on noise
//! and hard edges; up to 1 on what is shrunk a lot). It also cannot compute a part of the
//! output without moving the sampling positions. It is three to four times as fast, where
//! decoding a JPEG takes longer than either.

use std::ops::Range;

use image::RgbImage;

/// A part of the resized image, in its pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Region {
    pub(super) left: u64,
    pub(super) top: u64,
    pub(super) width: u32,
    pub(super) height: u32,
}

/// The `region` of `image` resized to `width` x `height`. The region has to lie inside.
///
/// Only what the region needs is computed: however large the resized image would be, memory
/// is that of the region and of the source pixels under it along one axis.
pub(super) fn resample(image: &RgbImage, width: u64, height: u64, region: Region) -> RgbImage {
    let columns = Kernels::new(image.width(), width, span(region.left, region.width));
    let rows = Kernels::new(image.height(), height, span(region.top, region.height));
    let (left, top) = (columns.reach().start, rows.reach().start);
    let stride = image.width() as usize * 3;
    let levels = if vertical_first(image, width, height) {
        let under_region = columns.reach().start * 3..columns.reach().end * 3;
        let flattened = resample_rows(image.as_raw(), stride, under_region.clone(), 0, &rows);
        resample_columns(&flattened, under_region.len(), left, &columns)
    } else {
        let under_region = rows.reach().start * stride..rows.reach().end * stride;
        let narrowed = resample_columns(&image.as_raw()[under_region], stride, 0, &columns);
        let stride = region.width as usize * 3;
        resample_rows(&narrowed, stride, 0..stride, top, &rows)
    };
    RgbImage::from_raw(region.width, region.height, levels).unwrap_or_default()
}

/// Pillow's order of passes since version 13, where it was horizontal first always. It shows
/// where the first pass overshoots and is cut off at 0 or 255.
fn vertical_first(image: &RgbImage, width: u64, height: u64) -> bool {
    let columns_less = i64::from(image.width()) - width as i64;
    let rows_less = i64::from(image.height()) - height as i64;
    rows_less > 0 && rows_less > columns_less * 2
}

/// The vertical pass: from rows of `stride` values, of which those in `part` are wanted, to
/// one row for each kernel. Row 0 of `levels` is the kernels' input `first_row`.
fn resample_rows(
    levels: &[u8],
    stride: usize,
    part: Range<usize>,
    first_row: usize,
    rows: &Kernels,
) -> Vec<u8> {
    let mut output = Vec::with_capacity(rows.bounds.len() * part.len());
    let mut sums = vec![0; part.len()];
    for (first, weights) in rows.iter() {
        sums.fill(HALF);
        let inputs = levels[(first - first_row) * stride..].chunks_exact(stride);
        for (row, &weight) in inputs.zip(weights) {
            for (sum, &value) in sums.iter_mut().zip(&row[part.clone()]) {
                *sum += i32::from(value) * weight;
            }
        }
        output.extend(sums.iter().map(|&sum| level(sum)));
    }
    output
}

/// The horizontal pass: each row of `stride` values becomes one of a pixel for each kernel.
/// Pixel 0 of a row is the kernels' input `first_column`.
fn resample_columns(
    levels: &[u8],
    stride: usize,
    first_column: usize,
    columns: &Kernels,
) -> Vec<u8> {
    let rows = levels.chunks_exact(stride);
    let mut output = Vec::with_capacity(rows.len() * columns.bounds.len() * 3);
    for row in rows {
        for (first, weights) in columns.iter() {
            let mut sums = [HALF; 3];
            let inputs = row[(first - first_column) * 3..].chunks_exact(3);
            for (pixel, &weight) in inputs.zip(weights) {
                for (sum, &value) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(value) * weight;
                }
            }
            output.extend(sums.map(level));
        }
    }
    output
}

/// Fractional bits of a weight: 32, less 8 for the pixel and 2 for the overshoot.
const PRECISION: u32 = 32 - 8 - 2;
const HALF: i32 = 1 << (PRECISION - 1);

/// Bicubic reaches two pixels to either side.
const REACH: f64 = 2.0;

fn bicubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

fn level(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

fn span(start: u64, length: u32) -> Range<u64> {
    start..start + u64::from(length)
}

/// For each wanted output position along one axis, the inputs it is made of.
struct Kernels {
    /// First input, and where its weights lie.
    bounds: Vec<(usize, Range<usize>)>,
    weights: Vec<i32>,
}

impl Kernels {
    /// Kernels of the output positions `wanted`, when `input` pixels become `output`.
    fn new(input: u32, output: u64, wanted: Range<u64>) -> Self {
        let scale = f64::from(input) / output as f64;
        let filter_scale = scale.max(1.0);
        let reach = REACH * filter_scale;
        let inverse = 1.0 / filter_scale;
        let mut kernels = Self {
            bounds: Vec::new(),
            weights: Vec::new(),
        };
        let mut exact = Vec::new();
        for position in wanted {
            let centre = (position as f64 + 0.5) * scale;
            // The casts truncate, and take what is below zero to zero, as Pillow does.
            let first = (centre - reach + 0.5) as u32;
            let end = ((centre + reach + 0.5) as u32).min(input);
            exact.clear();
            exact.extend((first..end).map(|x| bicubic((f64::from(x) - centre + 0.5) * inverse)));
            let total: f64 = exact.iter().sum();
            let start = kernels.weights.len();
            kernels.weights.extend(exact.iter().map(|&weight| {
                let weight = if total == 0.0 { weight } else { weight / total };
                let scaled = weight * f64::from(1 << PRECISION);
                (scaled + 0.5_f64.copysign(scaled)) as i32
            }));
            let bounds = (first as usize, start..kernels.weights.len());
            kernels.bounds.push(bounds);
        }
        kernels
    }

    /// First input and weights of each kernel.
    fn iter(&self) -> impl Iterator<Item = (usize, &[i32])> {
        let kernel =
            |(first, weights): &(usize, Range<usize>)| (*first, &self.weights[weights.clone()]);
        self.bounds.iter().map(kernel)
    }

    /// All inputs that any kernel reads.
    fn reach(&self) -> Range<usize> {
        let first = self.bounds.iter().map(|(first, _)| *first).min();
        let end = self
            .bounds
            .iter()
            .map(|(first, weights)| first + weights.len())
            .max();
        first.unwrap_or(0)..end.unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_size_is_the_same_image() {
        let image = RgbImage::from_fn(17, 11, |x, y| {
            image::Rgb([(x * 15) as u8, (y * 23) as u8, 9])
        });
        let region = Region {
            left: 0,
            top: 0,
            width: 17,
            height: 11,
        };
        assert_eq!(resample(&image, 17, 11, region), image);
    }

    #[test]
    fn a_region_is_cut_from_the_whole() {
        let image = RgbImage::from_fn(50, 40, |x, y| {
            image::Rgb([
                ((x * 37) ^ (y * 11)) as u8,
                (x * y) as u8,
                (x + 91 * y) as u8,
            ])
        });
        for (width, height) in [(23, 19), (120, 96), (50, 13), (48, 14)] {
            let all = Region {
                left: 0,
                top: 0,
                width: width as u32,
                height: height as u32,
            };
            let whole = resample(&image, width, height, all);
            let region = Region {
                left: 7,
                top: 3,
                width: 11,
                height: 9,
            };
            let part = resample(&image, width, height, region);
            let cut = image::imageops::crop_imm(&whole, 7, 3, 11, 9).to_image();
            assert_eq!(part, cut);
        }
    }

    #[test]
    fn weights_add_up_to_one() {
        for (input, output) in [(1, 224), (3, 224), (500, 224), (100_000, 224), (224, 224)] {
            let kernels = Kernels::new(input, output, 0..output);
            for (index, (_, weights)) in kernels.iter().enumerate() {
                let total: i64 = weights.iter().map(|&weight| i64::from(weight)).sum();
                let off = (total - (1 << PRECISION)).unsigned_abs() as usize;
                assert!(
                    off <= weights.len(),
                    "{input} -> {output} at {index}: {off} off"
                );
            }
        }
    }
}
