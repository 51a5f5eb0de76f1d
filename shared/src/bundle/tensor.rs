use std::collections::BTreeMap;

use super::BundleError;

/// Tensors by name.
pub type Tensors = BTreeMap<String, TensorValues>;

/// A tensor in memory: single precision, row-major.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TensorValues {
    /// The size of each dimension; empty for a scalar.
    pub shape: Vec<usize>,
    /// As many values as the shape holds.
    pub values: Vec<f32>,
}

impl TensorValues {
    /// A tensor of this shape.
    ///
    /// # Errors
    /// When the number of values is not the shape's.
    pub fn new(shape: impl Into<Vec<usize>>, values: Vec<f32>) -> Result<Self, BundleError> {
        let tensor = Self {
            shape: shape.into(),
            values,
        };
        tensor.check_shape("(new)")?;
        Ok(tensor)
    }

    /// The size of the first dimension, 1 for a scalar.
    pub(super) fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// That the number of values is the shape's.
    pub(super) fn check_shape(&self, name: &str) -> Result<(), BundleError> {
        let volume = volume(&self.shape);
        if volume == Some(self.values.len()) {
            return Ok(());
        }
        let (shape, found) = (&self.shape, self.values.len());
        Err(BundleError::tensor(
            name,
            format!("{found} values do not fill the shape {shape:?}"),
        ))
    }

    /// That every value is finite.
    pub(super) fn check_finite(&self, name: &str) -> Result<(), BundleError> {
        match self.values.iter().position(|value| !value.is_finite()) {
            None => Ok(()),
            Some(index) => Err(BundleError::tensor(
                name,
                format!(
                    "entry {index} is {}; the weights are broken, train or import them again",
                    self.values[index]
                ),
            )),
        }
    }
}

/// The product of the dimensions, unless it overflows.
pub(super) fn volume(shape: &[usize]) -> Option<usize> {
    shape
        .iter()
        .try_fold(1usize, |volume, &size| volume.checked_mul(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shape_and_values_must_agree() {
        assert!(TensorValues::new([2, 3], vec![0.0; 6]).is_ok());
        assert!(TensorValues::new([], vec![1.0]).is_ok());
        assert!(TensorValues::new([0, 3], vec![]).is_ok());
        assert!(TensorValues::new([2, 3], vec![0.0; 5]).is_err());
        assert!(TensorValues::new([usize::MAX, 2], vec![]).is_err());
    }
}
