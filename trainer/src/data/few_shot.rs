//! Choosing a few images of each class to learn from.

/// A choice of images, and the classes that had too few.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FewShot {
    /// Positions in the list of labels, ascending.
    pub indices: Vec<usize>,
    /// Classes with fewer images than asked for: class and how many there are. All of them are
    /// taken.
    pub short: Vec<(usize, usize)>,
}

impl FewShot {
    /// One line for the person when some classes had too few images, naming the first of them.
    pub fn warning(&self, classes: &[String], shots: usize) -> Option<String> {
        let (class, available) = *self.short.first()?;
        let name = classes.get(class).map_or("?", String::as_str);
        let more = match self.short.len() - 1 {
            0 => String::new(),
            n => format!(" and {n} more classes"),
        };
        Some(format!(
            "{shots} images a class were asked for; `{name}` has {available}{more}: \
             all of those are used (add images or lower --shots for equal numbers)"
        ))
    }
}

/// Chooses `shots` images of each of `classes` classes without replacement.
///
/// `labels` holds the class of each image, none for images to leave out. The choice depends on
/// the seed, the class and the order of the labels alone: it is the same on every machine, and
/// another class's images do not change it.
pub fn few_shot(
    labels: impl IntoIterator<Item = Option<usize>>,
    classes: usize,
    shots: usize,
    seed: u64,
) -> FewShot {
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); classes];
    for (index, label) in labels.into_iter().enumerate() {
        if let Some(of_class) = label.and_then(|label| members.get_mut(label)) {
            of_class.push(index);
        }
    }
    let mut indices = Vec::new();
    let mut short = Vec::new();
    for (class, mut of_class) in members.into_iter().enumerate() {
        if of_class.len() < shots {
            short.push((class, of_class.len()));
        }
        let mut random = SplitMix64(seed ^ (class as u64 + 1).wrapping_mul(0xD6E8_FEB8_6659_FD93));
        let taken = shots.min(of_class.len());
        for place in 0..taken {
            let from = place + random.below(of_class.len() - place);
            of_class.swap(place, from);
        }
        indices.extend_from_slice(&of_class[..taken]);
    }
    indices.sort_unstable();
    FewShot { indices, short }
}

/// Sebastiano Vigna's SplitMix64: small, and the same on every machine.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `limit`, by multiplication; the bias is under 2^-32 for any dataset.
    fn below(&mut self, limit: usize) -> usize {
        ((u128::from(self.next()) * limit as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Vec<Option<usize>> {
        (0..60).map(|i| (i % 7 != 6).then_some(i % 3)).collect()
    }

    #[test]
    fn takes_the_asked_number_of_each_class_and_repeats_by_seed() {
        let labels = labels();
        let chosen = few_shot(labels.iter().copied(), 3, 4, 1);
        for class in 0..3 {
            let count = chosen
                .indices
                .iter()
                .filter(|&&index| labels[index] == Some(class))
                .count();
            assert_eq!(count, 4);
        }
        assert!(chosen.short.is_empty());
        assert_eq!(chosen, few_shot(labels.iter().copied(), 3, 4, 1));
        assert_ne!(chosen, few_shot(labels.iter().copied(), 3, 4, 2));
    }

    #[test]
    fn too_few_images_are_all_taken_and_named() {
        let chosen = few_shot([Some(0), Some(1), Some(1), None], 2, 2, 0);
        assert_eq!(chosen.indices, [0, 1, 2]);
        assert_eq!(chosen.short, [(0, 1)]);
        let classes = ["cat".to_owned(), "dog".to_owned()];
        let warning = chosen.warning(&classes, 2).unwrap();
        assert!(warning.contains("`cat` has 1"), "{warning}");
    }
}
