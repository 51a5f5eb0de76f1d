//! Hand-written prompts.

use crate::clip::Tokenizer;

/// The template of MCM and of CLIP's own examples.
pub const PHOTO: &str = "a photo of a {}.";

/// Prompts that say an image does not show a class, of the kind that CLIPN's "no" prompts begin from.
pub const NO: [&str; 4] = [
    "a photo without a {}.",
    "a photo of no {}.",
    "not a photo of a {}.",
    "looks like but is not a {}.",
];

/// The template of NegLabel and CSP, for class names and labels alike.
pub const NAMED: &str = "the nice {}.";

/// The seven templates that OpenAI's prompt-engineering notebook found to carry most of the
/// gain of its eighty.
pub const ENSEMBLE: [&str; 7] = [
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
];

/// Token ids of every name in `template` (`{}` stands for the name), `[SOS] … [EOS]`.
pub fn tokenize<S: AsRef<str>>(
    tokenizer: &Tokenizer,
    template: &str,
    names: &[S],
    context_length: usize,
) -> Vec<Vec<u32>> {
    names
        .iter()
        .map(|name| tokenizer.tokenize(&template.replace("{}", name.as_ref()), context_length))
        .collect()
}
