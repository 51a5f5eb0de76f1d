//! Zero-shot accuracy of what was made.

use std::path::Path;

use anyhow::Result;
use burn::tensor::Tensor;

use super::card::{Facts, Measured};
use super::concepts::Concepts;
use super::matrix::{matrix, values};
use super::photos::{LockedTower, Photos};
use super::run::Run;
use super::space::{Space, Teacher};
use super::templates::ENSEMBLE;
use crate::data::{self, Split};
use crate::progress::say;

/// What zero-shot accuracy is measured with.
pub struct Measurement<'a> {
    pub run: &'a Run,
    pub locked: &'a LockedTower,
    pub concepts: &'a Concepts,
    pub teacher: &'a Teacher,
}

impl Measurement<'_> {
    /// Zero-shot accuracy on held-out photos, which nothing was learned from.
    pub fn measure(
        &self,
        space: &Space,
        features: &[Tensor<2>; 2],
        mut facts: Facts,
        labelled: &data::Dataset,
    ) -> Result<Facts> {
        let Self {
            run,
            locked,
            concepts,
            ..
        } = self;
        if labelled.is_split() {
            let photos = locked.pooled(
                &labelled.split(Split::Test)?,
                "test",
                &run.work,
                &run.device,
            )?;
            let names: Vec<_> = concepts
                .photographed
                .iter()
                .map(|class| class.name.as_str())
                .collect();
            let labels = photos.labels_among(&names)?;
            let rows = concepts.photographed_rows();
            let top1 = self.zero_shot(space, features, &photos, &labels, &rows)?;
            say(&format!("held-out photos: {}", shown_rates(top1)));
            facts.held_out = Some(Measured {
                folder: folder_name(&run.data),
                photos: photos.len(),
                names: rows.len(),
                top1,
            });
        }
        if let Some(path) = &run.measure {
            let set = data::open_unlabelled(path)?;
            let photos = locked.pooled(&set, "measure", &run.work, &run.device)?;
            let labels = photos.labels_by_synset(&concepts.synsets())?;
            let rows: Vec<usize> = (0..concepts.imagenet.len()).collect();
            let top1 = self.zero_shot(space, features, &photos, &labels, &rows)?;
            say(&format!("{} names: {}", rows.len(), shown_rates(top1)));
            let pooled = matrix(
                photos.features.clone(),
                photos.len(),
                locked.width(),
                &run.device,
            );
            let weight = matrix(
                locked.weight.clone(),
                rows.len(),
                locked.width(),
                &run.device,
            );
            let bias = matrix(locked.bias.clone(), 1, rows.len(), &run.device);
            let classifier = top1_of(pooled.matmul(weight.transpose()) + bias, &labels)?;
            let measured = Measured {
                folder: folder_name(path),
                photos: photos.len(),
                names: rows.len(),
                top1,
            };
            facts.measured = Some((measured, classifier));
        }
        Ok(facts)
    }

    /// Top-1 over the names of `rows` with one template and with the ensemble.
    fn zero_shot(
        &self,
        space: &Space,
        features: &[Tensor<2>; 2],
        photos: &Photos,
        labels: &[usize],
        rows: &[usize],
    ) -> Result<[f64; 2]> {
        let device = &self.run.device;
        let pooled = matrix(
            photos.features.clone(),
            photos.len(),
            self.locked.width(),
            device,
        );
        let images = self.teacher.image_features(space, pooled);
        let top1 = |text: &Tensor<2>| {
            let text = super::matrix::rows(text, rows);
            top1_of(images.clone().matmul(text.transpose()), labels)
        };
        Ok([top1(&features[0])?, top1(&features[1])?])
    }
}

/// The name of a folder of photos, without the way to it: cards are published.
pub fn folder_name(path: &Path) -> String {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    whole.file_name().map_or_else(
        || "/".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}

fn shown_rates([single, ensemble]: [f64; 2]) -> String {
    format!(
        "{:.1} % top-1 with one template, {:.1} % with {}",
        single * 100.0,
        ensemble * 100.0,
        ENSEMBLE.len()
    )
}

/// Share of rows of `scores` `[photos, classes]` whose largest entry is at the label.
fn top1_of(scores: Tensor<2>, labels: &[usize]) -> Result<f64> {
    let [_, classes] = scores.dims();
    let scores = values(scores)?;
    let right = scores
        .chunks_exact(classes)
        .zip(labels)
        .filter(|(row, label)| {
            // The first of equal scores, as argmax has it.
            let best = row
                .iter()
                .enumerate()
                .fold(0, |best, (at, s)| if *s > row[best] { at } else { best });
            best == **label
        });
    Ok(right.count() as f64 / labels.len().max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn the_first_of_equal_scores_counts() {
        let scores = matrix(vec![1.0, 1.0, 0.0, 0.0, 2.0, 1.0], 2, 3, &Device::flex());
        assert_eq!(top1_of(scores.clone(), &[0, 1]).unwrap(), 1.0);
        assert_eq!(top1_of(scores, &[1, 1]).unwrap(), 0.5);
    }
}
