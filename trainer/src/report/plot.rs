//! A chart with what stands around it: in the page as a figure, in a file by itself.

use super::axes::WIDTH;
use super::drawing::{Anchor, Drawing, Shape, TEXT_SIZE, Text};
use super::svg::{self, escape};

/// A chart with its caption and legend.
#[derive(Clone, Debug, PartialEq)]
pub struct Plot {
    /// Above it.
    pub caption: String,
    /// What is read aloud, beside the caption.
    pub title: String,
    pub description: String,
    pub drawing: Drawing,
    pub legend: Legend,
    /// Whether it takes the width of the page.
    pub wide: bool,
}

/// The names of the series in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Legend {
    /// There is nothing to tell apart.
    None,
    Lines(Vec<String>),
    Dots(Vec<String>),
}

/// Height of a line of the legend, and of the caption.
const LINE: f64 = 16.0;

impl Plot {
    /// The figure for the page; `id` must be unique there.
    pub fn html(&self, id: &str) -> String {
        let drawing = svg::inline(&self.drawing, id, &self.title, &self.description);
        let class = if self.wide { " class=\"wide\"" } else { "" };
        let entries = |swatch: fn(usize) -> String, names: &[String]| -> String {
            let entries: String = names
                .iter()
                .enumerate()
                .map(|(series, name)| format!("<li>{}{}</li>", swatch(series), escape(name)))
                .collect();
            format!("<ul class=\"legend\">{entries}</ul>")
        };
        let legend = match &self.legend {
            Legend::None => String::new(),
            Legend::Lines(names) => entries(svg::swatch, names),
            Legend::Dots(names) => entries(svg::dot_swatch, names),
        };
        format!(
            "<figure{class}><figcaption>{}</figcaption>{drawing}{legend}</figure>",
            escape(&self.caption)
        )
    }

    /// Title, chart and legend in one drawing.
    pub fn whole(&self) -> Drawing {
        let names: &[String] = match &self.legend {
            Legend::None => &[],
            Legend::Lines(names) | Legend::Dots(names) => names,
        };
        let above = LINE + 4.0;
        let below = self.drawing.height + above;
        let mut whole = Drawing {
            width: WIDTH,
            height: below + LINE * names.len() as f64 + if names.is_empty() { 0.0 } else { 8.0 },
            shapes: vec![Shape::Text(Text {
                at: (8.0, TEXT_SIZE + 4.0),
                anchor: Anchor::Start,
                turned: false,
                strong: true,
                words: self.title.clone(),
            })],
        };
        whole.place(self.drawing.clone(), (0.0, above));
        for (series, name) in names.iter().enumerate() {
            let middle = below + LINE * (series as f64 + 0.5);
            whole.shapes.push(match self.legend {
                Legend::Dots(_) => Shape::Dot {
                    at: (30.0, middle),
                    radius: 3.0,
                    series,
                },
                _ => Shape::Line {
                    pieces: vec![vec![(18.0, middle), (42.0, middle)]],
                    series,
                },
            });
            let at = (50.0, middle + 3.5);
            whole.shapes.push(Shape::words(at, Anchor::Start, name));
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_title_chart_and_legend() {
        let plot = Plot {
            caption: "a <b>".into(),
            title: "t".into(),
            description: "d".into(),
            drawing: Drawing {
                width: WIDTH,
                height: 100.0,
                shapes: vec![Shape::words((1.0, 2.0), Anchor::Start, "x")],
            },
            legend: Legend::Lines(vec!["one".into(), "two".into()]),
            wide: false,
        };
        let whole = plot.whole();
        assert_eq!(whole.shapes.len(), 2 + 2 * 2);
        let inside = |shape: &Shape| match shape {
            Shape::Text(text) => text.at.1 < whole.height,
            Shape::Line { pieces, .. } => pieces[0][0].1 < whole.height,
            _ => true,
        };
        assert!(whole.shapes.iter().all(inside), "{whole:?}");
        let html = plot.html("f");
        assert!(
            html.contains("a &lt;b&gt;") && html.matches("<li>").count() == 2,
            "{html}"
        );
    }
}
