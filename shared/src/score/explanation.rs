use serde::{Deserialize, Serialize};

use super::ScoreError;
use super::softmax::largest;

/// How many classes an explanation lists.
const LISTED: usize = 5;

/// What a method has to say about one image, for people.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Explanation {
    /// The score, as [`Method::score`](super::Method::score) gives it.
    pub score: f64,
    /// The most probable class.
    pub predicted: usize,
    /// The five most probable classes, most probable first; fewer when there are fewer.
    pub top: Vec<ClassProbability>,
    /// The probability of "none of these", 0 for methods without negatives.
    pub none: f64,
    /// The five negative prompts that weigh most, heaviest first.
    pub negatives: Vec<FiredNegative>,
}

impl Explanation {
    /// What the listed classes have of what all classes have together, as fractions of one, for people:
    /// a score far above the threshold can still leave most of the probability to "none of these",
    /// which beside "In" is read as its opposite.
    pub fn shares(&self) -> Vec<f64> {
        let listed: f64 = self.top.iter().map(|entry| entry.probability).sum();
        let all = listed.max(1.0 - self.none);
        self.top
            .iter()
            .map(|entry| match all > 0.0 {
                true => entry.probability / all,
                false => 0.0,
            })
            .collect()
    }
}

/// A class and its probability.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct ClassProbability {
    /// Position in the class list.
    pub class: usize,
    /// Fraction of one.
    pub probability: f64,
}

/// A negative prompt and its weight on an image.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct FiredNegative {
    /// Which of the negative contexts.
    pub context: usize,
    /// The class whose name stands in the prompt.
    pub class: usize,
    /// The similarity with the image.
    pub cosine: f32,
    /// Its share of the mass of all negatives, a fraction of one.
    pub share: f64,
}

impl Explanation {
    /// Puts together what a method computed; `probabilities` is `[classes]`.
    pub(super) fn assemble(
        score: f64,
        probabilities: &[f64],
        negatives: Vec<FiredNegative>,
    ) -> Result<Self, ScoreError> {
        let top: Vec<ClassProbability> = largest(probabilities, LISTED)
            .into_iter()
            .map(|class| ClassProbability {
                class,
                probability: probabilities[class],
            })
            .collect();
        let Some(first) = top.first() else {
            return Err(ScoreError::Length {
                what: "the class probabilities".to_owned(),
                found: 0,
                expected: "one a class".to_owned(),
            });
        };
        let none = if negatives.is_empty() {
            0.0
        } else {
            (1.0 - probabilities.iter().sum::<f64>()).max(0.0)
        };
        Ok(Self {
            score,
            predicted: first.class,
            top,
            none,
            negatives,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_at_most_five() {
        let many = [0.1, 0.2, 0.05, 0.3, 0.15, 0.12, 0.08];
        let explanation = Explanation::assemble(1.0, &many, Vec::new()).unwrap();
        let classes: Vec<usize> = explanation.top.iter().map(|entry| entry.class).collect();
        assert_eq!(classes, [3, 1, 4, 5, 0]);
        let two = Explanation::assemble(1.0, &[0.5, 0.5], Vec::new()).unwrap();
        assert_eq!((two.top.len(), two.predicted), (2, 0));
        assert!(Explanation::assemble(1.0, &[], Vec::new()).is_err());
    }

    #[test]
    fn shares_are_of_what_the_classes_have_together() {
        let shares = |none: f64, probabilities: &[f64]| {
            let explanation = Explanation::assemble(1.0, probabilities, Vec::new()).unwrap();
            Explanation {
                none,
                ..explanation
            }
            .shares()
        };
        let close = |found: Vec<f64>, wanted: &[f64]| {
            assert_eq!(found.len(), wanted.len());
            assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-9));
        };
        close(shares(0.2, &[0.6, 0.2]), &[0.75, 0.25]);
        // Classes that are not listed have theirs as well.
        close(shares(0.2, &[0.1; 8]), &[0.125; 5]);
        close(shares(1.0, &[0.0]), &[0.0]);
    }
}
