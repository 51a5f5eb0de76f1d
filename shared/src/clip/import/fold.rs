//! Folds a batch norm in inference mode into the convolution before it.

use super::ImportError;
use crate::bundle::{TensorValues, Tensors};

/// Replaces every `NAME.norm.*` by `NAME.weight` and `NAME.bias` of the convolution `NAME`:
/// `W' = W · γ / √(σ² + ε)`, `b' = β − μ · γ / √(σ² + ε)`.
pub fn fold_batch_norms(tensors: &mut Tensors, epsilon: f32) -> Result<(), ImportError> {
    let convolutions: Vec<String> = tensors
        .keys()
        .filter_map(|name| name.strip_suffix(".norm.running_mean").map(str::to_owned))
        .collect();
    for convolution in convolutions {
        let mut part = |name: &str| {
            let name = format!("{convolution}.{name}");
            tensors
                .remove(&name)
                .ok_or_else(|| ImportError::Incomplete {
                    present: format!("{convolution}.norm.running_mean"),
                    missing: name,
                })
        };
        let mean = part("norm.running_mean")?;
        let variance = part("norm.running_var")?;
        let gamma = part("norm.weight")?;
        let beta = part("norm.bias")?;
        let mut weight = part("weight")?;
        let channels = weight.shape.first().copied().unwrap_or(0);
        for (name, tensor) in [
            ("running_mean", &mean),
            ("running_var", &variance),
            ("weight", &gamma),
            ("bias", &beta),
        ] {
            if tensor.values.len() != channels {
                return Err(ImportError::Shape {
                    name: format!("{convolution}.norm.{name}"),
                    found: tensor.shape.clone(),
                    fits: format!("the {channels} outputs of `{convolution}.weight`"),
                });
            }
        }
        let scale: Vec<f32> = gamma
            .values
            .iter()
            .zip(&variance.values)
            .map(|(gamma, variance)| gamma / (variance + epsilon).sqrt())
            .collect();
        let per_channel = weight.values.len() / channels.max(1);
        for (filter, scale) in weight
            .values
            .chunks_exact_mut(per_channel.max(1))
            .zip(&scale)
        {
            filter.iter_mut().for_each(|value| *value *= scale);
        }
        let bias = beta
            .values
            .iter()
            .zip(&mean.values)
            .zip(&scale)
            .map(|((beta, mean), scale)| beta - mean * scale)
            .collect();
        tensors.insert(format!("{convolution}.weight"), weight);
        tensors.insert(
            format!("{convolution}.bias"),
            TensorValues {
                shape: vec![channels],
                values: bias,
            },
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(values: &[f32]) -> TensorValues {
        TensorValues {
            shape: vec![values.len()],
            values: values.to_vec(),
        }
    }

    #[test]
    fn folding_is_the_batch_norm_of_the_convolution() {
        let mut tensors = Tensors::from([
            (
                "c.weight".into(),
                TensorValues {
                    shape: vec![2, 1, 1, 1],
                    values: vec![3.0, -2.0],
                },
            ),
            ("c.norm.running_mean".into(), vector(&[0.5, -1.0])),
            ("c.norm.running_var".into(), vector(&[4.0, 0.25])),
            ("c.norm.weight".into(), vector(&[2.0, 1.5])),
            ("c.norm.bias".into(), vector(&[0.1, 0.2])),
        ]);
        fold_batch_norms(&mut tensors, 1e-5).expect("complete");
        let input = 0.7;
        for (channel, (w, mean, variance, gamma, beta)) in [
            (3.0f32, 0.5, 4.0f32, 2.0, 0.1),
            (-2.0, -1.0, 0.25, 1.5, 0.2),
        ]
        .into_iter()
        .enumerate()
        {
            let expected = (w * input - mean) / (variance + 1e-5).sqrt() * gamma + beta;
            let folded =
                tensors["c.weight"].values[channel] * input + tensors["c.bias"].values[channel];
            assert!((expected - folded).abs() < 1e-6);
        }
        assert_eq!(tensors.len(), 2);
    }

    #[test]
    fn a_missing_part_is_named() {
        let mut tensors = Tensors::from([("c.norm.running_mean".into(), vector(&[0.0]))]);
        let error = fold_batch_norms(&mut tensors, 1e-5).expect_err("incomplete");
        assert!(error.to_string().contains("c.norm.running_var"), "{error}");
    }
}
