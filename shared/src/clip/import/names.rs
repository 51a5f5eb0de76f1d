//! Names of the published formats, mapped to canonical ones by burn-store's key remapping.

use burn_store::KeyRemapper;
use burn_store::burn_pack::Tensor as StoredTensor;

use super::ImportError;
use crate::bundle::{TensorValues, Tensors};
use crate::clip::config::Activation;

/// Marks a projection that `transformers` stores as a linear layer, `[outputs, inputs]`.
const TRANSPOSED: &str = ".transposed";

/// The namings that published checkpoints use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// OpenAI's state dict; open_clip's is the same, sometimes below `module.` or `text.`, and
    /// TinyCLIP's below `_image_encoder.` and `_text_encoder.`.
    OpenAi,
    /// Hugging Face `transformers`' `CLIPModel`.
    Transformers,
    /// `efficientnet-lite-pytorch`.
    EfficientNetLite,
}

impl Naming {
    /// Tells the naming by one tensor that each format must have.
    pub fn of(tensors: &[StoredTensor]) -> Option<Self> {
        let has = |needle: &str| tensors.iter().any(|tensor| tensor.name.contains(needle));
        if has("_conv_stem.") && has("_conv_head.") {
            Some(Self::EfficientNetLite)
        } else if has("text_model.") || has("vision_model.") {
            Some(Self::Transformers)
        } else if has("resblocks.") || has("attnpool.") {
            Some(Self::OpenAi)
        } else {
            None
        }
    }

    /// Epsilon of the batch norms in checkpoints of this naming.
    pub fn batch_norm_epsilon(self) -> f32 {
        match self {
            Self::EfficientNetLite => 1e-3,
            Self::OpenAi | Self::Transformers => 1e-5,
        }
    }

    /// The patterns, applied in order, each to the result of the one before.
    pub fn remapper(self) -> KeyRemapper {
        let patterns: &[(&str, &str)] = match self {
            Self::OpenAi => &[
                (r"^module\.", ""),
                (r"^text\.", ""),
                // TinyCLIP keeps the two towers and the scale in modules of their own.
                (
                    r"^_(image_encoder|text_encoder|logit_scale)\.(module\.)?",
                    "",
                ),
                (r"^(visual\..*)bn(\d)\.", "${1}conv${2}.norm."),
                (r"downsample\.1\.", "downsample.0.norm."),
            ],
            Self::Transformers => &[
                (
                    r"^text_model\.embeddings\.position_embedding\.weight$",
                    "positional_embedding",
                ),
                (r"^text_model\.embeddings\.", ""),
                (r"^text_model\.final_layer_norm\.", "ln_final."),
                (r"^text_model\.encoder\.layers\.", "transformer.resblocks."),
                (
                    r"^vision_model\.embeddings\.class_embedding$",
                    "visual.class_embedding",
                ),
                (
                    r"^vision_model\.embeddings\.patch_embedding\.",
                    "visual.conv1.",
                ),
                (
                    r"^vision_model\.embeddings\.position_embedding\.weight$",
                    "visual.positional_embedding",
                ),
                // The published models really spell it so.
                (r"^vision_model\.pre_layrnorm\.", "visual.ln_pre."),
                (r"^vision_model\.pre_layernorm\.", "visual.ln_pre."),
                (r"^vision_model\.post_layernorm\.", "visual.ln_post."),
                (
                    r"^vision_model\.encoder\.layers\.",
                    "visual.transformer.resblocks.",
                ),
                (r"\.self_attn\.", ".attn."),
                (r"\.layer_norm(\d)\.", ".ln_${1}."),
                (r"\.mlp\.fc1\.", ".mlp.c_fc."),
                (r"\.mlp\.fc2\.", ".mlp.c_proj."),
                (r"^text_projection\.weight$", "text_projection.transposed"),
                (r"^visual_projection\.weight$", "visual.proj.transposed"),
            ],
            Self::EfficientNetLite => &[
                (r"^module\.", ""),
                (r"^_conv_stem\.", "visual.stem."),
                (r"^_bn0\.", "visual.stem.norm."),
                (r"^_conv_head\.", "visual.head."),
                (r"^_bn1\.", "visual.head.norm."),
                (r"^_fc\.", "classifier."),
                (r"^_blocks\.(\d+)\.", "visual.blocks.${1}."),
                (r"\._expand_conv\.", ".expand."),
                (r"\._bn0\.", ".expand.norm."),
                (r"\._depthwise_conv\.", ".depthwise."),
                (r"\._bn1\.", ".depthwise.norm."),
                (r"\._project_conv\.", ".project."),
                (r"\._bn2\.", ".project.norm."),
            ],
        };
        // The patterns are constants; the test below compiles every one of them.
        KeyRemapper::from_patterns(patterns.to_vec()).unwrap_or_default()
    }
}

/// The activation, where the names of a file's tensors tell whose model it is.
pub fn activation(tensors: &[StoredTensor]) -> Option<Activation> {
    let has = |start: &str| {
        let mut names = tensors.iter().map(|tensor| tensor.name.as_str());
        names.any(|name| name.trim_start_matches("module.").starts_with(start))
    };
    if has("_image_encoder.") {
        // None of TinyCLIP's configurations asks for QuickGELU, and GELU is what they take then.
        Some(Activation::Gelu)
    } else if has("input_resolution") {
        // The state dicts of OpenAI's own archives carry the sizes of the model; no others do.
        Some(Activation::QuickGelu)
    } else {
        None
    }
}

/// Stacks `transformers`' separate query, key and value projections into `in_proj_*`.
pub fn fuse_attention(tensors: &mut Tensors) -> Result<(), ImportError> {
    let blocks: Vec<String> = tensors
        .keys()
        .filter(|name| name.contains(".resblocks."))
        .filter_map(|name| name.strip_suffix("q_proj.weight").map(str::to_owned))
        .collect();
    for block in blocks {
        for kind in ["weight", "bias"] {
            let mut shape = Vec::new();
            let mut values = Vec::new();
            for part in ["q_proj", "k_proj", "v_proj"] {
                let name = format!("{block}{part}.{kind}");
                let tensor = tensors
                    .remove(&name)
                    .ok_or_else(|| ImportError::Incomplete {
                        present: format!("{block}q_proj.weight"),
                        missing: name.clone(),
                    })?;
                if !shape.is_empty() && shape != tensor.shape {
                    return Err(ImportError::Shape {
                        name,
                        found: tensor.shape,
                        fits: format!("`{block}q_proj.{kind}` {shape:?}"),
                    });
                }
                shape = tensor.shape;
                values.extend(tensor.values);
            }
            if let Some(rows) = shape.first_mut() {
                *rows *= 3;
            }
            tensors.insert(
                format!("{block}in_proj_{kind}"),
                TensorValues { shape, values },
            );
        }
    }
    Ok(())
}

/// Turns projections stored as linear layers into OpenAI's `[width, embed_dim]`.
pub fn transpose_projections(tensors: &mut Tensors) -> Result<(), ImportError> {
    let names: Vec<String> = tensors
        .keys()
        .filter(|name| name.ends_with(TRANSPOSED))
        .cloned()
        .collect();
    for name in names {
        let Some(tensor) = tensors.remove(&name) else {
            continue;
        };
        let &[rows, columns] = tensor.shape.as_slice() else {
            return Err(ImportError::Shape {
                name,
                found: tensor.shape,
                fits: "a matrix [embed_dim, width]".into(),
            });
        };
        let values = (0..columns)
            .flat_map(|column| (0..rows).map(move |row| (row, column)))
            .map(|(row, column)| tensor.values[row * columns + column])
            .collect();
        let canonical = name.trim_end_matches(TRANSPOSED).to_owned();
        tensors.insert(
            canonical,
            TensorValues {
                shape: vec![columns, rows],
                values,
            },
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles() {
        for naming in [
            Naming::OpenAi,
            Naming::Transformers,
            Naming::EfficientNetLite,
        ] {
            assert!(!naming.remapper().is_empty(), "{naming:?}");
        }
    }

    #[test]
    fn projections_are_transposed() {
        let stored = TensorValues {
            shape: vec![2, 3],
            values: vec![1., 2., 3., 4., 5., 6.],
        };
        let mut tensors = Tensors::from([("text_projection.transposed".to_owned(), stored)]);
        transpose_projections(&mut tensors).expect("a matrix");
        assert_eq!(tensors["text_projection"].shape, [3, 2]);
        assert_eq!(tensors["text_projection"].values, [1., 4., 2., 5., 3., 6.]);
    }
}
