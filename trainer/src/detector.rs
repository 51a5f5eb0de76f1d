//! A bundle at work: image files in, scores out, through the same functions as the page.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use burn::tensor::Device;
use shared::bundle::{
    Bundle, FileEntry, MANIFEST_FILE, MAX_MANIFEST_BYTES, Manifest, MethodEntry, Role,
};
use shared::clip::ImageTower;
use shared::clip::preprocess::DecodeLimits;
use shared::score::{ClassFeatures, ImageFeatures, Method};

use crate::data::Item;
use crate::features::{forward_patches, forward_pixels, in_batches, prepare, usable};
use crate::output;

/// A bundle with its image tower on a device.
pub struct Detector {
    pub manifest: Manifest,
    pub classes: ClassFeatures,
    tower: ImageTower,
    device: Device,
}

/// Reads a bundle and checks every file's size and hash.
pub fn open_bundle(directory: &Path) -> Result<Bundle> {
    output::require_folder(directory, "the bundle")?;
    let manifest = directory.join(MANIFEST_FILE);
    if !manifest.is_file() {
        bail!(
            "{} is no bundle, it has no {MANIFEST_FILE}: point to the folder `bundle` that `trainer train` or `trainer export` wrote",
            directory.display()
        );
    }
    let bytes = output::read_at_most(&manifest, MAX_MANIFEST_BYTES as u64)?;
    Bundle::open(&bytes, |entry| read_entry(directory, entry))
        .with_context(|| format!("cannot use the bundle {}", directory.display()))
}

/// The bytes of a content file, if it is as large as the manifest says.
fn read_entry(directory: &Path, entry: &FileEntry) -> Result<Vec<u8>, String> {
    let path = directory.join(&entry.name);
    match std::fs::metadata(&path) {
        // Bytes that are too few are for the bundle's own check to name; too many are not read.
        Ok(metadata) if metadata.is_file() && metadata.len() > entry.bytes => Err(format!(
            "it has {} bytes where the manifest says {}; the copy is altered, fetch or export it again",
            metadata.len(),
            entry.bytes
        )),
        _ => output::read_at_most(&path, entry.bytes).map_err(|error| format!("{error:#}")),
    }
}

/// Asks the device for the bundle's known answers, as the page does: a driver that computes wrongly
/// would give wrong verdicts without a word.
fn check(bundle: &Bundle, tower: &ImageTower, device: &Device) -> Result<()> {
    let preprocessing = &bundle.manifest.model.preprocessing;
    for answer in &bundle.manifest.known_answers {
        let pixels = bundle.known_pixels(answer)?;
        let patches = match answer.mean_patch.is_empty() {
            true => Vec::new(),
            false => forward_patches(tower, preprocessing, device, pixels.clone(), 1)?,
        };
        let feature = forward_pixels(tower, preprocessing, device, pixels, 1)?;
        if let Err(wrong) = answer.judge(&feature, &patches) {
            bail!(
                "its image tower does not give its known answers on this device: {wrong}. Try --device cpu; if that says the same, the bundle is damaged: export it again"
            );
        }
    }
    Ok(())
}

impl Detector {
    /// Opens a bundle, puts its image tower on the device and asks it for the known answers.
    pub fn open(directory: &Path, device: &Device) -> Result<Self> {
        let mut bundle = open_bundle(directory)?;
        let classes = bundle.class_features()?;
        let tensors = bundle.tensors.remove(&Role::ImageTower).ok_or_else(|| {
            anyhow!(
                "the bundle {} has no image tower: export it again",
                directory.display()
            )
        })?;
        let tower = ImageTower::load(&tensors, &bundle.manifest.model, device)
            .with_context(|| format!("the image tower of the bundle {}", directory.display()))?;
        check(&bundle, &tower, device)
            .with_context(|| format!("the bundle {}", directory.display()))?;
        Ok(Self {
            manifest: bundle.manifest,
            classes,
            tower,
            device: device.clone(),
        })
    }

    /// The methods that this program knows and that the bundle has everything for.
    pub fn methods(&self) -> Vec<(&MethodEntry, &'static dyn Method)> {
        self.manifest
            .usable_methods()
            .filter(|(_, method)| self.classes.offers(*method, true))
            .collect()
    }

    /// The method of this id; the bundle's first without one.
    pub fn method(&self, id: Option<&str>) -> Result<(&MethodEntry, &'static dyn Method)> {
        let usable = self.methods();
        let found = match id {
            Some(id) => usable.iter().find(|(entry, _)| entry.id == id),
            None => usable.first(),
        };
        found.copied().ok_or_else(|| {
            let known: Vec<_> = usable.iter().map(|(entry, _)| entry.id.as_str()).collect();
            anyhow!(
                "the bundle has no method `{}`; it has: {}",
                id.unwrap_or("at all"),
                known.join(", ")
            )
        })
    }

    /// Goes through images in order, with the memory of a few batches: what `methods` compare of
    /// each image, which is its feature, and those of its patches where one of them takes these; or
    /// why it cannot be used.
    ///
    /// # Errors
    /// When the image tower fails, or `each` does.
    pub fn features<'a>(
        &self,
        items: &[Item],
        batch: usize,
        limits: &DecodeLimits,
        methods: impl IntoIterator<Item = &'a dyn Method>,
        mut each: impl FnMut(&Item, Result<ImageFeatures, String>) -> Result<()>,
    ) -> Result<()> {
        let takes_patches = methods.into_iter().any(Method::takes_patches);
        let preprocessing = &self.manifest.model.preprocessing;
        let width = self.manifest.model.embed_dim;
        in_batches(
            items,
            batch,
            |item| prepare(&item.path, preprocessing, limits),
            |items, prepared| {
                let mut pixels = Vec::new();
                let mut images = 0;
                for image in prepared.iter().flatten() {
                    pixels.extend_from_slice(image);
                    images += 1;
                }
                let (tower, device) = (&self.tower, &self.device);
                let patches = match takes_patches {
                    true => forward_patches(tower, preprocessing, device, pixels.clone(), images)?,
                    false => Vec::new(),
                };
                let features = forward_pixels(tower, preprocessing, device, pixels, images)?;
                let patches_of_one = patches.len() / images.max(1);
                let mut rows = features.chunks_exact(width.max(1)).enumerate();
                for (item, image) in items.iter().zip(prepared) {
                    let found = match image {
                        Err(reason) => Err(reason),
                        Ok(_) => {
                            let (row, global) = rows.next().ok_or_else(|| {
                                anyhow!("the image tower lost {}", item.path.display())
                            })?;
                            let patches = &patches[row * patches_of_one..][..patches_of_one];
                            let whole = std::iter::once(global);
                            let mut all = whole.chain(patches.chunks_exact(width.max(1)));
                            all.try_for_each(usable)
                                .map(|()| ImageFeatures { global, patches })
                        }
                    };
                    each(item, found)?;
                }
                Ok(())
            },
        )
    }
}
