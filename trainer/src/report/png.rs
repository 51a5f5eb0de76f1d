//! A drawing as PNG, for slides and papers that take no SVG.
//!
//! Painted here rather than by an SVG renderer: charts are lines, discs, one kind of filled outline and
//! words, which take less code than a renderer takes time to build. The letters are rendered ahead of
//! time (Noto Sans Mono).

use std::io::Cursor;

use anyhow::{Context, Result};
use image::{ImageFormat, Rgb, RgbImage};
use noto_sans_mono_bitmap::{
    FontWeight, RasterHeight, RasterizedChar, get_raster, get_raster_width,
};

use super::drawing::{Anchor, DASHES, Drawing, Point, Rule, Shape, Text};
use super::palette::{
    AREA_OPACITY, Colour, DOT_OPACITY, INK, LINE_WIDTH, MARK_WIDTH, PAPER, RULE, RULE_WIDTH,
    SERIES, SOFT,
};

/// Pixels a unit of the drawing: about 300 a printed inch.
const SCALE: f64 = 3.0;
/// Of letters that are `TEXT_SIZE` units high.
const LETTERS: RasterHeight = RasterHeight::Size32;
/// Rows within a pixel that an outline is filled by.
const ROWS: usize = 4;

/// The drawing as the bytes of a PNG file.
pub fn file(drawing: &Drawing) -> Result<Vec<u8>> {
    let side = |length: f64| (length * SCALE).ceil().max(1.0) as u32;
    let mut canvas = Canvas {
        image: RgbImage::from_pixel(side(drawing.width), side(drawing.height), Rgb(PAPER)),
    };
    for shape in &drawing.shapes {
        canvas.paint(shape);
    }
    let mut bytes = Cursor::new(Vec::new());
    canvas
        .image
        .write_to(&mut bytes, ImageFormat::Png)
        .context("cannot write a figure as PNG")?;
    Ok(bytes.into_inner())
}

struct Canvas {
    image: RgbImage,
}

impl Canvas {
    fn paint(&mut self, shape: &Shape) {
        let colour = |series: usize| SERIES[series % SERIES.len()];
        let scaled = |points: &[Point]| -> Vec<Point> {
            points.iter().map(|(x, y)| (x * SCALE, y * SCALE)).collect()
        };
        match shape {
            Shape::Line { pieces, series } => {
                let dashes = DASHES[*series % DASHES.len()];
                let strokes: Vec<_> = pieces
                    .iter()
                    .flat_map(|piece| dashed(&scaled(piece), dashes))
                    .collect();
                self.strokes(&strokes, LINE_WIDTH, colour(*series));
            }
            Shape::Area { outline, series } => self.fill(&scaled(outline), colour(*series)),
            Shape::Dot { at, radius, series } => {
                let centre = (at.0 * SCALE, at.1 * SCALE);
                let cover = |point| coverage(distance(point, centre), radius * SCALE);
                let reach = radius * SCALE + 1.0;
                self.cover(centre, centre, reach, DOT_OPACITY, colour(*series), cover);
            }
            Shape::Rule { from, to, kind } => {
                let (width, colour) = match kind {
                    Rule::Grid => (RULE_WIDTH, RULE),
                    Rule::Axis => (RULE_WIDTH, SOFT),
                    Rule::Mark => (MARK_WIDTH, INK),
                };
                let ends = scaled(&[*from, *to]);
                self.strokes(&[(ends[0], ends[1])], width, colour);
            }
            Shape::Text(text) => self.words(text),
        }
    }

    /// Straight strokes with round ends, each pixel covered once however many meet there.
    fn strokes(&mut self, strokes: &[(Point, Point)], width: f64, colour: Colour) {
        let radius = width * SCALE / 2.0;
        let (pixels, rows) = (self.image.width() as usize, self.image.height() as usize);
        let mut covered = vec![0f32; pixels * rows];
        for &(from, to) in strokes {
            let reach = radius + 1.0;
            let (left, right) = span(from.0.min(to.0) - reach, from.0.max(to.0) + reach, pixels);
            let (top, bottom) = span(from.1.min(to.1) - reach, from.1.max(to.1) + reach, rows);
            for y in top..bottom {
                for x in left..right {
                    let point = (x as f64 + 0.5, y as f64 + 0.5);
                    let share = coverage(distance_to_stroke(point, from, to), radius) as f32;
                    let cell = &mut covered[y * pixels + x];
                    *cell = cell.max(share);
                }
            }
        }
        for (pixel, share) in self.image.pixels_mut().zip(covered) {
            blend(pixel, colour, f64::from(share));
        }
    }

    /// Pixels around a stretch, by how far each is covered.
    fn cover(
        &mut self,
        from: Point,
        to: Point,
        reach: f64,
        opacity: f64,
        colour: Colour,
        share: impl Fn(Point) -> f64,
    ) {
        let (pixels, rows) = (self.image.width() as usize, self.image.height() as usize);
        let (left, right) = span(from.0.min(to.0) - reach, from.0.max(to.0) + reach, pixels);
        let (top, bottom) = span(from.1.min(to.1) - reach, from.1.max(to.1) + reach, rows);
        for y in top..bottom {
            for x in left..right {
                let share = share((x as f64 + 0.5, y as f64 + 0.5)) * opacity;
                blend(self.image.get_pixel_mut(x as u32, y as u32), colour, share);
            }
        }
    }

    /// Fills an outline, row by row between its crossings (even–odd).
    fn fill(&mut self, outline: &[Point], colour: Colour) {
        let pixels = self.image.width() as usize;
        for y in 0..self.image.height() {
            let mut shares = vec![0.0; pixels];
            for row in 0..ROWS {
                let at = f64::from(y) + (row as f64 + 0.5) / ROWS as f64;
                let crossings = crossings(outline, at);
                for pair in crossings.chunks_exact(2) {
                    let (left, right) = span(pair[0], pair[1], pixels);
                    for (x, share) in shares[left..right].iter_mut().enumerate() {
                        let start = (left + x) as f64;
                        let inside = pair[1].min(start + 1.0) - pair[0].max(start);
                        *share += inside.max(0.0) / ROWS as f64;
                    }
                }
            }
            for (x, share) in shares.into_iter().enumerate() {
                let pixel = self.image.get_pixel_mut(x as u32, y);
                blend(pixel, colour, share.min(1.0) * AREA_OPACITY);
            }
        }
    }

    fn words(&mut self, text: &Text) {
        let colour = if text.strong { INK } else { SOFT };
        let letters: Vec<RasterizedChar> = text.words.chars().flat_map(letters).collect();
        let step = get_raster_width(FontWeight::Regular, LETTERS);
        let length = (letters.len() * step) as f64;
        let start = match text.anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => -length / 2.0,
            Anchor::End => -length,
        };
        // The baseline lies at about four fifths of a letter's box.
        let above = LETTERS.val() as f64 * 0.8;
        let (x, y) = (text.at.0 * SCALE, text.at.1 * SCALE);
        for (place, letter) in letters.iter().enumerate() {
            for (down, row) in letter.rows().enumerate() {
                for (across, &share) in row.iter().enumerate() {
                    let along = start + (place * step + across) as f64;
                    let below = down as f64 - above;
                    let (px, py) = match text.turned {
                        true => (x + below, y - along),
                        false => (x + along, y + below),
                    };
                    if share > 0 && px >= 0.0 && py >= 0.0 {
                        let (px, py) = (px.round() as u32, py.round() as u32);
                        if let Some(pixel) = self.image.get_pixel_mut_checked(px, py) {
                            blend(pixel, colour, f64::from(share) / 255.0);
                        }
                    }
                }
            }
        }
    }
}

/// The raster of a character, or of plain ones that say the same.
fn letters(character: char) -> Vec<RasterizedChar> {
    let raster = |character| get_raster(character, FontWeight::Regular, LETTERS);
    if let Some(raster) = raster(character) {
        return vec![raster];
    }
    let plain = match character {
        '−' | '–' | '—' => "-",
        '“' | '”' => "\"",
        '‘' | '’' => "'",
        '…' => "...",
        '≥' => ">=",
        '≤' => "<=",
        _ => "?",
    };
    plain.chars().filter_map(raster).collect()
}

/// The strokes of a line, cut by a pattern of drawn and skipped lengths.
fn dashed(points: &[Point], pattern: &[f64]) -> Vec<(Point, Point)> {
    let pairs = points.windows(2).map(|pair| (pair[0], pair[1]));
    if pattern.is_empty() {
        return pairs.collect();
    }
    // The round ends of a stroke take half of its width from the gap on either side.
    let ends = LINE_WIDTH * SCALE;
    let (mut part, mut left, mut strokes) = (0, pattern[0] * SCALE, Vec::new());
    for (from, to) in pairs {
        let length = distance(from, to);
        let mut done = 0.0;
        while done < length {
            let step = left.min(length - done);
            if part % 2 == 0 {
                let at = |way: f64| {
                    let share = way / length;
                    (
                        from.0 + share * (to.0 - from.0),
                        from.1 + share * (to.1 - from.1),
                    )
                };
                let shortened = (done + step - ends.min(step * 0.5)).max(done);
                let end = if left > length - done {
                    done + step
                } else {
                    shortened
                };
                strokes.push((at(done), at(end)));
            }
            done += step;
            left -= step;
            if left <= 1e-9 {
                part = (part + 1) % pattern.len();
                left = pattern[part] * SCALE;
            }
        }
    }
    strokes
}

/// Where a horizontal line crosses an outline, from the left.
fn crossings(outline: &[Point], y: f64) -> Vec<f64> {
    let next = outline.iter().cycle().skip(1);
    let mut crossings: Vec<f64> = outline
        .iter()
        .zip(next)
        .filter(|(a, b)| (a.1 <= y) != (b.1 <= y))
        .map(|(a, b)| a.0 + (y - a.1) / (b.1 - a.1) * (b.0 - a.0))
        .collect();
    crossings.sort_by(f64::total_cmp);
    crossings
}

/// How much of a pixel's middle is within `radius`, with soft edges a pixel wide.
fn coverage(distance: f64, radius: f64) -> f64 {
    (radius - distance + 0.5).clamp(0.0, 1.0)
}

fn distance(a: Point, b: Point) -> f64 {
    (a.0 - b.0).hypot(a.1 - b.1)
}

fn distance_to_stroke(point: Point, from: Point, to: Point) -> f64 {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let length = dx * dx + dy * dy;
    let along = ((point.0 - from.0) * dx + (point.1 - from.1) * dy) / length.max(1e-12);
    let along = along.clamp(0.0, 1.0);
    distance(point, (from.0 + along * dx, from.1 + along * dy))
}

/// The whole pixels between two places, within the picture.
fn span(from: f64, to: f64, pixels: usize) -> (usize, usize) {
    let start = from.floor().clamp(0.0, pixels as f64) as usize;
    let end = to.ceil().clamp(0.0, pixels as f64) as usize;
    (start, end.max(start))
}

fn blend(pixel: &mut Rgb<u8>, colour: Colour, share: f64) {
    if share <= 0.0 {
        return;
    }
    for (value, colour) in pixel.0.iter_mut().zip(colour) {
        let mixed = f64::from(*value) * (1.0 - share) + f64::from(colour) * share;
        *value = mixed.round() as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn painted(shapes: Vec<Shape>) -> RgbImage {
        let bytes = file(&Drawing {
            width: 20.0,
            height: 10.0,
            shapes,
        });
        image::load_from_memory(&bytes.unwrap()).unwrap().to_rgb8()
    }

    #[test]
    fn shapes_are_where_they_should_be() {
        let image = painted(vec![
            Shape::Area {
                outline: vec![(10.0, 0.0), (20.0, 0.0), (20.0, 10.0), (10.0, 10.0)],
                series: 1,
            },
            Shape::Dot {
                at: (5.0, 5.0),
                radius: 2.0,
                series: 0,
            },
            Shape::Rule {
                from: (0.0, 9.0),
                to: (8.0, 9.0),
                kind: Rule::Mark,
            },
        ]);
        assert_eq!(image.dimensions(), (60, 30));
        let at = |x: f64, y: f64| image.get_pixel((x * SCALE) as u32, (y * SCALE) as u32).0;
        assert_eq!(at(1.0, 1.0), PAPER);
        assert_eq!(at(2.0, 9.0), INK);
        assert_eq!(at(9.0, 5.0), PAPER);
        let tinted = at(15.0, 2.0);
        assert!(tinted != PAPER && tinted[0] > 200, "{tinted:?}");
        let dot = at(5.0, 5.0);
        assert!(dot[0] < 100 && dot != SERIES[0], "{dot:?}");
    }

    #[test]
    fn dashes_leave_gaps_and_words_leave_ink() {
        let line = |series| Shape::Line {
            pieces: vec![vec![(0.0, 5.0), (20.0, 5.0)]],
            series,
        };
        let drawn = |series| {
            let image = painted(vec![line(series)]);
            let row = (0..60).filter(|&x| image.get_pixel(x, 15).0 != PAPER);
            row.count()
        };
        assert_eq!(drawn(0), 60);
        assert!(drawn(1) < 55 && drawn(1) > 20, "{}", drawn(1));
        let words = painted(vec![Shape::words((1.0, 8.0), Anchor::Start, "−1 …")]);
        assert!(words.pixels().any(|pixel| pixel.0 != PAPER));
        assert_eq!(letters('−').len(), 1);
        assert_eq!(letters('…').len(), 3);
    }
}
