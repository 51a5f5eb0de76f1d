//! From the tensors of a file to canonical form.

use burn::tensor::DType;
use burn_store::bridge;
use burn_store::burn_pack::Tensor as StoredTensor;

use super::{Checkpoint, Classifier, ImportError, fold, names, no_tower};
use crate::bundle::{TensorValues, Tensors};
use crate::clip::config::Activation;

/// Kept in checkpoints, and no part of either tower: the causal mask, whose −∞ no precision keeps, and
/// the sizes that OpenAI's state dicts carry, SigLIP's bias of the loss.
const BESIDE: [&str; 5] = [
    "attn_mask",
    "input_resolution",
    "context_length",
    "vocab_size",
    "logit_bias",
];

/// Brings the tensors of one checkpoint into canonical form, without those that belong to no tower.
///
/// Whether a tower is whole shows when it is loaded.
///
/// # Errors
/// A foreign checkpoint, a tensor that cannot be read, or of those that become one (queries, keys and
/// values; a convolution and its batch norm) one that is missing or of another shape.
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
    let named = names::activation(&stored);
    let (renamed, _) = naming.remapper().remap(stored);
    let mut tensors = Tensors::new();
    for tensor in renamed {
        // Integer tensors are counters and position ids: nothing to learn from them.
        if tensor.dtype.is_float() && !BESIDE.contains(&tensor.name.as_str()) {
            let (name, values) = read(tensor)?;
            tensors.insert(name, values);
        }
    }
    names::fuse_attention(&mut tensors)?;
    names::transpose_projections(&mut tensors)?;
    fold::fold_batch_norms(&mut tensors, naming.batch_norm_epsilon())?;
    let no_text = no_tower::take_no_tower(&mut tensors);
    // CLIPN's checkpoints say nothing of it: they began from LAION's weights, which have GELU.
    let activation = named.or(no_text.is_some().then_some(Activation::Gelu));
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
        activation,
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

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;

    fn stored(names: &[&str], value: f32) -> Vec<StoredTensor> {
        let tensor = |name: &&str| {
            let data = TensorData::new(vec![value; 4], [2, 2]);
            bridge::from_data(data, name.to_string(), None)
        };
        names.iter().map(tensor).collect()
    }

    #[test]
    fn what_belongs_to_no_tower_is_left_out() {
        let mut tensors = stored(&["visual.proj", "visual.transformer.resblocks.0.x"], 1.0);
        tensors.extend(stored(&BESIDE, f32::NEG_INFINITY));
        let checkpoint = canonical(tensors).unwrap();
        let names: Vec<_> = checkpoint.tensors.keys().collect();
        assert_eq!(names, ["visual.proj", "visual.transformer.resblocks.0.x"]);
    }

    #[test]
    fn names_tell_of_tinyclip_and_openai() {
        let says = |names: &[&str]| {
            let block = "visual.transformer.resblocks.0.x";
            let names: Vec<&str> = names.iter().copied().chain([block]).collect();
            canonical(stored(&names, 1.0)).unwrap().activation
        };
        assert_eq!(says(&["visual.proj"]), None);
        for tinyclip in [
            "_image_encoder.visual.proj",
            "module._image_encoder.module.visual.proj",
        ] {
            assert_eq!(says(&[tinyclip]), Some(Activation::Gelu));
        }
        assert_eq!(says(&["input_resolution"]), Some(Activation::QuickGelu));
        assert_eq!(says(&["ln_final_no.weight"]), Some(Activation::Gelu));
    }
}
