//! CLIPN's text tower for what an image does not show.
//!
//! A text tower beside CLIP's own, of the same shape, and begun from its weights. It reads the same
//! prompts; what turns them into their opposites are its weights, and "no" prompts that are added to
//! the embeddings of all positions.
//!
//! Source: Wang et al., *CLIPN for Zero-Shot OOD Detection: Teaching CLIP to Say No*, ICCV 2023; the
//! use of the "no" prompts is that of its released code.

use burn::module::{Module, Param};
use burn::tensor::{Int, Tensor, TensorData};

use super::config::TextTowerConfig;
use super::import::NO_PROMPTS;
use super::text::TextTower;
use super::weights::{WeightError, Weights};

/// A text tower with "no" prompts.
#[derive(Module, Debug)]
pub struct NoTextTower {
    tower: TextTower,
    /// `[prompts, context_length, width]`; none where the prompts are written by hand.
    prompts: Option<Param<Tensor<3>>>,
}

impl NoTextTower {
    /// A tower with "no" prompts `[prompts, context_length, width]`, or without any.
    pub fn new(tower: TextTower, prompts: Option<Tensor<3>>) -> Self {
        Self {
            tower,
            prompts: prompts.map(Param::from_tensor),
        }
    }

    /// Reads the tower under the names of a text tower, and its prompts.
    ///
    /// # Errors
    /// Names the first tensor that is missing or of another shape.
    pub fn load(
        weights: &Weights,
        config: &TextTowerConfig,
        embed_dim: usize,
    ) -> Result<Self, WeightError> {
        let tower = TextTower::load(weights, config, embed_dim)?;
        let prompts = weights
            .leading(NO_PROMPTS)
            .map(|count| weights.tensor(NO_PROMPTS, [count, config.context_length, config.width]))
            .transpose()?;
        Ok(Self::new(tower, prompts))
    }

    /// The tower without its prompts.
    pub fn tower(&self) -> &TextTower {
        &self.tower
    }

    /// The learned prompts, `[prompts, context_length, width]`.
    pub fn prompts(&self) -> Option<Tensor<3>> {
        self.prompts.as_ref().map(|prompts| prompts.val())
    }

    /// Token ids of whole prompts (`[SOS] … [EOS]`, any lengths), with the mean of the "no" prompts →
    /// text features `[prompts, embed_dim]`, not normalised.
    pub fn forward(&self, prompts: &[Vec<u32>]) -> Tensor<2> {
        let (embeddings, ends) = self.tower.embed_prompts(prompts);
        let embeddings = match &self.prompts {
            Some(no) => {
                let tokens = embeddings.dims()[1];
                embeddings + no.val().mean_dim(0).narrow(1, 0, tokens)
            }
            None => embeddings,
        };
        self.tower.forward_embeddings(embeddings, &ends)
    }

    /// The same with one "no" prompt for each row, their mean where `drawn` is their number: what
    /// training sees.
    pub fn forward_with(&self, prompts: &[Vec<u32>], drawn: &[usize]) -> Tensor<2> {
        let (embeddings, ends) = self.tower.embed_prompts(prompts);
        let embeddings = match &self.prompts {
            Some(no) => {
                let tokens = embeddings.dims()[1];
                let no = no.val().narrow(1, 0, tokens);
                let all = Tensor::cat(vec![no.clone(), no.mean_dim(0)], 0);
                let drawn: Vec<i32> = drawn.iter().map(|&row| row as i32).collect();
                let count = drawn.len();
                let rows = TensorData::new(drawn, [count]);
                let rows = Tensor::<1, Int>::from_data(rows, &all.device());
                embeddings + all.select(0, rows)
            }
            None => embeddings,
        };
        self.tower.forward_embeddings(embeddings, &ends)
    }
}
