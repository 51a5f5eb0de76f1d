//! Attention of every token of a sequence to all of it: two products a head, as nothing of their
//! tables is left out. There is no way back: no tower that is learned attends so.

use pulp::{Simd, WithSimd};

use super::attention::{Shape, softmax};
use crate::simd::matrix::Matrix;
use crate::simd::{dispatch, parallel};

/// `query` `[rows, width]` and `key_value` `[rows, 2 · width]`, keys beside values, → `out`
/// `[rows, width]`; rows are `shape.lengths` laid end to end. `wide`: all threads take part.
pub fn attend_whole(
    shape: Shape<'_>,
    query: &[f32],
    key_value: &[f32],
    wide: bool,
    out: &mut [f32],
) {
    let Shape { width, heads, .. } = shape;
    let head_width = width / heads;
    let mut start = 0;
    for &length in shape.lengths {
        let rows = start..start + length;
        let query = &query[rows.start * width..rows.end * width];
        let key_value = &key_value[rows.start * 2 * width..rows.end * 2 * width];
        let one = |head: &mut usize, _: &mut ()| {
            attend_head(*head * head_width, head_width, width, query, key_value)
        };
        let mut each: Vec<usize> = (0..heads).collect();
        let attended = if wide {
            parallel::each(&mut each, one)
        } else {
            each.iter_mut().map(|head| one(head, &mut ())).collect()
        };
        let out = &mut out[rows.start * width..rows.end * width];
        for (head, attended) in attended.iter().enumerate() {
            let columns = head * head_width..(head + 1) * head_width;
            for (out, attended) in out
                .chunks_exact_mut(width)
                .zip(attended.chunks_exact(head_width))
            {
                out[columns.clone()].copy_from_slice(attended);
            }
        }
        start = rows.end;
    }
}

/// The head whose columns begin at `first`: `[tokens, head_width]`.
fn attend_head(
    first: usize,
    head_width: usize,
    width: usize,
    query: &[f32],
    key_value: &[f32],
) -> Vec<f32> {
    let tokens = query.len() / width;
    let scale = (head_width as f32).powf(-0.5);
    let queries: Vec<f32> = query
        .chunks_exact(width)
        .flat_map(|row| &row[first..first + head_width])
        .map(|value| value * scale)
        .collect();
    let row = |token: usize| &key_value[token * 2 * width + first..];
    let keys = Matrix::from_fn(head_width, tokens, |column, token| row(token)[column]);
    let mut weights = vec![0.0; tokens * tokens];
    keys.add_product(&queries, &mut weights);
    dispatch(Softmax {
        tokens,
        weights: &mut weights,
    });
    let values = Matrix::from_fn(tokens, head_width, |token, column| {
        row(token)[width + column]
    });
    let mut attended = vec![0.0; tokens * head_width];
    values.add_product(&weights, &mut attended);
    attended
}

struct Softmax<'a> {
    tokens: usize,
    weights: &'a mut [f32],
}

impl WithSimd for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.weights.chunks_exact_mut(self.tokens).for_each(softmax);
    }
}
