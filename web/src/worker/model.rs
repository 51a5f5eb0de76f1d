//! The image tower and what it computes.

use std::cell::RefCell;

use burn::tensor::{Device, Tensor, TensorData};
use shared::bundle::{Bundle, BundleError, KnownAnswer, Part, Parts, TensorValues, decode_each};
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

    /// Preprocessed photos `[batch, 3, size, size]`, one after the other → image features,
    /// `[embed_dim]` each, not normalised.
    ///
    /// # Errors
    /// What the device says when its result cannot be read.
    pub async fn encode(&self, pixels: Vec<f32>) -> Result<Vec<Vec<f32>>, String> {
        let one = 3 * self.size * self.size;
        let batch = pixels.len() / one;
        let data = TensorData::new(pixels, [batch, 3, self.size, self.size]);
        let features = self
            .tower
            .forward(Tensor::<4>::from_data(data, &self.device));
        let data = features
            .into_data_async()
            .await
            .map_err(|error| format!("{error:?}"))?;
        let values: Vec<f32> = data.try_to_vec().map_err(|error| format!("{error:?}"))?;
        Ok(values
            .chunks_exact(self.width)
            .map(<[f32]>::to_vec)
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
            let features = self.encode(pixels).await?;
            let found = features.first().map_or(&[][..], Vec::as_slice);
            worst = worst.max(self.judge(answer, found)?);
        }
        Ok((!answers.is_empty()).then_some((answers.len(), worst)))
    }

    fn judge(&self, answer: &KnownAnswer, found: &[f32]) -> Result<f32, String> {
        match answer.error(found) {
            Some(error) if answer.accepts(found) => Ok(error),
            Some(error) => Err(format!(
                "it computes wrongly: “{}” comes out {:.1e} off, where {:.1e} is allowed",
                answer.name, error, answer.tolerance
            )),
            None => Err(format!(
                "it computes wrongly: “{}” comes out as no number",
                answer.name
            )),
        }
    }
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
