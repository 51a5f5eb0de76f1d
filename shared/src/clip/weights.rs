//! Named weights on their way into a tower, checked by name, shape and finiteness.

use burn::module::Param;
use burn::nn::{LayerNorm, LayerNormConfig, Linear};
use burn::tensor::{Device, Tensor, TensorData};
use thiserror::Error;

use crate::bundle::Tensors;

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
    /// The tensor holds NaN or infinity.
    #[error("tensor `{name}` holds a value that is not finite; the checkpoint is damaged")]
    NotFinite {
        /// Name of the tensor.
        name: String,
    },
}

/// The ε of a layer norm, the same in every published CLIP.
pub const LAYER_NORM_EPSILON: f64 = 1e-5;

/// Weights by name below one prefix, to be placed on a device.
#[derive(Clone)]
pub struct Weights<'a> {
    tensors: &'a Tensors,
    device: &'a Device,
    prefix: String,
}

impl<'a> Weights<'a> {
    /// All of `tensors`, in this project's canonical (OpenAI) naming.
    pub fn new(tensors: &'a Tensors, device: &'a Device) -> Self {
        Self {
            tensors,
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

    /// The tensor `name`.
    ///
    /// # Errors
    /// When it is missing, has another shape, or holds a value that is not finite.
    pub fn tensor<const D: usize>(
        &self,
        name: &str,
        shape: [usize; D],
    ) -> Result<Tensor<D>, WeightError> {
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
        let stored = self.values(weight, &[outputs, inputs])?;
        let mut transposed = vec![0.0; stored.len()];
        for (output, row) in stored.chunks_exact(inputs.max(1)).enumerate() {
            for (input, value) in row.iter().enumerate() {
                transposed[input * outputs + output] = *value;
            }
        }
        let bias = bias.map(|bias| self.tensor(bias, [outputs])).transpose()?;
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

    /// The values of the tensor `name`, in row-major order.
    ///
    /// # Errors
    /// As [`Self::tensor`].
    pub fn values(&self, name: &str, expected: &[usize]) -> Result<&'a [f32], WeightError> {
        let name = format!("{}{name}", self.prefix);
        let Some(found) = self.tensors.get(&name) else {
            return Err(WeightError::Missing {
                name,
                expected: expected.to_vec(),
            });
        };
        if found.shape != expected {
            return Err(WeightError::Shape {
                name,
                expected: expected.to_vec(),
                found: found.shape.clone(),
            });
        }
        if !found.values.iter().all(|value| value.is_finite()) {
            return Err(WeightError::NotFinite { name });
        }
        Ok(&found.values)
    }
}
