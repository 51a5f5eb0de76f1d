//! Finished rows on the disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shared::bundle::Map;

use crate::features::hexadecimal;
use crate::output;
use crate::report::{
    DataReport, LossFigure, MethodReport, Mistake, ReliabilityFigure, RocFigure, ScoreFigure,
    SimilarityFigure,
};

/// Counted up when rows of an earlier program would mean something else.
const ROW_VERSION: u32 = 1;

/// The most bytes of a row: every point of its curves, and its notes.
const MAX_ROW_BYTES: u64 = 256 << 20;
/// What stands in a row's file around its checksum and its value.
const BEFORE_CHECKSUM: &str = "{\"checksum\":\"";
const BEFORE_VALUE: &str = "\",\"value\":";
const AFTER_VALUE: &str = "}";

/// One method in one trial.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// What the trial changed; empty for the suite's own settings.
    pub variant: String,
    /// The seed of the trial.
    pub seed: u64,
    /// What was measured.
    pub method: MethodReport,
    /// Seconds to learn what the method needs and to score every image with it, as if it were alone.
    pub seconds: f64,
    /// How its scores are distributed.
    pub scores: ScoreFigure,
    /// One curve an out-of-distribution set.
    pub roc: Vec<RocFigure>,
    /// How often it is right by how sure it is.
    pub reliability: Option<ReliabilityFigure>,
    /// Its most confident mistakes.
    pub mistakes: Vec<Mistake>,
}

impl Row {
    /// The method's name in the tables and figures.
    pub fn name(&self) -> String {
        match self.variant.as_str() {
            "" => self.method.name.clone(),
            variant => format!("{}, {variant}", self.method.name),
        }
    }

    /// What the method chose in this seed, and the share of images that its threshold keeps.
    pub fn chosen(&self) -> Result<serde_json::Value> {
        // By way of its text: a number of 32 bits has more digits once it is one of 64.
        let settings = serde_json::to_string(&self.method.settings)?;
        let settings: serde_json::Value = serde_json::from_str(&settings)?;
        Ok(serde_json::json!({
            "method": self.name(),
            "seed": self.seed,
            "threshold": self.method.threshold,
            "kept": self.method.kept,
            "settings": settings,
        }))
    }
}

/// What a trial showed beside its rows.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct TrialRecord {
    /// The sets it looked at.
    pub data: Vec<DataReport>,
    /// What a reader should know of how it went.
    pub notes: Vec<String>,
    /// Losses of the stages.
    pub losses: Vec<LossFigure>,
    /// Fig. 3 of the paper.
    pub similarities: Vec<SimilarityFigure>,
    /// Fig. 4 of the paper.
    pub map: Option<Map>,
    /// Seconds by what was learned.
    pub timings: BTreeMap<String, f64>,
}

/// The folder of finished rows, for one device: another gives other roundings and other seconds.
pub struct Rows {
    folder: PathBuf,
    device: String,
}

impl Rows {
    /// Rows below the output folder of a suite, made on the device of this name.
    pub fn below(out: &Path, device: &str) -> Result<Self> {
        let folder = out.join("rows");
        output::create_folder(&folder)?;
        Ok(Self {
            folder,
            device: device.to_owned(),
        })
    }

    /// The key of what a row or a trial depends on, the device among it: SHA-256 of its JSON, in
    /// hexadecimal.
    pub fn key(&self, parts: &serde_json::Value) -> Result<String> {
        let version = env!("CARGO_PKG_VERSION");
        let text = serde_json::to_vec(&(ROW_VERSION, version, &self.device, parts))?;
        let digest = Sha256::digest(&text);
        Ok(hexadecimal(&digest[..16]))
    }

    /// A row or record that an earlier run finished. One that cannot be read, or is not what was
    /// written, is made again.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        let text = output::read_at_most(&self.path(key), MAX_ROW_BYTES).ok()?;
        let text = String::from_utf8(text).ok()?;
        let (checksum, value) = text
            .strip_prefix(BEFORE_CHECKSUM)?
            .split_once(BEFORE_VALUE)?;
        let value = value.strip_suffix(AFTER_VALUE)?;
        if checksum != seal(key, value) {
            return None;
        }
        serde_json::from_str(value).ok()
    }

    /// Keeps a row or record, whole or not at all.
    pub fn put<T: Serialize>(&self, key: &str, value: &T) -> Result<()> {
        let value = serde_json::to_string(value).context("writing a finished row")?;
        let checksum = seal(key, &value);
        let text = [
            BEFORE_CHECKSUM,
            &checksum,
            BEFORE_VALUE,
            &value,
            AFTER_VALUE,
        ]
        .concat();
        output::write_file(&self.path(key), text.as_bytes())
    }

    fn path(&self, key: &str) -> PathBuf {
        self.folder.join(format!("{key}.json"))
    }
}

/// SHA-256 of a row's key and JSON, in hexadecimal.
fn seal(key: &str, value: &str) -> String {
    hexadecimal(
        &Sha256::new()
            .chain_update(key)
            .chain_update(value)
            .finalize(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_again_and_what_is_broken_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let rows = Rows::below(folder.path(), "CPU (2 threads)").unwrap();
        let key = rows.key(&serde_json::json!({"seed": 1})).unwrap();
        assert_ne!(key, rows.key(&serde_json::json!({"seed": 2})).unwrap());
        assert!(rows.get::<TrialRecord>(&key).is_none());
        let record = TrialRecord {
            notes: vec!["one".into()],
            ..Default::default()
        };
        rows.put(&key, &record).unwrap();
        assert_eq!(rows.get::<TrialRecord>(&key).unwrap().notes, record.notes);
        // The same trial on a GPU is not this one.
        let on_gpu = Rows::below(folder.path(), "NVIDIA L4 (vulkan)").unwrap();
        let of_gpu = on_gpu.key(&serde_json::json!({"seed": 1})).unwrap();
        assert!(on_gpu.get::<TrialRecord>(&of_gpu).is_none());
        let text = std::fs::read_to_string(rows.path(&key)).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["value"]["notes"][0], "one");
        std::fs::write(rows.path(&key), text.replace("one", "two")).unwrap();
        assert!(rows.get::<TrialRecord>(&key).is_none());
        // As rows without a checksum were written.
        std::fs::write(rows.path(&key), json["value"].to_string()).unwrap();
        assert!(rows.get::<TrialRecord>(&key).is_none());
        std::fs::write(rows.path(&key), b"{\"notes\": [").unwrap();
        assert!(rows.get::<TrialRecord>(&key).is_none());
    }
}
