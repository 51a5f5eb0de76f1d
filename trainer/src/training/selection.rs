//! Settings chosen by in-distribution data alone.
//!
//! Some ID classes are taken out of the class list, and their held-out images play the
//! out-of-distribution part; every class takes its turn. No set that is reported is looked at.

use anyhow::{Context, Result};
use serde::Serialize;
use shared::metric::{auroc, fpr_at_tpr};
use shared::score::{Method, MethodSettings, Similarities, SimilarityBuffer};

use super::batches::shuffled;
use super::experiment::ImageSet;

/// Parts that the classes are dealt into; each is left out once.
const FOLDS: usize = 5;
/// Times that the classes are dealt anew.
const DEALS: usize = 4;

/// How one setting did with classes left out.
#[derive(Clone, Debug, Serialize)]
pub struct Candidate {
    /// The setting.
    pub settings: MethodSettings,
    /// Mean AUROC of kept against left-out classes.
    pub auroc: f64,
    /// Mean false-positive rate at 95 % of the kept classes.
    pub fpr95: f64,
    /// Standard error of AUROC − FPR95 over the parts left out.
    pub standard_error: f64,
}

impl Candidate {
    /// AUROC − FPR95: both numbers of the table, one against the other.
    pub fn criterion(&self) -> f64 {
        self.auroc - self.fpr95
    }
}

/// The choice among `candidates`: of those within one standard error of the best, the one with
/// the highest temperature, and among equal temperatures the best.
///
/// With classes left out, good settings differ by less than chance; the one-standard-error rule
/// (Breiman et al., 1984) then takes the simplest. Simplest here is the flattest softmax: at high
/// temperature the score is nearest to MCM's, which has no setting at all.
pub fn choose(candidates: &[Candidate]) -> Option<&Candidate> {
    let best = candidates
        .iter()
        .max_by(|a, b| a.criterion().total_cmp(&b.criterion()))?;
    let bar = best.criterion() - best.standard_error;
    candidates
        .iter()
        .filter(|candidate| candidate.criterion() >= bar)
        .max_by(|a, b| {
            let temperature = a.settings.temperature.total_cmp(&b.settings.temperature);
            temperature.then(a.criterion().total_cmp(&b.criterion()))
        })
}

/// Measures each of `settings` with classes left out.
///
/// `similarities` are those of the calibration images with all classes. A part without an image of
/// a kept class, or without one of a left-out class, measures nothing and is passed over; when that
/// is every part, as with very few classes or images, there is nothing to choose by, and the result
/// is empty.
pub fn measure(
    method: &dyn Method,
    settings: &[MethodSettings],
    similarities: &SimilarityBuffer,
    calibration: &ImageSet,
    classes: usize,
    seed: u64,
) -> Result<Vec<Candidate>> {
    let kept: Vec<Vec<usize>> = (0..DEALS)
        .flat_map(|deal| {
            let order = shuffled(classes, seed ^ 0x5E1E_C710 ^ ((deal as u64) << 40));
            (0..FOLDS).map(move |fold| {
                let mut kept: Vec<usize> = order
                    .iter()
                    .enumerate()
                    .filter(|(place, _)| place % FOLDS != fold)
                    .map(|(_, &class)| class)
                    .collect();
                kept.sort_unstable();
                kept
            })
        })
        .collect();
    settings
        .iter()
        .map(|&setting| {
            let rates = kept
                .iter()
                .filter(|kept| measures_something(kept, &calibration.labels))
                .map(|kept| {
                    let (inside, outside) =
                        scores(method, setting, similarities, calibration, kept)?;
                    Ok((
                        auroc(&inside, &outside)?,
                        fpr_at_tpr(&inside, &outside, 0.95)?,
                    ))
                })
                .collect::<Result<Vec<(f64, f64)>>>()?;
            if rates.is_empty() {
                return Ok(None);
            }
            let count = rates.len() as f64;
            let mean = |of: fn(&(f64, f64)) -> f64| rates.iter().map(of).sum::<f64>() / count;
            let (auroc, fpr95) = (mean(|rate| rate.0), mean(|rate| rate.1));
            let squares = rates
                .iter()
                .map(|rate| (rate.0 - rate.1 - (auroc - fpr95)).powi(2))
                .sum::<f64>();
            let standard_error = (squares / (count - 1.0).max(1.0) / count).sqrt();
            Ok(Some(Candidate {
                settings: setting,
                auroc,
                fpr95,
                standard_error,
            }))
        })
        .filter_map(Result::transpose)
        .collect()
}

/// Whether there are images on both sides.
fn measures_something(kept: &[usize], labels: &[usize]) -> bool {
    let inside = labels.iter().filter(|label| kept.contains(label)).count();
    inside > 0 && inside < labels.len()
}

/// Scores of the images of kept classes and of left-out ones, with the kept classes' prompts only.
fn scores(
    method: &dyn Method,
    settings: MethodSettings,
    similarities: &SimilarityBuffer,
    images: &ImageSet,
    kept: &[usize],
) -> Result<(Vec<f64>, Vec<f64>)> {
    let rows = similarities.rows();
    let (mut inside, mut outside) = (Vec::new(), Vec::new());
    for image in 0..rows.rows {
        let row = rows.row(image)?;
        let only = |values: &[f32]| -> Vec<f32> {
            let classes = row.positive.len().max(1);
            values
                .chunks_exact(classes)
                .flat_map(|group| kept.iter().filter_map(|&class| group.get(class).copied()))
                .collect()
        };
        let (positive, negative) = (only(row.positive), only(row.negative));
        let (zero_shot, probe) = (only(row.zero_shot), only(row.probe));
        let restricted = Similarities {
            positive: &positive,
            negative: &negative,
            zero_shot: &zero_shot,
            probe: &probe,
            ..row
        };
        let score = method.score(&restricted, &settings)?;
        let label = *images
            .labels
            .get(image)
            .context("a calibration image without a class")?;
        if kept.contains(&label) {
            inside.push(score)
        } else {
            outside.push(score)
        }
    }
    Ok((inside, outside))
}

#[cfg(test)]
mod tests {
    use shared::score::{ClassFeatures, NegPrompt};

    use super::*;

    fn candidate(temperature: f32, auroc: f64, fpr95: f64) -> Candidate {
        let settings = MethodSettings {
            temperature,
            negative_weight: 1.0,
        };
        Candidate {
            settings,
            auroc,
            fpr95,
            standard_error: 0.01,
        }
    }

    #[test]
    fn parts_without_images_on_both_sides_are_passed_over() {
        let classes = ClassFeatures {
            embed_dim: 2,
            logit_scale: 10.0,
            positive: vec![1.0, 0.0, 0.0, 1.0],
            negative: vec![-1.0, 0.0, 0.0, -1.0],
            ..Default::default()
        };
        let settings = [MethodSettings::at_temperature(0.1)];
        let measured = |labels: Vec<usize>, features: &[f32]| {
            let images = ImageSet {
                images: labels.len(),
                labels,
                ..Default::default()
            };
            let similarities = classes.similarities_all(features).unwrap();
            measure(&NegPrompt, &settings, &similarities, &images, 2, 0).unwrap()
        };
        // Two classes dealt into five parts: three parts are empty, and once were an error.
        let both = measured(vec![0, 1, 0], &[0.9, 0.1, 0.1, 0.9, 0.8, 0.3]);
        assert!(both.len() == 1 && both[0].auroc.is_finite(), "{both:?}");
        // All images of one class: whatever is left out, one side stays empty.
        assert!(measured(vec![0], &[0.9, 0.1]).is_empty());
    }

    #[test]
    fn a_difference_within_chance_goes_to_the_higher_temperature() {
        let close = [candidate(0.1, 0.99, 0.02), candidate(1.0, 0.985, 0.02)];
        assert_eq!(
            choose(&close).map(|chosen| chosen.settings.temperature),
            Some(1.0)
        );
        let clear = [candidate(0.1, 0.99, 0.02), candidate(1.0, 0.90, 0.20)];
        assert_eq!(
            choose(&clear).map(|chosen| chosen.settings.temperature),
            Some(0.1)
        );
        assert!(choose(&[]).is_none());
    }
}
