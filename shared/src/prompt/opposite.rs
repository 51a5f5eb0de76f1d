//! The losses that teach CLIPN's "no" text tower.
//!
//! Source: Wang et al., *CLIPN for Zero-Shot OOD Detection: Teaching CLIP to Say No*, ICCV 2023.

use burn::tensor::Tensor;
use burn::tensor::activation::log_sigmoid;

/// Keeps the root of the text-semantic loss away from the infinite slope at zero, as in the released
/// code.
const ROOT_OFFSET: f32 = 1e-4;

/// The image-text binary-opposite loss: an image says yes to its own text, and no to the others.
///
/// ```text
/// ITBO = − mean_i ln p⁺_ii − mean_{i≠j} ln (1 − p⁺_ij)     p⁺_ij = exp(S⁺_ij) / (exp(S⁺_ij) + exp(S⁻_ij))
/// ```
///
/// `yes`, `no`: scaled similarities of images with texts `[n, n]`; `others`: `[n, n]`, 1 for pairs that
/// do not belong together, else 0. The released code takes all pairs off the diagonal; here texts that
/// say the same are left out by the caller → `[1]`.
pub fn image_text_binary_opposite(yes: Tensor<2>, no: Tensor<2>, others: Tensor<2>) -> Tensor<1> {
    let [images, _] = yes.dims();
    let difference = yes - no;
    let own = Tensor::<2>::eye(images, &difference.device());
    let says_yes = (log_sigmoid(difference.clone()) * own).sum() / images as f32;
    let count = others.clone().sum().clamp_min(1.0);
    let says_no = (log_sigmoid(-difference) * others).sum() / count;
    -(says_yes + says_no)
}

/// The text semantic-opposite loss: a text and its "no" lie on opposite sides of the sphere.
///
/// ```text
/// TSO = mean_i (2 − |t⁺_i − t⁻_i|)
/// ```
///
/// `yes`, `no`: unit rows `[n, d]` → `[1]`.
pub fn text_semantic_opposite(yes: Tensor<2>, no: Tensor<2>) -> Tensor<1> {
    let squared = (yes * no).sum_dim(1) * -2.0 + (2.0 + ROOT_OFFSET);
    (-squared.sqrt() + 2.0).mean()
}
