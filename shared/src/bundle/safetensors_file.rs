//! One safetensors file: tensors to bytes and back.

use std::borrow::Cow;
use std::collections::HashSet;

use half::f16;
use safetensors::tensor::{TensorView, View};
use safetensors::{Dtype, SafeTensors};

use super::precision::{Precision, Quantized, dequantize, quantize_int8, to_f16};
use super::{BundleError, TensorValues, Tensors};

/// What is appended to the name of an int8 tensor to name its scales.
pub(super) const SCALE_SUFFIX: &str = ".scale";

/// One safetensors file of all these tensors.
///
/// At [`Precision::Int8`] a tensor of two or more dimensions becomes `NAME` (I8) and `NAME.scale`
/// (F32, one value a channel, of a shape that broadcasts); the others stay F32.
///
/// # Errors
/// Naming the tensor, when one is not finite, does not fill its shape, cannot be held by the
/// precision, or would be overwritten by another's scales.
pub fn encode_tensors(tensors: &Tensors, precision: Precision) -> Result<Vec<u8>, BundleError> {
    let mut stored = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        tensor.check_shape(name)?;
        tensor.check_finite(name)?;
        match precision {
            Precision::F32 => stored.push((name.clone(), Stored::f32(tensor))),
            Precision::F16 => {
                let halves = to_f16(name, &tensor.values)?;
                let bytes = halves.iter().flat_map(|half| half.to_le_bytes()).collect();
                let half = Stored::new(Dtype::F16, tensor.shape.clone(), bytes);
                stored.push((name.clone(), half));
            }
            Precision::Int8 => match quantize_int8(tensor) {
                None => stored.push((name.clone(), Stored::f32(tensor))),
                Some(quantized) => {
                    let scale_name = format!("{name}{SCALE_SUFFIX}");
                    if tensors.contains_key(&scale_name) {
                        let cause =
                            format!("its scales need the name {scale_name}, which is taken");
                        return Err(BundleError::tensor(name, cause));
                    }
                    let scale = TensorValues::new(quantized.scale_shape(), quantized.scale)?;
                    let bytes = quantized
                        .values
                        .iter()
                        .flat_map(|v| v.to_le_bytes())
                        .collect();
                    let values = Stored::new(Dtype::I8, quantized.shape, bytes);
                    stored.push((name.clone(), values));
                    stored.push((scale_name, Stored::f32(&scale)));
                }
            },
        }
    }
    safetensors::serialize(stored, None).map_err(|cause| BundleError::content("safetensors", cause))
}

/// All tensors of a safetensors file (F32, F16, or I8 with `NAME.scale`) in single precision.
/// `file` is the name for error messages.
///
/// # Errors
/// When the file is not safetensors, or a tensor is of another kind, has no scales, or is not
/// finite.
pub fn decode_tensors(file: &str, bytes: &[u8]) -> Result<Tensors, BundleError> {
    let mut tensors = Tensors::new();
    decode_each(file, bytes, |name, tensor| {
        tensors.insert(name, tensor);
        Ok(())
    })?;
    Ok(tensors)
}

/// Hands the tensors of a safetensors file to `take`, one at a time and in no order: a program that
/// puts each where it belongs never holds a file's values in single precision all at once.
///
/// # Errors
/// As [`decode_tensors`], and whatever `take` refuses.
pub fn decode_each(
    file: &str,
    bytes: &[u8],
    mut take: impl FnMut(String, TensorValues) -> Result<(), BundleError>,
) -> Result<(), BundleError> {
    let parsed = SafeTensors::deserialize(bytes).map_err(|cause| {
        BundleError::content(file, format!("it is not a safetensors file ({cause})"))
    })?;
    let views: Vec<(&str, TensorView<'_>)> = parsed
        .names()
        .into_iter()
        .filter_map(|name| Some((name, parsed.tensor(name).ok()?)))
        .collect();
    let scales: HashSet<String> = views
        .iter()
        .filter(|(_, view)| view.dtype() == Dtype::I8)
        .map(|(name, _)| format!("{name}{SCALE_SUFFIX}"))
        .collect();
    for (name, view) in &views {
        if scales.contains(*name) {
            continue;
        }
        let place = format!("{name} ({file})");
        let tensor = match view.dtype() {
            Dtype::I8 => {
                let scale = parsed.tensor(&format!("{name}{SCALE_SUFFIX}")).ok();
                restore(&place, view, scale)?
            }
            _ => floats(&place, view)?,
        };
        tensor.check_finite(&place)?;
        take((*name).to_owned(), tensor)?;
    }
    Ok(())
}

fn floats(place: &str, view: &TensorView<'_>) -> Result<TensorValues, BundleError> {
    let values: Vec<f32> = match view.dtype() {
        Dtype::F32 => words(view.data()).map(f32::from_le_bytes).collect(),
        Dtype::F16 => words(view.data())
            .map(|word| f16::from_le_bytes(word).to_f32())
            .collect(),
        other => {
            let cause = format!("it is stored as {other}; a bundle holds F32, F16 and I8");
            return Err(BundleError::tensor(place, cause));
        }
    };
    TensorValues::new(view.shape(), values)
}

fn restore(
    place: &str,
    view: &TensorView<'_>,
    scale: Option<TensorView<'_>>,
) -> Result<TensorValues, BundleError> {
    let Some(scale) = scale else {
        let cause = "its scales are missing; export the bundle again";
        return Err(BundleError::tensor(place, cause));
    };
    let scale = floats(place, &scale)?;
    scale.check_finite(&format!("{place}{SCALE_SUFFIX}"))?;
    // The scales' own shape says which dimension they belong to.
    let axis = scale.shape.iter().position(|&size| size != 1).unwrap_or(0);
    let mut expected = vec![1; view.shape().len()];
    if let (Some(channels), Some(&size)) = (expected.get_mut(axis), view.shape().get(axis)) {
        *channels = size;
    }
    if scale.shape != expected {
        let (found, shape) = (&scale.shape, view.shape());
        let cause = format!("scales of shape {found:?} do not fit its shape {shape:?}");
        return Err(BundleError::tensor(place, cause));
    }
    dequantize(&Quantized {
        shape: view.shape().to_vec(),
        axis,
        values: view.data().iter().map(|&byte| byte.cast_signed()).collect(),
        scale: scale.values,
    })
}

/// The little-endian words of a tensor; safetensors has checked that they are whole.
fn words<const SIZE: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; SIZE]> {
    bytes.as_chunks::<SIZE>().0.iter().copied()
}

/// A tensor as it goes into the file.
struct Stored {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Stored {
    fn new(dtype: Dtype, shape: Vec<usize>, bytes: Vec<u8>) -> Self {
        Self {
            dtype,
            shape,
            bytes,
        }
    }

    fn f32(tensor: &TensorValues) -> Self {
        let bytes = tensor.values.iter().flat_map(|value| value.to_le_bytes());
        Self::new(Dtype::F32, tensor.shape.clone(), bytes.collect())
    }
}

impl View for Stored {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::example::random_tensor;
    use super::*;
    use crate::metric::generator::Generator;

    fn example() -> Tensors {
        let mut generator = Generator::new(31);
        [
            ("a.weight", &[5, 7][..]),
            ("a.bias", &[7]),
            ("convolution", &[4, 1, 3, 3]),
            ("scalar", &[]),
            ("empty", &[0, 4]),
            ("one", &[1, 1]),
        ]
        .into_iter()
        .map(|(name, shape)| (name.to_owned(), random_tensor(&mut generator, shape)))
        .collect()
    }

    #[test]
    fn every_precision_comes_back_within_its_error() {
        let tensors = example();
        for (precision, tolerance) in [
            (Precision::F32, 0.0),
            (Precision::F16, 1e-3),
            (Precision::Int8, 1e-2),
        ] {
            let bytes = encode_tensors(&tensors, precision).unwrap();
            let back = decode_tensors("file", &bytes).unwrap();
            assert!(back.keys().eq(tensors.keys()), "{precision}");
            for (name, tensor) in &tensors {
                assert_eq!(back[name].shape, tensor.shape, "{precision} {name}");
                for (a, b) in tensor.values.iter().zip(&back[name].values) {
                    assert!((a - b).abs() <= tolerance, "{precision} {name}: {a} {b}");
                }
            }
        }
        let int8 = encode_tensors(&tensors, Precision::Int8).unwrap();
        let back = decode_tensors("file", &int8).unwrap();
        assert_eq!(back["a.bias"], tensors["a.bias"]);
    }

    #[test]
    fn the_bytes_repeat() {
        for precision in [Precision::F32, Precision::F16, Precision::Int8] {
            let once = encode_tensors(&example(), precision).unwrap();
            assert_eq!(once, encode_tensors(&example(), precision).unwrap());
        }
    }

    #[test]
    fn broken_values_are_refused_by_name_both_ways() {
        for precision in [Precision::F32, Precision::F16, Precision::Int8] {
            let mut tensors = example();
            tensors.get_mut("a.weight").unwrap().values[9] = f32::NAN;
            let error = encode_tensors(&tensors, precision).unwrap_err().to_string();
            assert!(
                error.contains("a.weight") && error.contains("entry 9"),
                "{error}"
            );
        }
        let broken = Stored::new(Dtype::F32, vec![1], f32::INFINITY.to_le_bytes().to_vec());
        let bytes = safetensors::serialize([("w", broken)], None).unwrap();
        let error = decode_tensors("shard", &bytes).unwrap_err().to_string();
        assert!(error.contains('w') && error.contains("shard"), "{error}");
    }

    #[test]
    fn foreign_content_is_refused() {
        assert!(decode_tensors("file", b"").is_err());
        assert!(decode_tensors("file", b"\x89PNG\r\n\x1a\n and so on").is_err());
        let bytes = encode_tensors(&example(), Precision::F16).unwrap();
        for cut in [0, 7, 8, 20, bytes.len() / 2, bytes.len() - 1] {
            assert!(decode_tensors("file", &bytes[..cut]).is_err());
        }
        for (name, dtype, shape, size) in [
            ("w", Dtype::F64, vec![1], 8),
            ("w", Dtype::I8, vec![2, 2], 4),
        ] {
            let stored = Stored::new(dtype, shape, vec![0; size]);
            let bytes = safetensors::serialize([(name, stored)], None).unwrap();
            assert!(decode_tensors("file", &bytes).is_err(), "{dtype}");
        }
    }

    #[test]
    fn scales_must_fit() {
        for shape in [vec![3], vec![1, 3], vec![2, 2], vec![]] {
            let count = shape.iter().product();
            let values = Stored::new(Dtype::I8, vec![2, 2], vec![1; 4]);
            let scale = Stored::f32(&TensorValues::new(shape, vec![1.0; count]).unwrap());
            let file = [("w", values), ("w.scale", scale)];
            let bytes = safetensors::serialize(file, None).unwrap();
            assert!(decode_tensors("file", &bytes).is_err());
        }
    }

    #[test]
    fn a_taken_scale_name_is_refused() {
        let mut tensors = example();
        tensors.insert("one.scale".to_owned(), TensorValues::default());
        assert!(encode_tensors(&tensors, Precision::Int8).is_err());
    }
}
