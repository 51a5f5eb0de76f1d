//! What the page and the worker say to each other.
//!
//! Each message travels as `[json, attachment, …]` through `postMessage`: the enum as JSON,
//! and photos, bundle files and thumbnails as they are, which costs nothing to hand over.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shared::bundle::{DataSource, Figures, MethodEntry};
use shared::score::Explanation;

/// The number of a photo, in the order in which photos came.
pub type PhotoId = u32;

/// From the page to the worker.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Load a bundle on a device. Attached with [`BundleSource::Files`]: the files.
    Open {
        /// Where the bundle is.
        source: BundleSource,
        /// What to compute on.
        device: DeviceChoice,
    },
    /// Encode photos in one batch. Attached: one blob a photo.
    Photos {
        /// Their numbers, in the order of the blobs.
        photos: Vec<PhotoId>,
        /// Whether to encode their patches too, for the methods that take them.
        patches: bool,
    },
    /// Score against other classes.
    Classes {
        /// Their names.
        names: Vec<String>,
    },
    /// Drop what is kept of these photos.
    Forget {
        /// Their numbers.
        photos: Vec<PhotoId>,
    },
}

/// Where a bundle comes from.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BundleSource {
    /// Beside the page.
    Page,
    /// An address that the user typed, of `bundle.json` or of its folder.
    Address {
        /// The address.
        url: String,
    },
    /// Files that the user picked; attached in this order.
    Files {
        /// Their names, without folders.
        names: Vec<String>,
    },
}

/// What the user wants to compute on.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceChoice {
    /// A real GPU if there is one, else the CPU.
    #[default]
    Auto,
    /// WebGPU, on whatever adapter there is.
    Gpu,
    /// WASM with SIMD.
    Cpu,
}

impl DeviceChoice {
    /// From the value of a form field; anything unknown is [`DeviceChoice::Auto`].
    pub fn from_value(value: &str) -> Self {
        match value {
            "gpu" => Self::Gpu,
            "cpu" => Self::Cpu,
            _ => Self::Auto,
        }
    }
}

/// From the worker to the page.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Report {
    /// The worker runs and takes orders.
    Started,
    /// The worker is of another version than the page: `worker-start.js` says so, and starts nothing.
    Outdated,
    /// What [`Order::Open`] is doing.
    Loading {
        /// What is being done, for people.
        what: String,
        /// Bytes so far.
        loaded: u64,
        /// Bytes in all; 0 when that has no meaning.
        total: u64,
    },
    /// The bundle is loaded and its known answers hold on this device.
    Opened(Box<Opened>),
    /// [`Order::Open`] came to nothing.
    NotOpened {
        /// Why, and the way out.
        message: String,
    },
    /// A photo was read. Attached: its thumbnail, a JPEG.
    Photo {
        /// Its number.
        id: PhotoId,
        /// What was read.
        reading: Box<Reading>,
    },
    /// A photo could not be read.
    Unreadable {
        /// Its number.
        id: PhotoId,
        /// Why, and the way out.
        message: String,
    },
    /// Every photo was scored anew, against other classes; not by methods that take patches, which are
    /// not kept.
    Scored {
        /// The classes that now count.
        classes: Vec<String>,
        /// Whether these are not the bundle's own.
        edited: bool,
        /// Words that the text tower has never seen.
        unknown: Vec<UnknownWords>,
        /// The new scores.
        photos: Vec<(PhotoId, Scores)>,
        /// For each method that is usable, the scores that the bundle's photos of none of its
        /// classes now get, ascending. Empty when the classes are the bundle's own.
        outsiders: BTreeMap<String, Vec<f64>>,
    },
    /// [`Order::Classes`] needs files that were not loaded yet.
    LoadingClasses {
        /// Bytes so far.
        loaded: u64,
        /// Bytes in all.
        total: u64,
    },
    /// [`Order::Classes`] came to nothing; the old classes still count.
    ClassesRefused {
        /// The names that were ordered.
        names: Vec<String>,
        /// Why, and the way out.
        message: String,
    },
    /// The GPU went away or gives no more results. The worker is of no more use.
    DeviceLost {
        /// What the browser or the GPU's driver said.
        message: String,
    },
}

/// A loaded bundle and what it runs on.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Opened {
    /// Name of the model.
    pub model: String,
    /// What the bundle was trained on and how, in a line.
    pub description: String,
    /// Size of the bundle's files in bytes.
    pub bytes: u64,
    /// Whether every file came out of the browser's cache.
    pub cached: bool,
    /// Whether the browser keeps the files for the next visit, where it has to.
    pub kept: bool,
    /// The classes, in the order of all class indices.
    pub classes: Vec<String>,
    /// The methods that this program can compute, with thresholds and calibration.
    pub methods: Vec<MethodEntry>,
    /// What the views draw.
    pub figures: Figures,
    /// The images that it was learned from and measured on.
    pub data: Vec<DataSource>,
    /// Whether class names can be edited.
    pub has_text_tower: bool,
    /// What computes.
    pub device: DeviceReport,
    /// How many photos go into one [`Order::Photos`].
    pub batch: usize,
    /// Bytes of WASM memory that the worker took to load it.
    pub memory: u64,
}

/// What computes.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct DeviceReport {
    /// `gpu` or `cpu`.
    pub kind: DeviceKind,
    /// Its name.
    pub name: String,
    /// Whether it is a GPU imitated in software.
    pub software: bool,
    /// Why it is this one, when there is something to say.
    pub note: Option<String>,
    /// Known answers that hold on it, and the largest relative error among them.
    pub check: Option<(usize, f32)>,
}

/// The kinds of device.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// WebGPU.
    Gpu,
    /// WASM with SIMD.
    Cpu,
}

impl DeviceKind {
    /// `"gpu"` or `"cpu"`, as in attributes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gpu => "gpu",
            Self::Cpu => "cpu",
        }
    }
}

/// What the worker read in a photo.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Reading {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Anything unusual about how it was read.
    pub note: Option<String>,
    /// Where the time went.
    pub timings: Timings,
    /// Bytes of WASM memory that the worker has taken so far; it never gives any back.
    pub memory: u64,
    /// Whether its patches were encoded.
    pub patches: bool,
    /// The scores.
    pub scores: Scores,
}

/// Milliseconds that a photo took. In a batch, its share of the batch.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Timings {
    /// File to pixels.
    pub decode: f64,
    /// Pixels to the image tower's input.
    pub preprocess: f64,
    /// Input to image feature.
    pub encode: f64,
    /// Image feature to scores.
    pub score: f64,
}

impl Timings {
    /// All of it.
    pub fn together(&self) -> f64 {
        self.decode + self.preprocess + self.encode + self.score
    }
}

/// A photo's standing with every method, and its place in the figures.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Scores {
    /// One for each method that has what it needs.
    pub methods: Vec<MethodScore>,
    /// The highest cosine with a positive prompt.
    pub positive: Option<f32>,
    /// The highest cosine with a negative prompt.
    pub negative: Option<f32>,
    /// Where it lies on the map.
    pub place: Option<[f32; 2]>,
}

impl Scores {
    /// What the method `id` says.
    pub fn method(&self, id: &str) -> Option<&MethodScore> {
        self.methods.iter().find(|method| method.id == id)
    }
}

/// What one method says of a photo.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct MethodScore {
    /// The method.
    pub id: String,
    /// Conformal p-value: how many of the calibration photos score this low or lower.
    pub p_value: f64,
    /// Score, classes and negatives.
    pub explanation: Explanation,
}

/// A class name with words that the text tower has never seen.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct UnknownWords {
    /// The name.
    pub class: String,
    /// The words.
    pub words: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `worker-start.js` writes by itself.
    #[test]
    fn a_worker_of_another_version_is_understood() {
        let script = include_str!("../worker-start.js");
        assert!(script.contains(r#"postMessage(['"outdated"'])"#));
        let report = serde_json::from_str::<Report>(r#""outdated""#);
        assert_eq!(report.unwrap(), Report::Outdated);
    }

    #[test]
    fn messages_survive_json() {
        let order = Order::Open {
            source: BundleSource::Files {
                names: vec!["bundle.json".to_owned()],
            },
            device: DeviceChoice::Cpu,
        };
        let json = serde_json::to_string(&order).unwrap();
        assert!(
            json.starts_with(r#"{"open":{"source":{"files":{"names""#),
            "{json}"
        );
        assert_eq!(serde_json::from_str::<Order>(&json).unwrap(), order);
        let report = Report::Photo {
            id: 7,
            reading: Box::new(Reading {
                width: 4,
                height: 3,
                note: None,
                timings: Timings {
                    decode: 1.0,
                    preprocess: 2.0,
                    encode: 3.0,
                    score: 0.5,
                },
                memory: 1 << 24,
                patches: false,
                scores: Scores::default(),
            }),
        };
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    }

    #[test]
    fn an_unknown_choice_of_device_is_automatic() {
        assert_eq!(DeviceChoice::from_value("gpu"), DeviceChoice::Gpu);
        assert_eq!(DeviceChoice::from_value("quantum"), DeviceChoice::Auto);
    }
}
