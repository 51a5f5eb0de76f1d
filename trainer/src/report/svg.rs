//! Axes, lines and areas as SVG text. Colours are classes that the page's style sheet fills in, so
//! that one drawing serves light and dark.

use std::fmt::Write;

/// Size of every chart in its own units; the page scales it to the column.
pub const WIDTH: f64 = 380.0;
pub const HEIGHT: f64 = 236.0;

const LEFT: f64 = 42.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 38.0;

/// Lines are told apart by dashes as well as by colour; a pattern for each of the style sheet's
/// colours.
pub const DASHES: [&str; 8] = [
    "",
    "6 3",
    "2 2",
    "8 3 2 3",
    "4 2",
    "1 3",
    "10 4",
    "6 2 2 2 2 2",
];

/// A range of numbers along one side of a chart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    pub start: f64,
    pub end: f64,
}

impl Range {
    /// The range of `values`, never empty; 0 to 1 where there is no finite value.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut range = Self {
            start: f64::INFINITY,
            end: f64::NEG_INFINITY,
        };
        for value in values.into_iter().filter(|value| value.is_finite()) {
            range.start = range.start.min(value);
            range.end = range.end.max(value);
        }
        if range.start > range.end {
            Self {
                start: 0.0,
                end: 1.0,
            }
        } else if range.start == range.end {
            let half = (range.start.abs() * 0.1).max(0.5);
            Self {
                start: range.start - half,
                end: range.end + half,
            }
        } else {
            range
        }
    }

    /// A little room at both ends.
    pub fn padded(self, share: f64) -> Self {
        let room = (self.end - self.start) * share;
        Self {
            start: self.start - room,
            end: self.end + room,
        }
    }

    /// Round numbers within the range, about `count` of them.
    fn ticks(self, count: usize) -> Vec<f64> {
        let rough = (self.end - self.start) / count.max(1) as f64;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0]
            .into_iter()
            .map(|factor| factor * power)
            .find(|&step| step >= rough * 0.999)
            .unwrap_or(rough);
        let first = (self.start / step - 1e-9).ceil() as i64;
        let last = (self.end / step + 1e-9).floor() as i64;
        // A range too narrow for its magnitude has no ticks rather than endless ones.
        if last.saturating_sub(first) > 100 {
            return Vec::new();
        }
        (first..=last).map(|tick| tick as f64 * step).collect()
    }
}

/// How numbers stand at the ticks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Labels {
    Plain,
    /// Fractions of one, in per cent.
    PerCent,
    /// No numbers: the height means a share that only compares.
    None,
}

/// A chart being drawn.
pub struct Chart {
    x: Range,
    y: Range,
    body: String,
}

impl Chart {
    /// Draws the axes with their grid. `x_title` stands below.
    pub fn new(x: Range, y: Range, labels: [Labels; 2], x_title: &str, y_title: &str) -> Self {
        let mut chart = Self {
            x,
            y,
            body: String::new(),
        };
        for tick in x.ticks(5) {
            let at = chart.across(tick);
            chart.tick(labels[0], tick, |text| {
                format!(
                    "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{text}</text>",
                    HEIGHT - BOTTOM + 14.0
                )
            });
        }
        // Lines at heights without numbers would tell nothing.
        let heights = match labels[1] {
            Labels::None => Vec::new(),
            Labels::Plain | Labels::PerCent => y.ticks(4),
        };
        for tick in heights {
            let at = chart.up(tick);
            let _ = write!(
                chart.body,
                "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{}\" y2=\"{at:.1}\"/>",
                WIDTH - RIGHT
            );
            chart.tick(labels[1], tick, |text| {
                format!(
                    "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
                    LEFT - 6.0,
                    at + 3.5
                )
            });
        }
        let bottom = HEIGHT - BOTTOM;
        if labels != [Labels::None; 2] {
            let _ = write!(
                chart.body,
                "<line class=\"axis\" x1=\"{LEFT}\" y1=\"{bottom}\" x2=\"{}\" y2=\"{bottom}\"/>",
                WIDTH - RIGHT
            );
        }
        let _ = write!(
            chart.body,
            "<text class=\"axis-title\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
             <text class=\"axis-title\" transform=\"translate(11 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            (LEFT + WIDTH - RIGHT) / 2.0,
            HEIGHT - 6.0,
            escape(x_title),
            (TOP + bottom) / 2.0,
            escape(y_title),
        );
        chart
    }

    /// A line through points, in the style of series `series`.
    pub fn line(&mut self, points: impl IntoIterator<Item = (f64, f64)>, series: usize) {
        let path = self.path(points);
        let _ = write!(
            self.body,
            "<path class=\"line c{}\" d=\"{path}\"{}/>",
            series % DASHES.len(),
            dash_attribute(series)
        );
    }

    /// A dot in the colour of series `series`.
    pub fn point(&mut self, (x, y): (f64, f64), series: usize) {
        if x.is_finite() && y.is_finite() {
            let _ = write!(
                self.body,
                "<circle class=\"dot c{}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"2\"/>",
                series % DASHES.len(),
                self.across(x),
                self.up(y)
            );
        }
    }

    /// A histogram as steps: `edges` has one number more than `heights`. The first series is
    /// filled.
    pub fn steps(&mut self, edges: &[f64], heights: &[f64], series: usize) {
        let mut points = Vec::with_capacity(2 * heights.len() + 2);
        if let (Some(&first), Some(&last)) = (edges.first(), edges.last()) {
            points.push((first, 0.0));
            for (bin, &height) in heights.iter().enumerate() {
                if let (Some(&left), Some(&right)) = (edges.get(bin), edges.get(bin + 1)) {
                    points.push((left, height));
                    points.push((right, height));
                }
            }
            points.push((last, 0.0));
        }
        if series == 0 {
            let path = self.path(points.iter().copied());
            let _ = write!(self.body, "<path class=\"area c0\" d=\"{path}Z\"/>");
        }
        self.line(points, series);
    }

    /// A vertical line with a word beside it.
    pub fn mark(&mut self, x: f64, word: &str) {
        if !x.is_finite() || x < self.x.start || x > self.x.end {
            return;
        }
        let at = self.across(x);
        let right = at > WIDTH * 0.62;
        let _ = write!(
            self.body,
            "<line class=\"mark\" x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{}\"/>\
             <text class=\"mark-word\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{}\">{}</text>",
            HEIGHT - BOTTOM,
            if right { at - 4.0 } else { at + 4.0 },
            TOP + 9.0,
            if right { "end" } else { "start" },
            escape(word),
        );
    }

    /// A thin diagonal from corner to corner: chance, in a ROC chart.
    pub fn diagonal(&mut self) {
        let _ = write!(
            self.body,
            "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{}\" x2=\"{}\" y2=\"{TOP}\"/>",
            HEIGHT - BOTTOM,
            WIDTH - RIGHT
        );
    }

    /// The drawing. `id` must be unique in the page; `title` and `description` are read aloud.
    pub fn finish(self, id: &str, title: &str, description: &str) -> String {
        format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\
             <title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>{}</svg>",
            escape(title),
            escape(description),
            self.body
        )
    }

    fn path(&self, points: impl IntoIterator<Item = (f64, f64)>) -> String {
        let mut path = String::new();
        let mut drawing = false;
        for (x, y) in points {
            // A gap in the numbers is a gap in the line.
            if !x.is_finite() || !y.is_finite() {
                drawing = false;
                continue;
            }
            let command = if drawing { 'L' } else { 'M' };
            let held = y.clamp(self.y.start.min(self.y.end), self.y.end);
            let _ = write!(path, "{command}{:.1} {:.1}", self.across(x), self.up(held));
            drawing = true;
        }
        path
    }

    fn tick(&mut self, labels: Labels, value: f64, text: impl Fn(String) -> String) {
        match labels {
            Labels::Plain => self.body.push_str(&text(number(value))),
            Labels::PerCent => self.body.push_str(&text(number(value * 100.0))),
            Labels::None => {}
        }
    }

    fn across(&self, x: f64) -> f64 {
        let share = (x - self.x.start) / (self.x.end - self.x.start);
        LEFT + share.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn up(&self, y: f64) -> f64 {
        let share = (y - self.y.start) / (self.y.end - self.y.start);
        HEIGHT - BOTTOM - share.clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM)
    }
}

/// A short sample of a series' line, for legends.
pub fn swatch(series: usize) -> String {
    format!(
        "<svg class=\"swatch\" viewBox=\"0 0 26 8\" aria-hidden=\"true\"><path class=\"line c{}\" d=\"M1 4H25\"{}/></svg>",
        series % DASHES.len(),
        dash_attribute(series)
    )
}

/// The dot of a series, for legends.
pub fn dot_swatch(series: usize) -> String {
    format!(
        "<svg class=\"swatch dots\" viewBox=\"0 0 8 8\" aria-hidden=\"true\"><circle class=\"dot c{}\" cx=\"4\" cy=\"4\" r=\"3\"/></svg>",
        series % DASHES.len()
    )
}

/// Text that may stand between tags and in attributes.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(character),
        }
    }
    escaped
}

fn dash_attribute(series: usize) -> String {
    match DASHES[series % DASHES.len()] {
        "" => String::new(),
        dashes => format!(" stroke-dasharray=\"{dashes}\""),
    }
}

/// A tick's number without the noise of floating point, with a real minus sign.
fn number(value: f64) -> String {
    let rounded = (value * 1e6).round() / 1e6;
    let text = if rounded != 0.0 && rounded.abs() < 1e-3 || rounded.abs() >= 1e5 {
        format!("{value:.0e}")
    } else {
        format!("{}", rounded + 0.0)
    };
    text.replace('-', "−")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within() {
        let ticks = Range {
            start: -0.03,
            end: 1.02,
        }
        .ticks(5);
        assert_eq!(ticks.len(), 5);
        assert!((ticks[1] - 0.25).abs() < 1e-12, "{ticks:?}");
        assert!(Range::of([1e300, 1e300 + 1.0]).ticks(4).len() < 100);
    }

    #[test]
    fn nothing_finite_still_draws() {
        let range = Range::of([f64::NAN, f64::INFINITY]);
        let mut chart = Chart::new(range, range, [Labels::Plain; 2], "x <y>", "");
        chart.line([(0.0, f64::NAN), (0.5, 0.5), (1.0, 1.0)], 1);
        let text = chart.finish("f", "a & b", "");
        assert!(text.contains("a &amp; b") && text.contains("x &lt;y&gt;"));
        assert!(!text.contains("NaN"), "{text}");
    }
}
