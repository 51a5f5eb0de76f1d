use super::error::{MetricError, check_finite};

const CALIBRATION_SCORES: &str = "the calibration scores";

/// Conformal p-value of a photo: `(1 + #{calibration <= score}) / (n + 1)`, where the calibration
/// scores are those of held-out ID images in ascending order.
///
/// Read it as "this share of ID images looks at least as unusual". For an image drawn like the
/// calibration images, `P(p <= α) <= α` for every α (Vovk, Gammerman, Shafer, *Algorithmic Learning
/// in a Random World*, 2005; Bates et al., *Testing for Outliers with Conformal p-values*, 2023).
///
/// # Errors
/// When the calibration scores are empty or out of order, or a value is NaN or infinite.
pub fn p_value(sorted_calibration: &[f64], score: f64) -> Result<f64, MetricError> {
    check_ascending(sorted_calibration)?;
    check_finite("the score", &[score])?;
    let at_most = sorted_calibration.partition_point(|&calibration| calibration <= score);
    Ok((1 + at_most) as f64 / (sorted_calibration.len() + 1) as f64)
}

/// At most `limit` of the calibration scores, spread so that [`p_value`] on them is never smaller
/// than on all of them and larger by less than `1 / (limit + 1)`: small enough to ship, and what
/// the p-value promises still holds. `sorted` in ascending order.
///
/// The ranks are `⌊i (n + 1) / (limit + 1)⌋` for `i` in `1..=limit`. With `c` scores `<= s` among
/// all, `i`'s rank is at most `c` exactly when `i (n + 1) < (c + 1)(limit + 1)`, so the p-value on
/// the chosen ones is `⌈(c + 1)(limit + 1) / (n + 1)⌉ / (limit + 1) >= (c + 1) / (n + 1)`.
///
/// # Errors
/// When `sorted` is empty, out of order, or holds a NaN or an infinity, or `limit` is 0.
pub fn conformal_quantiles(sorted: &[f64], limit: usize) -> Result<Vec<f64>, MetricError> {
    check_ascending(sorted)?;
    if limit == 0 {
        return Err(MetricError::OutOfRange {
            what: "the number of calibration scores to keep",
            value: 0.0,
            range: "at least 1",
        });
    }
    if sorted.len() <= limit {
        return Ok(sorted.to_vec());
    }
    // In 64 bits: the product overflows `usize` in the browser from some 65,000 scores on.
    let (count, limit) = (sorted.len() as u64, limit as u64);
    let rank = |index: u64| (index * (count + 1) / (limit + 1)) as usize;
    Ok((1..=limit).map(|index| sorted[rank(index) - 1]).collect())
}

fn check_ascending(scores: &[f64]) -> Result<(), MetricError> {
    check_finite(CALIBRATION_SCORES, scores)?;
    match scores.windows(2).position(|pair| pair[0] > pair[1]) {
        Some(index) => Err(MetricError::Order {
            what: CALIBRATION_SCORES,
            index: index + 1,
            order: "ascending",
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::sorted;
    use super::super::generator::Generator;
    use super::*;

    #[test]
    fn counts_what_is_at_most_the_score() {
        let calibration = [1.0, 2.0, 2.0, 3.0];
        assert_eq!(p_value(&calibration, 0.5), Ok(0.2));
        assert_eq!(p_value(&calibration, 2.0), Ok(0.8));
        assert_eq!(p_value(&calibration, 9.0), Ok(1.0));
    }

    #[test]
    fn quantiles_keep_the_promise_of_all_scores() {
        let mut generator = Generator::new(7);
        for round in 0..200 {
            let count = 1 + generator.below(300);
            let levels = [None, Some(5), Some(40)][round % 3];
            let all = sorted("scores", &generator.scores(count, 0.0, levels)).unwrap();
            let limit = 1 + generator.below(60);
            let few = conformal_quantiles(&all, limit).unwrap();
            assert!(few.len() <= limit.min(count));
            for probe in all.iter().copied().chain([-9.0, 0.13, 9.0]) {
                let exact = p_value(&all, probe).unwrap();
                let short = p_value(&few, probe).unwrap();
                assert!(short >= exact - 1e-12, "{short} is below {exact}");
                assert!(short - exact < 1.0 / (few.len() + 1) as f64 + 1e-12);
            }
        }
    }

    #[test]
    fn refuses_unsorted_empty_and_broken_scores() {
        assert!(matches!(
            p_value(&[2.0, 1.0], 1.0),
            Err(MetricError::Order { index: 1, .. })
        ));
        assert!(p_value(&[], 1.0).is_err());
        assert!(p_value(&[1.0], f64::NAN).is_err());
        assert!(p_value(&[1.0, f64::INFINITY], 1.0).is_err());
        assert!(conformal_quantiles(&[1.0], 0).is_err());
    }
}
