//! The image tower and what it computes.

use burn::tensor::{Device, Tensor, TensorData};
use shared::bundle::{Bundle, KnownAnswer, Role};
use shared::clip::{ClipConfig, ImageTower};

/// The image tower on a device.
pub struct Model {
    tower: ImageTower,
    device: Device,
    size: usize,
    width: usize,
}

impl Model {
    /// Puts a bundle's image tower on `device`.
    ///
    /// # Errors
    /// Names what is missing or of another shape.
    pub fn new(bundle: &Bundle, device: &Device) -> Result<Self, String> {
        let config: &ClipConfig = &bundle.manifest.model;
        let tensors = bundle
            .role(Role::ImageTower)
            .map_err(|error| error.to_string())?;
        let tower = ImageTower::load(tensors, config, device).map_err(|error| error.to_string())?;
        Ok(Self {
            tower,
            device: device.clone(),
            size: config.image.image_size(),
            width: config.embed_dim,
        })
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
