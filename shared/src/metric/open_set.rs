use super::error::{MetricError, check_finite, check_lengths, sorted};
use super::ranking::wins;
use super::{ID_SCORES, OOD_SCORES};

/// Open-set classification rate: the area under the correct-classification rate of ID (classified
/// correctly *and* score above the threshold) against the false-positive rate of OOD (Dhamija et
/// al., *Reducing Network Agnostophobia*, NeurIPS 2018).
///
/// The area by trapezoids over the distinct thresholds equals
/// `1/(n m) · Σ_{i correct} Σ_j [s_i > o_j] + ½ [s_i = o_j]`: AUROC in which a misclassified image
/// never wins. It is therefore at most the ID accuracy, and that form is what is computed.
///
/// # Errors
/// When an input is empty or holds a NaN or an infinity, or `id_correct` is not as long as `id`.
pub fn oscr(id: &[f64], id_correct: &[bool], ood: &[f64]) -> Result<f64, MetricError> {
    check_finite(ID_SCORES, id)?;
    check_lengths(
        ID_SCORES,
        id.len(),
        "the list of correct predictions",
        id_correct.len(),
    )?;
    let ood = sorted(OOD_SCORES, ood)?;
    let correct: Vec<f64> = id
        .iter()
        .zip(id_correct)
        .filter_map(|(&score, &correct)| correct.then_some(score))
        .collect();
    if correct.is_empty() {
        return Ok(0.0);
    }
    let correct = sorted(ID_SCORES, &correct)?;
    Ok(wins(&correct, &ood) / (id.len() as f64 * ood.len() as f64))
}

#[cfg(test)]
mod tests {
    use super::super::generator::Generator;
    use super::super::{accuracy, auroc};
    use super::*;

    /// The curve itself: trapezoids over the distinct thresholds, from (0, 0) on.
    fn by_trapezoids(id: &[f64], correct: &[bool], ood: &[f64]) -> f64 {
        let mut thresholds: Vec<f64> = id.iter().chain(ood).copied().collect();
        thresholds.sort_by(|a, b| b.total_cmp(a));
        thresholds.dedup();
        let (mut area, mut rate_before, mut alarm_before) = (0.0, 0.0, 0.0);
        for threshold in thresholds {
            let right = id
                .iter()
                .zip(correct)
                .filter(|(s, c)| **s >= threshold && **c);
            let rate = right.count() as f64 / id.len() as f64;
            let alarms = ood.iter().filter(|&&s| s >= threshold).count();
            let alarm = alarms as f64 / ood.len() as f64;
            area += (alarm - alarm_before) * (rate + rate_before) / 2.0;
            (rate_before, alarm_before) = (rate, alarm);
        }
        area
    }

    #[test]
    fn equals_the_area_under_the_curve() {
        let mut generator = Generator::new(5);
        for round in 0..200 {
            let (id, ood) = generator.id_and_ood(round);
            let correct: Vec<bool> = id.iter().map(|_| generator.below(3) > 0).collect();
            let fast = oscr(&id, &correct, &ood).unwrap();
            assert!((fast - by_trapezoids(&id, &correct, &ood)).abs() < 1e-12);
        }
    }

    #[test]
    fn lies_between_zero_and_the_accuracy() {
        let (id, ood) = ([2.0, 3.0, 4.0], [0.0, 1.0]);
        let all = oscr(&id, &[true; 3], &ood).unwrap();
        assert_eq!(all, auroc(&id, &ood).unwrap());
        let some = oscr(&id, &[true, false, true], &ood).unwrap();
        assert!((some - accuracy(&[0, 1, 0], &[0, 0, 0]).unwrap()).abs() < 1e-12);
        assert_eq!(oscr(&id, &[false; 3], &ood), Ok(0.0));
    }

    #[test]
    fn refuses_inputs_that_do_not_match() {
        assert!(matches!(
            oscr(&[1.0, 2.0], &[true], &[0.0]),
            Err(MetricError::Lengths { .. })
        ));
        assert!(oscr(&[], &[], &[0.0]).is_err());
        assert!(oscr(&[1.0], &[true], &[]).is_err());
        // A wrongly classified sample must not hide a broken score.
        assert!(oscr(&[f64::NAN, 1.0], &[false, true], &[0.0]).is_err());
    }
}
