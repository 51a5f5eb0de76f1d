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
