//! Axes, and what stands between them, as a drawing.

use super::drawing::{Anchor, DASHES, Drawing, Point, Rule, Shape, Text};

/// Size of every chart; the page scales it to the column.
pub const WIDTH: f64 = 380.0;
pub const HEIGHT: f64 = 236.0;

const LEFT: f64 = 42.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 38.0;

/// Radius of a dot.
const DOT: f64 = 2.0;

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
    left: f64,
    drawing: Drawing,
}

impl Chart {
    /// Draws the axes with their grid. `x_title` stands below.
    pub fn new(x: Range, y: Range, labels: [Labels; 2], x_title: &str, y_title: &str) -> Self {
        let mut chart = Self::across_only(x, y, labels, x_title, LEFT, HEIGHT);
        // Lines at heights without numbers would tell nothing.
        if labels[1] != Labels::None {
            for tick in y.ticks(4) {
                let at = chart.up(tick);
                chart.rule((LEFT, at), (WIDTH - RIGHT, at), Rule::Grid);
                let words = number(labels[1], tick);
                chart.words((LEFT - 6.0, at + 3.5), Anchor::End, words);
            }
        }
        let middle = (TOP + HEIGHT - BOTTOM) / 2.0;
        chart.drawing.shapes.push(Shape::Text(Text {
            at: (11.0, middle),
            anchor: Anchor::Middle,
            turned: true,
            strong: false,
            words: y_title.to_owned(),
        }));
        chart
    }

    /// Draws names down the left side, from the top, and an axis of numbers below.
    pub fn of_names(x: Range, labels: Labels, x_title: &str, names: &[&str]) -> Self {
        // In the letters of most fonts; longer ones are cut by nobody, they only come near the dots.
        let longest = names.iter().map(|name| name.chars().count()).max();
        let left = (longest.unwrap_or(0) as f64 * 5.9 + 14.0).clamp(LEFT, 0.55 * WIDTH);
        let rows = Range {
            start: names.len() as f64 - 0.5,
            end: -0.5,
        };
        let height = TOP + BOTTOM + 20.0 * names.len().max(1) as f64;
        let mut chart = Self::across_only(x, rows, [labels, Labels::None], x_title, left, height);
        for (row, name) in names.iter().enumerate() {
            let at = chart.up(row as f64);
            chart.rule((left, at), (WIDTH - RIGHT, at), Rule::Grid);
            chart.words((left - 8.0, at + 3.5), Anchor::End, *name);
        }
        chart
    }

    /// The axis below, with its numbers and its title.
    fn across_only(
        x: Range,
        y: Range,
        labels: [Labels; 2],
        title: &str,
        left: f64,
        height: f64,
    ) -> Self {
        let mut chart = Self {
            x,
            y,
            left,
            drawing: Drawing {
                width: WIDTH,
                height,
                shapes: Vec::new(),
            },
        };
        let bottom = chart.bottom();
        if labels[0] != Labels::None {
            for tick in x.ticks(5) {
                let at = (chart.across(tick), bottom + 14.0);
                chart.words(at, Anchor::Middle, number(labels[0], tick));
            }
        }
        if labels != [Labels::None; 2] {
            chart.rule((left, bottom), (WIDTH - RIGHT, bottom), Rule::Axis);
        }
        let middle = (left + WIDTH - RIGHT) / 2.0;
        chart.words((middle, height - 6.0), Anchor::Middle, title);
        chart
    }

    /// A line through points, in the style of series `series`.
    pub fn line(&mut self, points: impl IntoIterator<Item = Point>, series: usize) {
        let pieces = self.pieces(points);
        self.drawing.shapes.push(Shape::Line { pieces, series });
    }

    /// How far a value may be off: a thin line at one height.
    pub fn whisker(&mut self, [from, to]: [f64; 2], height: f64) {
        let at = self.up(height);
        self.rule((self.across(from), at), (self.across(to), at), Rule::Axis);
    }

    /// A dot in the colour of series `series`.
    pub fn point(&mut self, (x, y): Point, series: usize) {
        if x.is_finite() && y.is_finite() {
            let at = (self.across(x), self.up(y));
            self.drawing.shapes.push(Shape::Dot {
                at,
                radius: DOT,
                series: series % DASHES.len(),
            });
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
            let outline = self.pieces(points.iter().copied()).concat();
            self.drawing.shapes.push(Shape::Area { outline, series });
        }
        self.line(points, series);
    }

    /// A vertical line with a word beside it.
    pub fn mark(&mut self, x: f64, word: &str) {
        if !x.is_finite() || x < self.x.start || x > self.x.end {
            return;
        }
        let at = self.across(x);
        self.rule((at, TOP), (at, self.bottom()), Rule::Mark);
        let (beside, anchor) = if at > WIDTH * 0.62 {
            (at - 4.0, Anchor::End)
        } else {
            (at + 4.0, Anchor::Start)
        };
        self.drawing.shapes.push(Shape::Text(Text {
            at: (beside, TOP + 9.0),
            anchor,
            turned: false,
            strong: true,
            words: word.to_owned(),
        }));
    }

    /// A thin diagonal from corner to corner: chance, in a ROC chart.
    pub fn diagonal(&mut self) {
        self.rule((self.left, self.bottom()), (WIDTH - RIGHT, TOP), Rule::Grid);
    }

    /// The drawing.
    pub fn finish(self) -> Drawing {
        self.drawing
    }

    fn rule(&mut self, from: Point, to: Point, kind: Rule) {
        self.drawing.shapes.push(Shape::Rule { from, to, kind });
    }

    fn words(&mut self, at: Point, anchor: Anchor, words: impl Into<String>) {
        self.drawing.shapes.push(Shape::words(at, anchor, words));
    }

    /// A gap in the numbers is a gap in the line.
    fn pieces(&self, points: impl IntoIterator<Item = Point>) -> Vec<Vec<Point>> {
        let mut pieces = vec![Vec::new()];
        for (x, y) in points {
            if x.is_finite() && y.is_finite() {
                let low = self.y.start.min(self.y.end);
                let held = y.clamp(low, self.y.start.max(self.y.end));
                if let Some(piece) = pieces.last_mut() {
                    piece.push((self.across(x), self.up(held)));
                }
            } else {
                pieces.push(Vec::new());
            }
        }
        pieces.retain(|piece| !piece.is_empty());
        pieces
    }

    fn bottom(&self) -> f64 {
        self.drawing.height - BOTTOM
    }

    fn across(&self, x: f64) -> f64 {
        let share = (x - self.x.start) / (self.x.end - self.x.start);
        self.left + share.clamp(0.0, 1.0) * (WIDTH - self.left - RIGHT)
    }

    fn up(&self, y: f64) -> f64 {
        let share = (y - self.y.start) / (self.y.end - self.y.start);
        self.bottom() - share.clamp(0.0, 1.0) * (self.bottom() - TOP)
    }
}

/// A tick's number without the noise of floating point, with a real minus sign.
fn number(labels: Labels, value: f64) -> String {
    let value = match labels {
        Labels::PerCent => value * 100.0,
        Labels::Plain | Labels::None => value,
    };
    let rounded = (value * 1e6).round() / 1e6;
    let text = if rounded != 0.0 && rounded.abs() < 1e-3 || rounded.abs() >= 1e5 {
        shortest(value)
    } else {
        format!("{}", rounded + 0.0)
    };
    text.replace('-', "−")
}

/// A power of ten with as many of three digits as say something.
fn shortest(value: f64) -> String {
    let text = format!("{value:.2e}");
    match text.split_once('e') {
        Some((digits, power)) => {
            format!(
                "{}e{power}",
                digits.trim_end_matches('0').trim_end_matches('.')
            )
        }
        None => text,
    }
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
        let words = [2.5e-4, 7.5e-4, 1e-5, 150_000.0, 200_000.0, -0.25, 0.0]
            .map(|value| number(Labels::Plain, value));
        let wanted = ["2.5e−4", "7.5e−4", "1e−5", "1.5e5", "2e5", "−0.25", "0"];
        assert_eq!(words, wanted);
        assert!((ticks[1] - 0.25).abs() < 1e-12, "{ticks:?}");
        assert!(Range::of([1e300, 1e300 + 1.0]).ticks(4).len() < 100);
    }

    #[test]
    fn nothing_finite_still_draws() {
        let range = Range::of([f64::NAN, f64::INFINITY]);
        let mut chart = Chart::new(range, range, [Labels::Plain; 2], "x <y>", "");
        chart.line([(0.0, 0.1), (0.2, f64::NAN), (0.5, 0.5), (1.0, 1.0)], 1);
        let drawing = chart.finish();
        let Some(Shape::Line { pieces, .. }) = drawing.shapes.last() else {
            panic!("{drawing:?}");
        };
        let lengths: Vec<usize> = pieces.iter().map(Vec::len).collect();
        assert_eq!(lengths, [1, 2]);
        assert!(
            pieces
                .iter()
                .flatten()
                .all(|(x, y)| x.is_finite() && y.is_finite())
        );
    }

    #[test]
    fn names_stand_from_the_top_down() {
        let chart = Chart::of_names(Range::of([0.0, 1.0]), Labels::PerCent, "", &["a", "b"]);
        assert!(chart.up(0.0) < chart.up(1.0));
        assert!(chart.up(0.0) > TOP && chart.up(1.0) < chart.bottom());
    }
}
