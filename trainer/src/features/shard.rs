//! A part of a large list of images, so that many jobs encode it without speaking to each other.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shared::clip::preprocess::DecodeLimits;

use super::key::hexadecimal;
use super::layout::FeaturePrecision;
use super::shard_file::ShardFile;
use super::usable::fits_by_now;
use crate::data::Dataset;

/// More shards than files that a process may have open cannot be merged.
pub const MOST_SHARDS: u32 = 4096;

/// The shard `index` of `count`, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    pub index: u32,
    pub count: u32,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/');
        let numbers = parts.and_then(|(index, count)| {
            Some((index.parse::<u32>().ok()?, count.parse::<u32>().ok()?))
        });
        match numbers {
            Some((index, count)) if index < count && count <= MOST_SHARDS => {
                Ok(Self { index, count })
            }
            _ => Err(format!(
                "write I/N with I from 0 to N-1 and N at most {MOST_SHARDS}, such as 0/8"
            )),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.index, self.count)
    }
}

impl Shard {
    /// Whether this shard encodes the image of this name: by the SHA-256 of the name, which every
    /// job knows without reading a file, and which no other image's coming or going changes.
    pub fn holds(&self, name: &str) -> bool {
        let hash: [u8; 32] = Sha256::digest(name.as_bytes()).into();
        let first = u64::from_le_bytes(std::array::from_fn(|byte| hash[byte]));
        first % u64::from(self.count) == u64::from(self.index)
    }

    /// The file of this shard, beside the one that all of them are merged into:
    /// `features.00003-of-00008.safetensors` for `features.safetensors`.
    pub fn path(&self, merged: &Path) -> PathBuf {
        let (stem, ending) = stem_and_ending(merged);
        merged.with_file_name(format!(
            "{stem}.{:05}-of-{:05}{ending}",
            self.index, self.count
        ))
    }

    /// Reads a file's name back.
    pub fn named_by(name: &str, merged: &Path) -> Option<Self> {
        let (stem, ending) = stem_and_ending(merged);
        let middle = name
            .strip_prefix(&format!("{stem}."))?
            .strip_suffix(&ending)?;
        let (index, count) = middle.split_once("-of-")?;
        let shard: Self = format!(
            "{}/{}",
            index.parse::<u32>().ok()?,
            count.parse::<u32>().ok()?
        )
        .parse()
        .ok()?;
        (shard.path(merged).file_name()?.to_str()? == name).then_some(shard)
    }
}

fn stem_and_ending(path: &Path) -> (String, String) {
    let text =
        |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let ending = match path.extension() {
        Some(ending) => format!(".{}", ending.to_string_lossy()),
        None => String::new(),
    };
    (text(path.file_stem()), ending)
}

/// What a shard's file says about the whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardHeader {
    pub shard: Shard,
    /// Images in the whole list.
    pub total: u64,
    /// SHA-256 of the whole list, names and labels in order, in hexadecimal.
    pub listing: String,
}

/// One shard of a dataset.
#[derive(Clone, Debug)]
pub struct Part {
    pub header: ShardHeader,
    /// Where its images stand in the whole list.
    pub positions: Vec<u32>,
    /// The names of the classes, which the labels of the list number.
    pub classes: Vec<String>,
}

/// An image that could not be read, as a shard records it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Where it stands in the whole list.
    pub position: u32,
    pub name: String,
    pub reason: String,
}

/// Leaves the images of one shard in `dataset`, and its classes as they are.
///
/// # Errors
/// When there are more images than can be numbered.
pub fn select(dataset: &mut Dataset, shard: Shard) -> Result<Part> {
    let total = dataset.items.len();
    ensure!(
        i32::try_from(total).is_ok(),
        "{} has {total} images, and at most {} can be encoded into one file: split the list",
        dataset.root.display(),
        i32::MAX
    );
    let mut listing = Sha256::new();
    let (mut positions, mut position) = (Vec::new(), 0);
    dataset.items.retain(|item| {
        listing.update((item.name.len() as u64).to_le_bytes());
        listing.update(item.name.as_bytes());
        listing.update(
            item.label
                .map_or(u64::MAX, |label| label as u64)
                .to_le_bytes(),
        );
        let holds = shard.holds(&item.name);
        if holds {
            positions.push(position);
        }
        position += 1;
        holds
    });
    // The list of all is large, and this shard's part of it is not.
    dataset.items.shrink_to_fit();
    Ok(Part {
        header: ShardHeader {
            shard,
            total: total as u64,
            listing: hexadecimal(&listing.finalize()),
        },
        positions,
        classes: dataset.classes.clone(),
    })
}

/// Whether `path` is this shard of this list, of the same class names, finished by the model with this key in this precision,
/// with no image left out that these limits allow.
pub fn is_finished(
    path: &Path,
    key: &str,
    precision: FeaturePrecision,
    limits: &DecodeLimits,
    part: &Part,
) -> bool {
    let Ok(mut file) = ShardFile::open(path) else {
        return false;
    };
    let header = &file.header;
    if header.key != key
        || header.precision != precision
        || header.classes != part.classes
        || header.shard.as_ref() != Some(&part.header)
    {
        return false;
    }
    loop {
        match file.next_skipped() {
            Ok(None) => return true,
            Ok(Some(image)) if !fits_by_now(&image.reason, limits) => {}
            Ok(Some(_)) | Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Item;

    #[test]
    fn shards_are_written_as_jobs_number_them() {
        let shard: Shard = "3/8".parse().unwrap();
        assert_eq!(
            (shard.index, shard.count, shard.to_string()),
            (3, 8, "3/8".into())
        );
        for wrong in ["8/8", "3", "-1/8", "3/0", "a/b", "0/100000", ""] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
        let merged = Path::new("out/features.safetensors");
        let path = shard.path(merged);
        assert_eq!(path, Path::new("out/features.00003-of-00008.safetensors"));
        let name = |text: &str| Shard::named_by(text, merged);
        assert_eq!(name("features.00003-of-00008.safetensors"), Some(shard));
        for other in [
            "features.safetensors",
            "features.3-of-8.safetensors",
            "features.00003-of-00008.safetensors.partial",
            "features.00008-of-00008.safetensors",
            "other.00003-of-00008.safetensors",
        ] {
            assert_eq!(name(other), None, "{other}");
        }
    }

    #[test]
    fn every_image_is_in_one_shard_and_shards_are_alike() {
        let items: Vec<_> = (0..4000)
            .map(|image| Item {
                path: PathBuf::new(),
                name: format!("class/{image:05}.jpg"),
                label: Some(image % 3),
                split: None,
            })
            .collect();
        let whole = Dataset {
            root: PathBuf::new(),
            source: "folder",
            classes: vec!["a".into(), "b".into(), "c".into()],
            items,
            warnings: Vec::new(),
        };
        let (mut positions, mut listings) = (Vec::new(), Vec::new());
        for index in 0..8 {
            let mut dataset = whole.clone();
            let part = select(&mut dataset, Shard { index, count: 8 }).unwrap();
            assert_eq!(dataset.items.len(), part.positions.len());
            assert!(
                (400..600).contains(&part.positions.len()),
                "{}",
                part.positions.len()
            );
            for (item, &position) in dataset.items.iter().zip(&part.positions) {
                assert_eq!(item, &whole.items[position as usize]);
            }
            positions.extend(part.positions);
            listings.push(part.header.listing);
        }
        positions.sort_unstable();
        assert_eq!(positions, (0..4000).collect::<Vec<u32>>());
        listings.dedup();
        assert_eq!(listings.len(), 1);
        let mut other = whole.clone();
        other.items[7].label = None;
        let part = select(&mut other, Shard { index: 0, count: 8 }).unwrap();
        assert_ne!(part.header.listing, listings[0]);
    }

    /// Another version of the program must not assign images anew while jobs run.
    #[test]
    fn the_assignment_never_changes() {
        let of = |name: &str| (0..8).find(|&index| Shard { index, count: 8 }.holds(name));
        // The first eight bytes of SHA-256("abc") are ba 78 16 bf 8f 01 cf ea.
        assert_eq!(
            of("abc"),
            Some((u64::from_le_bytes([0xba, 0x78, 0x16, 0xbf, 0x8f, 1, 0xcf, 0xea]) % 8) as u32)
        );
    }
}
