use super::compare::BLOCK;
use super::softmax::argmax;
use super::{Input, Method, MethodSettings, ScoreError, Similarities};
use crate::simd::parallel;

/// [`Similarities`] of many images, each matrix row-major, empty when not available.
#[derive(Clone, Copy, Debug, Default)]
pub struct SimilarityRows<'a> {
    /// The number of images.
    pub rows: usize,
    values: [&'a [f32]; Input::ALL.len()],
    /// CLIP's scale of the cosines, already exponentiated.
    pub logit_scale: f32,
}

/// The class that a method gives to an image, and its probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// Position in the class list.
    pub class: usize,
    /// Fraction of one.
    pub probability: f64,
}

impl<'a> SimilarityRows<'a> {
    /// Nothing yet, of this many images.
    pub fn new(rows: usize, logit_scale: f32) -> Self {
        Self {
            rows,
            logit_scale,
            ..Self::default()
        }
    }

    /// With the values of one kind: `[rows, …]`, what an [`Input`] holds in every row.
    pub fn with(mut self, input: Input, values: &'a [f32]) -> Self {
        self.values[input.index()] = values;
        self
    }

    /// The similarities of one image.
    ///
    /// # Errors
    /// When there is no such row, or a matrix is not a whole number of rows.
    pub fn row(&self, index: usize) -> Result<Similarities<'a>, ScoreError> {
        let mut row = Similarities::new(self.logit_scale);
        for input in Input::ALL {
            let values = self.values[input.index()];
            if index >= self.rows || !values.len().is_multiple_of(self.rows) {
                return Err(ScoreError::Length {
                    what: format!("{input}, row {index}"),
                    found: values.len(),
                    expected: format!("{} rows of equal length", self.rows),
                });
            }
            let width = values.len() / self.rows;
            row = row.with(input, &values[index * width..(index + 1) * width]);
        }
        Ok(row)
    }
}

/// The score of every row; see [`Method::score`].
///
/// # Errors
/// As [`Method::score`], for the first row that fails.
pub fn score_all(
    method: &dyn Method,
    rows: &SimilarityRows<'_>,
    settings: &MethodSettings,
) -> Result<Vec<f64>, ScoreError> {
    let mut places: Vec<usize> = (0..rows.rows).step_by(BLOCK).collect();
    let parts = parallel::each(&mut places, |first, _: &mut ()| {
        (*first..rows.rows.min(*first + BLOCK))
            .map(|index| method.score(&rows.row(index)?, settings))
            .collect::<Result<Vec<f64>, _>>()
    });
    let parts = parts.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(parts.concat())
}

/// The predicted class of every row, with its probability: for accuracy and ECE.
///
/// # Errors
/// As [`Method::class_probabilities`], for the first row that fails.
pub fn predict_all(
    method: &dyn Method,
    rows: &SimilarityRows<'_>,
    settings: &MethodSettings,
) -> Result<Vec<Prediction>, ScoreError> {
    (0..rows.rows)
        .map(|index| {
            let probabilities = method.class_probabilities(&rows.row(index)?, settings)?;
            let class = argmax(&probabilities);
            Ok(Prediction {
                class,
                probability: probabilities[class],
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::{CoOp, NegPrompt, methods};
    use super::*;

    const VALUES: [f32; 6] = [0.3, 0.1, 0.2, 0.0, 0.1, 0.4];
    const NEGATIVE: [f32; 6] = [0.1, 0.1, 0.1, 0.2, 0.3, 0.2];

    fn rows() -> SimilarityRows<'static> {
        Input::ALL
            .iter()
            .fold(SimilarityRows::new(2, 20.0), |rows, &input| {
                rows.with(input, &VALUES)
            })
            .with(Input::Negative, &NEGATIVE)
    }

    #[test]
    fn equals_scoring_one_by_one() {
        for method in methods() {
            let settings = method.default_settings(20.0);
            let scores = score_all(*method, &rows(), &settings).unwrap();
            let predictions = predict_all(*method, &rows(), &settings).unwrap();
            for index in 0..2 {
                let one = method
                    .explain(&rows().row(index).unwrap(), &settings)
                    .unwrap();
                assert_eq!(one.score, scores[index]);
                assert_eq!(one.predicted, predictions[index].class);
                assert_eq!(one.top[0].probability, predictions[index].probability);
            }
        }
    }

    #[test]
    fn refuses_ragged_rows() {
        let ragged = rows().with(Input::Positive, &VALUES[..5]);
        let settings = CoOp.default_settings(20.0);
        assert!(score_all(&CoOp, &ragged, &settings).is_err());
        assert!(rows().row(2).is_err());
        let none = SimilarityRows::default();
        assert_eq!(score_all(&NegPrompt, &none, &settings), Ok(Vec::new()));
        assert!(none.row(0).is_err());
    }
}
