use super::error::{MetricError, check_finite, check_lengths};

/// The usual number of bins of the expected calibration error.
pub const ECE_BINS: usize = 15;

const PREDICTIONS: &str = "the predictions";

/// The share of predictions that equal their label (top-1).
///
/// # Errors
/// When there are none, or the lengths differ.
pub fn accuracy(predicted: &[usize], labels: &[usize]) -> Result<f64, MetricError> {
    check_lengths(PREDICTIONS, predicted.len(), "the labels", labels.len())?;
    if predicted.is_empty() {
        return Err(MetricError::Empty { what: PREDICTIONS });
    }
    let right = predicted.iter().zip(labels).filter(|(a, b)| a == b).count();
    Ok(right as f64 / predicted.len() as f64)
}

/// Expected calibration error: `Σ_b |B_b|/n · |accuracy(B_b) − confidence(B_b)|` over `bins` equal
/// intervals `((b−1)/bins, b/bins]` of the confidence (Guo et al., *On Calibration of Modern Neural
/// Networks*, ICML 2017). A confidence of exactly 0 belongs to the first interval.
///
/// # Errors
/// When there are none, the lengths differ, `bins` is 0, or a confidence is not in `[0, 1]`.
pub fn ece(confidence: &[f64], correct: &[bool], bins: usize) -> Result<f64, MetricError> {
    const CONFIDENCES: &str = "the confidences";
    check_finite(CONFIDENCES, confidence)?;
    check_lengths(
        CONFIDENCES,
        confidence.len(),
        "the list of correct predictions",
        correct.len(),
    )?;
    if bins == 0 {
        return Err(MetricError::OutOfRange {
            what: "the number of bins",
            value: 0.0,
            range: "at least 1",
        });
    }
    // Per bin: the sum over its samples of (correct as 0 or 1) − confidence. The count cancels.
    let mut gaps = vec![0.0; bins];
    for (&value, &correct) in confidence.iter().zip(correct) {
        if !(0.0..=1.0).contains(&value) {
            return Err(MetricError::OutOfRange {
                what: "a confidence",
                value,
                range: "between 0 and 1",
            });
        }
        gaps[bin_of(value, bins)] += f64::from(u8::from(correct)) - value;
    }
    Ok(gaps.iter().map(|gap| gap.abs()).sum::<f64>() / confidence.len() as f64)
}

fn bin_of(value: f64, bins: usize) -> usize {
    let edge = |index: usize| index as f64 / bins as f64;
    let mut bin = ((value * bins as f64).ceil() as usize).clamp(1, bins) - 1;
    // The product may round across an edge, which decides where an exact edge value belongs.
    if bin > 0 && value <= edge(bin) {
        bin -= 1;
    } else if bin + 1 < bins && value > edge(bin + 1) {
        bin += 1;
    }
    bin
}

#[cfg(test)]
mod tests {
    use super::super::generator::Generator;
    use super::*;

    fn by_definition(confidence: &[f64], correct: &[bool], bins: usize) -> f64 {
        let mut sum = 0.0;
        for bin in 0..bins {
            let low = bin as f64 / bins as f64;
            let high = (bin + 1) as f64 / bins as f64;
            let inside: Vec<usize> = (0..confidence.len())
                .filter(|&i| confidence[i] <= high && (confidence[i] > low || bin == 0))
                .collect();
            if inside.is_empty() {
                continue;
            }
            let count = inside.len() as f64;
            let right = inside.iter().filter(|&&i| correct[i]).count() as f64 / count;
            let mean = inside.iter().map(|&i| confidence[i]).sum::<f64>() / count;
            sum += count / confidence.len() as f64 * (right - mean).abs();
        }
        sum
    }

    #[test]
    fn ece_equals_the_definition_also_on_bin_edges() {
        let mut generator = Generator::new(6);
        for round in 0..200 {
            let bins = [15, 10, 1, 7][round % 4];
            let count = 1 + generator.below(60);
            let confidence: Vec<f64> = (0..count)
                .map(|_| match round % 2 {
                    0 => generator.between(0.0, 1.0),
                    _ => generator.below(bins + 1) as f64 / bins as f64,
                })
                .collect();
            let correct: Vec<bool> = confidence.iter().map(|_| generator.below(2) > 0).collect();
            let expected = by_definition(&confidence, &correct, bins);
            assert!((ece(&confidence, &correct, bins).unwrap() - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn perfect_confidence_has_no_error() {
        assert_eq!(
            ece(&[1.0, 1.0, 0.0], &[true, true, false], ECE_BINS),
            Ok(0.0)
        );
        assert_eq!(ece(&[1.0, 1.0], &[true, false], ECE_BINS), Ok(0.5));
    }

    #[test]
    fn refuses_what_is_not_a_probability() {
        assert!(ece(&[1.2], &[true], ECE_BINS).is_err());
        assert!(ece(&[f64::NAN], &[true], ECE_BINS).is_err());
        assert!(ece(&[0.5], &[true], 0).is_err());
        assert!(ece(&[0.5], &[], ECE_BINS).is_err());
        assert!(ece(&[], &[], ECE_BINS).is_err());
    }

    #[test]
    fn accuracy_counts_matches() {
        assert_eq!(accuracy(&[1, 2, 3, 4], &[1, 2, 0, 4]), Ok(0.75));
        assert!(accuracy(&[], &[]).is_err());
        assert!(accuracy(&[1], &[1, 2]).is_err());
    }
}
