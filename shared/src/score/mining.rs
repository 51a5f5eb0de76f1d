//! Which words of a pool are far enough from all class names to be negative labels.

/// Of the cosines of a word with all class names, the share below the one that counts as its
/// nearness: not the largest of all, so that one odd class does not decide.
const NEARNESS: f64 = 0.95;

/// A word this near to any class name is taken for the class itself.
const SAME: f32 = 0.95;

/// The positions of the words of a pool that are far from all class names, ascending: the share
/// `share` of words with the lowest 95th percentile of cosines, without those that are the same as
/// a class (cosine above 0.95).
///
/// `cosines`: `[words, names]`, row by row; `kept`: the names to look at, as positions.
///
/// Source: NegMining in Jiang et al., *Negative Label Guided OOD Detection with Pretrained
/// Vision-Language Models*, ICLR 2024 (there a distance, the negated cosine, at its 5th percentile).
pub fn far_labels(cosines: &[f32], names: usize, kept: &[usize], share: f64) -> Vec<usize> {
    if names == 0 || kept.is_empty() {
        return Vec::new();
    }
    let mut near: Vec<(f64, usize)> = Vec::new();
    let mut row = Vec::with_capacity(kept.len());
    for (word, cosines) in cosines.chunks_exact(names).enumerate() {
        row.clear();
        row.extend(kept.iter().filter_map(|&name| cosines.get(name).copied()));
        row.sort_unstable_by(f32::total_cmp);
        let same = row.last().is_none_or(|&largest| largest > SAME);
        near.push((
            if same {
                f64::INFINITY
            } else {
                percentile(&row)
            },
            word,
        ));
    }
    near.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    near.truncate((share * near.len() as f64) as usize);
    let mut far: Vec<usize> = near
        .into_iter()
        .filter(|(nearness, _)| nearness.is_finite())
        .map(|(_, word)| word)
        .collect();
    far.sort_unstable();
    far
}

/// The percentile of ascending values, between two of them by their distance, as NumPy does.
fn percentile(ascending: &[f32]) -> f64 {
    let place = NEARNESS * (ascending.len() - 1) as f64;
    let (below, part) = (place as usize, place.fract());
    let at = |index: usize| f64::from(ascending[index.min(ascending.len() - 1)]);
    at(below) + part * (at(below + 1) - at(below))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_farthest_and_never_a_class_itself() {
        let cosines = [
            0.2, 0.9, // near one
            0.1, 0.2, // far
            0.99, 0.0, // the first class under another name
            0.0, 0.1, // farthest
        ];
        assert_eq!(far_labels(&cosines, 2, &[0, 1], 0.5), [1, 3]);
        assert_eq!(far_labels(&cosines, 2, &[0, 1], 1.0), [0, 1, 3]);
        // With the first class out of sight, its other name is a label like any other.
        assert_eq!(far_labels(&cosines, 2, &[1], 0.5), [2, 3]);
        assert!(far_labels(&cosines, 2, &[], 1.0).is_empty());
        assert!(far_labels(&[], 0, &[0], 1.0).is_empty());
    }
}
