//! Images and prompts in two dimensions (the paper's Fig. 4), by exact t-SNE.
//!
//! Source: *Visualizing Data using t-SNE* (van der Maaten and Hinton, 2008). Exact rather than
//! by trees: a map of some hundred points takes a second, and its seed repeats it bit for bit.

use anyhow::Result;
use shared::bundle::{MapPoint, TensorValues};

use super::batches::{shuffled, unit_rows};
use super::experiment::{Experiment, ImageSet};
use super::run::Learned;

/// Images of each kind on the map.
const IMAGES: usize = 160;
/// Prompts of each kind on the map.
const PROMPTS: usize = 100;
/// Effective number of neighbours of a point.
const PERPLEXITY: f64 = 20.0;
/// Steps of gradient descent; the first quarter with early exaggeration.
const STEPS: usize = 300;

/// Points with the features they stand for.
pub struct FigureMap {
    /// Names of the kinds of points.
    pub series: Vec<String>,
    /// The points.
    pub points: Vec<MapPoint>,
    /// `[points, d]`, unit rows: what new photos are compared with to find their place.
    pub features: TensorValues,
}

/// Lays out ID images, out-of-distribution images, positive and negative prompts.
pub fn lay_out(experiment: &Experiment, learned: &Learned, seed: u64) -> Result<FigureMap> {
    let width = experiment.width;
    let mut features = Vec::new();
    let mut kinds: Vec<(usize, Option<String>)> = Vec::new();
    let name = |class: usize| experiment.classes.get(class).cloned();
    let mut series = vec!["in-distribution images".to_owned()];
    for image in sample(experiment.test.images, IMAGES, seed) {
        features.extend(unit_rows(
            row(&experiment.test.features, image, width),
            width,
        ));
        kinds.push((
            0,
            experiment
                .test
                .labels
                .get(image)
                .and_then(|&class| name(class)),
        ));
    }
    for set in experiment.ood.iter().filter(|set| set.images > 0) {
        series.push(set.name.clone());
        let share = IMAGES / experiment.ood.len().max(1);
        push_ood(
            set,
            share,
            seed,
            series.len() - 1,
            width,
            &mut features,
            &mut kinds,
        );
    }
    let classes = experiment.classes.len();
    let chosen = sample(classes, PROMPTS, seed);
    series.push("positive prompts".into());
    for &class in &chosen {
        features.extend_from_slice(row(&learned.classes.positive, class, width));
        kinds.push((series.len() - 1, name(class)));
    }
    series.push("negative prompts".into());
    let contexts = learned.classes.negative.len() / (classes * width).max(1);
    for &class in &chosen {
        for context in 0..contexts {
            let at = context * classes + class;
            features.extend_from_slice(row(&learned.classes.negative, at, width));
            kinds.push((
                series.len() - 1,
                name(class).map(|name| format!("not {name}")),
            ));
        }
    }
    let places = t_sne(&features, width, seed);
    let points = kinds
        .into_iter()
        .zip(places)
        .map(|((series, label), [x, y])| MapPoint {
            x: x as f32,
            y: y as f32,
            series,
            label,
        })
        .collect::<Vec<_>>();
    let features = TensorValues::new([points.len(), width], features)?;
    Ok(FigureMap {
        series,
        points,
        features,
    })
}

fn push_ood(
    set: &ImageSet,
    share: usize,
    seed: u64,
    series: usize,
    width: usize,
    features: &mut Vec<f32>,
    kinds: &mut Vec<(usize, Option<String>)>,
) {
    for image in sample(set.images, share, seed) {
        features.extend(unit_rows(row(&set.features, image, width), width));
        kinds.push((series, None));
    }
}

fn row(rows: &[f32], index: usize, width: usize) -> &[f32] {
    &rows[index * width..(index + 1) * width]
}

fn sample(count: usize, most: usize, seed: u64) -> Vec<usize> {
    let mut chosen = shuffled(count, seed ^ 0x3A9);
    chosen.truncate(most);
    chosen.sort_unstable();
    chosen
}

/// Unit rows `[n, width]` → `n` places in the square from −1 to 1.
fn t_sne(rows: &[f32], width: usize, seed: u64) -> Vec<[f64; 2]> {
    let n = rows.len() / width.max(1);
    let affinities = symmetric_affinities(rows, width, n);
    let mut places: Vec<[f64; 2]> = shuffled(n, seed)
        .into_iter()
        .map(|turn| {
            // A spiral: spread evenly, no two alike, the same for a seed on every machine.
            let (angle, radius) = (turn as f64 * 2.399_963, 1e-2 * (turn as f64 + 1.0).sqrt());
            [radius * angle.cos(), radius * angle.sin()]
        })
        .collect();
    let mut velocity = vec![[0.0; 2]; n];
    let rate = (n as f64 / 12.0).max(50.0);
    let mut weights = vec![0.0; n * n];
    for step in 0..STEPS {
        let exaggeration = if step < STEPS / 4 { 12.0 } else { 1.0 };
        let momentum = if step < STEPS / 4 { 0.5 } else { 0.8 };
        let mut total = 0.0;
        for i in 0..n {
            for j in 0..i {
                let [dx, dy] = [places[i][0] - places[j][0], places[i][1] - places[j][1]];
                let weight = 1.0 / (1.0 + dx * dx + dy * dy);
                weights[i * n + j] = weight;
                weights[j * n + i] = weight;
                total += 2.0 * weight;
            }
        }
        for i in 0..n {
            let mut gradient = [0.0; 2];
            for j in (0..n).filter(|&j| j != i) {
                let weight = weights[i * n + j];
                let pull = 4.0 * (exaggeration * affinities[i * n + j] - weight / total) * weight;
                gradient[0] += pull * (places[i][0] - places[j][0]);
                gradient[1] += pull * (places[i][1] - places[j][1]);
            }
            for axis in 0..2 {
                velocity[i][axis] = momentum * velocity[i][axis] - rate * gradient[axis];
            }
        }
        for (place, velocity) in places.iter_mut().zip(&velocity) {
            place[0] += velocity[0];
            place[1] += velocity[1];
        }
    }
    let largest = places
        .iter()
        .flatten()
        .fold(1e-12_f64, |most, value| most.max(value.abs()));
    places
        .iter()
        .map(|place| place.map(|value| value / largest))
        .collect()
}

/// `p_ij` of t-SNE over squared distances of unit rows, `[n, n]`, summing to one.
fn symmetric_affinities(rows: &[f32], width: usize, n: usize) -> Vec<f64> {
    let mut conditional = vec![0.0; n * n];
    let target = PERPLEXITY
        .min((n.saturating_sub(1)) as f64 / 3.0)
        .max(2.0)
        .ln();
    for i in 0..n {
        let distances: Vec<f64> = (0..n)
            .map(|j| {
                let (a, b) = (row(rows, i, width), row(rows, j, width));
                let dot: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
                2.0 - 2.0 * f64::from(dot)
            })
            .collect();
        // Bisection on the precision until the entropy of the neighbours is log(perplexity).
        let (mut low, mut high) = (1e-6_f64, 1e6_f64);
        let own = &mut conditional[i * n..(i + 1) * n];
        for _ in 0..60 {
            let precision = (low * high).sqrt();
            let (mut sum, mut moment) = (0.0, 0.0);
            for (j, &distance) in distances.iter().enumerate() {
                own[j] = if j == i {
                    0.0
                } else {
                    (-precision * distance).exp()
                };
                sum += own[j];
                moment += own[j] * distance;
            }
            let sum = sum.max(1e-300);
            own.iter_mut().for_each(|value| *value /= sum);
            let entropy = sum.ln() + precision * moment / sum;
            if entropy > target {
                low = precision
            } else {
                high = precision
            }
        }
    }
    let mut symmetric = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..n {
            symmetric[i * n + j] =
                (conditional[i * n + j] + conditional[j * n + i]) / (2.0 * n as f64);
        }
    }
    symmetric
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_clusters_stay_apart_and_a_seed_repeats() {
        let width = 8;
        let rows: Vec<f32> = (0..40)
            .flat_map(|i| {
                let mut row = vec![0.02 * (i % 20) as f32; width];
                row[if i < 20 { 0 } else { 1 }] = 1.0;
                let norm = row.iter().map(|v| v * v).sum::<f32>().sqrt();
                row.into_iter().map(move |v| v / norm)
            })
            .collect();
        let places = t_sne(&rows, width, 3);
        assert_eq!(places, t_sne(&rows, width, 3));
        let centre = |range: std::ops::Range<usize>| {
            let count = range.len() as f64;
            let sum = range.fold([0.0; 2], |s, i| [s[0] + places[i][0], s[1] + places[i][1]]);
            [sum[0] / count, sum[1] / count]
        };
        let (a, b) = (centre(0..20), centre(20..40));
        assert!((a[0] - b[0]).hypot(a[1] - b[1]) > 0.5, "{a:?} {b:?}");
    }
}
