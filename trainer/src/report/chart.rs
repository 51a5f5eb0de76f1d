//! The report's charts as HTML figures.

use shared::bundle::Histogram;

use super::figures::{
    Curve, LossFigure, MapFigure, ReliabilityFigure, RocFigure, ScoreFigure, SimilarityFigure,
};
use super::svg::{Chart, DASHES, Labels, Range, dot_swatch, escape, swatch};

/// One method's scores on ID and OOD images, with the threshold.
pub fn scores(figure: &ScoreFigure, id: &str) -> String {
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
    let drawing = chart.finish(id, &title, &description);
    figure_html(
        &figure.method,
        &drawing,
        &legend(histogram_names(&figure.histogram)),
    )
}

/// ROC curves over one OOD set: of as many methods, the first ones, as there are styles of lines.
pub fn roc(figure: &RocFigure, id: &str) -> String {
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
    let drawing = chart.finish(id, &title, &description);
    let names = drawn.iter().map(|curve| curve.name.as_str());
    figure_html(&figure.set, &drawing, &legend(names))
}

/// Accuracy by confidence of one method.
pub fn reliability(figure: &ReliabilityFigure, id: &str) -> String {
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
    let title = format!("{}: reliability", figure.method);
    let drawing = chart.finish(id, &title, &format!("{}.", spoken.join("; ")));
    figure_html(&figure.method, &drawing, "")
}

/// Images and prompts in two dimensions.
pub fn map(figure: &MapFigure, id: &str) -> String {
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
    let drawing = chart.finish(id, &map.title, &description);
    let entries: String = map
        .series
        .iter()
        .enumerate()
        .map(|(series, name)| format!("<li>{}{}</li>", dot_swatch(series), escape(name)))
        .collect();
    format!(
        "<figure class=\"wide\"><figcaption>{}</figcaption>{drawing}<ul class=\"legend\">{entries}</ul></figure>",
        escape(&map.title)
    )
}

/// The losses of one training stage.
pub fn losses(figure: &LossFigure, id: &str) -> String {
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
    let drawing = chart.finish(id, &figure.stage, &description);
    let names = figure.curves.iter().map(|curve| curve.name.as_str());
    figure_html(&figure.stage, &drawing, &legend(names))
}

/// Cosines with one kind of prompt.
pub fn similarity(figure: &SimilarityFigure, id: &str) -> String {
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
    let drawing = histogram_chart(histogram).finish(id, &histogram.title, &description);
    figure_html(
        &histogram.title,
        &drawing,
        &legend(histogram_names(histogram)),
    )
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

fn figure_html(caption: &str, drawing: &str, legend: &str) -> String {
    format!(
        "<figure><figcaption>{}</figcaption>{drawing}{legend}</figure>",
        escape(caption)
    )
}

fn legend<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let entries: String = names
        .enumerate()
        .map(|(series, name)| format!("<li>{}{}</li>", swatch(series), escape(name)))
        .collect();
    format!("<ul class=\"legend\">{entries}</ul>")
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
