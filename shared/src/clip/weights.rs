//! Named weights on their way into a tower, checked by name, shape and finiteness.

use std::cell::RefCell;
use std::collections::BTreeMap;

use burn::module::Param;
use burn::nn::{LayerNorm, LayerNormConfig, Linear};
use burn::tensor::{Device, Tensor, TensorData};
use thiserror::Error;

use crate::bundle::{Part, TensorValues, Tensors};
use crate::clip::config::LAYER_NORM_EPSILON;

/// A weight that a tower needs and cannot use.
#[derive(Error, Debug, Clone, PartialEq)]
pub enum WeightError {
    /// The checkpoint has no such tensor.
    #[error(
        "the checkpoint has no tensor `{name}` (expected shape {expected:?}); it is cut short, \
         or of another architecture than its configuration says"
    )]
    Missing {
        /// Name under which the tower looked.
        name: String,
        /// Shape the configuration calls for.
        expected: Vec<usize>,
    },
    /// The tensor has another shape than the configuration calls for.
    #[error(
        "tensor `{name}` has shape {found:?} where the configuration calls for {expected:?}; \
         use the configuration that belongs to this checkpoint"
    )]
    Shape {
        /// Name of the tensor.
        name: String,
        /// Shape the configuration calls for.
        expected: Vec<usize>,
        /// Shape in the checkpoint.
        found: Vec<usize>,
    },
    /// The tensor is on its device, where this program does not read it.
    #[error("tensor `{name}` is on its device already; load the tower from memory instead")]
    NotInMemory {
        /// Name of the tensor.
        name: String,
    },
    /// The tensor holds NaN or infinity.
    #[error("tensor `{name}` holds a value that is not finite; the checkpoint is damaged")]
    NotFinite {
        /// Name of the tensor.
        name: String,
    },
}

/// Weights by name below one prefix, to be placed on a device or there already.
#[derive(Clone)]
pub struct Weights<'a> {
    source: Source<'a>,
    device: &'a Device,
    prefix: String,
}

/// Where the weights are.
#[derive(Clone, Copy)]
enum Source<'a> {
    Memory(&'a Tensors),
    Placed(&'a RefCell<PlacedTensors>),
}

/// Tensors by name that are on their device.
pub type PlacedTensors = BTreeMap<String, Placed>;

/// A tensor that is on its device. A program puts a large model there file by file, one tensor at a
/// time, and never holds it in its own memory.
#[derive(Clone, Debug)]
pub struct Placed {
    shape: Vec<usize>,
    /// In row-major order.
    values: Tensor<1>,
}

impl Placed {
    /// Puts a tensor on a device.
    pub fn new(tensor: TensorValues, device: &Device) -> Self {
        let length = tensor.values.len();
        let values = Tensor::from_data(TensorData::new(tensor.values, [length]), device);
        // A GPU keeps some 32 tasks waiting, writes with all their values among them. A failure comes
        // up where the tensor is read.
        let _ = device.flush();
        Self {
            shape: tensor.shape,
            values,
        }
    }
}

impl Part for Placed {
    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn join(parts: Vec<Self>, rows: usize) -> Self {
        let mut shape = parts
            .first()
            .map_or_else(Vec::new, |first| first.shape.clone());
        if let Some(size) = shape.first_mut() {
            *size = rows;
        }
        let values = Tensor::cat(parts.into_iter().map(|part| part.values).collect(), 0);
        Self { shape, values }
    }
}

impl<'a> Weights<'a> {
    /// All of `tensors`, in this project's canonical (OpenAI) naming.
    pub fn new(tensors: &'a Tensors, device: &'a Device) -> Self {
        Self {
            source: Source::Memory(tensors),
            device,
            prefix: String::new(),
        }
    }

    /// All of `tensors`, which are on `device`, in the same naming. Each is taken out when it is asked
    /// for, so that a tower that lays its weights out anew never holds all of them twice.
    pub fn placed(tensors: &'a RefCell<PlacedTensors>, device: &'a Device) -> Self {
        Self {
            source: Source::Placed(tensors),
            device,
            prefix: String::new(),
        }
    }

    /// The weights below `name`.
    pub fn below(&self, name: impl std::fmt::Display) -> Self {
        Self {
            prefix: format!("{}{name}.", self.prefix),
            ..self.clone()
        }
    }

    /// Where the weights go.
    pub fn device(&self) -> &'a Device {
        self.device
    }

    /// The length of the first axis of `name`; none where it is not there or a single number.
    pub fn leading(&self, name: &str) -> Option<usize> {
        let name = self.full_name(name);
        let shape = match self.source {
            Source::Memory(tensors) => tensors.get(&name)?.shape.clone(),
            Source::Placed(tensors) => tensors.borrow().get(&name)?.shape.clone(),
        };
        shape.first().copied()
    }

    /// The tensor `name`.
    ///
    /// # Errors
    /// When it is missing, has another shape, or holds a value that is not finite.
    pub fn tensor<const D: usize>(
        &self,
        name: &str,
        shape: [usize; D],
    ) -> Result<Tensor<D>, WeightError> {
        if let Source::Placed(tensors) = self.source {
            self.find(&tensors.borrow(), name, &shape)?;
            let taken = tensors.borrow_mut().remove(&self.full_name(name));
            let taken = taken.ok_or_else(|| self.missing(name, &shape))?;
            return Ok(taken.values.reshape(shape));
        }
        let values = self.values(name, &shape)?;
        Ok(Tensor::from_data(
            TensorData::new(values.to_vec(), shape),
            self.device,
        ))
    }

    /// A linear layer stored as PyTorch does, `weight` `[outputs, inputs]` and `bias` `[outputs]`.
    pub fn linear(&self, inputs: usize, outputs: usize) -> Result<Linear, WeightError> {
        self.linear_named("weight", Some("bias"), inputs, outputs)
    }

    /// A linear layer under other names, transposed to Burn's `[inputs, outputs]`.
    pub fn linear_named(
        &self,
        weight: &str,
        bias: Option<&str>,
        inputs: usize,
        outputs: usize,
    ) -> Result<Linear, WeightError> {
        let bias = bias.map(|bias| self.tensor(bias, [outputs])).transpose()?;
        if let Source::Placed(_) = self.source {
            // The products read it across; nothing is moved.
            let weight = self.tensor(weight, [outputs, inputs])?.transpose();
            return Ok(Linear {
                weight: Param::from_tensor(weight),
                bias: bias.map(Param::from_tensor),
            });
        }
        let stored = self.values(weight, &[outputs, inputs])?;
        let mut transposed = vec![0.0; stored.len()];
        for (output, row) in stored.chunks_exact(inputs.max(1)).enumerate() {
            for (input, value) in row.iter().enumerate() {
                transposed[input * outputs + output] = *value;
            }
        }
        Ok(Linear {
            weight: Param::from_data(TensorData::new(transposed, [inputs, outputs]), self.device),
            bias: bias.map(Param::from_tensor),
        })
    }

    /// A layer norm, `weight` and `bias` `[width]`, with [`LAYER_NORM_EPSILON`].
    pub fn layer_norm(&self, width: usize) -> Result<LayerNorm, WeightError> {
        let mut norm = LayerNormConfig::new(width)
            .with_epsilon(LAYER_NORM_EPSILON)
            .init(self.device);
        norm.gamma = Param::from_tensor(self.tensor("weight", [width])?);
        norm.beta = Some(Param::from_tensor(self.tensor("bias", [width])?));
        Ok(norm)
    }

    /// The values of the tensor `name`, in row-major order, for what computes with them itself.
    ///
    /// # Errors
    /// As [`Self::tensor`], and when the weights are on their device.
    pub fn values(&self, name: &str, expected: &[usize]) -> Result<&'a [f32], WeightError> {
        let Source::Memory(tensors) = self.source else {
            return Err(WeightError::NotInMemory {
                name: self.full_name(name),
            });
        };
        let found = self.find(tensors, name, expected)?;
        if !found.values.iter().all(|value| value.is_finite()) {
            let name = self.full_name(name);
            return Err(WeightError::NotFinite { name });
        }
        Ok(&found.values)
    }

    fn find<'t, T: Part>(
        &self,
        tensors: &'t BTreeMap<String, T>,
        name: &str,
        expected: &[usize],
    ) -> Result<&'t T, WeightError> {
        match tensors.get(&self.full_name(name)) {
            None => Err(self.missing(name, expected)),
            Some(found) if found.shape() != expected => Err(WeightError::Shape {
                name: self.full_name(name),
                expected: expected.to_vec(),
                found: found.shape().to_vec(),
            }),
            Some(found) => Ok(found),
        }
    }

    fn missing(&self, name: &str, expected: &[usize]) -> WeightError {
        WeightError::Missing {
            name: self.full_name(name),
            expected: expected.to_vec(),
        }
    }

    fn full_name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Tensors {
        let tensor = |shape: &[usize]| {
            let values = (0..shape.iter().product()).map(|n| n as f32 / 7.0 - 1.0);
            TensorValues::new(shape, values.collect()).unwrap()
        };
        Tensors::from([
            ("a.weight".to_owned(), tensor(&[3, 5])),
            ("a.bias".to_owned(), tensor(&[3])),
        ])
    }

    fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().iter().collect()
    }

    #[test]
    fn what_is_on_its_device_computes_the_same() {
        let device = Device::flex();
        let tensors = example();
        let placed = tensors.clone().into_iter();
        let placed: PlacedTensors = placed
            .map(|(name, tensor)| (name, Placed::new(tensor, &device)))
            .collect();
        let placed = RefCell::new(placed);
        let x = Tensor::<2>::from_data([[1.0, -2.0, 0.5, 3.0, 1.5]], &device);
        let [from_memory, from_device] = [
            Weights::new(&tensors, &device),
            Weights::placed(&placed, &device),
        ]
        .map(|weights| {
            let linear = weights.below("a").linear(5, 3).unwrap();
            numbers(linear.forward(x.clone()))
        });
        for (a, b) in from_memory.iter().zip(&from_device) {
            assert!((a - b).abs() < 1e-5, "{from_memory:?} {from_device:?}");
        }
        assert!(
            placed.borrow().is_empty(),
            "what is asked for is handed over, so that it is never held twice"
        );
    }

    #[test]
    fn parts_are_joined_on_the_device() {
        let device = Device::flex();
        let part = |rows: usize, from: f32| {
            let values = (0..rows * 2).map(|n| from + n as f32).collect();
            Placed::new(TensorValues::new([rows, 2], values).unwrap(), &device)
        };
        let mut parts = crate::bundle::Parts::default();
        parts.add("w#1".to_owned(), part(1, 4.0)).unwrap();
        parts.add("w#0".to_owned(), part(2, 0.0)).unwrap();
        let joined = RefCell::new(parts.join().unwrap());
        let weights = Weights::placed(&joined, &device);
        assert_eq!(weights.leading("w"), Some(3));
        assert!(matches!(
            weights.tensor("w", [2, 3]),
            Err(WeightError::Shape { .. })
        ));
        assert!(matches!(
            weights.tensor("v", [1]),
            Err(WeightError::Missing { .. })
        ));
        assert!(matches!(
            weights.values("w", &[3, 2]),
            Err(WeightError::NotInMemory { .. })
        ));
        // What did not fit is still there.
        let tensor = weights.tensor("w", [3, 2]).unwrap();
        assert_eq!(numbers(tensor), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert!(matches!(
            weights.tensor("w", [3, 2]),
            Err(WeightError::Missing { .. })
        ));
    }
}
