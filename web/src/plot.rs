//! The figures as SVG text. Colours and lines are classes of the style sheet.

use std::fmt::Write as _;

use shared::bundle::{Histogram, Map};
use shared::metric::Calibration;

/// A value to mark in a histogram.
#[derive(Clone, Debug)]
pub struct Mark {
    /// Where.
    pub value: f64,
    /// What it is, for people.
    pub label: String,
    /// Rows to mark: those whose series' name contains this; all when empty.
    pub rows: &'static str,
    /// A broken line instead of a full one.
    pub dashed: bool,
}

/// A photo of the user's on the map.
#[derive(Clone, Debug)]
pub struct MapPhoto {
    /// Its number.
    pub id: u32,
    /// Where, in the map's units.
    pub place: [f32; 2],
    /// Its name.
    pub name: String,
    /// Address of its thumbnail.
    pub thumbnail: String,
    /// Whether it is the one that the view is about.
    pub chosen: bool,
}

const WIDTH: f64 = 400.0;
/// A line for the name, and the distribution below it.
const ROW: f64 = 64.0;
const NAME: f64 = 20.0;
/// Two lines for the names of marks.
const TOP: f64 = 34.0;
const MAP_HEIGHT: f64 = 440.0;
const MAP_WIDTH: f64 = 900.0;

/// Distributions one above the other on one axis, with marks through them.
pub fn histogram(histogram: &Histogram, marks: &[Mark]) -> String {
    let (Some(&first), Some(&last)) = (histogram.edges.first(), histogram.edges.last()) else {
        return String::new();
    };
    // A mark outside the bins widens the axis, so that it is seen to be outside.
    let values = marks
        .iter()
        .map(|mark| mark.value)
        .filter(|value| value.is_finite());
    let (low, high) = values.fold((first, last), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    let span = if high > low { high - low } else { 1.0 };
    let x = |value: f64| (value - low) / span * (WIDTH - 20.0) + 10.0;
    let rows = histogram.series.len() as f64;
    let named_above = marks.iter().any(|mark| mark.rows.is_empty());
    let top = if named_above { TOP } else { 4.0 };
    let (bottom, height) = (top + rows * ROW, top + rows * ROW + 36.0);
    let mut svg = opening(WIDTH, height, &histogram.title);
    for tick in ticks(low, high) {
        let at = x(tick);
        let _ = write!(
            svg,
            r#"<path class="grid" d="M{at:.1} {top}V{bottom}"/><text x="{at:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
            bottom + 16.0,
            number(tick, span)
        );
    }
    let _ = write!(
        svg,
        r#"<text x="{:.1}" y="{height:.1}" text-anchor="end">{}</text>"#,
        WIDTH - 10.0,
        escaped(&histogram.axis)
    );
    // Words stand above every line.
    let mut words = String::new();
    for (index, series) in histogram.series.iter().enumerate() {
        let floor = top + (index as f64 + 1.0) * ROW;
        let peak = series.counts.iter().copied().max().unwrap_or(0).max(1) as f64;
        let mut outline = format!("M{:.1} {floor}", x(first));
        for (bin, count) in series.counts.iter().enumerate() {
            let Some(&right) = histogram.edges.get(bin + 1) else {
                break;
            };
            let level = floor - (*count as f64 / peak) * (ROW - NAME - 4.0);
            let _ = write!(outline, "V{level:.1}H{:.1}", x(right));
        }
        let tone = tone(&series.name, index);
        let _ = write!(
            svg,
            r#"<path class="area tone-{tone}" d="{outline}V{floor}Z"/><path class="axis" d="M10 {floor}H{:.1}"/>"#,
            WIDTH - 10.0,
        );
        let _ = write!(
            words,
            r#"<text class="strong" x="12" y="{:.1}">{}</text>"#,
            floor - ROW + NAME - 5.0,
            escaped(&series.name)
        );
    }
    for mark in marks.iter().filter(|mark| mark.value.is_finite()) {
        draw_mark(&mut svg, &mut words, mark, histogram, x(mark.value), top);
    }
    svg.push_str(&words);
    svg.push_str("</svg>");
    svg
}

fn draw_mark(
    svg: &mut String,
    words: &mut String,
    mark: &Mark,
    histogram: &Histogram,
    at: f64,
    top: f64,
) {
    let class = if mark.dashed { "mark dashed" } else { "mark" };
    let matches = |name: &str| mark.rows.is_empty() || name.to_lowercase().contains(mark.rows);
    let everywhere =
        !histogram.series.iter().any(|series| matches(&series.name)) || mark.rows.is_empty();
    let mut first = None;
    for (index, series) in histogram.series.iter().enumerate() {
        if everywhere || matches(&series.name) {
            let ceiling = top + index as f64 * ROW;
            first.get_or_insert(ceiling);
            let _ = write!(
                svg,
                r#"<path class="{class}" d="M{at:.1} {ceiling}v{ROW}"/>"#
            );
        }
    }
    // A mark says its name to its right, unless there is no room.
    let left = at > WIDTH * if mark.rows.is_empty() { 0.72 } else { 0.6 };
    let (anchor, shift) = if left { ("end", -5.0) } else { ("start", 5.0) };
    let y = first.unwrap_or(top)
        + match (mark.rows.is_empty(), mark.dashed) {
            (true, false) => -5.0,
            // A line higher, so that two marks that meet can both be read.
            (true, true) => {
                let _ = write!(svg, r#"<path class="{class}" d="M{at:.1} {top}v-24"/>"#);
                -19.0
            }
            (false, _) => NAME + 12.0,
        };
    let _ = write!(
        words,
        r#"<text class="strong" x="{:.1}" y="{y:.1}" text-anchor="{anchor}">{}</text>"#,
        at + shift,
        escaped(&mark.label)
    );
}

/// The map of image features with the user's photos in it. Points of the class `class` stand
/// out.
pub fn map(map: &Map, photos: &[MapPhoto], class: &str) -> String {
    let Some(frame) = Frame::around(map) else {
        return String::new();
    };
    let mut svg = opening(MAP_WIDTH, MAP_HEIGHT, &map.title);
    for (index, name) in map.series.iter().enumerate() {
        // One path a series: a line of no length with a round end is a point.
        let mut points = String::new();
        for point in map.points.iter().filter(|point| point.series == index) {
            let (x, y) = frame.place([point.x, point.y]);
            let _ = write!(points, "M{x:.1} {y:.1}h0");
        }
        let _ = write!(
            svg,
            r#"<path class="map-series tone-{}" d="{points}"><title>{}</title></path>"#,
            tone(name, index),
            escaped(name)
        );
    }
    let mut same = String::new();
    for point in map
        .points
        .iter()
        .filter(|point| point.label.as_deref() == Some(class))
    {
        let (x, y) = frame.place([point.x, point.y]);
        let _ = write!(same, "M{x:.1} {y:.1}h0");
    }
    if !same.is_empty() {
        let _ = write!(
            svg,
            r#"<path class="map-class" d="{same}"><title>{}</title></path>"#,
            escaped(class)
        );
    }
    let mut ordered: Vec<&MapPhoto> = photos.iter().collect();
    ordered.sort_by_key(|photo| photo.chosen);
    for photo in ordered {
        draw_photo(&mut svg, photo, frame.place(photo.place));
    }
    svg.push_str("</svg>");
    svg
}

/// One more photo for a map that is drawn: what to put at the end of its SVG.
pub fn map_photo(map: &Map, photo: &MapPhoto) -> String {
    let mut svg = String::new();
    if let Some(frame) = Frame::around(map) {
        draw_photo(&mut svg, photo, frame.place(photo.place));
    }
    svg
}

/// The corners of the map in its own units. Photos lie between its points, so they never move
/// them.
struct Frame {
    low: [f32; 2],
    high: [f32; 2],
}

impl Frame {
    /// `None` when there is nothing on the map.
    fn around(map: &Map) -> Option<Self> {
        let mut points = map.points.iter().map(|point| [point.x, point.y]);
        let first = points.next()?;
        let (mut low, mut high) = (first, first);
        for [x, y] in points {
            low = [low[0].min(x), low[1].min(y)];
            high = [high[0].max(x), high[1].max(y)];
        }
        Some(Self { low, high })
    }

    /// Where a point stands in the drawing.
    fn place(&self, point: [f32; 2]) -> (f64, f64) {
        let along = |axis: usize, length: f64| {
            let span = f64::from((self.high[axis] - self.low[axis]).max(f32::EPSILON));
            f64::from(point[axis] - self.low[axis]) / span * (length - 48.0) + 24.0
        };
        (along(0, MAP_WIDTH), MAP_HEIGHT - along(1, MAP_HEIGHT))
    }
}

fn draw_photo(svg: &mut String, photo: &MapPhoto, (x, y): (f64, f64)) {
    let radius = if photo.chosen { 24.0 } else { 15.0 };
    let (id, side) = (photo.id, 2.0 * radius);
    let (left, top) = (x - radius, y - radius);
    let (name, address) = (escaped(&photo.name), escaped(&photo.thumbnail));
    let chosen = photo.chosen;
    let _ = write!(
        svg,
        r#"<g class="map-photo" data-photo="{id}" data-chosen="{chosen}"><title>{name}</title><clipPath id="map-clip-{id}"><circle cx="{x:.1}" cy="{y:.1}" r="{radius}"/></clipPath><image href="{address}" x="{left:.1}" y="{top:.1}" width="{side}" height="{side}" preserveAspectRatio="xMidYMid slice" clip-path="url(#map-clip-{id})"/><circle cx="{x:.1}" cy="{y:.1}" r="{radius}"/></g>"#
    );
}

/// The scores between which gauges, slider and curve run: the calibration curve without the
/// outermost points, which can lie far out.
pub fn range(calibration: &Calibration) -> Option<(f64, f64)> {
    let thresholds = &calibration.thresholds;
    let margin = thresholds.len() / 100;
    let low = *thresholds.get(margin)?;
    let high = *thresholds.get(thresholds.len().checked_sub(margin + 1)?)?;
    (high > low).then_some((low, high))
}

/// Hit rate and false alarms over the threshold, with the threshold marked. It fills its box.
pub fn calibration(calibration: &Calibration, threshold: f64) -> String {
    let Some((low, high)) = range(calibration) else {
        return String::new();
    };
    let thresholds = calibration.thresholds.as_slice();
    let mut curves = vec![("curve-hit", thresholds, calibration.hit_rate.as_slice())];
    if let Some(false_alarm) = &calibration.false_alarm {
        curves.push(("curve-false", thresholds, false_alarm.as_slice()));
    }
    rates(&curves, (low, high), threshold)
}

/// False alarms alone over the threshold, between two thresholds: the share of `outsiders`
/// (ascending) that score as high.
pub fn outsiders(outsiders: &[f64], range: (f64, f64), threshold: f64) -> String {
    if outsiders.is_empty() {
        return String::new();
    }
    let count = outsiders.len();
    let shares: Vec<f64> = (0..count)
        .map(|below| (count - below) as f64 / count as f64)
        .collect();
    rates(&[("curve-false", outsiders, &shares)], range, threshold)
}

/// Curves of rates over thresholds, each with its class, and the threshold marked.
fn rates(curves: &[(&str, &[f64], &[f64])], (low, high): (f64, f64), threshold: f64) -> String {
    let (width, height) = (340.0, 83.0);
    let x = |value: f64| ((value - low) / (high - low)).clamp(0.0, 1.0) * width;
    let mut svg = format!(
        r#"<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" aria-hidden="true"><path class="axis" d="M0 {height}H{width}"/>"#
    );
    for (class, thresholds, rates) in curves {
        let _ = write!(svg, r#"<path class="{class}" d=""#);
        for (index, (threshold, rate)) in thresholds.iter().zip(*rates).enumerate() {
            let _ = write!(
                svg,
                "{}{:.1} {:.1}",
                if index == 0 { 'M' } else { 'L' },
                x(*threshold),
                2.0 + (1.0 - rate) * (height - 2.0)
            );
        }
        svg.push_str(r#""/>"#);
    }
    let _ = write!(
        svg,
        r#"<path class="mark" d="M{:.1} 0V{height}"/></svg>"#,
        x(threshold)
    );
    svg
}

/// The entry of a series in a legend, as a list item.
pub fn legend(name: &str, index: usize) -> String {
    format!(
        r#"<li><svg viewBox="0 0 10 10" aria-hidden="true"><circle class="map-dot tone-{}" cx="5" cy="5" r="4"/></svg>{}</li>"#,
        tone(name, index),
        escaped(name)
    )
}

pub(crate) fn opening(width: f64, height: f64, title: &str) -> String {
    format!(
        r#"<svg viewBox="0 0 {width} {height}" role="img" aria-label="{}">"#,
        escaped(title)
    )
}

/// What is in shares one cold colour in all figures; each set of what is out has a warm one, and
/// prompts have their own.
fn tone(name: &str, index: usize) -> usize {
    const OUT: [usize; 4] = [1, 4, 5, 6];
    let name = name.to_lowercase();
    let inside = name.starts_with("in-distribution") || name == "id" || name.starts_with("id,");
    if name.contains("negative") {
        if inside { 2 } else { 3 }
    } else if inside {
        0
    } else if name.starts_with("positive") {
        2
    } else if name.starts_with("out-of-distribution") {
        1
    } else {
        // What is in stands first.
        OUT[index.saturating_sub(1) % OUT.len()]
    }
}

/// More than `ticks` ever gives; a bound whatever the numbers of a stranger's bundle are.
const MOST_TICKS: u32 = 12;

/// Round values between `low` and `high`, about five.
pub(crate) fn ticks(low: f64, high: f64) -> Vec<f64> {
    let span = high - low;
    // Where numbers lie no closer together there is nothing round between them.
    let least = low.abs().max(high.abs()) * 1e-12;
    if !(span.is_finite() && span > least) {
        return vec![low];
    }
    let rough = 10f64.powf((span / 5.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * rough)
        .find(|step| span / step <= 6.0)
        .unwrap_or(rough * 10.0);
    let first = (low / step).ceil();
    (0..=MOST_TICKS)
        .map(|index| (first + f64::from(index)) * step)
        .take_while(|value| *value <= high + step * 1e-9)
        .collect()
}

pub(crate) fn number(value: f64, span: f64) -> String {
    let digits = if span > 10.0 {
        0
    } else if span > 1.0 {
        1
    } else if span > 0.1 {
        2
    } else {
        3
    };
    let value = if value.abs() < span * 1e-9 {
        0.0
    } else {
        value
    };
    format!("{value:.digits$}").replace('-', "−")
}

pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use shared::bundle::{HistogramSeries, MapPoint};

    use super::*;

    #[test]
    fn ticks_are_round() {
        let round: Vec<String> = ticks(-0.13, 0.52)
            .iter()
            .map(|value| number(*value, 0.65))
            .collect();
        assert_eq!(round, ["0.00", "0.20", "0.40"]);
        assert_eq!(ticks(0.0, 10.0), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(ticks(3.0, 3.0), [3.0]);
        for (low, high) in [
            (1e16, 1e16 + 2.0),
            (1.0, 1.0 + f64::EPSILON),
            (1e300, 1e300f64.next_up()),
            (3e15, 3e15 + 0.5),
            (-f64::MAX, f64::MAX),
        ] {
            assert!(ticks(low, high).len() <= 13, "{low} to {high}");
        }
    }

    #[test]
    fn names_cannot_become_markup() {
        let figure = Histogram {
            title: "<script>".to_owned(),
            axis: "a & b".to_owned(),
            edges: vec![0.0, 1.0, 2.0],
            series: vec![HistogramSeries {
                name: "\"><img".to_owned(),
                counts: vec![3, 1],
            }],
        };
        let mark = Mark {
            value: 1.5,
            label: "<b>".to_owned(),
            rows: "",
            dashed: false,
        };
        let svg = histogram(&figure, &[mark]);
        assert!(
            !svg.contains("<script") && !svg.contains("<img") && !svg.contains("<b>"),
            "{svg}"
        );
        assert!(svg.contains("a &amp; b"));
    }

    #[test]
    fn photos_stand_on_the_map() {
        let figure = Map {
            title: "map".to_owned(),
            series: vec!["ID".to_owned(), "OOD".to_owned()],
            points: vec![
                MapPoint {
                    x: 0.0,
                    y: 0.0,
                    series: 0,
                    label: Some("cup".to_owned()),
                },
                MapPoint {
                    x: 1.0,
                    y: 1.0,
                    series: 1,
                    label: None,
                },
            ],
        };
        let photo = MapPhoto {
            id: 3,
            place: [1.0, 0.5],
            name: "x".to_owned(),
            thumbnail: "blob:x".to_owned(),
            chosen: true,
        };
        let later = map_photo(&figure, &photo);
        let svg = map(&figure, &[photo], "cup");
        assert!(
            svg.contains(&later),
            "a photo that comes later looks the same"
        );
        assert!(svg.contains(r#"data-photo="3" data-chosen="true""#));
        assert!(svg.contains(r#"<circle cx="876.0""#), "{svg}");
        assert!(svg.contains("map-class"));
        assert_eq!(
            map(
                &Map {
                    points: Vec::new(),
                    ..figure
                },
                &[],
                ""
            ),
            ""
        );
    }

    #[test]
    fn marks_go_to_their_rows() {
        let series = |name: &str| HistogramSeries {
            name: name.to_owned(),
            counts: vec![1],
        };
        let figure = Histogram {
            title: String::new(),
            axis: String::new(),
            edges: vec![0.0, 1.0],
            series: vec![series("ID, positive"), series("ID, negative")],
        };
        let mark = Mark {
            value: 0.5,
            label: String::new(),
            rows: "negative",
            dashed: true,
        };
        let svg = histogram(&figure, &[mark]);
        assert_eq!(svg.matches("mark dashed").count(), 1);
        assert!(svg.contains("M200.0 68v64"), "{svg}");
    }
}
