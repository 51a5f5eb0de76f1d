//! Images → features: threads read, decode and preprocess while the image tower works on the
//! batch before.

use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

use anyhow::{Result, anyhow, bail};
use burn::tensor::Device;
use shared::clip::preprocess::{DecodeLimits, Preprocessing};
use shared::clip::{ClipConfig, ImageTower};

use super::cache::FeatureCache;
use super::journal::{Entry, Outcome};
use super::key::hexadecimal;
use super::layout::{CacheHeader, FeaturePrecision, HASH_BYTES};
use super::prepare::{hash, read_image_file, to_pixels, too_large};
use super::shard::Part;
use super::stream::{forward_pixels, in_batches};
use super::usable;
use super::usable::fits_by_now;
use super::writer::{CacheWriter, unfinished, unfit};
use crate::data::{Dataset, Item};
use crate::progress::{Progress, say};

/// How features are computed and kept.
#[derive(Clone, Debug)]
pub struct EncodeOptions {
    /// Images that go through the tower together.
    pub batch: usize,
    pub precision: FeaturePrecision,
    pub limits: DecodeLimits,
    /// What is done with what a killed run left.
    pub resume: Resume,
    /// Which part of a larger list the images are; none for all of it.
    pub part: Option<Part>,
}

/// What is done with what a killed run left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resume {
    /// It is dropped.
    #[default]
    No,
    /// The user asked to go on with it: what was begun otherwise is an error.
    Asked,
    /// It is gone on with where it fits, and dropped with a note where it does not: nobody asked.
    WhereItFits,
}

impl Resume {
    /// What an option `--resume` says.
    pub fn asked(resume: bool) -> Self {
        match resume {
            true => Self::Asked,
            false => Self::No,
        }
    }
}

impl Default for EncodeOptions {
    fn default() -> Self {
        Self {
            batch: 32,
            precision: FeaturePrecision::default(),
            limits: DecodeLimits::default(),
            resume: Resume::No,
            part: None,
        }
    }
}

/// What became of the images.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EncodeReport {
    /// Features in the file.
    pub images: u64,
    /// Of those, how many were taken over from a finished or unfinished file.
    pub reused: u64,
    /// Images that could not be read, with the reason.
    pub skipped: Vec<(String, String)>,
    pub seconds: f64,
}

impl EncodeReport {
    /// Images put through the tower in a second, decoding included.
    pub fn images_per_second(&self) -> f64 {
        (self.images - self.reused) as f64 / self.seconds.max(1e-9)
    }
}

/// Computes the features of every image of `dataset` into the file `out`.
///
/// Features of a finished file of this name that were computed by the same model from the same
/// bytes are taken over. Memory does not grow with the number of images.
///
/// # Errors
/// When no image at all can be read, or the file cannot be written. One image that cannot be read
/// is reported in [`EncodeReport::skipped`].
pub fn encode(
    dataset: &Dataset,
    config: &ClipConfig,
    key: &str,
    workers: &[Worker],
    out: &Path,
    options: &EncodeOptions,
) -> Result<EncodeReport> {
    let started = Instant::now();
    let header = CacheHeader {
        classes: dataset.classes.clone(),
        model: config.name.clone(),
        key: key.to_owned(),
        width: config.embed_dim,
        precision: options.precision,
        shard: options.part.as_ref().map(|part| part.header.clone()),
    };
    let items = &dataset.items;
    let label = format!("encoding {}", crate::output::shown(&dataset.root));
    let progress = Progress::new(label, "images", items.len() as u64);
    let earlier = Earlier::open(out, &header);
    let mut report = EncodeReport::default();

    let begun_otherwise = unfit(out, &header);
    let goes_on = match (options.resume, &begun_otherwise) {
        (Resume::No, _) => false,
        (Resume::WhereItFits, Some(difference)) => {
            say(&format!(
                "note: an unfinished run of {} was begun with {difference}: it is begun anew",
                crate::output::shown(out)
            ));
            false
        }
        (Resume::Asked | Resume::WhereItFits, _) => true,
    };
    let mut writer = if goes_on {
        let mut confirmed = Confirmed::new(items, &progress, options.limits);
        let writer = CacheWriter::resume(out, header, &mut |entry: &Entry| confirmed.check(entry))?;
        report.skipped = confirmed.skipped;
        report.reused = writer.images();
        writer
    } else {
        if options.resume == Resume::No
            && let Some(partial) = unfinished(out)
        {
            say(&format!(
                "note: {} of an unfinished run is dropped (--resume would go on with it)",
                partial.display()
            ));
        }
        CacheWriter::create(out, header)?
    };
    let done = report.reused as usize + report.skipped.len();
    let work = &items[done.min(items.len())..];
    let reader = Reader {
        preprocessing: &config.preprocessing,
        limits: options.limits,
        earlier: &earlier,
    };

    let mut old = vec![0.0; config.embed_dim];
    in_batches(
        work,
        options.batch,
        |item| reader.read(item),
        |items, read| {
            let features = forward(workers, config, &read)?;
            let mut features = features.chunks_exact(config.embed_dim.max(1));
            for (item, image) in items.iter().zip(read) {
                match image {
                    Image::Pixels(hash, _) => {
                        let feature = features
                            .next()
                            .ok_or_else(|| anyhow!("the image tower lost {}", item.name))?;
                        let hash = hexadecimal(&hash);
                        match usable(feature) {
                            Ok(()) => writer.push(&item.name, item.label, &hash, feature)?,
                            Err(reason) => {
                                progress
                                    .print(&format!("skipped {}: {reason}", item.path.display()));
                                writer.skip(&item.name, item.label, &hash, &reason)?;
                                report.skipped.push((item.name.clone(), reason));
                            }
                        }
                    }
                    Image::Known(hash, row) => {
                        earlier.read_into(row, &mut old);
                        writer.push(&item.name, item.label, &hexadecimal(&hash), &old)?;
                        report.reused += 1;
                    }
                    Image::Unreadable(hash, reason) => {
                        progress.print(&format!("skipped {}: {reason}", item.path.display()));
                        let hash = hash.map_or(String::new(), |hash| hexadecimal(&hash));
                        writer.skip(&item.name, item.label, &hash, &reason)?;
                        report.skipped.push((item.name.clone(), reason));
                    }
                }
                progress.advance(1);
            }
            writer.flush()
        },
    )?;
    progress.finish();

    report.images = writer.images();
    report.seconds = started.elapsed().as_secs_f64();
    if let Some(part) = &options.part {
        // A shard may have no image: the others have them.
        writer.finish_shard(&part.positions)?;
        return Ok(report);
    }
    if report.images == 0 {
        writer.abandon();
        let (name, reason) = report.skipped.first().cloned().unwrap_or_default();
        bail!(
            "none of the {} images in {} can be read; the first, {name}: {reason}",
            items.len(),
            dataset.root.display()
        );
    }
    writer.finish()?;
    Ok(report)
}

/// An image tower on its device. Several have the same weights.
#[derive(Clone, Copy)]
pub struct Worker<'a> {
    pub tower: &'a ImageTower,
    pub device: &'a Device,
}

/// Features of the images that could be read, in order. Each worker takes as many of them as any
/// other, side by side.
fn forward(workers: &[Worker], config: &ClipConfig, read: &[Image]) -> Result<Vec<f32>> {
    let images: Vec<&[f32]> = read
        .iter()
        .filter_map(|image| match image {
            Image::Pixels(_, pixels) => Some(pixels.as_slice()),
            _ => None,
        })
        .collect();
    let run = |worker: &Worker, images: &[&[f32]]| {
        let Worker { tower, device } = worker;
        let count = images.len();
        forward_pixels(tower, &config.preprocessing, device, images.concat(), count)
    };
    if let [worker] = workers {
        return run(worker, &images);
    }
    let share = images.len().div_ceil(workers.len().max(1)).max(1);
    let run = &run;
    let features = std::thread::scope(|scope| {
        let started: Vec<_> = workers
            .iter()
            .zip(images.chunks(share))
            .map(|(worker, images)| scope.spawn(move || run(worker, images)))
            .collect();
        let joined = started.into_iter().map(|thread| {
            let failed = |_| Err(anyhow!("a device failed: try it alone with --device"));
            thread.join().unwrap_or_else(failed)
        });
        joined.collect::<Result<Vec<_>>>()
    })?;
    Ok(features.concat())
}

/// What reading one image file gave.
enum Image {
    Pixels([u8; HASH_BYTES], Vec<f32>),
    /// The earlier file has this feature, in this row.
    Known([u8; HASH_BYTES], usize),
    Unreadable(Option<[u8; HASH_BYTES]>, String),
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    preprocessing: &'a Preprocessing,
    limits: DecodeLimits,
    earlier: &'a Earlier,
}

impl Reader<'_> {
    fn read(&self, item: &Item) -> Image {
        let bytes = match read_image_file(&item.path) {
            Ok(bytes) => bytes,
            Err(reason) => return Image::Unreadable(None, reason),
        };
        let hash = hash(&bytes);
        if let Some(&row) = self.earlier.rows.get(&hash) {
            return match too_large(&bytes, &self.limits) {
                Some(reason) => Image::Unreadable(Some(hash), reason),
                None => Image::Known(hash, row),
            };
        }
        match to_pixels(&bytes, self.preprocessing, &self.limits) {
            Ok(pixels) => Image::Pixels(hash, pixels),
            Err(reason) => Image::Unreadable(Some(hash), reason),
        }
    }
}

/// A finished file of the same name, model and precision, by the hash of its images.
#[derive(Default)]
struct Earlier {
    cache: Option<FeatureCache>,
    rows: HashMap<[u8; HASH_BYTES], usize>,
}

impl Earlier {
    fn open(out: &Path, header: &CacheHeader) -> Self {
        // A file that is absent, damaged or of another model has nothing to offer.
        let Ok(cache) = FeatureCache::open(out) else {
            return Self::default();
        };
        let old = cache.header();
        // Everything that is written here has a checksum: without it, the file was altered.
        if !cache.has_checksum()
            || old.key != header.key
            || old.precision != header.precision
            || old.width != header.width
        {
            return Self::default();
        }
        let rows = (0..cache.len())
            .filter_map(|row| Some((cache.hash(row)?.try_into().ok()?, row)))
            .collect();
        Self {
            cache: Some(cache),
            rows,
        }
    }

    fn read_into(&self, row: usize, feature: &mut [f32]) {
        if let Some(cache) = &self.cache {
            cache.read_into(row, feature);
        }
    }
}

/// Compares what a killed run recorded with the images of this one, one by one.
struct Confirmed<'a> {
    items: std::slice::Iter<'a, Item>,
    progress: &'a Progress,
    limits: DecodeLimits,
    skipped: Vec<(String, String)>,
}

impl<'a> Confirmed<'a> {
    fn new(items: &'a [Item], progress: &'a Progress, limits: DecodeLimits) -> Self {
        Self {
            items: items.iter(),
            progress,
            limits,
            skipped: Vec::new(),
        }
    }

    /// Whether the next image has the recorded name, class and content.
    fn check(&mut self, entry: &Entry) -> bool {
        let Some(item) = self.items.next() else {
            return false;
        };
        let label = item.label.map_or(-1, |label| label as i32);
        let bytes = read_image_file(&item.path).ok();
        let content = (bytes.as_ref()).map_or(String::new(), |bytes| hexadecimal(&hash(bytes)));
        if entry.name != item.name || entry.label != label || entry.hash != content {
            return false;
        }
        let too_large = |bytes| too_large(bytes, &self.limits).is_some();
        if matches!(entry.outcome, Outcome::Feature(_)) && bytes.as_deref().is_some_and(too_large) {
            return false;
        }
        if let Outcome::Skipped(reason) = &entry.outcome {
            if fits_by_now(reason, &self.limits) {
                return false;
            }
            self.skipped.push((item.name.clone(), reason.clone()));
        }
        self.progress.skip(1);
        true
    }
}
