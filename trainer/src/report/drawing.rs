//! A drawing as shapes, before it is written as SVG or painted as PNG.
//!
//! Lengths are in the drawing's own units, from its upper left corner; a unit is about a pixel.

/// Lines are told apart by dashes as well as by colour; a pattern of drawn and skipped lengths for each
/// of the colours.
pub const DASHES: [&[f64]; 8] = [
    &[],
    &[6.0, 3.0],
    &[2.0, 2.0],
    &[8.0, 3.0, 2.0, 3.0],
    &[4.0, 2.0],
    &[1.0, 3.0],
    &[10.0, 4.0],
    &[6.0, 2.0, 2.0, 2.0, 2.0, 2.0],
];

/// Height of the letters with what hangs below them.
pub const TEXT_SIZE: f64 = 11.0;

/// A place.
pub type Point = (f64, f64);

/// Shapes, the later ones over the earlier ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Drawing {
    pub width: f64,
    pub height: f64,
    pub shapes: Vec<Shape>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// A line in pieces, in the style of a series.
    Line {
        pieces: Vec<Vec<Point>>,
        series: usize,
    },
    /// A filled outline in the colour of a series.
    Area { outline: Vec<Point>, series: usize },
    /// A disc in the colour of a series.
    Dot {
        at: Point,
        radius: f64,
        series: usize,
    },
    /// A straight line that belongs to no series.
    Rule { from: Point, to: Point, kind: Rule },
    /// Words.
    Text(Text),
}

/// What a straight line is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    Grid,
    Axis,
    Mark,
}

/// A line of words, its baseline at a place.
#[derive(Clone, Debug, PartialEq)]
pub struct Text {
    pub at: Point,
    pub anchor: Anchor,
    /// Read from below upwards.
    pub turned: bool,
    /// In the colour of what matters, not in that of the axes.
    pub strong: bool,
    pub words: String,
}

/// Which part of the words is at their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

impl Shape {
    /// Words of the colour of the axes that lie as they are read.
    pub fn words(at: Point, anchor: Anchor, words: impl Into<String>) -> Self {
        Self::Text(Text {
            at,
            anchor,
            turned: false,
            strong: false,
            words: words.into(),
        })
    }

    /// The same shape elsewhere.
    fn moved(mut self, (dx, dy): Point) -> Self {
        let shift = |point: &mut Point| {
            point.0 += dx;
            point.1 += dy;
        };
        match &mut self {
            Self::Line { pieces, .. } => pieces.iter_mut().flatten().for_each(shift),
            Self::Area { outline, .. } => outline.iter_mut().for_each(shift),
            Self::Dot { at, .. } => shift(at),
            Self::Rule { from, to, .. } => {
                shift(from);
                shift(to);
            }
            Self::Text(text) => shift(&mut text.at),
        }
        self
    }
}

impl Drawing {
    /// Adds the shapes of another drawing, shifted by `by`.
    pub fn place(&mut self, other: Drawing, by: Point) {
        let shapes = other.shapes.into_iter();
        self.shapes.extend(shapes.map(|shape| shape.moved(by)));
    }
}
