//! The losses of the two training stages.
//!
//! Source: *Learning Transferable Negative Prompts for Out-of-Distribution Detection*
//! (CVPR 2024), and for the variants its released code, which differs from the paper.

use burn::tensor::activation::{log_sigmoid, log_softmax};
use burn::tensor::{Int, Tensor};

/// Stage 1 (CoOp): mean cross-entropy of `softmax(logits)` against the labels.
///
/// `logits`: `[batch, k]`, `labels`: `[batch]` → `[1]`.
pub fn cross_entropy(logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
    let log_probabilities = log_softmax(logits, 1);
    -log_probabilities.gather(1, labels.unsqueeze_dim(1)).mean()
}

/// LoCoOp: the mean entropy of `softmax(logits)` over the rows that `chosen` marks with 1; 0 where it
/// marks none.
///
/// `logits`: `[patches, k]`, `chosen`: `[patches]` → `[1]`.
///
/// Source: Miyai et al., *LoCoOp: Few-Shot Out-of-Distribution Detection via Prompt Learning*,
/// NeurIPS 2023.
pub fn patch_entropy(logits: Tensor<2>, chosen: Tensor<1>) -> Tensor<1> {
    let log_probabilities = log_softmax(logits, 1);
    let entropy = -(log_probabilities.clone().exp() * log_probabilities).sum_dim(1);
    let count = chosen.clone().sum().clamp_min(1.0);
    (entropy.squeeze_dim::<1>(1) * chosen).sum() / count
}

/// NIS: `E_x[ H(uniform; softmax over all k·p negatives of S⁻(x)) ]`: an in-distribution image
/// must be equally far from every negative prompt.
///
/// `negative_logits`: scaled similarities `[batch, p·k]` → `[1]`.
pub fn negative_image_similarity(negative_logits: Tensor<2>) -> Tensor<1> {
    -log_softmax(negative_logits, 1).mean()
}

/// NPD: `− 1/(k p) Σ_j Σ_i sim(T⁻_{i,j}, T⁺_j)`: a negative must not drift away from its class.
///
/// `negative`: unit rows `[p, k, d]`, `positive`: unit rows `[k, d]` → `[1]`.
pub fn negative_positive_distance(negative: Tensor<3>, positive: Tensor<2>) -> Tensor<1> {
    -(negative * positive.unsqueeze::<3>()).sum_dim(2).mean()
}

/// NND: `1/(k p (p−1)) Σ_j Σ_i Σ_{l≠i} sim(T⁻_{i,j}, T⁻_{l,j})`: the negatives of one class must
/// differ. Zero when there is one negative a class. It is also the number to watch while
/// training: near 1 the negatives have collapsed onto each other.
///
/// `negative`: unit rows `[p, k, d]` → `[1]`.
pub fn negative_negative_distance(negative: Tensor<3>) -> Tensor<1> {
    let [contexts, classes, _] = negative.dims();
    if contexts < 2 {
        return Tensor::zeros([1], &negative.device());
    }
    // Σ_i Σ_{l≠i} T_i·T_l = |Σ_i T_i|² − Σ_i |T_i|², without the p² products.
    let of_sum = negative.clone().sum_dim(0).square().sum();
    let of_each = negative.square().sum();
    (of_sum - of_each) / ((classes * contexts * (contexts - 1)) as f64)
}

/// Cross-entropy of the softmax over positives and negatives together against the label: an
/// in-distribution image must be nearer to its own positive than to any negative.
///
/// Not in the paper. It fixes what NIS leaves open: NIS makes the similarities with all negatives
/// equal, at any level, and has the trivial minimum of all negatives in one place.
///
/// `positive_logits`: `[batch, k]`, `negative_logits`: `[batch, p·k]`, `labels`: `[batch]` → `[1]`.
pub fn joint_cross_entropy(
    positive_logits: Tensor<2>,
    negative_logits: Tensor<2>,
    labels: Tensor<1, Int>,
) -> Tensor<1> {
    cross_entropy(
        Tensor::cat(vec![positive_logits, negative_logits], 1),
        labels,
    )
}

/// `− log( Σ exp S⁻ / (Σ exp S⁺ + Σ exp S⁻) )`, the mean over images that belong to no class: they
/// must be nearer to the negatives than to any positive.
///
/// Not in the paper. The images are means of two in-distribution features of different classes
/// (mixup, Zhang et al., ICLR 2018), so that in-distribution images alone are enough.
///
/// `positive_logits`: `[batch, k]`, `negative_logits`: `[batch, p·k]` → `[1]`.
pub fn mixed_image_distance(positive_logits: Tensor<2>, negative_logits: Tensor<2>) -> Tensor<1> {
    let negatives = negative_logits.dims()[1];
    let positives = positive_logits.dims()[1];
    let log_probabilities = log_softmax(Tensor::cat(vec![positive_logits, negative_logits], 1), 1);
    let of_negatives = log_probabilities.narrow(1, positives, negatives);
    let largest = of_negatives.clone().max_dim(1);
    let mass = (of_negatives - largest.clone()).exp().sum_dim(1).log() + largest;
    -mass.mean()
}

/// The released code's image loss: a multi-label soft margin over positives and negatives,
/// with the label's positive and its p negatives as targets.
///
/// `logits`: `[batch, k(1+p)]`, positives first, then context by context;
/// `labels_one_hot`: `[batch, k]` → `[1]`.
pub fn released_image_similarity(logits: Tensor<2>, labels_one_hot: Tensor<2>) -> Tensor<1> {
    let [_, prompts] = logits.dims();
    let [_, classes] = labels_one_hot.dims();
    let targets = labels_one_hot.repeat_dim(1, prompts / classes);
    let present = targets.clone() * log_sigmoid(logits.clone());
    let absent = (-targets + 1.0) * log_sigmoid(-logits);
    -(present + absent).mean()
}

/// The released code's NPD: `− mean(1 − sim(T⁻_{i,j}, T⁺_j))`, the opposite sign of the paper's.
///
/// `negative`: unit rows `[p, k, d]`, `positive`: unit rows `[k, d]` → `[1]`.
pub fn released_positive_distance(negative: Tensor<3>, positive: Tensor<2>) -> Tensor<1> {
    -(negative_positive_distance(negative, positive) + 1.0)
}

/// The released code's NND: `− mean(1 − |T⁻_{i,j}| · |mean_l T⁻_{l,j}|)`: norms, not directions.
///
/// `negative`: unit rows `[p, k, d]` → `[1]`.
pub fn released_negative_distance(negative: Tensor<3>) -> Tensor<1> {
    let norm = |x: Tensor<3>| (x.square().sum_dim(2) + 1e-12).sqrt();
    let of_mean = norm(negative.clone().mean_dim(0));
    (norm(negative) * of_mean).mean() - 1.0
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    const IMAGES: usize = 3;
    const POSITIVES: usize = 4;
    const NEGATIVES: usize = 6;
    const LABELS: [i32; IMAGES] = [2, 0, 3];

    /// Logits between −100 and 100, as CLIP's scale makes them.
    fn logits(columns: usize, salt: usize) -> Vec<f64> {
        (0..IMAGES * columns)
            .map(|at| ((at * 7919 + salt * 104_729) % 2001) as f64 / 10.0 - 100.0)
            .collect()
    }

    fn tensor(values: &[f64], device: &Device) -> Tensor<2> {
        let columns = values.len() / IMAGES;
        let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
        Tensor::from_data(TensorData::new(values, [IMAGES, columns]), device)
    }

    /// `log Σ exp`, as it is written; the largest is taken out so that the sum exists.
    fn log_sum(values: impl Iterator<Item = f64> + Clone) -> f64 {
        let largest = values.clone().fold(f64::NEG_INFINITY, f64::max);
        largest
            + values
                .map(|value| (value - largest).exp())
                .sum::<f64>()
                .ln()
    }

    /// The mean of `of(positives, negatives, image)` over the images.
    fn mean(positive: &[f64], negative: &[f64], of: impl Fn(&[f64], &[f64], usize) -> f64) -> f64 {
        let images = positive.chunks(POSITIVES).zip(negative.chunks(NEGATIVES));
        let sum: f64 = images
            .enumerate()
            .map(|(image, (positive, negative))| of(positive, negative, image))
            .sum();
        sum / IMAGES as f64
    }

    fn close(found: f64, wanted: f64) {
        assert!(
            (found - wanted).abs() <= 1e-5 * wanted.abs().max(1.0),
            "{found} for {wanted}"
        );
    }

    fn mixed(positive: &[f64], negative: &[f64]) -> f64 {
        mean(positive, negative, |positive, negative, _| {
            let all = log_sum(positive.iter().chain(negative).copied());
            all - log_sum(negative.iter().copied())
        })
    }

    #[test]
    fn losses_over_positives_and_negatives_are_their_equations() {
        let device = Device::flex();
        let (positive, negative) = (logits(POSITIVES, 1), logits(NEGATIVES, 2));
        let [of_positive, of_negative] =
            [&positive, &negative].map(|values| tensor(values, &device));
        let found = mixed_image_distance(of_positive.clone(), of_negative.clone());
        close(found.into_scalar(), mixed(&positive, &negative));

        let labels = Tensor::from_data(TensorData::new(LABELS.to_vec(), [IMAGES]), &device);
        let found = joint_cross_entropy(of_positive, of_negative, labels);
        let wanted = mean(&positive, &negative, |positive, negative, image| {
            let all = log_sum(positive.iter().chain(negative).copied());
            all - positive[LABELS[image] as usize]
        });
        close(found.into_scalar(), wanted);
    }

    #[test]
    fn mixed_images_are_drawn_to_the_negatives_by_the_slope_of_the_equation() {
        let device = Device::flex().autodiff();
        // Near each other, so that no slope vanishes.
        let near = |values: Vec<f64>| values.into_iter().map(|value| value / 50.0).collect();
        let (positive, negative): (Vec<f64>, Vec<f64>) =
            (near(logits(POSITIVES, 1)), near(logits(NEGATIVES, 2)));
        let of_negative = tensor(&negative, &device).require_grad();
        let gradients =
            mixed_image_distance(tensor(&positive, &device), of_negative.clone()).backward();
        let found: Vec<f32> = of_negative
            .grad(&gradients)
            .expect("a gradient")
            .into_data()
            .iter()
            .collect();
        for (at, found) in found.into_iter().enumerate() {
            let moved = |by: f64| {
                let mut negative = negative.clone();
                negative[at] += by;
                mixed(&positive, &negative)
            };
            let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!(
                (f64::from(found) - slope).abs() < 1e-5,
                "{at}: {found} for {slope}"
            );
            assert!(slope < 0.0);
        }
    }

    #[test]
    fn entropy_of_patches_counts_the_chosen_alone() {
        let device = Device::flex();
        let values = logits(POSITIVES, 3);
        let chosen = |marks: [f32; IMAGES]| Tensor::<1>::from_floats(marks, &device);
        let found = |marks| -> f64 {
            patch_entropy(tensor(&values, &device) / 50.0, chosen(marks)).into_scalar()
        };
        let entropies: Vec<f64> = values
            .chunks(POSITIVES)
            .map(|row| {
                let row = row.iter().map(|value| value / 50.0);
                let all = log_sum(row.clone());
                row.map(|value| -(value - all).exp() * (value - all)).sum()
            })
            .collect();
        close(found([1.0, 0.0, 1.0]), (entropies[0] + entropies[2]) / 2.0);
        close(found([0.0, 1.0, 0.0]), entropies[1]);
        close(found([0.0; IMAGES]), 0.0);
    }
}
