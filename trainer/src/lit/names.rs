//! All class names at once against images: what a zero-shot classifier of these names gets wrong.
//!
//! Captions teach one at a time where a sentence points. Here the names compete, as they will when
//! they are used: the text features of every name behind one plain sentence are the classifier, and
//! it is distilled from the tower's own (locked-image tuning proper, with synthetic features in the
//! place of ImageNet's photos).

use anyhow::Result;
use burn::tensor::Tensor;
use shared::clip::text::TextTower;
use shared::clip::{Tokenizer, normalize};
use shared::prompt::PromptEncoder;

use super::concepts::Concepts;
use super::random::Random;
use super::space::{Space, Teacher};
use super::templates::ENSEMBLE;
use super::train::noisy;

/// The names, their sentences, and the images they are held against.
pub struct Names<'a> {
    teacher: &'a Teacher,
    space: Space,
    /// Token ids in front of the names; one of them is drawn at a step.
    contexts: Vec<Vec<u32>>,
    /// One for each context, as its length decides how much of a name fits behind it.
    encoders: Vec<PromptEncoder>,
}

impl<'a> Names<'a> {
    /// Names of all prototypes behind the sentences of the zero-shot ensemble.
    pub fn new(
        concepts: &Concepts,
        tokenizer: &Tokenizer,
        tower: &TextTower,
        teacher: &'a Teacher,
        space: &Space,
    ) -> Self {
        let names = concepts.prototype_names();
        let contexts: Vec<Vec<u32>> = ENSEMBLE
            .iter()
            .filter_map(|sentence| sentence.split_once("{}"))
            .map(|(head, _)| tokenizer.encode(head.trim()))
            .filter(|context| !context.is_empty())
            .collect();
        let encoders = contexts
            .iter()
            .map(|context| PromptEncoder::new(tower, tokenizer, &names, context.len()))
            .collect();
        Self {
            teacher,
            space: space.constant(),
            contexts,
            encoders,
        }
    }

    /// [`Teacher::loss`] of the tower's own features of the names.
    pub fn loss(&self, tower: &TextTower, random: &mut Random) -> Result<Tensor<1>> {
        let drawn = random.below(self.contexts.len());
        let context = noisy(tower.embed(&self.contexts[drawn], 1), 0, random);
        let features = self.encoders[drawn].encode(tower, context);
        let [_, names, d] = features.dims();
        let text = normalize(features.reshape([names, d]));
        self.teacher.loss(&self.space, text, false, random)
    }
}
