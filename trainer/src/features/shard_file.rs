//! A shard's file, read from front to back with buffers of fixed size: a merge of any length takes
//! the memory of its buffers.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use sha2::{Digest, Sha256};

use super::key::hexadecimal;
use super::layout::{
    CacheHeader, FORMAT, FeaturePrecision, HASH_BYTES, METADATA_CHECKSUM, VERSION,
    metadata_checksum,
};
use super::shard::{ShardHeader, Skipped};
use crate::output::{explain, open_file};

/// No header comes near to this many bytes.
const MAX_HEADER_BYTES: u64 = 64 << 20;
/// What is read of a tensor at once.
const BUFFER_BYTES: usize = 64 << 10;
/// The longest line of the list of skipped images, and the longest name.
const MAX_LINE_BYTES: usize = 1 << 20;

/// One shard being read.
pub struct ShardFile {
    path: PathBuf,
    file: File,
    pub header: CacheHeader,
    checksum: String,
    data: u64,
    features: Section,
    labels: Section,
    hashes: Section,
    positions: Section,
    files: Section,
    skipped: Section,
}

/// An image of a shard.
#[derive(Debug, Default)]
pub struct ShardImage {
    pub position: u32,
    pub name: String,
    pub label: Option<usize>,
    pub hash: [u8; HASH_BYTES],
    pub feature: Vec<f32>,
}

impl ShardFile {
    /// Reads the header.
    ///
    /// # Errors
    /// When it is no finished shard of this format.
    pub fn open(path: &Path) -> Result<Self> {
        let file = open_file(path, "open the shard")?;
        Self::read(file, path).with_context(|| {
            format!(
                "{} cannot be used as a shard; make it again with `trainer encode --shard`",
                path.display()
            )
        })
    }

    fn read(mut file: File, path: &Path) -> Result<Self> {
        let failed = |error| explain(error, "read", path);
        let length = file.metadata().map_err(failed)?.len();
        let mut start = [0; 8];
        file.read_exact(&mut start).map_err(failed)?;
        let header_bytes = u64::from_le_bytes(start);
        ensure!(
            header_bytes <= MAX_HEADER_BYTES && header_bytes + 8 <= length,
            "it is no whole safetensors file: cut short, or something else"
        );
        let mut header = vec![0; header_bytes as usize];
        file.read_exact(&mut header).map_err(failed)?;
        let metadata: Metadata =
            serde_json::from_slice(&header).context("it is no whole safetensors file")?;
        let data = 8 + header_bytes;
        ensure!(
            length == data + metadata.data_len() as u64,
            "it was cut short or appended to"
        );
        let about = metadata.metadata().clone().unwrap_or_default();
        let field = |name: &str| {
            let value = about.get(name).map(String::as_str);
            value.with_context(|| format!("its metadata has no `{name}`: it is no shard"))
        };
        ensure!(
            field("format")? == FORMAT && field("version")? == VERSION,
            "it is a file of another format or version"
        );
        if let Some(checksum) = about.get(METADATA_CHECKSUM) {
            let fields = about
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()));
            ensure!(
                *checksum == metadata_checksum(fields),
                "its metadata is not what was written: it is damaged or was altered"
            );
        }
        let section = |name: &str, dtypes: &[Dtype]| {
            let info = metadata
                .info(name)
                .with_context(|| format!("the tensor `{name}` is missing"))?;
            ensure!(
                dtypes.contains(&info.dtype),
                "`{name}` holds {:?}",
                info.dtype
            );
            let (start, end) = info.data_offsets;
            let values = info
                .shape
                .iter()
                .try_fold(1usize, |n, &of| n.checked_mul(of));
            let bytes = values.and_then(|values| values.checked_mul(info.dtype.bitsize() / 8));
            ensure!(
                end.checked_sub(start) == bytes && data + end as u64 <= length,
                "`{name}` does not fill its place"
            );
            let section = Section::new(data + start as u64, data + end as u64);
            anyhow::Ok((section, info.shape.clone(), info.dtype))
        };
        let (features, shape, dtype) = section("features", &[Dtype::F16, Dtype::F32])?;
        let &[images, width] = shape.as_slice() else {
            bail!("`features` has the shape {shape:?}")
        };
        let (labels, of_labels, _) = section("labels", &[Dtype::I32])?;
        let (hashes, of_hashes, _) = section("hashes", &[Dtype::U8])?;
        let (positions, of_positions, _) = section("positions", &[Dtype::I32])?;
        ensure!(
            of_labels == [images] && of_positions == [images] && of_hashes == [images, HASH_BYTES],
            "its tensors are of different numbers of images"
        );
        let precision = if dtype == Dtype::F16 {
            FeaturePrecision::F16
        } else {
            FeaturePrecision::F32
        };
        Ok(Self {
            header: CacheHeader {
                classes: serde_json::from_str(field("classes")?)
                    .context("its `classes` are no JSON array of names")?,
                model: field("model")?.to_owned(),
                key: field("key")?.to_owned(),
                width,
                precision,
                shard: Some(ShardHeader {
                    shard: field("shard")?
                        .parse()
                        .map_err(|error: String| anyhow!(error))?,
                    total: field("total")?
                        .parse()
                        .context("its `total` is no number")?,
                    listing: field("listing")?.to_owned(),
                }),
            },
            checksum: field("checksum")?.to_owned(),
            files: section("files", &[Dtype::U8])?.0,
            skipped: section("skipped", &[Dtype::U8])?.0,
            path: path.to_path_buf(),
            file,
            data,
            features,
            labels,
            hashes,
            positions,
        })
    }

    /// Fails when a byte behind the header is not one that was written.
    pub fn check(&mut self) -> Result<()> {
        let failed = |error| explain(error, "read", &self.path);
        self.file.seek(SeekFrom::Start(self.data)).map_err(failed)?;
        let (mut hash, mut bytes) = (Sha256::new(), vec![0; BUFFER_BYTES]);
        loop {
            let read = self.file.read(&mut bytes).map_err(failed)?;
            if read == 0 {
                break;
            }
            hash.update(&bytes[..read]);
        }
        ensure!(
            hexadecimal(&hash.finalize()) == self.checksum,
            "{} is damaged or was altered: make it again with `trainer encode --shard`",
            self.path.display()
        );
        Ok(())
    }

    /// The next image; none at the end.
    pub fn next(&mut self) -> Result<Option<ShardImage>> {
        let (file, path) = (&mut self.file, &self.path);
        let mut four = [0; 4];
        if !self.positions.take(file, path, &mut four)? {
            return Ok(None);
        }
        let short = || anyhow!("{} ends within an image", path.display());
        let position = u32::try_from(i32::from_le_bytes(four)).map_err(|_| short())?;
        let mut image = ShardImage {
            position,
            ..ShardImage::default()
        };
        let mut row = vec![0; self.header.row_bytes()];
        let whole = self.labels.take(file, path, &mut four)?
            && self.hashes.take(file, path, &mut image.hash)?
            && self.features.take(file, path, &mut row)?;
        ensure!(whole, short());
        image.label = usize::try_from(i32::from_le_bytes(four)).ok();
        image.feature = vec![0.0; self.header.width];
        self.header.precision.read(&row, &mut image.feature);
        image.name = self.files.line(file, path)?.ok_or_else(short)?;
        Ok(Some(image))
    }

    /// The next image that could not be read; none at the end.
    pub fn next_skipped(&mut self) -> Result<Option<Skipped>> {
        let line = self.skipped.line(&mut self.file, &self.path)?;
        line.map(|line| {
            serde_json::from_str(&line)
                .with_context(|| format!("{}: its list of skipped images", self.path.display()))
        })
        .transpose()
    }
}

/// A tensor's bytes in a file that others are read from as well.
struct Section {
    /// Where the next bytes to be read into the buffer lie.
    at: u64,
    end: u64,
    buffer: Vec<u8>,
    used: usize,
}

impl Section {
    fn new(at: u64, end: u64) -> Self {
        Self {
            at,
            end,
            buffer: Vec::new(),
            used: 0,
        }
    }

    /// Fills the buffer; false at the end.
    fn fill(&mut self, file: &mut File, path: &Path) -> Result<bool> {
        let size = (self.end - self.at).min(BUFFER_BYTES as u64);
        self.buffer.resize(size as usize, 0);
        self.used = 0;
        file.seek(SeekFrom::Start(self.at))
            .and_then(|_| file.read_exact(&mut self.buffer))
            .map_err(|error| explain(error, "read", path))?;
        self.at += size;
        Ok(size > 0)
    }

    /// Fills `bytes`; false where there are not so many.
    fn take(&mut self, file: &mut File, path: &Path, bytes: &mut [u8]) -> Result<bool> {
        let mut done = 0;
        while done < bytes.len() {
            if self.used == self.buffer.len() && !self.fill(file, path)? {
                return Ok(false);
            }
            let have = (self.buffer.len() - self.used).min(bytes.len() - done);
            bytes[done..done + have].copy_from_slice(&self.buffer[self.used..self.used + have]);
            self.used += have;
            done += have;
        }
        Ok(true)
    }

    /// The text up to the next line break, or to the end.
    fn line(&mut self, file: &mut File, path: &Path) -> Result<Option<String>> {
        let mut line = Vec::new();
        let mut any = false;
        loop {
            if self.used == self.buffer.len() && !self.fill(file, path)? {
                break;
            }
            any = true;
            let rest = &self.buffer[self.used..];
            let end = rest.iter().position(|&byte| byte == b'\n');
            line.extend_from_slice(&rest[..end.unwrap_or(rest.len())]);
            self.used += end.map_or(rest.len(), |end| end + 1);
            ensure!(
                line.len() <= MAX_LINE_BYTES,
                "{}: a name is too long",
                path.display()
            );
            if end.is_some() {
                break;
            }
        }
        let text = String::from_utf8(line)
            .with_context(|| format!("{}: a name is no UTF-8", path.display()))?;
        Ok(any.then_some(text))
    }
}
