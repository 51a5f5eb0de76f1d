use super::error::{MetricError, sorted};
use super::{ID_SCORES, OOD_SCORES};

/// Area under the precision–recall curve with ID as the positive class, as average precision:
/// `Σ (R_n − R_{n−1}) · P_n` over the distinct thresholds, without interpolation (scikit-learn's
/// `average_precision_score`). Equal scores enter together.
///
/// # Errors
/// When either input is empty or holds a NaN or an infinity.
pub fn aupr_in(id: &[f64], ood: &[f64]) -> Result<f64, MetricError> {
    let id = descending(ID_SCORES, id)?;
    let ood = descending(OOD_SCORES, ood)?;
    Ok(average_precision(&id, &ood))
}

/// Like [`aupr_in`] with OOD as the positive class, ranked by the negated score.
///
/// # Errors
/// When either input is empty or holds a NaN or an infinity.
pub fn aupr_out(id: &[f64], ood: &[f64]) -> Result<f64, MetricError> {
    let negated = |scores: Vec<f64>| scores.into_iter().map(|score| -score).collect::<Vec<_>>();
    let id = negated(sorted(ID_SCORES, id)?);
    let ood = negated(sorted(OOD_SCORES, ood)?);
    Ok(average_precision(&ood, &id))
}

fn descending(what: &'static str, scores: &[f64]) -> Result<Vec<f64>, MetricError> {
    let mut sorted = sorted(what, scores)?;
    sorted.reverse();
    Ok(sorted)
}

/// Both in descending order. Recall only grows at scores of positives, so only those are visited.
fn average_precision(positives: &[f64], negatives: &[f64]) -> f64 {
    let (mut found, mut false_alarms) = (0, 0);
    let mut area = 0.0;
    while found < positives.len() {
        let threshold = positives[found];
        let before = found;
        while found < positives.len() && positives[found] >= threshold {
            found += 1;
        }
        while false_alarms < negatives.len() && negatives[false_alarms] >= threshold {
            false_alarms += 1;
        }
        let precision = found as f64 / (found + false_alarms) as f64;
        area += precision * (found - before) as f64 / positives.len() as f64;
    }
    // A perfect ranking's terms may add up to a little more than 1, which no rate is.
    area.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::super::generator::Generator;
    use super::*;

    /// The definition, threshold by threshold.
    fn by_definition(positives: &[f64], negatives: &[f64]) -> f64 {
        let mut thresholds: Vec<f64> = positives.iter().chain(negatives).copied().collect();
        thresholds.sort_by(|a, b| b.total_cmp(a));
        thresholds.dedup();
        let (mut area, mut recall_before) = (0.0, 0.0);
        for threshold in thresholds {
            let above = |scores: &[f64]| scores.iter().filter(|&&s| s >= threshold).count() as f64;
            let (found, wrong) = (above(positives), above(negatives));
            let recall = found / positives.len() as f64;
            area += (recall - recall_before) * found / (found + wrong);
            recall_before = recall;
        }
        area
    }

    #[test]
    fn a_perfect_ranking_is_never_above_one() {
        for count in 1..200 {
            let id: Vec<f64> = (0..count).map(f64::from).collect();
            assert!(aupr_in(&id, &[-1.0]).unwrap() <= 1.0, "{count}");
            assert!(aupr_out(&[1e9], &id).unwrap() <= 1.0, "{count}");
        }
    }

    #[test]
    fn equals_the_definition() {
        let mut generator = Generator::new(4);
        for round in 0..200 {
            let (id, ood) = generator.id_and_ood(round);
            let expected = by_definition(&id, &ood);
            assert!((aupr_in(&id, &ood).unwrap() - expected).abs() < 1e-12);
            let flip = |scores: &[f64]| scores.iter().map(|s| -s).collect::<Vec<_>>();
            let expected = by_definition(&flip(&ood), &flip(&id));
            assert!((aupr_out(&id, &ood).unwrap() - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn all_ties_give_the_share_of_the_positives() {
        assert_eq!(aupr_in(&[1.0; 3], &[1.0]), Ok(0.75));
        assert_eq!(aupr_out(&[1.0; 3], &[1.0]), Ok(0.25));
    }

    #[test]
    fn refuses_broken_scores() {
        assert!(aupr_in(&[], &[0.0]).is_err());
        assert!(aupr_out(&[0.0], &[f64::NAN]).is_err());
    }
}
