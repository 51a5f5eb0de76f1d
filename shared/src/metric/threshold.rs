use super::error::{MetricError, check_finite, sorted};
use super::{ID_SCORES, OOD_SCORES};

/// The largest ID score `t` such that at least `tpr` of the ID scores are `>= t`.
///
/// With ties the share that is kept may be larger than asked, never smaller.
///
/// # Errors
/// When `id` is empty or holds a NaN or an infinity, or `tpr` is not in `(0, 1]`.
pub fn threshold_at_tpr(id: &[f64], tpr: f64) -> Result<f64, MetricError> {
    if !(tpr > 0.0 && tpr <= 1.0) {
        return Err(MetricError::OutOfRange {
            what: "the true-positive rate",
            value: tpr,
            range: "above 0 and at most 1",
        });
    }
    let id = sorted(ID_SCORES, id)?;
    Ok(id[id.len() - kept(id.len(), tpr)])
}

/// The false-positive rate at the threshold of [`threshold_at_tpr`]: the share of OOD scores
/// `>= t`. With `tpr` = 0.95 this is FPR95; lower is better.
///
/// # Errors
/// When either input is empty or holds a NaN or an infinity, or `tpr` is not in `(0, 1]`.
pub fn fpr_at_tpr(id: &[f64], ood: &[f64], tpr: f64) -> Result<f64, MetricError> {
    check_finite(OOD_SCORES, ood)?;
    let threshold = threshold_at_tpr(id, tpr)?;
    let accepted = ood.iter().filter(|&&score| score >= threshold).count();
    Ok(accepted as f64 / ood.len() as f64)
}

/// The smallest count `c >= 1` with `c / count >= tpr`.
fn kept(count: usize, tpr: f64) -> usize {
    let enough = |kept: usize| kept as f64 / count as f64 >= tpr;
    let mut kept = ((tpr * count as f64).ceil() as usize).clamp(1, count);
    // The product above may round across a whole number, in either direction.
    while kept > 1 && enough(kept - 1) {
        kept -= 1;
    }
    while kept < count && !enough(kept) {
        kept += 1;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::super::generator::Generator;
    use super::*;

    fn share_kept(id: &[f64], threshold: f64) -> f64 {
        id.iter().filter(|&&score| score >= threshold).count() as f64 / id.len() as f64
    }

    #[test]
    fn is_the_largest_score_that_keeps_enough() {
        let mut generator = Generator::new(3);
        for round in 0..300 {
            let (id, ood) = generator.id_and_ood(round);
            let tpr = [0.95, 0.5, 1.0, 0.01, 0.8][round % 5];
            let threshold = threshold_at_tpr(&id, tpr).unwrap();
            let best = id
                .iter()
                .copied()
                .filter(|&candidate| share_kept(&id, candidate) >= tpr)
                .fold(f64::NEG_INFINITY, f64::max);
            assert_eq!(threshold, best);
            assert_eq!(
                fpr_at_tpr(&id, &ood, tpr).unwrap(),
                share_kept(&ood, threshold)
            );
        }
    }

    #[test]
    fn counts_exactly_where_products_round() {
        for count in 1..3000 {
            for tpr in [0.95, 0.9, 0.07, 1.0] {
                let kept = kept(count, tpr);
                assert!(kept as f64 / count as f64 >= tpr);
                assert!(kept == 1 || ((kept - 1) as f64 / (count as f64)) < tpr);
            }
        }
    }

    #[test]
    fn all_ties_keep_everything() {
        assert_eq!(fpr_at_tpr(&[1.0; 10], &[1.0; 4], 0.95), Ok(1.0));
    }

    #[test]
    fn refuses_impossible_rates_and_broken_scores() {
        for tpr in [0.0, -1.0, 1.1, f64::NAN] {
            assert!(matches!(
                threshold_at_tpr(&[1.0], tpr),
                Err(MetricError::OutOfRange { .. })
            ));
        }
        assert!(fpr_at_tpr(&[1.0], &[], 0.95).is_err());
        assert!(fpr_at_tpr(&[], &[1.0], 0.95).is_err());
        assert!(fpr_at_tpr(&[1.0], &[f64::NAN], 0.95).is_err());
    }
}
