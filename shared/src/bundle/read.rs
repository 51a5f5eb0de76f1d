use std::collections::{BTreeMap, HashSet};

use super::pack::Parts;
use super::{
    BundleError, FileEntry, KnownAnswer, KnownInput, Manifest, Outsiders, Role, TensorValues,
    Tensors, decode_each, generated_pixels, tensor_name,
};
use crate::score::{ClassFeatures, Probe, odin_step};

/// A bundle in memory, whole and checked.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// What `bundle.json` says.
    pub manifest: Manifest,
    /// Tensors by role and name.
    pub tensors: BTreeMap<Role, Tensors>,
    /// Text files by role.
    pub texts: BTreeMap<Role, String>,
}

/// Takes the files of a bundle one at a time, in any order, so that each file's bytes can be let
/// go before the next one is fetched.
pub struct BundleReader {
    manifest: Manifest,
    added: HashSet<String>,
    parts: BTreeMap<Role, Parts>,
    texts: BTreeMap<Role, String>,
}

impl BundleReader {
    /// A reader of the files that the manifest lists.
    pub fn new(manifest: Manifest) -> Self {
        Self {
            manifest,
            added: HashSet::new(),
            parts: BTreeMap::new(),
            texts: BTreeMap::new(),
        }
    }

    /// What `bundle.json` says.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The files that have not come yet.
    pub fn missing(&self) -> Vec<&FileEntry> {
        let files = self.manifest.files.iter();
        files
            .filter(|entry| !self.added.contains(&entry.name))
            .collect()
    }

    /// Verifies and decodes one file.
    ///
    /// # Errors
    /// When the manifest does not list it, it came before, or its bytes are not those that were
    /// written or not of their kind. The reader then still waits for it.
    pub fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), BundleError> {
        let entry = self.manifest.file(name);
        let Some(entry) = entry.filter(|entry| !self.added.contains(&entry.name)) else {
            return Err(BundleError::Unexpected {
                name: name.chars().take(100).collect(),
            });
        };
        entry.verify(bytes)?;
        if entry.role.is_text() {
            let text = std::str::from_utf8(bytes)
                .map_err(|cause| BundleError::content(name, format!("it is not text ({cause})")))?;
            self.texts.insert(entry.role, text.to_owned());
        } else {
            let parts = self.parts.entry(entry.role).or_default();
            decode_each(name, bytes, |name, tensor| parts.add(name, tensor))?;
        }
        self.added.insert(name.to_owned());
        Ok(())
    }

    /// The bundle, once every file is in.
    ///
    /// # Errors
    /// When a file is missing, or the files do not fit the manifest.
    pub fn finish(self) -> Result<Bundle, BundleError> {
        if let Some(entry) = self.missing().first() {
            return Err(BundleError::Missing {
                name: entry.name.clone(),
            });
        }
        let mut tensors = BTreeMap::new();
        for (role, parts) in self.parts {
            tensors.insert(role, parts.join()?);
        }
        let bundle = Bundle {
            manifest: self.manifest,
            tensors,
            texts: self.texts,
        };
        bundle.class_features()?;
        bundle.check_map()?;
        bundle.check_outsiders()?;
        for answer in &bundle.manifest.known_answers {
            // Generated pixels are always there; making them all would cost seconds.
            if matches!(answer.input, KnownInput::Tensor { .. }) {
                bundle.known_pixels(answer)?;
            }
        }
        Ok(bundle)
    }
}

impl Bundle {
    /// Reads a bundle from wherever `fetch` finds its files.
    ///
    /// # Errors
    /// When the manifest, a file, or what they say together is not in order.
    pub fn open(
        manifest_json: &[u8],
        mut fetch: impl FnMut(&FileEntry) -> Result<Vec<u8>, String>,
    ) -> Result<Self, BundleError> {
        let manifest = Manifest::parse(manifest_json)?;
        let files = manifest.files.clone();
        let mut reader = BundleReader::new(manifest);
        for entry in &files {
            let bytes = fetch(entry).map_err(|cause| BundleError::Fetch {
                name: entry.name.clone(),
                cause,
            })?;
            reader.add(&entry.name, &bytes)?;
        }
        reader.finish()
    }

    /// All tensors of a role.
    ///
    /// # Errors
    /// When the bundle has none.
    pub fn role(&self, role: Role) -> Result<&Tensors, BundleError> {
        self.tensors.get(&role).ok_or_else(|| absent(role))
    }

    /// One tensor.
    ///
    /// # Errors
    /// When the bundle does not have it.
    pub fn tensor(&self, role: Role, name: &str) -> Result<&TensorValues, BundleError> {
        self.role(role)?.get(name).ok_or_else(|| {
            BundleError::tensor(
                name,
                format!("it is not in the bundle's {role}; export again"),
            )
        })
    }

    /// A text file.
    ///
    /// # Errors
    /// When the bundle does not have it.
    pub fn text(&self, role: Role) -> Result<&str, BundleError> {
        let text = self.texts.get(&role).ok_or_else(|| absent(role))?;
        Ok(text)
    }

    /// The text side of the bundle's classes, ready to score with.
    ///
    /// # Errors
    /// When the features do not fit the manifest.
    pub fn class_features(&self) -> Result<ClassFeatures, BundleError> {
        let (classes, width) = (self.manifest.classes.len(), self.manifest.model.embed_dim);
        let stored = self.role(Role::Features)?;
        let read = |name: &str, shape: &[usize]| match stored.get(name) {
            None => Ok(Vec::new()),
            Some(tensor) if tensor.shape == shape => Ok(tensor.values.clone()),
            Some(tensor) => Err(BundleError::tensor(
                name,
                format!(
                    "its shape {:?} does not fit {classes} classes, {} negatives and width \
                     {width}; export again",
                    tensor.shape, self.manifest.prompts.negatives
                ),
            )),
        };
        let negatives = self.manifest.prompts.negatives * classes;
        // As many labels as there are; a file may hold a tensor of no dimension.
        let read_labels = |name: &str| {
            let shape = stored.get(name).map_or(&[][..], |tensor| &tensor.shape);
            read(name, &[shape.first().copied().unwrap_or(0), width])
        };
        let has_probe = stored.contains_key(tensor_name::PROBE_WEIGHT);
        let features = ClassFeatures {
            embed_dim: width,
            logit_scale: self.manifest.model.logit_scale,
            positive: read(tensor_name::POSITIVE, &[classes, width])?,
            negative: read(tensor_name::NEGATIVE, &[negatives, width])?,
            zero_shot: read(tensor_name::ZERO_SHOT, &[classes, width])?,
            no: read(tensor_name::NO, &[classes, width])?,
            named: read(tensor_name::NAMED, &[classes, width])?,
            mined: read_labels(tensor_name::MINED)?,
            conjugated: read_labels(tensor_name::CONJUGATED)?,
            locoop: read(tensor_name::LOCOOP, &[classes, width])?,
            react_clip: read(tensor_name::REACT_CLIP, &[1])?.first().copied(),
            odin_step: has_probe.then(|| odin_step(width)),
            probe: if has_probe {
                Some(Probe {
                    weight: read(tensor_name::PROBE_WEIGHT, &[classes, width])?,
                    bias: read(tensor_name::PROBE_BIAS, &[classes])?,
                })
            } else {
                None
            },
        };
        features
            .check()
            .map_err(|cause| BundleError::content(Role::Features, cause))?;
        Ok(features)
    }

    /// The pixels of a known answer, `[3, size, size]`.
    ///
    /// # Errors
    /// When they are stored in another shape, or not at all.
    pub fn known_pixels(&self, answer: &KnownAnswer) -> Result<Vec<f32>, BundleError> {
        let size = self.manifest.model.image.image_size();
        match &answer.input {
            KnownInput::Seed { seed } => Ok(generated_pixels(*seed, size)),
            KnownInput::Tensor { tensor: name } => {
                let tensor = self.tensor(Role::KnownAnswers, name)?;
                if tensor.shape == [3, size, size] {
                    return Ok(tensor.values.clone());
                }
                let shape = &tensor.shape;
                let cause = format!("its shape {shape:?} is not [3, {size}, {size}]; export again");
                Err(BundleError::tensor(name, cause))
            }
        }
    }

    /// Takes out the photos of none of the classes; there are none in a bundle without methods that
    /// take patches.
    pub fn take_outsiders(&mut self) -> Outsiders {
        let stored = self.tensors.remove(&Role::Outsiders);
        let tensor = stored.and_then(|mut tensors| tensors.remove(tensor_name::OUTSIDERS));
        Outsiders {
            features: tensor.unwrap_or_default(),
        }
    }

    /// That photos of none of the classes, where there are any, have features of the model's width.
    fn check_outsiders(&self) -> Result<(), BundleError> {
        let width = self.manifest.model.embed_dim;
        let Some(stored) = self.tensors.get(&Role::Outsiders) else {
            return Ok(());
        };
        let Some(tensor) = stored.get(tensor_name::OUTSIDERS) else {
            return Err(BundleError::Missing {
                name: format!("the tensor {}", tensor_name::OUTSIDERS),
            });
        };
        let refused = |cause| Err(BundleError::tensor(tensor_name::OUTSIDERS, cause));
        if !matches!(tensor.shape[..], [photos, rows, of] if photos > 0 && rows > 1 && of == width)
        {
            let shape = &tensor.shape;
            return refused(format!(
                "its shape {shape:?} is not [photos, 1 + patches, {width}]; export again"
            ));
        }
        let mut rows = tensor.values.chunks_exact(width);
        match rows.position(|row| row.iter().all(|value| *value == 0.0)) {
            None => Ok(()),
            Some(row) => refused(format!(
                "its row {row} is all zeros and has no direction; export again"
            )),
        }
    }

    /// That the map's features, where there are any, belong to its points.
    fn check_map(&self) -> Result<(), BundleError> {
        let features = self.role(Role::Features)?.get(tensor_name::MAP_FEATURES);
        let (Some(map), Some(features)) = (&self.manifest.figures.map, features) else {
            return Ok(());
        };
        let (points, width) = (map.points.len(), self.manifest.model.embed_dim);
        if features.shape == [points, width] {
            return Ok(());
        }
        let shape = &features.shape;
        Err(BundleError::tensor(
            tensor_name::MAP_FEATURES,
            format!("its shape {shape:?} is not [{points}, {width}]; export again"),
        ))
    }
}

fn absent(role: Role) -> BundleError {
    BundleError::Missing {
        name: format!("a file of role {role}"),
    }
}
