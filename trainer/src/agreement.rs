//! What a precision costs: whether a model with rounded weights computes the same features.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use shared::bundle::{Precision, Tensors, decode_tensors, encode_tensors, generated_pixels};
use shared::clip::preprocess::DecodeLimits;
use shared::clip::{ClipConfig, ImageTower, TextTower, Weights};

use crate::data;
use crate::features::{forward_pixels, prepare};
use crate::model::{IMAGE_FILE, ModelDirectory, TEXT_FILE};
use crate::output::{last_name, shown};
use crate::progress::say;

/// The least mean cosine with the features of the exact weights that a conversion may have.
pub const LEAST: f64 = 0.99;

/// Photos that are compared, taken evenly from all that there are.
const MOST_PHOTOS: usize = 32;
/// Pictures that stand in for photos where there are none.
const PICTURES: usize = 4;
/// Prompts that are compared, and tokens between `[SOS]` and `[EOS]` of each.
const PROMPTS: [usize; 2] = [8, 6];

/// Images to compare features on, preprocessed.
pub struct Photos {
    /// `[images, 3, size, size]` one after another.
    pixels: Vec<f32>,
    images: usize,
    /// For people: `32 photos of DIR`.
    described: String,
}

impl Photos {
    /// Photos below `folder`, spread over all of it; generated pictures where there is no folder.
    ///
    /// # Errors
    /// When none of the photos can be read.
    pub fn read(folder: Option<&Path>, config: &ClipConfig, limits: &DecodeLimits) -> Result<Self> {
        let size = config.preprocessing.size as usize;
        let Some(folder) = folder else {
            let pictures = (1..=PICTURES as u64).flat_map(|seed| generated_pixels(seed, size));
            return Ok(Self {
                pixels: pictures.collect(),
                images: PICTURES,
                described: format!("{PICTURES} generated pictures (photos agree less than these)"),
            });
        };
        let items = data::open_unlabelled(folder)?.items;
        let chosen = items.len().min(MOST_PHOTOS);
        let (mut pixels, mut images, mut reason) = (Vec::new(), 0, String::new());
        for index in 0..chosen {
            let item = &items[index * items.len() / chosen];
            match prepare(&item.path, &config.preprocessing, limits) {
                Ok(photo) => {
                    pixels.extend(photo);
                    images += 1;
                }
                Err(cause) => reason = format!("{}: {cause}", item.name),
            }
        }
        if images == 0 {
            bail!(
                "none of {chosen} photos in {} can be read; the last, {reason}",
                shown(folder)
            );
        }
        Ok(Self {
            pixels,
            images,
            // The card is passed on, and the path to the photos is nobody else's.
            described: format!("{images} photos of {}", last_name(folder)),
        })
    }
}

/// Cosines between features, one each image or prompt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cosines {
    pub mean: f64,
    pub lowest: f64,
}

impl Cosines {
    /// Of features row by row, `width` numbers each.
    fn between(exact: &[f32], kept: &[f32], width: usize) -> Self {
        let width = width.max(1);
        let rows = exact.chunks_exact(width).zip(kept.chunks_exact(width));
        let cosines: Vec<f64> = rows.map(|(exact, kept)| cosine(exact, kept)).collect();
        Self {
            mean: cosines.iter().sum::<f64>() / cosines.len().max(1) as f64,
            // Not a number is no agreement, and `min` would pass it over.
            lowest: cosines
                .iter()
                .map(|cosine| if cosine.is_nan() { -1.0 } else { *cosine })
                .fold(1.0, f64::min),
        }
    }
}

impl fmt::Display for Cosines {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:.5} (lowest {:.5})", self.mean, self.lowest)
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        let products = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b));
        products.sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// How well the towers with kept weights agree with those of the exact ones.
#[derive(Clone, Debug)]
pub struct Agreement {
    precision: Precision,
    image: Cosines,
    /// None where there is no text tower.
    text: Option<Cosines>,
    photos: String,
}

/// One tower's weights, exact and as they are kept.
#[derive(Clone, Copy)]
pub struct Rounded<'a> {
    pub exact: &'a Tensors,
    pub kept: &'a Tensors,
}

impl<'a> Rounded<'a> {
    fn of([exact, kept]: &'a [Tensors; 2]) -> Self {
        Self { exact, kept }
    }
}

impl Agreement {
    /// Runs both towers on the CPU with the exact weights and with those kept in `precision`.
    ///
    /// # Errors
    /// When a tower cannot be built from either.
    pub fn measure(
        config: &ClipConfig,
        precision: Precision,
        image: Rounded,
        text: Option<Rounded>,
        photos: &Photos,
    ) -> Result<Self> {
        let device = Device::flex();
        let images = |tensors: &Tensors| -> Result<Vec<f32>> {
            let tower = ImageTower::load(tensors, config, &device)?;
            let pixels = photos.pixels.clone();
            forward_pixels(
                &tower,
                &config.preprocessing,
                &device,
                pixels,
                photos.images,
            )
        };
        let prompts = drawn_prompts(config.text.vocabulary_size, config.text.context_length);
        let texts = |tensors: &Tensors| -> Result<Vec<f32>> {
            let weights = Weights::new(tensors, &device);
            let tower = TextTower::load(&weights, &config.text, config.embed_dim)?;
            let features = tower.forward(&prompts).into_data();
            features
                .try_into_vec::<f32>()
                .context("reading text features from the device")
        };
        let width = config.embed_dim;
        let compare = |of: Rounded, features: &dyn Fn(&Tensors) -> Result<Vec<f32>>| {
            let exact = features(of.exact)?;
            if of.exact == of.kept {
                return anyhow::Ok(Cosines::between(&exact, &exact, width));
            }
            Ok(Cosines::between(&exact, &features(of.kept)?, width))
        };
        Ok(Self {
            precision,
            image: compare(image, &images)?,
            text: text.map(|text| compare(text, &texts)).transpose()?,
            photos: photos.described.clone(),
        })
    }

    /// Fails when features move too far, on average, for the model to count as the same.
    ///
    /// # Errors
    /// Says how far, and what can be done.
    pub fn require(&self) -> Result<()> {
        // What is no number is no agreement either: the comparison fails.
        let agrees = |cosines: &Cosines| cosines.mean >= LEAST;
        if agrees(&self.image) && self.text.as_ref().is_none_or(agrees) {
            return Ok(());
        }
        bail!(
            "in {} this would be another model: {self}, and at least {LEAST} is asked for; keep it in a finer --precision, or write it all the same with --force",
            self.precision
        )
    }
}

/// Before a run learns anything: whether its bundle, in `precision`, will compute what the model
/// computes. Says nothing where rounding changes no weight.
///
/// # Errors
/// When it will not, unless `force` is set.
pub fn check_model(
    model: &ModelDirectory,
    precision: Precision,
    photos: Option<&Path>,
    limits: &DecodeLimits,
    force: bool,
) -> Result<()> {
    // Learning refuses such a model with its own words.
    if model.config.text.layers == 0 {
        return Ok(());
    }
    let rounded = |file: &str| -> Result<[Tensors; 2]> {
        let exact = model.tensors(file)?;
        let kept = decode_tensors(file, &encode_tensors(&exact, precision)?)?;
        Ok([exact, kept])
    };
    let (image, text) = (rounded(IMAGE_FILE)?, rounded(TEXT_FILE)?);
    if [&image, &text].iter().all(|[exact, kept]| exact == kept) {
        return Ok(());
    }
    let photos = Photos::read(photos, &model.config, limits)?;
    let agreement = Agreement::measure(
        &model.config,
        precision,
        Rounded::of(&image),
        Some(Rounded::of(&text)),
        &photos,
    )?;
    say(&format!("bundle in {precision}: {agreement}"));
    if force { Ok(()) } else { agreement.require() }
}

impl fmt::Display for Agreement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "image features agree to a cosine of {} on {}",
            self.image, self.photos
        )?;
        match &self.text {
            Some(text) => write!(
                formatter,
                ", text features to {text} on {} prompts",
                PROMPTS[0]
            ),
            None => Ok(()),
        }
    }
}

/// Prompts of tokens drawn from the whole vocabulary, whose last two are `[SOS]` and `[EOS]`.
fn drawn_prompts(vocabulary: usize, context_length: usize) -> Vec<Vec<u32>> {
    let [prompts, tokens] = PROMPTS;
    let tokens = tokens.min(context_length.saturating_sub(2));
    let words = vocabulary.saturating_sub(2).max(1) as u64;
    let [start, end] = [2, 1].map(|back| vocabulary.saturating_sub(back) as u32);
    (0..prompts as u64)
        .map(|prompt| {
            let drawn = (0..tokens as u64).map(|token| {
                // Any odd constant spreads the draws; this one is 2^64 over the golden ratio.
                let mixed = (prompt * 64 + token + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                ((mixed >> 32) % words) as u32
            });
            std::iter::once(start).chain(drawn).chain([end]).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosines_are_of_rows_and_damage_is_no_agreement() {
        let between = |kept: &[f32]| Cosines::between(&[1.0, 0.0, 3.0, 4.0], kept, 2);
        let same = between(&[2.0, 0.0, 6.0, 8.0]);
        assert_eq!((same.mean, same.lowest), (1.0, 1.0));
        let turned = between(&[0.0, 1.0, 3.0, 4.0]);
        assert_eq!((turned.mean, turned.lowest), (0.5, 0.0));
        assert_eq!(between(&[f32::NAN, 0.0, 3.0, 4.0]).lowest, -1.0);
    }

    #[test]
    fn both_towers_have_to_agree() {
        let cosines = |mean| Cosines { mean, lowest: 0.98 };
        let agreement = |image, text| Agreement {
            precision: Precision::Int8,
            image: cosines(image),
            text: Some(cosines(text)),
            photos: "4 generated pictures".into(),
        };
        agreement(0.99, 0.995).require().unwrap();
        assert!(agreement(f64::NAN, 1.0).require().is_err());
        for (image, text) in [(0.98, 1.0), (1.0, 0.98)] {
            let error = agreement(image, text).require().unwrap_err().to_string();
            assert!(
                error.contains("0.98000") && error.contains("--force"),
                "{error}"
            );
        }
    }

    #[test]
    fn prompts_stay_within_the_vocabulary() {
        for (vocabulary, context) in [(49_408, 77), (10, 4)] {
            for prompt in drawn_prompts(vocabulary, context) {
                assert!(prompt.len() <= context);
                assert_eq!(prompt.last(), Some(&(vocabulary as u32 - 1)));
                assert!(prompt.iter().all(|&token| (token as usize) < vocabulary));
            }
        }
    }
}
