//! Settings chosen by in-distribution data alone.
//!
//! Some ID classes are taken out of the class list, and their held-out images play the
//! out-of-distribution part; every class takes its turn. No set that is reported is looked at.

use anyhow::{Context, Result};
use rayon::prelude::*;
use serde::Serialize;
use shared::metric::{auroc, fpr_at_tpr};
use shared::score::{Input, Method, MethodSettings, Similarities, SimilarityBuffer};

use super::batches::shuffled;
use super::experiment::ImageSet;
use super::labels::LabelPool;

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
/// the highest temperature, among equal temperatures the best, and among equals the one with the least
/// weight of negatives and of mined labels.
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
            let weight = |of: &Candidate| {
                let mined = of.settings.mined.map_or(0.0, |mined| mined.weight);
                (of.settings.negative_weight, mined)
            };
            let (of_a, of_b) = (weight(a), weight(b));
            temperature
                .then(a.criterion().total_cmp(&b.criterion()))
                .then(of_b.0.total_cmp(&of_a.0))
                .then(of_b.1.total_cmp(&of_a.1))
        })
}

/// Measures each of `settings` with classes left out.
///
/// `similarities` are those of the calibration images with all classes, and with all words of
/// `pool` where there is one: its negative labels are mined anew for the classes that are kept, so
/// that names near a left-out class are among them as they are for a class nobody knew of.
/// A part without an image of a kept class, or without one of a left-out class, measures nothing and is
/// passed over; when that is every part, as with very few classes or images, there is nothing to choose
/// by, and the result is empty.
pub fn measure(
    method: &dyn Method,
    settings: &[MethodSettings],
    similarities: &SimilarityBuffer,
    calibration: &ImageSet,
    classes: usize,
    pool: Option<&LabelPool>,
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
    let mined: Vec<Vec<usize>> = kept
        .iter()
        .map(|kept| pool.map_or(Vec::new(), |pool| pool.mine(kept)))
        .collect();
    settings
        .par_iter()
        .map(|&setting| {
            let rates = kept
                .iter()
                .zip(&mined)
                .filter(|(kept, _)| measures_something(kept, &calibration.labels))
                .map(|(kept, mined)| {
                    let (inside, outside) =
                        scores(method, setting, similarities, calibration, kept, mined)?;
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

/// Scores of the images of kept classes and of left-out ones, with the kept classes' prompts and
/// the mined words only.
fn scores(
    method: &dyn Method,
    settings: MethodSettings,
    similarities: &SimilarityBuffer,
    images: &ImageSet,
    kept: &[usize],
    mined: &[usize],
) -> Result<(Vec<f64>, Vec<f64>)> {
    let rows = similarities.rows();
    let (mut inside, mut outside) = (Vec::new(), Vec::new());
    let classes = images.labels.iter().max().map_or(0, |&label| label + 1);
    let mut is_kept = vec![false; classes];
    kept.iter().for_each(|&class| {
        if let Some(is_kept) = is_kept.get_mut(class) {
            *is_kept = true;
        }
    });
    for image in 0..rows.rows {
        let row = rows.row(image)?;
        // One probability a class stands in every group of values by class.
        let group = method.class_probabilities(&row, &settings)?.len();
        let values: Vec<Vec<f32>> = method
            .needs()
            .iter()
            .map(|&input| {
                let of = |group: &[f32], places: &[usize]| -> Vec<f32> {
                    let place = |&place: &usize| group.get(place).copied();
                    places.iter().filter_map(place).collect()
                };
                match input {
                    Input::Mined => of(row.get(input), mined),
                    input if input.is_by_class() => row
                        .get(input)
                        .chunks_exact(group.max(1))
                        .flat_map(|group| of(group, kept))
                        .collect(),
                    input => row.get(input).to_vec(),
                }
            })
            .collect();
        let restricted = method.needs().iter().zip(&values).fold(
            Similarities::new(row.logit_scale),
            |all, (&input, values)| all.with(input, values),
        );
        let score = method.score(&restricted, &settings)?;
        let label = *images
            .labels
            .get(image)
            .context("a calibration image without a class")?;
        if is_kept.get(label).copied().unwrap_or_default() {
            inside.push(score)
        } else {
            outside.push(score)
        }
    }
    Ok((inside, outside))
}

#[cfg(test)]
mod tests {
    use shared::score::{ClassFeatures, MinedSettings, NegPrompt};

    use super::*;

    fn candidate(temperature: f32, auroc: f64, fpr95: f64) -> Candidate {
        Candidate {
            settings: MethodSettings::at_temperature(temperature),
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
            measure(&NegPrompt, &settings, &similarities, &images, 2, None, 0).unwrap()
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

    #[test]
    fn what_is_equal_goes_to_the_least_weight() {
        let weighted = |negative_weight, mined| {
            let mut candidate = candidate(1.0, 1.0, 0.0);
            candidate.settings.negative_weight = negative_weight;
            candidate.settings.mined = Some(MinedSettings {
                weight: mined,
                temperature: 0.1,
            });
            candidate
        };
        let equal = [
            weighted(0.3, 0.0),
            weighted(0.1, 0.3),
            weighted(0.1, 0.0),
            weighted(3.0, 1.0),
        ];
        for start in 0..equal.len() {
            let turned = [&equal[start..], &equal[..start]].concat();
            let settings = choose(&turned).unwrap().settings;
            assert_eq!(settings.negative_weight, 0.1);
            assert_eq!(settings.mined.unwrap().weight, 0.0);
        }
    }
}
