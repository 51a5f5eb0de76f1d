use super::error::{MetricError, sorted};
use super::{ID_SCORES, OOD_SCORES};

/// Area under the ROC curve: the probability that a random ID score lies above a random OOD score,
/// a tie counting one half (the Mann–Whitney U statistic over `n·m`).
///
/// # Errors
/// When either input is empty or holds a NaN or an infinity.
pub fn auroc(id: &[f64], ood: &[f64]) -> Result<f64, MetricError> {
    let id = sorted(ID_SCORES, id)?;
    let ood = sorted(OOD_SCORES, ood)?;
    Ok(wins(&id, &ood) / (id.len() as f64 * ood.len() as f64))
}

/// The number of pairs in which an entry of `winners` lies above one of `losers`, ties counting
/// one half. Both in ascending order.
pub(super) fn wins(winners: &[f64], losers: &[f64]) -> f64 {
    let (mut below, mut through) = (0, 0);
    // Twice the count, so that it stays a whole number and exact whatever the order of the sum.
    let mut doubled: u128 = 0;
    for &winner in winners {
        while below < losers.len() && losers[below] < winner {
            below += 1;
        }
        while through < losers.len() && losers[through] <= winner {
            through += 1;
        }
        doubled += (below + through) as u128;
    }
    doubled as f64 / 2.0
}

#[cfg(test)]
mod tests {
    use super::super::generator::Generator;
    use super::*;

    fn by_pairs(id: &[f64], ood: &[f64]) -> f64 {
        let mut sum = 0.0;
        for a in id {
            for b in ood {
                sum += if a > b {
                    1.0
                } else if a == b {
                    0.5
                } else {
                    0.0
                };
            }
        }
        sum / (id.len() * ood.len()) as f64
    }

    #[test]
    fn equals_the_count_over_all_pairs() {
        let mut generator = Generator::new(1);
        for round in 0..200 {
            let (id, ood) = generator.id_and_ood(round);
            let fast = auroc(&id, &ood).unwrap();
            assert!((fast - by_pairs(&id, &ood)).abs() < 1e-12);
        }
    }

    #[test]
    fn known_cases() {
        assert_eq!(auroc(&[2.0, 3.0], &[0.0, 1.0]), Ok(1.0));
        assert_eq!(auroc(&[0.0], &[1.0]), Ok(0.0));
        assert_eq!(auroc(&[1.0; 7], &[1.0; 3]), Ok(0.5));
        assert_eq!(auroc(&[-0.0], &[0.0]), Ok(0.5));
    }

    #[test]
    fn swapping_the_sides_mirrors_it() {
        let mut generator = Generator::new(2);
        for round in 0..50 {
            let (id, ood) = generator.id_and_ood(round);
            let sum = auroc(&id, &ood).unwrap() + auroc(&ood, &id).unwrap();
            assert!((sum - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn broken_scores_are_not_ranked() {
        assert_eq!(
            auroc(&[], &[1.0]),
            Err(MetricError::Empty { what: "ID scores" })
        );
        assert_eq!(
            auroc(&[1.0], &[]),
            Err(MetricError::Empty { what: "OOD scores" })
        );
        assert!(matches!(
            auroc(&[1.0, f64::NAN], &[0.0]),
            Err(MetricError::NotFinite { index: 1, .. })
        ));
        assert!(auroc(&[1.0], &[f64::INFINITY]).is_err());
    }
}
