//! What a run found: `report.json` for programs, a table for the terminal, and `report.html` for
//! people.

mod axes;
mod chart;
mod drawing;
mod figures;
mod files;
mod gallery;
mod html;
mod json;
mod measure;
mod palette;
mod plot;
mod png;
mod results;
mod similarity;
mod svg;
mod table;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::score::MethodSettings;

pub use figures::{
    AblationFigure, AblationRow, Curve, Figures, LossFigure, MapFigure, ReliabilityFigure,
    RocFigure, ScoreFigure, SimilarityFigure,
};
pub use files::{ReportOf, check_place, retire, write as write_report};
pub use html::write_html;
pub use json::to_json;
pub use measure::{MeasuredMethods, ScoredMethod, measure};
pub use similarity::{PromptSimilarities, similarity_figures};
pub use table::print_table;

/// The whole of a run's findings. Every rate is a fraction of one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Heading of the page: `Negative prompts on Caltech-101`.
    pub title: String,
    pub model: ModelReport,
    /// In the order of the tables.
    pub methods: Vec<MethodReport>,
    /// Seconds by what was done.
    pub timings: BTreeMap<String, f64>,
    pub seed: u64,
    /// Every setting of the run.
    pub config: Value,
    pub data: Vec<DataReport>,
    /// What the run computed on.
    pub device: String,
    /// Program and library versions.
    #[serde(default)]
    pub versions: BTreeMap<String, String>,
    /// What a reader must know to read the figures rightly, one paragraph each.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Commands that give the same report again.
    #[serde(default)]
    pub reproduce: Vec<String>,
    #[serde(default)]
    pub figures: Figures,
    /// What the best method judged wrongly; none where nobody looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mistakes: Option<MistakeReport>,
}

/// The images that a method judged wrongly and was surest of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MistakeReport {
    /// Name of the method.
    pub method: String,
    /// Set by set, the surest first.
    pub images: Vec<Mistake>,
}

/// An image that a method judged wrongly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mistake {
    /// The set the image is of.
    pub set: String,
    /// The image's file, as the data name it.
    pub file: String,
    /// The method's score, in its own units.
    pub score: f64,
}

/// The model that computed the features.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelReport {
    pub name: String,
    pub embed_dim: usize,
    pub logit_scale: f32,
    /// Side of the image tower's input, in pixels.
    pub image_size: usize,
    /// [`crate::features::feature_key`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub feature_key: String,
}

/// One row of the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MethodReport {
    /// `NegPrompt`, `MCM`.
    pub name: String,
    /// Kebab-case id of the method, for commands.
    pub id: String,
    /// Fraction of ID images whose class is the first choice; none where their classes are not
    /// known.
    pub id_top1: Option<f64>,
    /// Expected calibration error of the first choice's probability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ece: Option<f64>,
    /// By OOD set.
    pub ood: BTreeMap<String, SetReport>,
    /// The mean over the OOD sets; none where there are none.
    pub average: Option<SetReport>,
    /// Scores at or above it are in, in the method's own units.
    pub threshold: f64,
    /// Share of the ID images that the threshold keeps; about 95 % when it was calibrated on
    /// images like these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<f64>,
    pub settings: MethodSettings,
    /// Seconds to learn what the method needs and to score every image, as if it were alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

/// How one method separates the ID images from one OOD set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetReport {
    /// Area under the ROC curve; ties count one half.
    pub auroc: f64,
    /// Share of OOD images taken for ID by the threshold that keeps 95 % of ID.
    pub fpr95: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aupr_in: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aupr_out: Option<f64>,
    /// Open-set classification rate; none where the classes of the ID images are not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oscr: Option<f64>,
    /// Standard deviation over seeds, where several were run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auroc_deviation: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fpr95_deviation: Option<f64>,
}

/// One set of images.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DataReport {
    pub name: String,
    /// `learning`, `in-distribution test`, `out-of-distribution test`.
    pub used_for: String,
    pub images: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<usize>,
    /// Images that could not be read.
    #[serde(default)]
    pub skipped: u64,
    /// Where the images are from, or what to know about them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
}

impl Report {
    /// Names of the OOD sets, in the order in which the data are listed.
    pub fn sets(&self) -> Vec<&str> {
        let measured = || self.methods.iter().flat_map(|method| method.ood.keys());
        let listed = self.data.iter().map(|data| &data.name);
        let mut sets: Vec<&str> = Vec::new();
        for set in listed
            .filter(|name| measured().any(|set| set == *name))
            .chain(measured())
        {
            if !sets.contains(&set.as_str()) {
                sets.push(set);
            }
        }
        sets
    }
}

#[cfg(test)]
pub use test_report::report as example;

#[cfg(test)]
mod test_report {
    use shared::bundle::{Map, MapPoint};

    use super::figures::Curve;
    use super::*;

    /// Two methods on three sets, with every figure.
    pub fn report() -> Report {
        let histogram = shared::bundle::Histogram::measure(
            "Scores <of> a method",
            "score",
            12,
            &[
                ("in-distribution", &[0.5, 1.0, 1.5, 2.0, 2.5]),
                ("far & away", &[-1.0, -0.5, 0.0, 0.2, 0.9]),
            ],
        )
        .unwrap();
        let curve = |name: &str| {
            figures::roc_curve(name, &[0.5, 1.0, 1.5, 2.0], &[-1.0, 0.0, 0.6, 0.9], 21)
        };
        let method = |name: &str, auroc: f64| {
            let set = |auroc: f64| SetReport {
                auroc,
                fpr95: 1.0 - auroc,
                aupr_in: Some(0.9),
                aupr_out: Some(0.8),
                oscr: Some(0.85),
                auroc_deviation: (name == "NegPrompt").then_some(0.004),
                fpr95_deviation: None,
            };
            let ood: BTreeMap<_, _> = [("near-objects", -0.01), ("drawings", 0.0), ("t", 0.01)]
                .into_iter()
                .map(|(name, more)| (name.to_owned(), set(auroc + more)))
                .collect();
            MethodReport {
                name: name.to_owned(),
                id: name.to_lowercase(),
                id_top1: Some(0.913),
                ece: Some(0.05),
                average: SetReport::average(ood.values()),
                ood,
                threshold: 0.4,
                kept: Some(0.951),
                settings: MethodSettings::at_temperature(1.0),
                seconds: (name == "NegPrompt").then_some(31.0),
            }
        };
        Report {
            title: "Negative prompts on <Caltech-101>".into(),
            model: ModelReport {
                name: "compact".into(),
                embed_dim: 512,
                logit_scale: 21.0,
                image_size: 224,
                feature_key: String::new(),
            },
            methods: vec![method("NegPrompt", 0.963), method("MCM", 0.941)],
            timings: BTreeMap::from([("stage 1".to_owned(), 21.5), ("stage 2".to_owned(), 33.0)]),
            seed: 1,
            config: serde_json::json!({"shots": 16, "stage_2": {"beta": 0.1, "steps": 60}}),
            data: vec![DataReport {
                name: "Caltech-101".into(),
                used_for: "in-distribution test".into(),
                images: 3633,
                classes: Some(100),
                skipped: 0,
                source: "held out".into(),
            }],
            device: "CPU (2 threads)".into(),
            versions: BTreeMap::from([("trainer".to_owned(), "0.1.0".to_owned())]),
            notes: vec!["One & two.".into()],
            mistakes: Some(MistakeReport {
                method: "NegPrompt".into(),
                images: vec![Mistake {
                    set: "t".into(),
                    file: "a <b>.jpg".into(),
                    score: -1.25,
                }],
            }),
            reproduce: vec!["cargo run --release -p trainer".into()],
            figures: Figures {
                scores: vec![figures::ScoreFigure {
                    method: "NegPrompt".into(),
                    histogram: histogram.clone(),
                    threshold: 0.4,
                    scale: shared::score::ScoreScale::Probability,
                }],
                roc: vec![figures::RocFigure {
                    set: "drawings".into(),
                    curves: vec![curve("NegPrompt"), curve("MCM")],
                }],
                losses: vec![LossFigure {
                    stage: "Stage 2".into(),
                    unit: "step".into(),
                    curves: vec![Curve {
                        name: "total".into(),
                        x: vec![0.0, 1.0, 2.0],
                        y: vec![3.0, 2.5, 2.4],
                    }],
                }],
                similarities: vec![SimilarityFigure { histogram }],
                reliability: vec![ReliabilityFigure {
                    method: "NegPrompt".into(),
                    curve: Curve {
                        name: "NegPrompt".into(),
                        x: vec![0.2, 0.9],
                        y: vec![0.3, 0.8],
                    },
                    images: vec![3, 20],
                }],
                ablations: vec![AblationFigure {
                    title: "Losses & more".into(),
                    rate: "average AUROC, %".into(),
                    rows: vec![AblationRow {
                        name: "as it is".into(),
                        own: true,
                        rate: 0.97,
                        deviation: Some(0.01),
                    }],
                }],
                map: Some(MapFigure {
                    map: Map {
                        title: "Map <of> images".into(),
                        series: vec!["images".into(), "prompts".into()],
                        points: vec![
                            MapPoint {
                                x: 0.5,
                                y: -1.0,
                                series: 0,
                                label: None,
                            },
                            MapPoint {
                                x: 1.5,
                                y: 1.0,
                                series: 1,
                                label: Some("cat & dog".into()),
                            },
                        ],
                    },
                }),
            },
        }
    }
}
