//! A drawing as SVG. In the page its colours are classes that the style sheet fills in, so that one
//! drawing serves light and dark; a file of its own brings the light ones along.

use std::fmt::Write;

use super::drawing::{Anchor, DASHES, Drawing, Point, Rule, Shape, Text};
use super::palette;

/// A drawing for the page. `id` must be unique there; `title` and `description` are read aloud.
pub fn inline(drawing: &Drawing, id: &str, title: &str, description: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\
         <title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>{}</svg>",
        drawing.width,
        drawing.height,
        escape(title),
        escape(description),
        body(drawing)
    )
}

/// A drawing as a file.
pub fn file(drawing: &Drawing, title: &str, description: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\">\
         <title>{2}</title><desc>{3}</desc><style>{4}</style>\
         <rect width=\"{0}\" height=\"{1}\" fill=\"{5}\"/>{6}</svg>\n",
        drawing.width,
        drawing.height,
        escape(title),
        escape(description),
        palette::style(),
        palette::css(palette::PAPER),
        body(drawing)
    )
}

/// A short sample of a series' line, for legends.
pub fn swatch(series: usize) -> String {
    let line = Shape::Line {
        pieces: vec![vec![(1.0, 4.0), (25.0, 4.0)]],
        series,
    };
    format!(
        "<svg class=\"swatch\" viewBox=\"0 0 26 8\" aria-hidden=\"true\">{}</svg>",
        element(&line)
    )
}

/// The dot of a series, for legends.
pub fn dot_swatch(series: usize) -> String {
    let dot = Shape::Dot {
        at: (4.0, 4.0),
        radius: 3.0,
        series,
    };
    format!(
        "<svg class=\"swatch dots\" viewBox=\"0 0 8 8\" aria-hidden=\"true\">{}</svg>",
        element(&dot)
    )
}

fn body(drawing: &Drawing) -> String {
    drawing.shapes.iter().map(element).collect()
}

fn element(shape: &Shape) -> String {
    let colour = |series: usize| series % DASHES.len();
    match shape {
        Shape::Line { pieces, series } => format!(
            "<path class=\"line c{}\" d=\"{}\"{}/>",
            colour(*series),
            pieces.iter().map(|piece| path(piece)).collect::<String>(),
            dash_attribute(*series)
        ),
        Shape::Area { outline, series } => format!(
            "<path class=\"area c{}\" d=\"{}Z\"/>",
            colour(*series),
            path(outline)
        ),
        Shape::Dot { at, radius, series } => format!(
            "<circle class=\"dot c{}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius}\"/>",
            colour(*series),
            at.0,
            at.1
        ),
        Shape::Rule { from, to, kind } => {
            let class = match kind {
                Rule::Grid => "grid",
                Rule::Axis => "axis",
                Rule::Mark => "mark",
            };
            format!(
                "<line class=\"{class}\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
                from.0, from.1, to.0, to.1
            )
        }
        Shape::Text(text) => words(text),
    }
}

fn words(text: &Text) -> String {
    let (x, y) = text.at;
    let place = match text.turned {
        true => format!("transform=\"translate({x:.1} {y:.1}) rotate(-90)\""),
        false => format!("x=\"{x:.1}\" y=\"{y:.1}\""),
    };
    let class = match text.strong {
        true => " class=\"strong\"",
        false => "",
    };
    let anchor = match text.anchor {
        Anchor::Start => "start",
        Anchor::Middle => "middle",
        Anchor::End => "end",
    };
    format!(
        "<text{class} {place} text-anchor=\"{anchor}\">{}</text>",
        escape(&text.words)
    )
}

fn path(points: &[Point]) -> String {
    let mut path = String::new();
    for (place, (x, y)) in points.iter().enumerate() {
        let command = if place == 0 { 'M' } else { 'L' };
        let _ = write!(path, "{command}{x:.1} {y:.1}");
    }
    path
}

fn dash_attribute(series: usize) -> String {
    let lengths = DASHES[series % DASHES.len()];
    if lengths.is_empty() {
        return String::new();
    }
    let lengths: Vec<String> = lengths.iter().map(f64::to_string).collect();
    format!(" stroke-dasharray=\"{}\"", lengths.join(" "))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_escaped_and_files_stand_alone() {
        let drawing = Drawing {
            width: 10.0,
            height: 20.0,
            shapes: vec![
                Shape::words((1.0, 2.0), Anchor::End, "x <y>"),
                Shape::Line {
                    pieces: vec![vec![(0.0, 0.0), (1.0, 1.0)]],
                    series: 9,
                },
            ],
        };
        let page = inline(&drawing, "f", "a & b", "");
        assert!(
            page.contains("a &amp; b") && page.contains("x &lt;y&gt;"),
            "{page}"
        );
        assert!(
            page.contains("class=\"line c1\"") && page.contains("\"6 3\""),
            "{page}"
        );
        let file = file(&drawing, "a", "b");
        assert!(file.contains("xmlns") && file.contains(".c7{"), "{file}");
    }
}
