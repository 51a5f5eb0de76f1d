//! The images of a suite, listed and not yet encoded.

use std::path::PathBuf;

use anyhow::Result;

use crate::data::{self, Dataset, Split};

/// What is known, and what is to be told apart from it.
#[derive(Clone, Debug)]
pub struct Task {
    /// What tells its rows from those of the suite's other tasks; empty for the only one.
    pub name: String,
    /// The images of the classes to know.
    pub data: Dataset,
    /// The out-of-distribution sets by name.
    pub ood: Vec<(String, Dataset)>,
}

impl Task {
    /// Folders of a person's own.
    pub fn open(data: &std::path::Path, ood: &[(String, PathBuf)]) -> Result<Self> {
        let sets = ood
            .iter()
            .map(|(name, folder)| Ok((name.clone(), data::open_unlabelled(folder)?)));
        Ok(Self {
            name: String::new(),
            data: data::open(data)?,
            ood: sets.collect::<Result<_>>()?,
        })
    }

    /// How many images are measured on: those of the half to measure on, or all.
    pub fn test_images(&self) -> usize {
        let items = self.data.items.iter();
        items
            .filter(|item| item.split != Some(Split::Train))
            .count()
    }

    /// Keeps at most `most` images of each class in the training half, evenly taken in the order of their
    /// names; one sentence on it where any is left out. Of data without halves all are kept: what is
    /// not learned from is measured on there.
    pub fn thin(&mut self, most: usize) -> Option<String> {
        let learned = |split: Option<Split>| split == Some(Split::Train);
        let mut of_class = vec![0usize; self.data.classes.len()];
        for item in self.data.items.iter().filter(|item| learned(item.split)) {
            if let Some(count) = item.label.and_then(|label| of_class.get_mut(label)) {
                *count += 1;
            }
        }
        let before = self.data.items.len();
        let mut seen = vec![0usize; of_class.len()];
        self.data.items.retain(|item| {
            let Some(label) = item.label.filter(|_| learned(item.split)) else {
                return true;
            };
            let (place, count) = (seen[label], of_class[label]);
            seen[label] += 1;
            // As many steps of `most / count` as there are whole numbers on the way.
            count <= most || (place + 1) * most / count > place * most / count
        });
        let left_out = before - self.data.items.len();
        (left_out > 0).then(|| {
            format!(
                "At most {most} images a class of the training half were encoded, evenly taken; {left_out} were \
                 left out. The shots are drawn from them, and the others set the thresholds."
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::test_images::put;

    #[test]
    fn a_class_keeps_as_many_images_as_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..7 {
            put(&folder.path().join(format!("train/ant/{number}.png")), 1);
        }
        put(&folder.path().join("train/bee/0.png"), 1);
        for number in 0..5 {
            put(&folder.path().join(format!("val/ant/{number}.png")), 1);
        }
        let mut task = Task::open(folder.path(), &[]).unwrap();
        let note = task.thin(3).unwrap();
        assert!(note.contains("4 were left out"), "{note}");
        let kept: Vec<&str> = task
            .data
            .items
            .iter()
            .map(|item| item.name.as_str())
            .collect();
        assert_eq!(
            kept.iter()
                .filter(|name| name.starts_with("train/ant"))
                .count(),
            3
        );
        assert_eq!(kept.len(), 3 + 1 + 5);
        assert!(task.thin(3).is_none());
    }

    #[test]
    fn data_without_halves_keep_every_image() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..4 {
            put(&folder.path().join(format!("ant/{number}.png")), 1);
            put(&folder.path().join(format!("bee/{number}.png")), 1);
        }
        let mut task = Task::open(folder.path(), &[]).unwrap();
        assert!(task.thin(1).is_none());
        assert_eq!(task.data.items.len(), 8);
    }
}
