//! Spreading tensors over files of bounded size.
//!
//! Tensors go into files in the order of their names. One that is too large for a file is cut
//! along its first dimension into parts `NAME#0`, `NAME#1`, …, which [`Parts`] joins again.

use std::collections::BTreeMap;

use super::safetensors_file::SCALE_SUFFIX;
use super::tensor::volume;
use super::{BundleError, Precision, TensorValues, Tensors};

/// What separates a tensor's name from the number of its part.
const PART: char = '#';

/// The most characters of a tensor's name.
const MAX_NAME: usize = 512;

/// Room for safetensors' own length field and padding.
const FILE_OVERHEAD: usize = 64;

/// Hands groups of tensors that each fit a file of at most `limit` bytes to `store`, one at a time:
/// a large model is never in memory twice.
pub(super) fn pack(
    tensors: &Tensors,
    precision: Precision,
    limit: usize,
    mut store: impl FnMut(Tensors) -> Result<(), BundleError>,
) -> Result<(), BundleError> {
    let room = limit.saturating_sub(FILE_OVERHEAD);
    let (mut group, mut used) = (Tensors::new(), 0);
    for (name, tensor) in tensors {
        if name.is_empty() || name.len() > MAX_NAME || name.contains(PART) {
            let cause = format!("a name has 1 to {MAX_NAME} bytes and no {PART:?}");
            return Err(BundleError::tensor(name, cause));
        }
        tensor.check_shape(name)?;
        for (name, part) in cut(name, tensor, precision, room)? {
            let size = stored_size(name.len(), &part.shape, precision);
            if used + size > room && !group.is_empty() {
                store(std::mem::take(&mut group))?;
                used = 0;
            }
            used += size;
            group.insert(name, part);
        }
    }
    if group.is_empty() {
        return Ok(());
    }
    store(group)
}

/// A tensor, or a part of one: its values in memory, or on a device already.
pub trait Part: Sized {
    /// The size of each dimension.
    fn shape(&self) -> &[usize];

    /// Parts one after the other along the first dimension, in which their shapes may differ and in
    /// no other; at least one, and none without dimensions. `rows` is the sum of their first.
    fn join(parts: Vec<Self>, rows: usize) -> Self;
}

impl Part for TensorValues {
    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn join(parts: Vec<Self>, rows: usize) -> Self {
        let mut parts = parts.into_iter();
        let mut joined = parts.next().unwrap_or_default();
        for part in parts {
            joined.values.extend(part.values);
        }
        if let Some(size) = joined.shape.first_mut() {
            *size = rows;
        }
        joined
    }
}

/// The tensors of several files, with parts put together again.
pub struct Parts<T = TensorValues> {
    whole: BTreeMap<String, T>,
    parts: BTreeMap<String, BTreeMap<usize, T>>,
}

impl<T> Default for Parts<T> {
    fn default() -> Self {
        Self {
            whole: BTreeMap::new(),
            parts: BTreeMap::new(),
        }
    }
}

impl<T: Part> Parts<T> {
    /// Takes in a tensor under the name that it has in its file.
    ///
    /// # Errors
    /// When it is there already, or its name is that of a part without a number.
    pub fn add(&mut self, name: String, tensor: T) -> Result<(), BundleError> {
        let twice = match name.split_once(PART) {
            None => self.whole.insert(name.clone(), tensor).is_some(),
            Some((base, number)) => {
                let number: usize = number.parse().map_err(|_| {
                    BundleError::tensor(&name, "its part has no number; export again")
                })?;
                let parts = self.parts.entry(base.to_owned()).or_default();
                parts.insert(number, tensor).is_some()
            }
        };
        if twice {
            return Err(BundleError::tensor(name, "it is there twice; export again"));
        }
        Ok(())
    }

    /// All tensors, once every file is in.
    ///
    /// # Errors
    /// When a part is missing, or does not fit the others.
    pub fn join(mut self) -> Result<BTreeMap<String, T>, BundleError> {
        for (name, parts) in self.parts {
            let rest = |part: &T| part.shape().get(1..).map(<[usize]>::to_vec);
            let first = parts.values().next().and_then(rest);
            let mut rows = 0usize;
            for (expected, (&number, part)) in parts.iter().enumerate() {
                if number != expected {
                    let cause = format!("its part {expected} is missing; export again");
                    return Err(BundleError::tensor(name, cause));
                }
                if part.shape().is_empty() || rest(part) != first {
                    let cause = format!("its part {number} has another shape; export again");
                    return Err(BundleError::tensor(name, cause));
                }
                rows = rows.checked_add(part.shape()[0]).ok_or_else(|| {
                    let cause = "its parts have more rows than can be counted; export again";
                    BundleError::tensor(&name, cause)
                })?;
            }
            let joined = T::join(parts.into_values().collect(), rows);
            if volume(joined.shape()).is_none() {
                let cause = "its parts have more values than can be counted; export again";
                return Err(BundleError::tensor(name, cause));
            }
            if self.whole.insert(name.clone(), joined).is_some() {
                return Err(BundleError::tensor(name, "it is there twice; export again"));
            }
        }
        Ok(self.whole)
    }
}

/// The tensor itself, or its parts when it does not fit.
fn cut(
    name: &str,
    tensor: &TensorValues,
    precision: Precision,
    room: usize,
) -> Result<Vec<(String, TensorValues)>, BundleError> {
    if stored_size(name.len(), &tensor.shape, precision) <= room {
        return Ok(vec![(name.to_owned(), tensor.clone())]);
    }
    let rows = tensor.rows();
    let row_values = tensor.values.len() / rows.max(1);
    let shape_of = |count: usize| {
        let mut shape = tensor.shape.clone();
        if let Some(size) = shape.first_mut() {
            *size = count;
        }
        shape
    };
    let longest_name = format!("{name}{PART}{rows}").len();
    let fits = |count: usize| stored_size(longest_name, &shape_of(count), precision) <= room;
    // The most rows that fit; the size grows with the rows.
    let (mut step, mut too_many) = (0, rows);
    while too_many - step > 1 {
        let middle = step + (too_many - step) / 2;
        if fits(middle) {
            step = middle;
        } else {
            too_many = middle;
        }
    }
    if step == 0 {
        let cause = format!("one row of it does not fit a file of {room} bytes");
        return Err(BundleError::tensor(name, cause));
    }
    let part_of = |first: usize, count: usize| TensorValues {
        shape: shape_of(count),
        values: tensor.values[first * row_values..(first + count) * row_values].to_vec(),
    };
    let parts = (0..rows).step_by(step).enumerate();
    Ok(parts
        .map(|(number, first)| {
            let part = part_of(first, step.min(rows - first));
            (format!("{name}{PART}{number}"), part)
        })
        .collect())
}

/// At most how many bytes of a file a tensor takes, its line in the header included. The shape must
/// be one that a tensor in memory has, so that its volume does not overflow.
fn stored_size(name_bytes: usize, shape: &[usize], precision: Precision) -> usize {
    // {"NAME":{"dtype":"F32","shape":[…],"data_offsets":[…,…]}, : 60 characters, and at most 21 a
    // number; a name may grow sixfold when JSON escapes it.
    let line = |name_bytes: usize| 6 * name_bytes + 102 + 21 * shape.len();
    let values: usize = shape.iter().product();
    let scales = match shape {
        [rows, columns, ..] => (*rows).max(*columns),
        _ => 0,
    };
    line(name_bytes)
        + match precision {
            Precision::F32 => 4 * values,
            Precision::F16 => 2 * values,
            Precision::Int8 if scales == 0 => 4 * values,
            Precision::Int8 => line(name_bytes + SCALE_SUFFIX.len()) + values + 4 * scales,
        }
}

#[cfg(test)]
mod tests {
    use super::super::example::random_tensor;
    use super::super::{decode_tensors, encode_tensors};
    use super::*;
    use crate::metric::generator::Generator;

    fn groups(
        tensors: &Tensors,
        precision: Precision,
        limit: usize,
    ) -> Result<Vec<Tensors>, BundleError> {
        let mut groups = Vec::new();
        pack(tensors, precision, limit, |group| {
            groups.push(group);
            Ok(())
        })?;
        Ok(groups)
    }

    #[test]
    fn files_stay_below_the_limit_and_join_to_what_was_packed() {
        let mut generator = Generator::new(61);
        for round in 0..60 {
            let mut tensors = Tensors::new();
            for index in 0..1 + generator.below(12) {
                let shape: Vec<usize> = (0..generator.below(4))
                    .map(|_| 1 + generator.below(12))
                    .collect();
                tensors.insert(format!("t{index}"), random_tensor(&mut generator, &shape));
            }
            let precision = [Precision::F32, Precision::F16, Precision::Int8][round % 3];
            let limit = 2_000 + generator.below(3_000);
            let Ok(groups) = groups(&tensors, precision, limit) else {
                // A row of [12, 12, 12] can be larger than the smallest limits; nothing else can.
                assert!(
                    tensors
                        .values()
                        .any(|tensor| tensor.values.len() / tensor.rows() > 50)
                );
                continue;
            };
            let mut parts = Parts::default();
            for group in &groups {
                let bytes = encode_tensors(group, precision).unwrap();
                assert!(bytes.len() <= limit, "{} > {limit}", bytes.len());
                for (name, tensor) in decode_tensors("file", &bytes).unwrap() {
                    parts.add(name, tensor).unwrap();
                }
            }
            let joined = parts.join().unwrap();
            assert!(joined.keys().eq(tensors.keys()));
            for (name, tensor) in &tensors {
                assert_eq!(joined[name].shape, tensor.shape);
                for (a, b) in tensor.values.iter().zip(&joined[name].values) {
                    assert!((a - b).abs() < 0.02);
                }
            }
        }
    }

    #[test]
    fn small_tensors_share_a_file_and_large_ones_are_cut() {
        let mut generator = Generator::new(62);
        let mut tensors = Tensors::new();
        tensors.insert(
            "large".to_owned(),
            random_tensor(&mut generator, &[100, 20]),
        );
        tensors.insert("small".to_owned(), random_tensor(&mut generator, &[4]));
        assert_eq!(groups(&tensors, Precision::F32, 100_000).unwrap().len(), 1);
        let groups = groups(&tensors, Precision::F32, 4_000).unwrap();
        let names: Vec<&str> = groups
            .iter()
            .flat_map(|g| g.keys().map(String::as_str))
            .collect();
        assert_eq!(names, ["large#0", "large#1", "large#2", "small"].map(|n| n));
    }

    #[test]
    fn names_and_rows_that_cannot_be_stored_are_refused() {
        let tensor = TensorValues::new([1, 1000], vec![0.0; 1000]).unwrap();
        for name in ["a#b", "", &"n".repeat(600)] {
            let tensors = Tensors::from([(name.to_owned(), tensor.clone())]);
            assert!(groups(&tensors, Precision::F32, 100_000).is_err());
        }
        let tensors = Tensors::from([("w".to_owned(), tensor)]);
        let error = groups(&tensors, Precision::F32, 1_000).unwrap_err();
        assert!(error.to_string().contains("one row"), "{error}");
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let part = |rows: usize, width: usize| {
            TensorValues::new([rows, width], vec![0.0; rows * width]).unwrap()
        };
        let join = |parts: &[(&str, TensorValues)]| {
            let mut joined = Parts::default();
            for (name, tensor) in parts {
                joined.add((*name).to_owned(), tensor.clone())?;
            }
            joined.join()
        };
        assert_eq!(
            join(&[("w#1", part(1, 2)), ("w#0", part(3, 2))]).unwrap()["w"],
            part(4, 2)
        );
        let scalar = TensorValues::new([], vec![1.0]).unwrap();
        for broken in [
            vec![("w#1", part(1, 2))],
            vec![("w#0", part(1, 2)), ("w#2", part(1, 2))],
            vec![("w#0", part(1, 2)), ("w#1", part(1, 3))],
            vec![("w#0", part(1, 2)), ("w#0", part(1, 2))],
            vec![("w#0", part(1, 2)), ("w", part(1, 2))],
            vec![("w#0", scalar.clone()), ("w#1", scalar)],
            vec![("w#x", part(1, 2))],
            vec![("w#0#1", part(1, 2))],
        ] {
            assert!(join(&broken).is_err(), "{broken:?}");
        }
    }
}
