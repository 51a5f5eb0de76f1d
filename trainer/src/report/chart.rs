//! The report's charts.

use shared::bundle::Histogram;

use super::axes::{Chart, Labels, Range};
use super::drawing::DASHES;
use super::figures::{
    AblationFigure, AblationRow, Curve, LossFigure, MapFigure, ReliabilityFigure, RocFigure,
    ScoreFigure, SimilarityFigure,
};
use super::plot::{Legend, Plot};

/// One method's scores on ID and OOD images, with the threshold.
pub fn scores(figure: &ScoreFigure) -> Plot {
    let mut chart = histogram_chart(&figure.histogram);
    chart.mark(figure.threshold, "threshold");
    let title = format!("{}: scores", figure.method);
    let description = format!(
        "Distribution of the {} scores of {}. The threshold is {:.3}; images at or above it are in. {}",
        figure.method,
        series_names(&figure.histogram),
        figure.threshold,
        shares_above(figure)
    );
    Plot {
        caption: figure.method.clone(),
        title,
        description,
        drawing: chart.finish(),
        legend: lines(histogram_names(&figure.histogram)),
        wide: false,
    }
}

/// ROC curves over one OOD set: of as many methods, the first ones, as there are styles of lines.
pub fn roc(figure: &RocFigure) -> Plot {
    let unit = Range {
        start: 0.0,
        end: 1.0,
    };
    let mut chart = Chart::new(
        unit,
        unit,
        [Labels::PerCent; 2],
        "OOD taken for ID, %",
        "ID kept, %",
    );
    chart.diagonal();
    let drawn = &figure.curves[..figure.curves.len().min(DASHES.len())];
    let mut spoken = Vec::new();
    for (series, curve) in drawn.iter().enumerate() {
        chart.line(points(curve), series);
        if let Some(kept) = height_at(curve, 0.1) {
            spoken.push(format!("{} {:.0} %", curve.name, kept * 100.0));
        }
    }
    let title = format!("ROC curves, {}", figure.set);
    let description = format!(
        "ID images kept against {} images taken for ID. At 10 % of these, kept by method: {}.",
        figure.set,
        spoken.join(", ")
    );
    Plot {
        caption: figure.set.clone(),
        title,
        description,
        drawing: chart.finish(),
        legend: lines(drawn.iter().map(|curve| curve.name.as_str())),
        wide: false,
    }
}

/// Accuracy by confidence of one method.
pub fn reliability(figure: &ReliabilityFigure) -> Plot {
    let unit = Range {
        start: 0.0,
        end: 1.0,
    };
    let mut chart = Chart::new(
        unit,
        unit,
        [Labels::PerCent; 2],
        "confidence, %",
        "right, %",
    );
    chart.diagonal();
    chart.line(points(&figure.curve), 0);
    for point in points(&figure.curve) {
        chart.point(point, 0);
    }
    let spoken: Vec<String> = points(&figure.curve)
        .zip(&figure.images)
        .map(|((sure, right), images)| {
            format!(
                "{images} images at {:.0} %: {:.0} % right",
                sure * 100.0,
                right * 100.0
            )
        })
        .collect();
    Plot {
        caption: figure.method.clone(),
        title: format!("{}: reliability", figure.method),
        description: format!("{}.", spoken.join("; ")),
        drawing: chart.finish(),
        legend: Legend::None,
        wide: false,
    }
}

/// Images and prompts in two dimensions.
pub fn map(figure: &MapFigure) -> Plot {
    let map = &figure.map;
    let across = map.points.iter().map(|point| f64::from(point.x));
    let up = map.points.iter().map(|point| f64::from(point.y));
    let mut chart = Chart::new(
        Range::of(across).padded(0.03),
        Range::of(up).padded(0.03),
        [Labels::None; 2],
        "",
        "",
    );
    for point in &map.points {
        chart.point((f64::from(point.x), f64::from(point.y)), point.series);
    }
    let counts: Vec<String> = map
        .series
        .iter()
        .enumerate()
        .map(|(series, name)| {
            let of = map.points.iter().filter(|point| point.series == series);
            format!("{} {name}", of.count())
        })
        .collect();
    let description = format!("A map of {}.", counts.join(", "));
    Plot {
        caption: map.title.clone(),
        title: map.title.clone(),
        description,
        drawing: chart.finish(),
        legend: Legend::Dots(map.series.clone()),
        wide: true,
    }
}

/// The losses of one training stage.
pub fn losses(figure: &LossFigure) -> Plot {
    let all = |values: fn(&Curve) -> &Vec<f64>| figure.curves.iter().flat_map(values).copied();
    let mut chart = Chart::new(
        Range::of(all(|curve| &curve.x)),
        Range::of(all(|curve| &curve.y)).padded(0.05),
        [Labels::Plain; 2],
        &figure.unit,
        "loss",
    );
    let mut spoken = Vec::new();
    for (series, curve) in figure.curves.iter().enumerate() {
        chart.line(points(curve), series);
        if let (Some(first), Some(last)) = (curve.y.first(), curve.y.last()) {
            spoken.push(format!("{} from {first:.3} to {last:.3}", curve.name));
        }
    }
    let description = format!("Losses during {}: {}.", figure.stage, spoken.join("; "));
    Plot {
        caption: figure.stage.clone(),
        title: figure.stage.clone(),
        description,
        drawing: chart.finish(),
        legend: lines(figure.curves.iter().map(|curve| curve.name.as_str())),
        wide: false,
    }
}

/// Cosines with one kind of prompt.
pub fn similarity(figure: &SimilarityFigure) -> Plot {
    let histogram = &figure.histogram;
    let description = format!(
        "Distribution of {} for {}. {}",
        histogram.axis,
        series_names(histogram),
        histogram
            .series
            .iter()
            .filter_map(|series| {
                let middle = middle(&histogram.edges, &series.counts)?;
                Some(format!("{}: middle {middle:.3}.", series.name))
            })
            .collect::<Vec<_>>()
            .join(" ")
    );
    Plot {
        caption: histogram.title.clone(),
        title: histogram.title.clone(),
        description,
        drawing: histogram_chart(histogram).finish(),
        legend: lines(histogram_names(histogram)),
        wide: false,
    }
}

/// One rate by what was changed, with its deviation over seeds as a line through the dot.
pub fn ablation(figure: &AblationFigure) -> Plot {
    let reach = |row: &AblationRow| {
        let half = row.deviation.unwrap_or_default();
        [row.rate - half, row.rate + half]
    };
    let names: Vec<&str> = figure.rows.iter().map(|row| row.name.as_str()).collect();
    let range = Range::of(figure.rows.iter().flat_map(reach)).padded(0.08);
    let mut chart = Chart::of_names(range, Labels::PerCent, &figure.rate, &names);
    let mut spoken = Vec::new();
    for (place, row) in figure.rows.iter().enumerate() {
        let height = place as f64;
        // What the others are measured against stands out by its colour.
        let series = usize::from(!row.own);
        chart.whisker(reach(row), height);
        chart.point((row.rate, height), series);
        spoken.push(format!("{} {:.1}", row.name, 100.0 * row.rate));
    }
    Plot {
        caption: format!("{}: {}", figure.title, figure.rate.trim_end_matches(", %")),
        title: format!("{}: {}", figure.title, figure.rate),
        description: format!("In per cent: {}.", spoken.join("; ")),
        drawing: chart.finish(),
        legend: Legend::None,
        wide: false,
    }
}

fn histogram_chart(histogram: &Histogram) -> Chart {
    // Sets of different size are compared by shares.
    let shares: Vec<Vec<f64>> = histogram
        .series
        .iter()
        .map(|series| {
            let total: u64 = series.counts.iter().sum();
            series
                .counts
                .iter()
                .map(|&count| count as f64 / total.max(1) as f64)
                .collect()
        })
        .collect();
    let highest = shares.iter().flatten().copied().fold(0.0, f64::max);
    let height = Range {
        start: 0.0,
        end: if highest > 0.0 { highest * 1.06 } else { 1.0 },
    };
    let mut chart = Chart::new(
        Range::of(histogram.edges.iter().copied()),
        height,
        [Labels::Plain, Labels::None],
        &histogram.axis,
        "share of the set",
    );
    for (series, shares) in shares.iter().enumerate() {
        chart.steps(&histogram.edges, shares, series);
    }
    chart
}

fn lines<'a>(names: impl Iterator<Item = &'a str>) -> Legend {
    Legend::Lines(names.map(str::to_owned).collect())
}

fn histogram_names(histogram: &Histogram) -> impl Iterator<Item = &str> {
    histogram.series.iter().map(|series| series.name.as_str())
}

fn series_names(histogram: &Histogram) -> String {
    histogram_names(histogram).collect::<Vec<_>>().join(", ")
}

fn points(curve: &Curve) -> impl Iterator<Item = (f64, f64)> + '_ {
    curve.x.iter().copied().zip(curve.y.iter().copied())
}

/// The first height at or beyond `x`.
fn height_at(curve: &Curve, x: f64) -> Option<f64> {
    points(curve).find(|&(at, _)| at >= x).map(|(_, y)| y)
}

/// For readers who cannot see the areas: how much of each set lies above the threshold.
fn shares_above(figure: &ScoreFigure) -> String {
    let edges = &figure.histogram.edges;
    figure
        .histogram
        .series
        .iter()
        .map(|series| {
            let total: u64 = series.counts.iter().sum();
            let above: u64 = edges
                .iter()
                .zip(&series.counts)
                .filter(|(left, _)| **left >= figure.threshold)
                .map(|(_, count)| count)
                .sum();
            let share = above as f64 / total.max(1) as f64 * 100.0;
            format!("About {share:.0} % of {} are above it.", series.name)
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// The middle of the bin that holds the median.
fn middle(edges: &[f64], counts: &[u64]) -> Option<f64> {
    let total: u64 = counts.iter().sum();
    let mut seen = 0;
    for (bin, count) in counts.iter().enumerate() {
        seen += count;
        if 2 * seen >= total && total > 0 {
            return Some((edges.get(bin)? + edges.get(bin + 1)?) / 2.0);
        }
    }
    None
}
