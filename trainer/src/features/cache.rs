//! Reading a feature file without loading it: the system pages in what is used.

use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};

use super::key::hexadecimal;
use super::layout::{
    CacheHeader, FORMAT, FeaturePrecision, HASH_BYTES, METADATA_CHECKSUM, VERSION,
    metadata_checksum,
};
use super::usable;
use crate::output::{explain, open_file};

/// The features of one dataset.
pub struct FeatureCache {
    /// Names the file in messages.
    name: String,
    bytes: Bytes,
    header: CacheHeader,
    images: usize,
    features: Range<usize>,
    labels: Range<usize>,
    files: Range<usize>,
    hashes: Option<Range<usize>>,
    has_checksum: bool,
}

enum Bytes {
    Mapped(Mmap),
    Static(&'static [u8]),
}

impl Bytes {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Static(bytes) => bytes,
        }
    }
}

impl FeatureCache {
    /// Maps a file and checks all of it: format, version, shapes, labels, names, and that every
    /// number is finite.
    pub fn open(path: &Path) -> Result<Self> {
        let file = open_file(path, "open the features")?;
        let length = file
            .metadata()
            .map_err(|error| explain(error, "open the features", path))?
            .len();
        let name = path.display().to_string();
        // An empty file cannot be mapped.
        if length == 0 {
            bail!("{name} is empty: make it again with `trainer encode`");
        }
        #[expect(
            unsafe_code,
            reason = "a mapped file is read without copying gigabytes"
        )]
        // SAFETY: the mapping is read-only. Another program that shortens the file while it is
        // mapped would make reads fail with a signal; this program never does so: it replaces
        // feature files by renaming finished ones over them, which leaves mappings whole.
        let map = unsafe { Mmap::map(&file) }
            .map_err(|error| explain(error, "map the features", path))?;
        Self::read(name, Bytes::Mapped(map))
    }

    /// Reads features that are part of the program; `name` stands for a path in messages.
    pub fn from_static(name: &str, bytes: &'static [u8]) -> Result<Self> {
        Self::read(name.to_owned(), Bytes::Static(bytes))
    }

    /// How many images there are.
    pub fn len(&self) -> usize {
        self.images
    }

    /// Numbers in one feature.
    pub fn width(&self) -> usize {
        self.header.width
    }

    /// Whether the file tells what its bytes must be. Whatever this program writes does; files that
    /// come from elsewhere need not.
    pub fn has_checksum(&self) -> bool {
        self.has_checksum
    }

    /// Class names in the order of the labels.
    pub fn classes(&self) -> &[String] {
        &self.header.classes
    }

    /// Name, key and precision of what computed the features.
    pub fn header(&self) -> &CacheHeader {
        &self.header
    }

    /// The class of an image; none where it is not known.
    pub fn label(&self, image: usize) -> Option<usize> {
        let at = self.labels.start + 4 * image;
        let four = self.bytes.as_slice().get(at..at + 4)?;
        usize::try_from(i32::from_le_bytes([four[0], four[1], four[2], four[3]])).ok()
    }

    /// The classes of all images in order.
    pub fn labels(&self) -> impl Iterator<Item = Option<usize>> + '_ {
        (0..self.images).map(|image| self.label(image))
    }

    /// The SHA-256 of an image file, if this feature file records it.
    pub fn hash(&self, image: usize) -> Option<&[u8]> {
        let at = self.hashes.as_ref()?.start + HASH_BYTES * image;
        self.bytes.as_slice().get(at..at + HASH_BYTES)
    }

    /// The names of the images' files, in order.
    pub fn files(&self) -> Vec<&str> {
        // Checked when the file was opened.
        std::str::from_utf8(&self.bytes.as_slice()[self.files.clone()])
            .unwrap_or_default()
            .split('\n')
            .collect()
    }

    /// Writes the feature of one image into `feature`, [`FeatureCache::width`] numbers, not
    /// normalised.
    pub fn read_into(&self, image: usize, feature: &mut [f32]) {
        let row = self.header.row_bytes();
        let at = self.features.start + row * image;
        let bytes = &self.bytes.as_slice()[at..at + row];
        self.header.precision.read(bytes, feature);
    }

    /// The features of the given images, `[images, width]` row by row, not normalised.
    pub fn gather(&self, images: impl IntoIterator<Item = usize>) -> Vec<f32> {
        let images = images.into_iter();
        let mut features = Vec::with_capacity(images.size_hint().0 * self.width());
        for image in images {
            let start = features.len();
            features.resize(start + self.width(), 0.0);
            self.read_into(image, &mut features[start..]);
        }
        features
    }

    /// Fails unless `key` computed these features.
    pub fn require_key(&self, key: &str, model: &str) -> Result<()> {
        ensure!(
            self.header.key == key,
            "{} was computed by another model (`{}`, not this `{model}`), or with other preprocessing: compute it again with `trainer encode --model MODEL`",
            self.name,
            self.header.model
        );
        Ok(())
    }

    fn read(name: String, bytes: Bytes) -> Result<Self> {
        Self::parse(bytes.as_slice())
            .with_context(|| {
                format!("{name} cannot be used as features; make it again with `trainer encode`")
            })
            .map(|parsed| Self {
                name,
                header: parsed.header,
                images: parsed.images,
                features: parsed.features,
                labels: parsed.labels,
                files: parsed.files,
                hashes: parsed.hashes,
                has_checksum: parsed.has_checksum,
                bytes,
            })
    }

    fn parse(bytes: &[u8]) -> Result<Parsed> {
        let (header_bytes, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| {
            anyhow!("it is no whole safetensors file: cut short, or something else ({error})")
        })?;
        let data = 8 + header_bytes;
        let expected = data + metadata.data_len();
        ensure!(
            bytes.len() == expected,
            "it should have {expected} bytes and has {}: it was cut short or appended to",
            bytes.len()
        );
        let about = metadata.metadata().clone().unwrap_or_default();
        let field = |key: &str| about.get(key).map(String::as_str);
        ensure!(
            field("format") == Some(FORMAT),
            "it is a safetensors file of something else: its metadata has no `format` = `{FORMAT}`"
        );
        ensure!(
            field("version") == Some(VERSION),
            "it has version {} and this program reads version {VERSION}",
            field("version").unwrap_or("?")
        );
        // Files of earlier versions, and those that come with the program, have none.
        if let Some(checksum) = field("checksum") {
            ensure!(
                checksum == hexadecimal(&Sha256::digest(&bytes[data..])),
                "its bytes are not those that were written: it is damaged or was altered"
            );
        }
        if let Some(checksum) = field(METADATA_CHECKSUM) {
            let fields = about
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()));
            ensure!(
                checksum == metadata_checksum(fields),
                "its metadata is not what was written: it is damaged or was altered"
            );
        }
        let classes: Vec<String> = serde_json::from_str(field("classes").unwrap_or("[]"))
            .context("its `classes` are no JSON array of names")?;

        let tensor = |tensor: &str, dtypes: &[Dtype], dimensions: usize| {
            let info = metadata
                .info(tensor)
                .ok_or_else(|| anyhow!("the tensor `{tensor}` is missing"))?;
            ensure!(
                dtypes.contains(&info.dtype) && info.shape.len() == dimensions,
                "`{tensor}` is {:?} {:?}; expected {dtypes:?} with {dimensions} dimensions",
                info.dtype,
                info.shape
            );
            let (start, end) = info.data_offsets;
            Ok((info, data + start..data + end))
        };
        let (features, features_at) = tensor("features", &[Dtype::F16, Dtype::F32], 2)?;
        let (labels, labels_at) = tensor("labels", &[Dtype::I32], 1)?;
        let (_, files_at) = tensor("files", &[Dtype::U8], 1)?;
        let hashes_at = match metadata.info("hashes") {
            Some(_) => {
                let (hashes, at) = tensor("hashes", &[Dtype::U8], 2)?;
                ensure!(
                    hashes.shape == [features.shape[0], HASH_BYTES],
                    "`hashes` has the shape {:?} for {} images",
                    hashes.shape,
                    features.shape[0]
                );
                Some(at)
            }
            None => None,
        };
        let (images, width) = (features.shape[0], features.shape[1]);
        ensure!(images > 0 && width > 0, "it holds no feature");
        ensure!(
            labels.shape == [images],
            "`labels` has the shape {:?} for {images} images",
            labels.shape
        );
        let names = std::str::from_utf8(&bytes[files_at.clone()])
            .context("the names of its images are no UTF-8")?;
        let named = names.split('\n').count();
        ensure!(named == images, "{named} names for {images} images");

        for (image, four) in bytes[labels_at.clone()].chunks_exact(4).enumerate() {
            let label = i32::from_le_bytes([four[0], four[1], four[2], four[3]]);
            ensure!(
                label == -1 || usize::try_from(label).is_ok_and(|label| label < classes.len()),
                "image {image} has the label {label}, and there are {} classes",
                classes.len()
            );
        }
        let precision = if features.dtype == Dtype::F16 {
            FeaturePrecision::F16
        } else {
            FeaturePrecision::F32
        };
        let header = CacheHeader {
            classes,
            model: field("model").unwrap_or("unknown").to_owned(),
            key: field("key").unwrap_or_default().to_owned(),
            width,
            precision,
            // A shard is a file of features like any other to those who read features.
            shard: None,
        };
        let mut feature = vec![0.0; width];
        for (image, row) in bytes[features_at.clone()]
            .chunks_exact(header.row_bytes())
            .enumerate()
        {
            precision.read(row, &mut feature);
            if let Err(reason) = usable(&feature) {
                let named = names.split('\n').nth(image).unwrap_or("?");
                bail!("image {image} ({named}): {reason}");
            }
        }
        Ok(Parsed {
            header,
            images,
            features: features_at,
            labels: labels_at,
            files: files_at,
            hashes: hashes_at,
            has_checksum: field("checksum").is_some(),
        })
    }
}

struct Parsed {
    has_checksum: bool,
    header: CacheHeader,
    images: usize,
    features: Range<usize>,
    labels: Range<usize>,
    files: Range<usize>,
    hashes: Option<Range<usize>>,
}
