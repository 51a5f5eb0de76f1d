use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::BundleError;
use super::check::{at_most, text};

const MAX_ENTRIES: usize = 1_024;

/// Where a bundle comes from.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Provenance {
    /// The images that went in.
    pub data: Vec<DataSource>,
    /// The configuration of the run, as the trainer wrote it.
    pub config: serde_json::Value,
    /// The seed of the run.
    pub seed: u64,
    /// Versions of programs and libraries, by name.
    #[serde(default)]
    pub versions: BTreeMap<String, String>,
    /// Licences of what is inside.
    #[serde(default)]
    pub licences: Vec<Licence>,
}

/// A set of images that went into a bundle.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct DataSource {
    /// Its name in tables.
    pub name: String,
    /// What for: training, calibration, an OOD set.
    pub used_for: String,
    /// The number of images.
    pub images: u64,
    /// Where it can be had, or what it is.
    pub source: String,
}

/// The licence of one part.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Licence {
    /// The part.
    pub what: String,
    /// Its licence, as an SPDX expression where there is one.
    pub licence: String,
}

impl Provenance {
    pub(super) fn check(&self) -> Result<(), BundleError> {
        at_most("provenance.data", self.data.len(), MAX_ENTRIES)?;
        at_most("provenance.versions", self.versions.len(), MAX_ENTRIES)?;
        at_most("provenance.licences", self.licences.len(), MAX_ENTRIES)?;
        for source in &self.data {
            for part in [&source.name, &source.used_for, &source.source] {
                text("provenance.data", part)?;
            }
        }
        for (name, version) in &self.versions {
            text("provenance.versions", name)?;
            text("provenance.versions", version)?;
        }
        for licence in &self.licences {
            text("provenance.licences", &licence.what)?;
            text("provenance.licences", &licence.licence)?;
        }
        Ok(())
    }
}
