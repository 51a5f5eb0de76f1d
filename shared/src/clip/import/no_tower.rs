//! CLIPN's second text tower in a checkpoint: the names of the first, each with `_no`.
//!
//! Source: Wang et al., *CLIPN for Zero-Shot OOD Detection: Teaching CLIP to Say No*, ICCV 2023, and
//! its released checkpoints.

use crate::bundle::Tensors;

/// What comes before the rest of a name, with and without `_no`.
const STEMS: [(&str, &str); 5] = [
    ("transformer_no.", "transformer."),
    ("token_embedding_no.", "token_embedding."),
    ("positional_embedding_no", "positional_embedding"),
    ("ln_final_no.", "ln_final."),
    ("text_projection_no", "text_projection"),
];

/// The learned "no" prompts: `[prompts, context_length, width]`.
pub const PROMPTS: &str = "prompt_no";

/// Takes the "no" tower out of a checkpoint's tensors, under the names of a text tower, with the
/// learned prompts as [`PROMPTS`] where there are any; none where the checkpoint has no such tower.
pub fn take_no_tower(tensors: &mut Tensors) -> Option<Tensors> {
    let mut tower = Tensors::new();
    for (name, tensor) in std::mem::take(tensors) {
        let stem = STEMS.iter().find(|(stem, _)| name.starts_with(stem));
        if let Some((stem, plain)) = stem {
            tower.insert(format!("{plain}{}", &name[stem.len()..]), tensor);
        } else if name == PROMPTS {
            tower.insert(name, tensor);
        } else {
            tensors.insert(name, tensor);
        }
    }
    (!tower.is_empty()).then_some(tower)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::TensorValues;

    #[test]
    fn the_second_tower_comes_out_under_the_names_of_the_first() {
        let names = [
            "transformer.resblocks.0.ln_1.weight",
            "transformer_no.resblocks.0.ln_1.weight",
            "text_projection",
            "text_projection_no",
            "prompt_no",
        ];
        let value = |name: &str| TensorValues {
            shape: vec![1],
            values: vec![name.len() as f32],
        };
        let mut tensors: Tensors = names
            .iter()
            .map(|&name| (name.to_owned(), value(name)))
            .collect();
        let tower = take_no_tower(&mut tensors).unwrap();
        let found: Vec<&String> = tower.keys().collect();
        assert_eq!(
            found,
            [
                "prompt_no",
                "text_projection",
                "transformer.resblocks.0.ln_1.weight"
            ]
        );
        assert_eq!(tower["text_projection"], value("text_projection_no"));
        assert_eq!(tensors.len(), 2);
        assert!(take_no_tower(&mut tensors).is_none());
    }
}
