//! The image tower and what it computes.

use std::cell::RefCell;

use burn::tensor::{Device, Tensor, TensorData};
use shared::bundle::{Bundle, BundleError, Part, Parts, TensorValues, decode_each};
use shared::clip::{ClipConfig, ImageTower, Placed, Weights};

use super::arrivals::Arrivals;

/// The image tower on a device.
pub struct Model {
    tower: ImageTower,
    device: Device,
    size: usize,
    width: usize,
}

impl Model {
    /// Puts an image tower on `device`, file by file as they arrive. Each tensor goes there at once, so
    /// that beside the device's own memory one file and one tensor are held at most. The CPU's is
    /// WASM's memory.
    ///
    /// # Errors
    /// A file that does not come or is damaged; names a tensor that is missing or of another shape.
    pub async fn load(
        config: &ClipConfig,
        device: &Device,
        mut files: Arrivals,
    ) -> Result<(Self, Arrivals), String> {
        let unusable =
            |error: &dyn std::fmt::Display| format!("The image tower is not usable: {error}.");
        let loaded = if ImageTower::takes_placed(config, device) {
            let placed = tensors(&mut files, |tensor| Placed::new(tensor, device)).await?;
            let placed = RefCell::new(placed);
            ImageTower::from_weights(&Weights::placed(&placed, device), config)
        } else {
            let tensors = tensors(&mut files, |tensor| tensor).await?;
            ImageTower::load(&tensors, config, device)
        };
        let model = Self {
            tower: loaded.map_err(|error| unusable(&error))?,
            device: device.clone(),
            size: config.image.image_size(),
            width: config.embed_dim,
        };
        Ok((model, files))
    }

    /// Preprocessed photos `[batch, 3, size, size]`, one after the other → what is known of each; with
    /// its patches if asked for.
    ///
    /// # Errors
    /// What the device says when its result cannot be read.
    pub async fn encode(&self, pixels: Vec<f32>, patches: bool) -> Result<Vec<Encoded>, String> {
        let batch = pixels.len() / (3 * self.size * self.size);
        let data = TensorData::new(pixels, [batch, 3, self.size, self.size]);
        let pixels = Tensor::<4>::from_data(data, &self.device);
        // Not from the patches' mean, where the tower has that: a photo's feature is to the last bit
        // the same whether its patches are wanted or not.
        let features = values(self.tower.forward(pixels.clone())).await?;
        let patches = match patches {
            true => values(self.tower.patches(pixels)).await?,
            false => Vec::new(),
        };
        let of_one = patches.len() / batch.max(1);
        Ok(features
            .chunks_exact(self.width)
            .enumerate()
            .map(|(photo, feature)| Encoded {
                feature: feature.to_vec(),
                patches: patches[photo * of_one..][..of_one].to_vec(),
            })
            .collect())
    }

    /// Asks the device what is known. The largest relative error, or the answer it got wrong.
    ///
    /// # Errors
    /// The first answer that does not hold, in words.
    pub async fn check(&self, bundle: &Bundle) -> Result<Option<(usize, f32)>, String> {
        let answers = &bundle.manifest.known_answers;
        let mut worst = 0.0f32;
        for answer in answers {
            let pixels = bundle
                .known_pixels(answer)
                .map_err(|error| error.to_string())?;
            let patches = !answer.mean_patch.is_empty();
            let found = self.encode(pixels, patches).await?;
            let found = found.into_iter().next().unwrap_or_default();
            let judged = answer.judge(&found.feature, &found.patches);
            worst = worst.max(judged.map_err(|wrong| format!("it computes wrongly: {wrong}"))?);
        }
        Ok((!answers.is_empty()).then_some((answers.len(), worst)))
    }
}

/// What is known of a photo, not normalised.
#[derive(Default)]
pub struct Encoded {
    /// `[embed_dim]`.
    pub feature: Vec<f32>,
    /// `[patches, embed_dim]`; empty where they were not asked for.
    pub patches: Vec<f32>,
}

async fn values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, String> {
    let data = tensor.into_data_async().await;
    let data = data.map_err(|error| format!("{error:?}"))?;
    data.try_to_vec().map_err(|error| format!("{error:?}"))
}

/// The tensors of files, each put where `place` puts it as soon as it is decoded.
///
/// # Errors
/// A file that does not come or is damaged, or does not fit the others.
pub async fn tensors<T: Part>(
    files: &mut Arrivals,
    place: impl Fn(TensorValues) -> T,
) -> Result<std::collections::BTreeMap<String, T>, String> {
    let said = |error: BundleError| format!("{error}.");
    let mut parts = Parts::default();
    while let Some((entry, bytes)) = files.next().await? {
        decode_each(&entry.name, bytes, |name, tensor| {
            parts.add(name, place(tensor))
        })
        .map_err(said)?;
    }
    parts.join().map_err(said)
}
