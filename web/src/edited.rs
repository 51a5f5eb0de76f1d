//! The threshold for an edited class list.
//!
//! The bundle's threshold was measured with its own classes, and scores against others stand on
//! another scale: the fewer names, the higher. Photos of the new classes nobody has measured; but
//! the bundle brings photos of none of its classes, and those are scored anew. The threshold then
//! is the one that lets in as many of them as before.

use shared::bundle::MethodEntry;

/// Room above the highest outsider on the slider, as a share of the outsiders' span: what belongs
/// is expected there.
const ROOM: f64 = 0.5;

/// The share of outsiders that the bundle's own threshold lets in where that was never measured.
const USUAL: f64 = 0.05;

/// The lowest threshold that lets in no more of `outsiders` (ascending) than the bundle's own
/// threshold does of the photos that it was measured on. `None` without outsiders.
pub fn threshold(entry: &MethodEntry, outsiders: &[f64]) -> Option<f64> {
    let measured = entry.calibration.at(entry.threshold).false_alarm;
    let allowed = measured.unwrap_or(USUAL) * outsiders.len() as f64;
    // A whole number that came out a hair too low is that number.
    let allowed = (allowed + 1e-9).floor() as usize;
    // What stands `allowed` places from the top is in, the one below it is out; a score that
    // several share is out for all of them.
    let first_out = outsiders.len().checked_sub(allowed + 1)?;
    let bar = outsiders[first_out];
    Some(
        outsiders[first_out..]
            .iter()
            .copied()
            .find(|score| *score > bar)
            .map_or(bar + margin(outsiders), |next| (bar + next) / 2.0),
    )
}

/// The fraction of `outsiders` (ascending) that scores `score` or higher.
pub fn share_at_or_above(outsiders: &[f64], score: f64) -> Option<f64> {
    let below = outsiders.partition_point(|outsider| *outsider < score);
    (!outsiders.is_empty()).then(|| (outsiders.len() - below) as f64 / outsiders.len() as f64)
}

/// The scores between which gauges and the slider run.
pub fn range(outsiders: &[f64]) -> Option<(f64, f64)> {
    let (low, high) = (*outsiders.first()?, *outsiders.last()?);
    (high > low).then_some((low, high + ROOM * (high - low)))
}

/// A little above the highest one.
fn margin(outsiders: &[f64]) -> f64 {
    match (outsiders.first(), outsiders.last()) {
        (Some(low), Some(high)) if high > low => (high - low) * 1e-3,
        _ => 1e-6,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use shared::score::MethodSettings;

    use super::*;

    /// An entry whose threshold 3.0 lets in two of the five outsiders that it was measured on.
    fn entry(ood: Option<&[f64]>) -> MethodEntry {
        let settings = MethodSettings {
            temperature: 0.1,
            negative_weight: 1.0,
            mined: None,
        };
        let id_scores = [3.0, 4.0, 5.0, 6.0];
        let reference = ood.map(|scores| ("others", scores));
        MethodEntry::measure("mcm", settings, &id_scores, reference, 1.0, BTreeMap::new()).unwrap()
    }

    #[test]
    fn as_many_outsiders_are_let_in_as_before() {
        let entry = entry(Some(&[0.0, 1.0, 2.0, 3.5, 4.5]));
        assert_eq!(entry.threshold, 3.0);
        let outsiders: Vec<f64> = (0..10).map(|score| f64::from(score) * 10.0).collect();
        let threshold = threshold(&entry, &outsiders).unwrap();
        assert_eq!(threshold, 55.0);
        assert_eq!(share_at_or_above(&outsiders, threshold), Some(0.4));
    }

    #[test]
    fn a_shared_score_is_let_in_for_all_or_none() {
        let entry = entry(Some(&[0.0, 1.0, 2.0, 3.5, 4.5]));
        let outsiders = [1.0, 2.0, 3.0, 3.0, 3.0];
        let threshold = threshold(&entry, &outsiders).unwrap();
        assert_eq!(share_at_or_above(&outsiders, threshold), Some(0.0));
        assert_eq!(super::threshold(&entry, &[]), None);
    }

    #[test]
    fn without_a_measured_rate_the_usual_one_counts() {
        let outsiders: Vec<f64> = (0..100).map(f64::from).collect();
        let threshold = threshold(&entry(None), &outsiders).unwrap();
        assert_eq!(share_at_or_above(&outsiders, threshold), Some(USUAL));
    }

    #[test]
    fn the_slider_goes_beyond_the_outsiders() {
        assert_eq!(range(&[0.0, 1.0, 2.0]), Some((0.0, 3.0)));
        assert_eq!(range(&[1.0, 1.0]), None);
        assert_eq!(range(&[]), None);
        assert_eq!(share_at_or_above(&[], 1.0), None);
    }
}
