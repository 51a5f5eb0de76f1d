//! From the tensors of a file to canonical form.

use burn::tensor::DType;
use burn_store::bridge;
use burn_store::burn_pack::Tensor as StoredTensor;

use super::{Checkpoint, Classifier, ImportError, fold, names, no_tower};
use crate::bundle::{TensorValues, Tensors};

/// Brings the tensors of one checkpoint into canonical form.
///
/// # Errors
/// A foreign or incomplete checkpoint, or a tensor that cannot be read.
pub fn canonical(stored: Vec<StoredTensor>) -> Result<Checkpoint, ImportError> {
    let naming = names::Naming::of(&stored).ok_or_else(|| ImportError::Foreign {
        count: stored.len(),
        examples: stored
            .iter()
            .take(4)
            .map(|tensor| format!("`{}`", tensor.name))
            .collect::<Vec<_>>()
            .join(", "),
    })?;
    let (renamed, _) = naming.remapper().remap(stored);
    let mut tensors = Tensors::new();
    for tensor in renamed {
        // Integer tensors are counters and position ids: nothing to learn from them.
        if tensor.dtype.is_float() {
            let (name, values) = read(tensor)?;
            tensors.insert(name, values);
        }
    }
    names::fuse_attention(&mut tensors)?;
    names::transpose_projections(&mut tensors)?;
    fold::fold_batch_norms(&mut tensors, naming.batch_norm_epsilon())?;
    let no_text = no_tower::take_no_tower(&mut tensors);
    let logit_scale = tensors
        .remove("logit_scale")
        .and_then(|scale| scale.values.first().map(|log| log.exp()));
    let classifier = match (
        tensors.remove("classifier.weight"),
        tensors.remove("classifier.bias"),
    ) {
        (Some(weight), Some(bias)) => Some(Classifier { weight, bias }),
        _ => None,
    };
    Ok(Checkpoint {
        tensors,
        logit_scale,
        no_text,
        classifier,
    })
}

fn read(tensor: StoredTensor) -> Result<(String, TensorValues), ImportError> {
    let name = tensor.name.clone();
    let unreadable = |cause: String| ImportError::Unreadable {
        name: name.clone(),
        cause,
    };
    let shape = tensor.shape.to_vec();
    let data = bridge::into_data(tensor).map_err(|error| unreadable(error.to_string()))?;
    let values = data
        .convert_dtype(DType::F32)
        .try_into_vec::<f32>()
        .map_err(|error| unreadable(format!("{error:?}")))?;
    let values = TensorValues::new(shape, values).map_err(|error| unreadable(error.to_string()))?;
    Ok((name, values))
}
