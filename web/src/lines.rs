//! Charts of lines as SVG text. Colours and lines are classes of the style sheet.

use std::fmt::Write as _;

use shared::bundle::Curve;

use crate::plot::{escaped, number, opening, ticks};

const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 316.0;
/// Where the drawing begins and ends within it.
const LEFT: f64 = 38.0;
const RIGHT: f64 = 392.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 272.0;

/// What a chart of lines is of.
#[derive(Clone, Copy, Debug)]
pub struct Axes<'a> {
    /// What it is called by who cannot see it.
    pub title: &'a str,
    /// What the horizontal axis measures.
    pub x: &'a str,
    /// What the vertical axis measures, or what the chart is of; it stands above.
    pub y: &'a str,
    /// Both axes run from 0 to 1, and their diagonal is drawn.
    pub shares: bool,
}

/// A line of a chart.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// Its points.
    pub curve: &'a Curve,
    /// What it is, for who points at it.
    pub name: &'a str,
    /// The one that the chart is about: it is drawn last and strong.
    pub chosen: bool,
    /// Whether its points are drawn.
    pub dots: bool,
}

/// A chart of lines; empty without a point.
pub fn chart(axes: &Axes, lines: &[Line]) -> String {
    let all = |of: fn(&Curve) -> &Vec<f64>| {
        let values = lines.iter().flat_map(move |line| of(line.curve));
        values.copied().filter(|value| value.is_finite())
    };
    let range = |of: fn(&Curve) -> &Vec<f64>| match axes.shares {
        true => (0.0, 1.0),
        false => (
            all(of).fold(f64::INFINITY, f64::min),
            all(of).fold(f64::NEG_INFINITY, f64::max),
        ),
    };
    if all(|curve| &curve.x).next().is_none() {
        return String::new();
    }
    let ((left, right), (low, high)) = (range(|curve| &curve.x), range(|curve| &curve.y));
    let share = |value: f64, low: f64, high: f64| match high > low {
        true => ((value - low) / (high - low)).clamp(0.0, 1.0),
        false => 0.5,
    };
    let x = |value: f64| LEFT + share(value, left, right) * (RIGHT - LEFT);
    let y = |value: f64| BOTTOM - share(value, low, high) * (BOTTOM - TOP);
    let mut svg = opening(WIDTH, HEIGHT, axes.title);
    for tick in ticks(left, right) {
        let (at, label) = (x(tick), number(tick, right - left));
        let _ = write!(
            svg,
            r#"<path class="grid" d="M{at:.1} {TOP}V{BOTTOM}"/><text x="{at:.1}" y="{:.1}" text-anchor="middle">{label}</text>"#,
            BOTTOM + 16.0,
        );
    }
    for tick in ticks(low, high) {
        let (at, label) = (y(tick), number(tick, high - low));
        let _ = write!(
            svg,
            r#"<path class="grid" d="M{LEFT} {at:.1}H{RIGHT}"/><text x="{:.1}" y="{:.1}" text-anchor="end">{label}</text>"#,
            LEFT - 5.0,
            at + 4.0,
        );
    }
    if axes.shares {
        let _ = write!(
            svg,
            r#"<path class="axis" d="M{LEFT} {BOTTOM}L{RIGHT} {TOP}"/>"#
        );
    }
    let mut ordered: Vec<&Line> = lines.iter().collect();
    ordered.sort_by_key(|line| line.chosen);
    for line in ordered {
        draw(&mut svg, line, x, y);
    }
    let _ = write!(
        svg,
        r#"<text x="{RIGHT}" y="{:.1}" text-anchor="end">{}</text><text class="strong" x="{:.1}" y="{:.1}">{}</text></svg>"#,
        HEIGHT - 8.0,
        escaped(axes.x),
        LEFT,
        TOP - 9.0,
        escaped(axes.y)
    );
    svg
}

fn draw(svg: &mut String, line: &Line, x: impl Fn(f64) -> f64, y: impl Fn(f64) -> f64) {
    let class = if line.chosen { "line chosen" } else { "line" };
    let _ = write!(svg, r#"<path class="{class}" d=""#);
    let points = || line.curve.x.iter().zip(&line.curve.y);
    for (index, (at, value)) in points().enumerate() {
        let pen = if index == 0 { 'M' } else { 'L' };
        let _ = write!(svg, "{pen}{:.1} {:.1}", x(*at), y(*value));
    }
    let _ = write!(svg, r#""><title>{}</title></path>"#, escaped(line.name));
    if line.dots {
        // One path: a line of no length with a round end is a point.
        svg.push_str(r#"<path class="line-dots" d=""#);
        for (at, value) in points() {
            let _ = write!(svg, "M{:.1} {:.1}h0", x(*at), y(*value));
        }
        svg.push_str(r#""/>"#);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AXES: Axes = Axes {
        title: "ROC & more",
        x: "false",
        y: "true",
        shares: true,
    };

    fn curve(x: &[f64], y: &[f64]) -> Curve {
        Curve {
            x: x.to_vec(),
            y: y.to_vec(),
        }
    }

    fn line<'a>(curve: &'a Curve, name: &'a str, chosen: bool) -> Line<'a> {
        Line {
            curve,
            name,
            chosen,
            dots: false,
        }
    }

    #[test]
    fn shares_fill_the_frame_and_the_chosen_line_comes_last() {
        let diagonal = curve(&[0.0, 1.0], &[0.0, 1.0]);
        let step = curve(&[0.0, 0.0, 1.0], &[0.0, 1.0, 1.0]);
        let svg = chart(
            &AXES,
            &[line(&step, "<b>", true), line(&diagonal, "other", false)],
        );
        assert!(svg.contains("ROC &amp; more") && svg.contains("&lt;b&gt;"));
        assert!(svg.contains("M38.0 272.0L38.0 24.0L392.0 24.0"));
        let place = |text: &str| svg.find(text).unwrap();
        assert!(place(r#"class="line""#) < place(r#"class="line chosen""#));
    }

    #[test]
    fn a_flat_line_stands_in_the_middle_and_nothing_is_drawn_of_nothing() {
        let axes = Axes {
            shares: false,
            ..AXES
        };
        let flat = curve(&[1.0, 2.0], &[3.0, 3.0]);
        assert!(chart(&axes, &[line(&flat, "", true)]).contains("M38.0 148.0L392.0 148.0"));
        assert_eq!(chart(&axes, &[]), "");
        let empty = Curve::default();
        assert_eq!(chart(&axes, &[line(&empty, "", true)]), "");
    }
}
