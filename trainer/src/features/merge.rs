//! Finished shards into one file, the same bytes as one run over all images would write.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail, ensure};

use super::key::hexadecimal;
use super::layout::CacheHeader;
use super::shard::{Shard, Skipped};
use super::shard_file::{ShardFile, ShardImage};
use super::writer::CacheWriter;
use crate::output::explain;
use crate::progress::Progress;

/// Images after which everything is handed to the system.
const FLUSH_EVERY: u64 = 4096;

/// What a merge came to.
#[derive(Debug)]
pub struct Merged {
    pub shards: u32,
    pub images: u64,
    pub skipped: Vec<Skipped>,
}

/// Joins the shards that lie beside `out` and checks that they are all of one list, that every
/// image of it is in exactly one of them, and that no byte of them has changed.
///
/// # Errors
/// Names the shards that are missing, or the first disagreement.
pub fn merge(out: &Path) -> Result<Merged> {
    let paths = shards_beside(out)?;
    let mut shards = Vec::new();
    for (index, path) in paths.iter().enumerate() {
        let shard = ShardFile::open(path)?;
        agrees(&shard, index, path, shards.first(), &paths[0])?;
        shards.push(shard);
    }
    let Some(of_whole) = shards[0].header.shard.clone() else {
        bail!("{} is no shard", paths[0].display());
    };
    let progress = Progress::new("merging", "images", of_whole.total);
    let header = CacheHeader {
        shard: None,
        ..shards[0].header.clone()
    };
    let mut queues = Vec::new();
    for (shard, path) in shards.into_iter().zip(&paths) {
        queues.push(Queue::new(shard, path)?);
    }
    let mut writer = CacheWriter::create(out, header)?;
    let merged = write(&mut queues, of_whole.total, &mut writer, &progress);
    let skipped = match merged {
        Ok(skipped) if writer.images() > 0 => skipped,
        outcome => {
            writer.abandon();
            return Err(outcome.err().unwrap_or_else(|| {
                anyhow!("none of the {} images could be read", of_whole.total)
            }));
        }
    };
    progress.finish();
    let images = writer.images();
    writer.finish()?;
    Ok(Merged {
        shards: of_whole.shard.count,
        images,
        skipped,
    })
}

/// Takes images in the order of their positions; gives those that were skipped.
fn write(
    queues: &mut [Queue],
    total: u64,
    writer: &mut CacheWriter,
    progress: &Progress,
) -> Result<Vec<Skipped>> {
    let mut skipped = Vec::new();
    let mut heads: BinaryHeap<Reverse<(u32, usize)>> = queues
        .iter()
        .enumerate()
        .filter_map(|(index, queue)| Some(Reverse((queue.position()?, index))))
        .collect();
    for expected in 0..total {
        let next = heads.pop();
        let Some(Reverse((_, index))) = next.filter(|head| u64::from(head.0.0) == expected) else {
            bail!(
                "the shards do not hold the list of images, each once: image {expected} of {total} is missing, or one comes twice; make the shards again"
            );
        };
        let queue = &mut queues[index];
        match queue.pop()? {
            Head::Image(image) => {
                queue.require(&image.name)?;
                let hash = hexadecimal(&image.hash);
                writer.push(&image.name, image.label, &hash, &image.feature)?;
            }
            Head::Skipped(image) => {
                queue.require(&image.name)?;
                skipped.push(image);
            }
        }
        if let Some(position) = queue.position() {
            heads.push(Reverse((position, index)));
        }
        if expected % FLUSH_EVERY == 0 {
            writer.flush()?;
        }
        progress.advance(1);
    }
    ensure!(
        heads.is_empty(),
        "the shards hold more images than their list"
    );
    Ok(skipped)
}

enum Head {
    Image(ShardImage),
    Skipped(Skipped),
}

/// A shard with its next image, and its next one that could not be read.
struct Queue {
    shard: Shard,
    path: PathBuf,
    file: ShardFile,
    image: Option<ShardImage>,
    skipped: Option<Skipped>,
}

impl Queue {
    fn new(mut file: ShardFile, path: &Path) -> Result<Self> {
        file.check()?;
        let shard = file.header.shard.as_ref().map(|header| header.shard);
        Ok(Self {
            shard: shard.ok_or_else(|| anyhow!("{} is no shard", path.display()))?,
            path: path.to_path_buf(),
            image: file.next()?,
            skipped: file.next_skipped()?,
            file,
        })
    }

    /// Where the next one stands in the whole list.
    fn position(&self) -> Option<u32> {
        let image = self.image.as_ref().map(|image| image.position);
        let skipped = self.skipped.as_ref().map(|skipped| skipped.position);
        image.into_iter().chain(skipped).min()
    }

    fn pop(&mut self) -> Result<Head> {
        let position = self.position();
        let image = self.image.take_if(|image| Some(image.position) == position);
        if let Some(image) = image {
            self.image = self.file.next()?;
            return Ok(Head::Image(image));
        }
        let skipped = self.skipped.take();
        self.skipped = self.file.next_skipped()?;
        let at_end = || anyhow!("{} ends early", self.path.display());
        skipped.map(Head::Skipped).ok_or_else(at_end)
    }

    fn require(&self, name: &str) -> Result<()> {
        // Line breaks in names are written as two characters.
        let named = name.replace("\\n", "\n");
        ensure!(
            self.shard.holds(name) || self.shard.holds(&named),
            "{} holds {name}, which belongs to another shard: make it again",
            self.path.display()
        );
        Ok(())
    }
}

/// The files of all shards, in order.
fn shards_beside(out: &Path) -> Result<Vec<PathBuf>> {
    let folder = match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let listing = std::fs::read_dir(folder).map_err(|error| explain(error, "open", folder))?;
    let mut found: Vec<Shard> = listing
        .filter_map(|entry| Shard::named_by(entry.ok()?.file_name().to_str()?, out))
        .collect();
    found.sort_by_key(|shard| (shard.count, shard.index));
    let example = Shard { index: 0, count: 8 }.path(out);
    let Some(&Shard { count, .. }) = found.first() else {
        bail!(
            "there is no shard beside {}: make them with `trainer encode --shard I/N --out {}`; they are called like {}",
            out.display(),
            out.display(),
            example.display()
        );
    };
    if let Some(other) = found.iter().find(|shard| shard.count != count) {
        bail!(
            "beside {} lie shards of {count} and of {}: remove those that are not meant",
            out.display(),
            other.count
        );
    }
    let has = |index: u32| found.iter().any(|shard| shard.index == index);
    let missing: Vec<String> = (0..count)
        .filter(|&index| !has(index))
        .map(|index| Shard { index, count }.to_string())
        .collect();
    if !missing.is_empty() {
        bail!(
            "{} of {count} shards beside {} are not finished; run `trainer encode --resume --shard` for {}",
            missing.len(),
            out.display(),
            missing.join(", ")
        );
    }
    Ok(found.iter().map(|shard| shard.path(out)).collect())
}

/// Fails unless a shard is the one its name says, of the same list and model as the first.
fn agrees(
    shard: &ShardFile,
    index: usize,
    path: &Path,
    first: Option<&ShardFile>,
    first_path: &Path,
) -> Result<()> {
    let header = &shard.header;
    let inside = header
        .shard
        .as_ref()
        .map(|header| header.shard.index as usize);
    ensure!(
        inside == Some(index),
        "{} is another shard than its name says: it was renamed",
        path.display()
    );
    let Some(first) = first.map(|first| &first.header) else {
        return Ok(());
    };
    let list = |header: &CacheHeader| {
        let shard = header.shard.clone();
        shard.map(|shard| (shard.shard.count, shard.total, shard.listing))
    };
    let difference = if first.key != header.key {
        "were computed by different models, or with different preprocessing"
    } else if (first.precision, first.width) != (header.precision, header.width) {
        "have different precisions"
    } else if list(first) != list(header) || first.classes != header.classes {
        "are of different lists of images: some were added or removed between them"
    } else {
        return Ok(());
    };
    bail!(
        "{} and {} {difference}; make one of them again",
        first_path.display(),
        path.display()
    )
}
