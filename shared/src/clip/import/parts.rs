//! Whether a configuration uses everything that a checkpoint holds. A tower reads the tensors that
//! its configuration names; a block that is not counted, or a part that this program does not know
//! (layer scale, attention pooling of another kind), would be left out without a word.

use super::ImportError;
use crate::bundle::{TensorValues, Tensors};
use crate::clip::config::{ClipConfig, ImageTowerConfig};

/// Below a transformer block.
const BLOCK: [&str; 12] = [
    "ln_1.weight",
    "ln_1.bias",
    "attn.in_proj_weight",
    "attn.in_proj_bias",
    "attn.out_proj.weight",
    "attn.out_proj.bias",
    "ln_2.weight",
    "ln_2.bias",
    "mlp.c_fc.weight",
    "mlp.c_fc.bias",
    "mlp.c_proj.weight",
    "mlp.c_proj.bias",
];

/// Beside the blocks of a vision transformer, below `visual.`.
const VIT: [&str; 8] = [
    "class_embedding",
    "positional_embedding",
    "conv1.weight",
    "proj",
    "ln_pre.weight",
    "ln_pre.bias",
    "ln_post.weight",
    "ln_post.bias",
];

/// Below a bottleneck of a ModifiedResNet, weights and biases.
const BOTTLENECK: [&str; 4] = ["conv1.", "conv2.", "conv3.", "downsample.0."];

/// Beside the bottlenecks, below `visual.`.
const RESNET: [&str; 8] = [
    "conv1.",
    "conv2.",
    "conv3.",
    "attnpool.positional_embedding",
    "attnpool.q_proj.",
    "attnpool.k_proj.",
    "attnpool.v_proj.",
    "attnpool.c_proj.",
];

/// Beside the blocks of the text tower.
const TEXT: [&str; 5] = [
    "token_embedding.weight",
    "positional_embedding",
    "text_projection",
    "ln_final.weight",
    "ln_final.bias",
];

/// Fails on the first tensor of `tensors`, in canonical naming, that a tower of this configuration
/// would leave out.
///
/// # Errors
/// Names the tensor, its shape and what the configuration calls for.
pub fn check_parts(tensors: &Tensors, config: &ClipConfig) -> Result<(), ImportError> {
    if matches!(config.image, ImageTowerConfig::EfficientnetLite(_)) {
        return Ok(());
    }
    tensors
        .iter()
        .try_for_each(|(name, tensor)| check(name, tensor, config))
}

fn check(name: &str, tensor: &TensorValues, config: &ClipConfig) -> Result<(), ImportError> {
    let too_deep = |what: &str, layers: usize| {
        Err(ImportError::Shape {
            name: name.to_owned(),
            found: tensor.shape.clone(),
            fits: format!(
                "the configuration, which has {layers} {what}; use the configuration that belongs to this checkpoint"
            ),
        })
    };
    let known = match (name.strip_prefix("visual."), &config.image) {
        (Some(name), ImageTowerConfig::Vit(vit)) => match block(name, "transformer.resblocks.") {
            Some((index, _)) if index >= vit.layers => {
                return too_deep("blocks in its image tower", vit.layers);
            }
            Some((_, part)) => BLOCK.contains(&part),
            None => VIT.contains(&name),
        },
        (Some(name), ImageTowerConfig::ModifiedResnet(resnet)) => {
            let stage = (0..4).find_map(|stage| {
                block(name, &format!("layer{}.", stage + 1)).map(|found| (stage, found))
            });
            match stage {
                Some((stage, (index, _))) if index >= resnet.layers[stage] => {
                    let what = format!("blocks in stage {} of its image tower", stage + 1);
                    return too_deep(&what, resnet.layers[stage]);
                }
                Some((_, (_, part))) => BOTTLENECK.iter().any(|known| part.starts_with(known)),
                None => RESNET.iter().any(|known| name.starts_with(known)),
            }
        }
        _ => match block(name, "transformer.resblocks.") {
            Some((index, _)) if index >= config.text.layers => {
                return too_deep("blocks in its text tower", config.text.layers);
            }
            Some((_, part)) => BLOCK.contains(&part),
            None => TEXT.contains(&name),
        },
    };
    if known {
        return Ok(());
    }
    Err(ImportError::UnknownPart {
        name: name.to_owned(),
        shape: tensor.shape.clone(),
    })
}

/// The number of the block that a tensor belongs to, and its name there.
fn block<'a>(name: &'a str, prefix: &str) -> Option<(usize, &'a str)> {
    let (index, part) = name.strip_prefix(prefix)?.split_once('.')?;
    Some((index.parse().ok()?, part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(config: &ClipConfig, name: &str) -> Result<(), String> {
        let tensor = TensorValues {
            shape: vec![2, 3],
            values: vec![0.0; 6],
        };
        check(name, &tensor, config).map_err(|error| error.to_string())
    }

    #[test]
    fn a_block_beyond_the_configuration_is_named() {
        let vit = ClipConfig::vit_b_16();
        for name in [
            "visual.transformer.resblocks.11.mlp.c_fc.weight",
            "transformer.resblocks.11.ln_2.bias",
            "visual.ln_pre.bias",
            "ln_final.bias",
        ] {
            says(&vit, name).unwrap();
        }
        let text = says(&vit, "visual.transformer.resblocks.12.mlp.c_fc.weight").unwrap_err();
        assert!(
            text.contains("resblocks.12") && text.contains("[2, 3]") && text.contains("has 12"),
            "{text}"
        );
        assert!(says(&vit, "transformer.resblocks.12.ln_1.bias").is_err());
        let resnet = ClipConfig::rn50();
        says(&resnet, "visual.layer3.5.downsample.0.bias").unwrap();
        assert!(
            says(&resnet, "visual.layer3.6.conv1.weight")
                .unwrap_err()
                .contains("stage 3")
        );
    }

    #[test]
    fn a_part_that_would_be_left_out_is_named() {
        let vit = ClipConfig::vit_b_16();
        for name in [
            "visual.transformer.resblocks.0.ls_1.gamma",
            "visual.attn_pool.query",
            "visual.conv1.bias",
            "text_projection.bias",
            "text_decoder.ln_final.weight",
        ] {
            let text = says(&vit, name).unwrap_err();
            assert!(text.contains(name) && text.contains("[2, 3]"), "{text}");
        }
    }
}
