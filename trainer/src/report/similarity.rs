//! How near images are to the positive and to the negative prompts (the paper's Fig. 3).

use anyhow::Result;
use shared::bundle::Histogram;
use shared::score::{Input, ScoreError, SimilarityRows};

use super::figures::SimilarityFigure;

const BINS: usize = 48;

/// For each image of a set, the largest cosine with any positive and with any negative prompt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PromptSimilarities {
    pub positive: Vec<f64>,
    /// Empty where there are no negative prompts.
    pub negative: Vec<f64>,
}

impl PromptSimilarities {
    /// Takes in more images.
    pub fn extend(&mut self, rows: &SimilarityRows) -> Result<(), ScoreError> {
        for index in 0..rows.rows {
            let row = rows.row(index)?;
            self.positive.extend(largest(row.get(Input::Positive)));
            self.negative.extend(largest(row.get(Input::Negative)));
        }
        Ok(())
    }
}

/// One figure for the positive prompts and one for the negative ones, each with a series a set;
/// the first set is the ID one. Kinds of prompts that are not there have no figure.
pub fn similarity_figures(sets: &[(&str, &PromptSimilarities)]) -> Result<Vec<SimilarityFigure>> {
    let mut figures = Vec::new();
    let mut figure = |title, axis, of: fn(&PromptSimilarities) -> &[f64]| -> Result<()> {
        let series: Vec<_> = sets.iter().map(|&(name, set)| (name, of(set))).collect();
        if !series.is_empty() && series.iter().all(|(_, values)| !values.is_empty()) {
            let histogram = Histogram::measure(title, axis, BINS, &series)?;
            figures.push(SimilarityFigure { histogram });
        }
        Ok(())
    };
    figure(
        "Positive prompts",
        "largest cosine with a positive prompt",
        |set| &set.positive,
    )?;
    figure(
        "Negative prompts",
        "largest cosine with a negative prompt",
        |set| &set.negative,
    )?;
    Ok(figures)
}

fn largest(cosines: &[f32]) -> Option<f64> {
    cosines.iter().copied().reduce(f32::max).map(f64::from)
}
