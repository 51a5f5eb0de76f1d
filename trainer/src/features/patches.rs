//! Features of image patches, for GL-MCM and LoCoOp, in a file of their own: they take as much as
//! fifty features of whole images, and few methods need them.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Result, bail};
use burn::tensor::Device;
use shared::clip::preprocess::DecodeLimits;

use super::cache::FeatureCache;
use super::journal::Entry;
use super::key::hexadecimal;
use super::layout::{CacheHeader, FeaturePrecision};
use super::prepare::prepare;
use super::stream::{forward_patches, in_batches};
use super::writer::CacheWriter;
use crate::data::Dataset;
use crate::model::{LoadedImageTower, ModelDirectory};
use crate::progress::Progress;

/// Images that go through the tower together.
const TOGETHER: usize = 16;

/// Computes `[patches, d]` for each image that `features` holds into `file`, in the same order; a
/// finished file of the same model and images is taken over, and what a killed run left is gone on with.
///
/// # Errors
/// When an image can no longer be read, or the file cannot be written.
pub fn encode_patches(
    dataset: &Dataset,
    model: &ModelDirectory,
    loaded: &LoadedImageTower,
    device: &Device,
    features: &FeatureCache,
    file: &Path,
    limits: &DecodeLimits,
) -> Result<FeatureCache> {
    let config = &model.config;
    let side = config.preprocessing.size as usize;
    let forward = |pixels: Vec<f32>, images: usize| {
        forward_patches(&loaded.tower, &config.preprocessing, device, pixels, images)
    };
    let width = forward(vec![0.0; 3 * side * side], 1)?.len();
    let header = CacheHeader {
        classes: features.classes().to_vec(),
        model: config.name.clone(),
        key: format!("{} patches", loaded.key),
        width,
        precision: FeaturePrecision::F16,
        shard: None,
    };
    if let Ok(earlier) = FeatureCache::open(file)
        && earlier.has_checksum()
        && earlier.header() == &header
        && earlier.len() == features.len()
        && (0..features.len()).all(|image| earlier.hash(image) == features.hash(image))
    {
        return Ok(earlier);
    }
    let names = features.files();
    let encoded: HashSet<&str> = names.iter().copied().collect();
    let items: Vec<_> = dataset
        .items
        .iter()
        .filter(|item| encoded.contains(item.name.as_str()))
        .cloned()
        .collect();
    if items.len() != features.len() {
        bail!(
            "{}: the images changed while they were encoded; run again",
            dataset.root.display()
        );
    }
    let label = format!(
        "encoding patches of {}",
        crate::output::shown(&dataset.root)
    );
    let progress = Progress::new(label, "images", items.len() as u64);
    // A file that was begun for other images or by another model has nothing to go on with.
    let mut confirmed = 0;
    let mut same_image = |entry: &Entry| {
        let hash = features.hash(confirmed).map(hexadecimal);
        let same = names.get(confirmed) == Some(&entry.name.as_str())
            && hash.is_some_and(|hash| hash == entry.hash);
        confirmed += usize::from(same);
        same
    };
    let mut writer = CacheWriter::resume(file, header.clone(), &mut same_image)
        .or_else(|_| CacheWriter::create(file, header))?;
    let mut written = writer.images() as usize;
    progress.skip(written as u64);
    in_batches(
        &items[written.min(items.len())..],
        TOGETHER,
        |item| prepare(&item.path, &config.preprocessing, limits),
        |items, prepared| {
            let mut pixels = Vec::new();
            for (item, image) in items.iter().zip(prepared) {
                match image {
                    Ok(image) => pixels.extend(image),
                    Err(reason) => bail!("{}: {reason}", item.path.display()),
                }
            }
            let encoded = forward(pixels, items.len())?;
            for (item, patches) in items.iter().zip(encoded.chunks_exact(width)) {
                let hash = features.hash(written).map_or(String::new(), hexadecimal);
                writer.push(&item.name, item.label, &hash, patches)?;
                written += 1;
                progress.advance(1);
            }
            writer.flush()
        },
    )?;
    progress.finish();
    writer.finish()?;
    FeatureCache::open(file)
}
