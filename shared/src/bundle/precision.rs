use std::fmt;
use std::str::FromStr;

use half::f16;
use serde::{Deserialize, Serialize};

use super::tensor::volume;
use super::{BundleError, TensorValues};

/// How tensors are stored.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single precision: four bytes a value, nothing lost.
    F32,
    /// Half precision: two bytes a value, eleven significant bits.
    #[default]
    F16,
    /// Eight bits a value with one scale a channel; vectors and scalars stay in single precision.
    Int8,
}

impl fmt::Display for Precision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
        })
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "f32" => Ok(Self::F32),
            "f16" => Ok(Self::F16),
            "int8" => Ok(Self::Int8),
            _ => Err(format!("{name:?} is not a precision; use f32, f16 or int8")),
        }
    }
}

/// A tensor in eight bits: `value = quantized · scale[channel]`, symmetric, no zero point.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantized {
    /// The size of each dimension.
    pub shape: Vec<usize>,
    /// The dimension whose entries have a scale each.
    pub axis: usize,
    /// As many values as the shape holds, each in `-127..=127`.
    pub values: Vec<i8>,
    /// `[shape[axis]]`: the step of each channel.
    pub scale: Vec<f32>,
}

impl Quantized {
    /// The shape under which the scales are stored: that of the tensor, with 1 for every dimension
    /// but the channels', so that a plain product of the two tensors restores the values.
    pub(super) fn scale_shape(&self) -> Vec<usize> {
        let mut shape = vec![1; self.shape.len()];
        if let Some(channels) = shape.get_mut(self.axis) {
            *channels = self.scale.len();
        }
        shape
    }
}

/// Half-precision copies of `values`, rounded to nearest.
///
/// # Errors
/// Naming `tensor`, when a value is not finite or too large for half precision (65,504).
pub fn to_f16(tensor: &str, values: &[f32]) -> Result<Vec<f16>, BundleError> {
    let convert = |(index, &value): (usize, &f32)| {
        let half = f16::from_f32(value);
        if half.is_finite() {
            return Ok(half);
        }
        let way_out = if value.is_finite() {
            "which half precision cannot hold; store it as f32 or int8"
        } else {
            "the weights are broken, train or import them again"
        };
        Err(BundleError::tensor(
            tensor,
            format!("entry {index} is {value}, {way_out}"),
        ))
    };
    values.iter().enumerate().map(convert).collect()
}

/// Quantises a tensor of two or more dimensions, one scale a channel; `None` for vectors and
/// scalars, where the scales would weigh as much as the values.
///
/// The output channel of a convolution is its first dimension; that of a matrix is the first or
/// the second, depending on who stores it, and of these the one that loses less is taken. Values
/// must be finite.
pub fn quantize_int8(tensor: &TensorValues) -> Option<Quantized> {
    match tensor.shape.len() {
        0 | 1 => None,
        2 => {
            let by_row = quantize_along(tensor, 0);
            let by_column = quantize_along(tensor, 1);
            let columns_lose_less = loss(tensor, &by_column) < loss(tensor, &by_row);
            Some(if columns_lose_less { by_column } else { by_row })
        }
        _ => Some(quantize_along(tensor, 0)),
    }
}

/// The values behind a quantised tensor.
///
/// # Errors
/// When the parts do not fit each other.
pub fn dequantize(quantized: &Quantized) -> Result<TensorValues, BundleError> {
    let channels = Channels::new(&quantized.shape, quantized.axis);
    if volume(&quantized.shape) != Some(quantized.values.len())
        || channels.count != quantized.scale.len()
    {
        return Err(BundleError::tensor(
            "(quantized)",
            format!(
                "{} values with {} scales along dimension {} do not fill the shape {:?}",
                quantized.values.len(),
                quantized.scale.len(),
                quantized.axis,
                quantized.shape
            ),
        ));
    }
    let restore =
        |(index, &value): (usize, &i8)| f32::from(value) * quantized.scale[channels.of(index)];
    Ok(TensorValues {
        shape: quantized.shape.clone(),
        values: quantized.values.iter().enumerate().map(restore).collect(),
    })
}

fn quantize_along(tensor: &TensorValues, axis: usize) -> Quantized {
    let channels = Channels::new(&tensor.shape, axis);
    let mut scale = vec![0.0f32; channels.count];
    for (index, value) in tensor.values.iter().enumerate() {
        let largest = &mut scale[channels.of(index)];
        *largest = largest.max(value.abs());
    }
    for step in &mut scale {
        *step /= 127.0;
        // Division rounds; the largest value must not come back as an infinity.
        if !(*step * 127.0).is_finite() {
            *step = step.next_down();
        }
        // A channel of zeros (or of numbers too small to divide) needs some step to divide by.
        if *step == 0.0 {
            *step = 1.0;
        }
    }
    let quantize = |(index, &value): (usize, &f32)| {
        (value / scale[channels.of(index)])
            .round()
            .clamp(-127.0, 127.0) as i8
    };
    Quantized {
        values: tensor.values.iter().enumerate().map(quantize).collect(),
        shape: tensor.shape.clone(),
        axis,
        scale,
    }
}

/// The squared error of a quantisation.
fn loss(tensor: &TensorValues, quantized: &Quantized) -> f64 {
    let channels = Channels::new(&quantized.shape, quantized.axis);
    let pairs = tensor.values.iter().zip(&quantized.values).enumerate();
    pairs
        .map(|(index, (&value, &stored))| {
            let restored = f32::from(stored) * quantized.scale[channels.of(index)];
            f64::from(value - restored).powi(2)
        })
        .sum()
}

/// Which channel an entry of a row-major tensor belongs to.
struct Channels {
    count: usize,
    inner: usize,
}

impl Channels {
    fn new(shape: &[usize], axis: usize) -> Self {
        let inner = shape.get(axis + 1..).and_then(volume).unwrap_or(1);
        Self {
            count: shape.get(axis).copied().unwrap_or(1),
            inner: inner.max(1),
        }
    }

    fn of(&self, index: usize) -> usize {
        index / self.inner % self.count.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::generator::Generator;

    fn random(generator: &mut Generator, shape: &[usize]) -> TensorValues {
        let count = shape.iter().product();
        let values = (0..count)
            .map(|_| generator.between(-2.0, 2.0) as f32)
            .collect();
        TensorValues::new(shape, values).unwrap()
    }

    #[test]
    fn int8_is_within_half_a_step_of_its_channel() {
        let mut generator = Generator::new(21);
        for shape in [&[3, 5][..], &[8, 1, 3, 3], &[1, 1], &[4, 2, 3], &[0, 4]] {
            let tensor = random(&mut generator, shape);
            let quantized = quantize_int8(&tensor).unwrap();
            let restored = dequantize(&quantized).unwrap();
            assert_eq!(restored.shape, tensor.shape);
            let channels = Channels::new(shape, quantized.axis);
            for (index, (a, b)) in tensor.values.iter().zip(&restored.values).enumerate() {
                let step = quantized.scale[channels.of(index)];
                assert!((a - b).abs() <= step * 0.5001);
            }
        }
    }

    #[test]
    fn a_matrix_takes_the_axis_that_loses_less() {
        let mut generator = Generator::new(22);
        let mut tensor = random(&mut generator, &[6, 4]);
        for (index, value) in tensor.values.iter_mut().enumerate() {
            *value *= 10f32.powi((index % 4) as i32);
        }
        let by_column = quantize_int8(&tensor).unwrap();
        assert_eq!((by_column.axis, by_column.scale_shape()), (1, vec![1, 4]));
        let transposed = (0..24).map(|i| tensor.values[i % 6 * 4 + i / 6]).collect();
        let by_row = quantize_int8(&TensorValues::new([4, 6], transposed).unwrap()).unwrap();
        assert_eq!((by_row.axis, by_row.scale_shape()), (0, vec![4, 1]));
    }

    #[test]
    fn zeros_and_extremes_survive() {
        let tensor = TensorValues::new([3, 2], vec![0.0, 0.0, f32::MAX, -1.0, 1e-45, 0.0]).unwrap();
        let restored = dequantize(&quantize_along(&tensor, 0)).unwrap();
        assert!(restored.values.iter().all(|value| value.is_finite()));
        assert_eq!(restored.values[..2], [0.0, 0.0]);
        assert!((restored.values[2] / f32::MAX - 1.0).abs() < 1e-6);
        assert!(quantize_int8(&TensorValues::new([3], vec![1.0; 3]).unwrap()).is_none());
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let good = quantize_along(&TensorValues::new([2, 2], vec![1.0; 4]).unwrap(), 0);
        for broken in [
            Quantized {
                shape: vec![2, 3],
                ..good.clone()
            },
            Quantized {
                scale: vec![1.0],
                ..good.clone()
            },
            Quantized {
                axis: 7,
                ..good.clone()
            },
            Quantized {
                values: vec![],
                ..good
            },
        ] {
            assert!(dequantize(&broken).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn half_precision_rounds_and_refuses_what_it_cannot_hold() {
        let halves = to_f16("w", &[1.0, -0.333_333_34, 65_504.0]).unwrap();
        assert_eq!(halves[0].to_f32(), 1.0);
        assert!((halves[1].to_f32() + 1.0 / 3.0).abs() < 2e-4);
        for bad in [70_000.0, f32::NAN, f32::NEG_INFINITY] {
            let message = to_f16("tower.w", &[0.0, bad]).unwrap_err().to_string();
            assert!(
                message.contains("tower.w") && message.contains("entry 1"),
                "{message}"
            );
        }
    }

    #[test]
    fn precision_reads_its_own_name() {
        for precision in [Precision::F32, Precision::F16, Precision::Int8] {
            assert_eq!(precision.to_string().parse(), Ok(precision));
            let json = serde_json::to_string(&precision).unwrap();
            assert_eq!(json, format!("\"{precision}\""));
        }
        assert!("f64".parse::<Precision>().is_err());
    }
}
