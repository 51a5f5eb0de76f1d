use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::BundleError;
use super::check::{at_most, finite, text};
use crate::metric::MetricError;

/// The most series of a chart, and the most charts of a kind.
pub const MAX_SERIES: usize = 64;
const MAX_BINS: usize = 1_000;
const MAX_POINTS: usize = 50_000;
const MAX_CURVE_POINTS: usize = 2_000;

/// Data behind the figures of the page; the page draws them.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Figures {
    /// Similarity of ID and OOD images with positive and negative prompts (the paper's Fig. 3).
    #[serde(default)]
    pub similarity: Option<Histogram>,
    /// Scores of ID and of each OOD set, by method id, in units of the method's score.
    #[serde(default)]
    pub scores: BTreeMap<String, Histogram>,
    /// Images and prompts in two dimensions (the paper's Fig. 4).
    #[serde(default)]
    pub map: Option<Map>,
    /// False-positive rate → true-positive rate, by OOD set and method id.
    #[serde(default)]
    pub roc: BTreeMap<String, BTreeMap<String, Curve>>,
    /// Mean confidence of the first choices in a bin → share of them that are right, by method id.
    #[serde(default)]
    pub reliability: BTreeMap<String, Curve>,
    /// The losses of each stage of learning, in order.
    #[serde(default)]
    pub losses: Vec<Loss>,
}

/// A line through points.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Curve {
    /// Ascending.
    pub x: Vec<f64>,
    /// As many.
    pub y: Vec<f64>,
}

/// A loss, step by step.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Loss {
    /// Of what: `Stage 1: positive prompts`.
    pub stage: String,
    /// Which: `cross-entropy`.
    pub name: String,
    /// Step → value.
    pub curve: Curve,
}

/// Several distributions over the same bins.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Histogram {
    /// The figure's heading.
    pub title: String,
    /// What the horizontal axis measures.
    pub axis: String,
    /// `[bins + 1]`, ascending. A bin holds its lower edge; the last one also its upper.
    pub edges: Vec<f64>,
    /// The distributions.
    pub series: Vec<HistogramSeries>,
}

/// One distribution of a [`Histogram`].
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct HistogramSeries {
    /// Its name in the legend.
    pub name: String,
    /// `[bins]`.
    pub counts: Vec<u64>,
}

/// A two-dimensional map of images and prompts.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Map {
    /// The figure's heading.
    pub title: String,
    /// Names in the legend.
    pub series: Vec<String>,
    /// The points, in the order of the tensor
    /// [`MAP_FEATURES`](super::tensor_name::MAP_FEATURES).
    pub points: Vec<MapPoint>,
}

/// A point of a [`Map`].
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct MapPoint {
    /// Horizontal position.
    #[serde(deserialize_with = "crate::single::one")]
    pub x: f32,
    /// Vertical position, upwards.
    #[serde(deserialize_with = "crate::single::one")]
    pub y: f32,
    /// Position in [`Map::series`].
    pub series: usize,
    /// What a person sees when pointing at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

impl Histogram {
    /// Counts each series in `bins` equal bins from the lowest to the highest value of all.
    ///
    /// # Errors
    /// When there are no values or no bins, or a value is not finite.
    pub fn measure(
        title: &str,
        axis: &str,
        bins: usize,
        series: &[(&str, &[f64])],
    ) -> Result<Self, MetricError> {
        const VALUES: &str = "the values of a histogram";
        let all = || series.iter().flat_map(|(_, values)| values.iter().copied());
        if let Some((index, value)) = all().enumerate().find(|(_, value)| !value.is_finite()) {
            return Err(MetricError::NotFinite {
                what: VALUES,
                index,
                value,
            });
        }
        let (mut low, mut high) = (
            all().fold(f64::INFINITY, f64::min),
            all().fold(f64::NEG_INFINITY, f64::max),
        );
        if low > high {
            return Err(MetricError::Empty { what: VALUES });
        }
        if bins == 0 || bins > MAX_BINS {
            return Err(MetricError::OutOfRange {
                what: "the number of bins",
                value: bins as f64,
                range: "between 1 and 1000",
            });
        }
        // One value alone, or values too close for bins between them, still get a picture.
        let room = (low.abs().max(high.abs()) * 1e-9).max(1e-9);
        if high - low < room {
            (low, high) = (low - room, high + room);
        }
        let span = high - low;
        if !span.is_finite() {
            return Err(MetricError::OutOfRange {
                what: "the spread of the values",
                value: span,
                range: "finite",
            });
        }
        let mut edges: Vec<f64> = (0..=bins)
            .map(|edge| low + span * (edge as f64 / bins as f64))
            .collect();
        edges[bins] = high;
        let count = |(name, values): &(&str, &[f64])| {
            let mut counts = vec![0; bins];
            for &value in *values {
                let bin = edges.partition_point(|&edge| edge <= value);
                counts[bin.clamp(1, bins) - 1] += 1;
            }
            HistogramSeries {
                name: (*name).to_owned(),
                counts,
            }
        };
        Ok(Self {
            title: title.to_owned(),
            axis: axis.to_owned(),
            series: series.iter().map(count).collect(),
            edges,
        })
    }

    fn check(&self, field: &str) -> Result<(), BundleError> {
        text(&format!("{field}.title"), &self.title)?;
        text(&format!("{field}.axis"), &self.axis)?;
        at_most(&format!("{field}.edges"), self.edges.len(), MAX_BINS + 1)?;
        at_most(&format!("{field}.series"), self.series.len(), MAX_SERIES)?;
        finite(&format!("{field}.edges"), &self.edges)?;
        if self.edges.len() < 2 || !self.edges.is_sorted_by(|a, b| a < b) {
            let cause = "bins need two or more ascending edges";
            return Err(BundleError::field(format!("{field}.edges"), cause));
        }
        for (index, series) in self.series.iter().enumerate() {
            text(&format!("{field}.series[{index}].name"), &series.name)?;
            if series.counts.len() + 1 != self.edges.len() {
                let (found, bins) = (series.counts.len(), self.edges.len() - 1);
                let cause = format!("{found} counts for {bins} bins");
                return Err(BundleError::field(
                    format!("{field}.series[{index}].counts"),
                    cause,
                ));
            }
        }
        Ok(())
    }
}

impl Figures {
    pub(super) fn check(&self) -> Result<(), BundleError> {
        if let Some(similarity) = &self.similarity {
            similarity.check("figures.similarity")?;
        }
        at_most("figures.scores", self.scores.len(), MAX_SERIES)?;
        for (method, histogram) in &self.scores {
            text("figures.scores", method)?;
            histogram.check(&format!("figures.scores.{method}"))?;
        }
        at_most("figures.roc", self.roc.len(), MAX_SERIES)?;
        for (set, curves) in &self.roc {
            text("figures.roc", set)?;
            check_curves(&format!("figures.roc.{set}"), curves)?;
        }
        check_curves("figures.reliability", &self.reliability)?;
        at_most("figures.losses", self.losses.len(), MAX_SERIES)?;
        for (index, loss) in self.losses.iter().enumerate() {
            let field = format!("figures.losses[{index}]");
            text(&field, &loss.stage)?;
            text(&field, &loss.name)?;
            loss.curve.check(&field)?;
        }
        self.map.as_ref().map_or(Ok(()), Map::check)
    }
}

fn check_curves(field: &str, curves: &BTreeMap<String, Curve>) -> Result<(), BundleError> {
    at_most(field, curves.len(), MAX_SERIES)?;
    for (method, curve) in curves {
        text(field, method)?;
        curve.check(&format!("{field}.{method}"))?;
    }
    Ok(())
}

impl Curve {
    fn check(&self, field: &str) -> Result<(), BundleError> {
        at_most(field, self.x.len(), MAX_CURVE_POINTS)?;
        finite(&format!("{field}.x"), &self.x)?;
        finite(&format!("{field}.y"), &self.y)?;
        if self.x.len() != self.y.len() || self.x.is_empty() || !self.x.is_sorted() {
            let cause = "a curve has as many x as y, one or more, and its x ascend";
            return Err(BundleError::field(field, cause));
        }
        Ok(())
    }
}

impl Map {
    fn check(&self) -> Result<(), BundleError> {
        text("figures.map.title", &self.title)?;
        at_most("figures.map.series", self.series.len(), MAX_SERIES)?;
        at_most("figures.map.points", self.points.len(), MAX_POINTS)?;
        for series in &self.series {
            text("figures.map.series", series)?;
        }
        for (index, point) in self.points.iter().enumerate() {
            let field = format!("figures.map.points[{index}]");
            finite(&field, &[f64::from(point.x), f64::from(point.y)])?;
            if point.series >= self.series.len() {
                let cause = format!("there is no series {}", point.series);
                return Err(BundleError::field(field, cause));
            }
            text(&field, point.label.as_deref().unwrap_or_default())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::generator::Generator;

    #[test]
    fn counts_every_value_once_in_its_bin() {
        let mut generator = Generator::new(41);
        for round in 0..50 {
            let (id, ood) = generator.id_and_ood(round);
            let bins = 1 + generator.below(12);
            let series: [(&str, &[f64]); 2] = [("ID", &id), ("OOD", &ood)];
            let histogram = Histogram::measure("title", "score", bins, &series).unwrap();
            histogram.check("figure").unwrap();
            for (counted, (_, values)) in histogram.series.iter().zip(series) {
                assert_eq!(counted.counts.iter().sum::<u64>(), values.len() as u64);
                for (bin, &count) in counted.counts.iter().enumerate() {
                    let (low, high) = (histogram.edges[bin], histogram.edges[bin + 1]);
                    let last = bin + 1 == bins;
                    let inside = |v: &&f64| **v >= low && (**v < high || last && **v <= high);
                    assert_eq!(values.iter().filter(inside).count() as u64, count);
                }
            }
        }
    }

    #[test]
    fn curves_are_whole_and_ascend() {
        let with = |x: &[f64], y: &[f64]| {
            let curve = Curve {
                x: x.to_vec(),
                y: y.to_vec(),
            };
            let loss = Loss {
                curve,
                ..Loss::default()
            };
            let figures = Figures {
                losses: vec![loss],
                ..Figures::default()
            };
            figures.check()
        };
        with(&[0.0, 1.0, 1.0], &[3.0, 2.0, 1.0]).unwrap();
        for (x, y) in [
            (&[0.0, 1.0][..], &[3.0][..]),
            (&[1.0, 0.0], &[3.0, 2.0]),
            (&[0.0], &[f64::NAN]),
            (&[], &[]),
        ] {
            let error = with(x, y).unwrap_err().to_string();
            assert!(error.contains("figures.losses[0]"), "{error}");
        }
        let long = vec![1.0; MAX_CURVE_POINTS + 1];
        assert!(with(&long, &long).is_err());
    }

    #[test]
    fn refuses_values_without_a_place() {
        assert!(Histogram::measure("", "", 4, &[("a", &[])]).is_err());
        assert!(Histogram::measure("", "", 4, &[("a", &[f64::NAN])]).is_err());
        assert!(Histogram::measure("", "", 0, &[("a", &[1.0])]).is_err());
        assert!(Histogram::measure("", "", 4, &[("a", &[f64::MIN, f64::MAX])]).is_err());
        let same = Histogram::measure("", "", 4, &[("a", &[1e12; 3])]).unwrap();
        same.check("figure").unwrap();
    }
}
