//! Small pieces of linear algebra on tensors.

use anyhow::{Context, Result, ensure};
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::random::Random;

/// Row-major values as a tensor `[rows, width]`.
pub fn matrix(values: Vec<f32>, rows: usize, width: usize, device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values, [rows, width]), device)
}

/// The rows at `indices`, in that order.
pub fn rows(matrix: &Tensor<2>, indices: &[usize]) -> Tensor<2> {
    let values: Vec<i32> = indices.iter().map(|&index| index as i32).collect();
    let count = values.len();
    let indices = Tensor::<1, Int>::from_data(TensorData::new(values, [count]), &matrix.device());
    matrix.clone().select(0, indices)
}

/// The values of a tensor, row-major.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    let data = tensor
        .try_into_data()
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    data.try_into_vec_as::<f32>()
        .map_err(|error| anyhow::anyhow!("{error:?}"))
        .context("a tensor cannot be read back from the device")
}

/// `log Σ exp` over each row, `[rows, width]` → `[rows, 1]`.
pub fn log_sum_exp(x: Tensor<2>) -> Tensor<2> {
    let largest = x.clone().detach().max_dim(1);
    (x - largest.clone()).exp().sum_dim(1).log() + largest
}

/// The `count` right singular vectors of `matrix` `[rows, width]` with the largest singular
/// values, as the columns of `[width, count]`, in falling order: orthogonal iteration.
pub fn leading_directions(
    matrix: &Tensor<2>,
    count: usize,
    iterations: usize,
    random: &mut Random,
) -> Result<Tensor<2>> {
    let [_, width] = matrix.dims();
    let device = matrix.device();
    let gram = matrix.clone().transpose().matmul(matrix.clone());
    let start = random.normals(width * count, 1.0);
    let mut basis = orthonormal(self::matrix(start, width, count, &device))?;
    for _ in 0..iterations {
        basis = orthonormal(gram.clone().matmul(basis))?;
    }
    Ok(basis)
}

/// Orthonormal columns that span the same spaces, first to last: Cholesky QR, twice.
fn orthonormal(columns: Tensor<2>) -> Result<Tensor<2>> {
    let [_, count] = columns.dims();
    let mut columns = columns;
    for _ in 0..2 {
        let gram = values(columns.clone().transpose().matmul(columns.clone()))?;
        let inverse = inverse_of_upper(&cholesky(&gram, count)?, count);
        columns = columns
            .clone()
            .matmul(matrix(inverse, count, count, &columns.device()));
    }
    Ok(columns)
}

/// The upper triangular `R` with `Rᵀ R = gram`, `[count, count]`.
fn cholesky(gram: &[f32], count: usize) -> Result<Vec<f64>> {
    let mut upper = vec![0.0f64; count * count];
    for i in 0..count {
        for j in i..count {
            let mut sum = f64::from(gram[i * count + j]);
            for k in 0..i {
                sum -= upper[k * count + i] * upper[k * count + j];
            }
            if i == j {
                ensure!(
                    sum > 0.0 && sum.is_finite(),
                    "the classifier's rows span fewer than {count} directions; its weights are damaged, or it has too few classes"
                );
                upper[i * count + i] = sum.sqrt();
            } else {
                upper[i * count + j] = sum / upper[i * count + i];
            }
        }
    }
    Ok(upper)
}

fn inverse_of_upper(upper: &[f64], count: usize) -> Vec<f32> {
    // Column j of the inverse solves R x = e_j; row-major, so that inner loops are contiguous.
    let mut inverse = vec![0.0f64; count * count];
    for i in (0..count).rev() {
        let diagonal = upper[i * count + i];
        let mut row = vec![0.0f64; count];
        row[i] = 1.0;
        for k in i + 1..count {
            let factor = upper[i * count + k];
            for (value, below) in row[k..]
                .iter_mut()
                .zip(&inverse[k * count + k..(k + 1) * count])
            {
                *value -= factor * below;
            }
        }
        for (target, value) in inverse[i * count..(i + 1) * count].iter_mut().zip(row) {
            *target = value / diagonal;
        }
    }
    inverse.into_iter().map(|value| value as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_directions_are_those_of_a_known_matrix() {
        let device = Device::flex();
        // Singular values 5, 3, 1 along the axes 2, 0, 1.
        let x = matrix(
            vec![3.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 5.0],
            3,
            3,
            &device,
        );
        let found = leading_directions(&x, 2, 40, &mut Random::new(1, 0)).unwrap();
        let found = values(found).unwrap();
        let expected = [0.0, 1.0, 0.0, 0.0, 1.0, 0.0];
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                (found.abs() - expected).abs() < 1e-4,
                "{found} for {expected}"
            );
        }
    }

    #[test]
    fn log_sum_exp_is_stable() {
        let x = matrix(vec![1000.0, 1000.0, -1e9, 0.0], 2, 2, &Device::flex());
        let found = values(log_sum_exp(x)).unwrap();
        assert!((found[0] - 1000.0 - 2f32.ln()).abs() < 1e-3 && found[1].abs() < 1e-6);
    }
}
