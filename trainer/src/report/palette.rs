//! Colours and strokes of a drawing outside the page: those that `style.css` has for light.

/// Red, green, blue.
pub type Colour = [u8; 3];

pub const PAPER: Colour = [0xfd, 0xfd, 0xfb];
pub const INK: Colour = [0x1d, 0x21, 0x26];
pub const SOFT: Colour = [0x5b, 0x63, 0x6d];
pub const RULE: Colour = [0xd9, 0xdc, 0xd8];

/// Of the series, told apart in their brightness too.
pub const SERIES: [Colour; 8] = [
    [0x1f, 0x5f, 0x8b],
    [0xc2, 0x54, 0x1b],
    [0x3f, 0x7d, 0x3a],
    [0x8a, 0x4f, 0xa0],
    [0xa0, 0x7a, 0x00],
    [0xb0, 0x30, 0x60],
    [0x2a, 0x8c, 0x8c],
    [0x6b, 0x6b, 0x6b],
];

pub const LINE_WIDTH: f64 = 1.8;
pub const RULE_WIDTH: f64 = 1.0;
pub const MARK_WIDTH: f64 = 1.2;
pub const AREA_OPACITY: f64 = 0.16;
pub const DOT_OPACITY: f64 = 0.75;

/// A colour as style sheets write it.
pub fn css([red, green, blue]: Colour) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// A style sheet for the classes of a drawing.
pub fn style() -> String {
    let series: String = SERIES
        .iter()
        .enumerate()
        .map(|(series, colour)| format!(".c{series}{{color:{}}}", css(*colour)))
        .collect();
    format!(
        "text{{font:11px system-ui,sans-serif;fill:{soft}}}.strong{{fill:{ink}}}\
         .grid{{stroke:{rule};stroke-width:{RULE_WIDTH}}}.axis{{stroke:{soft};stroke-width:{RULE_WIDTH}}}\
         .mark{{stroke:{ink};stroke-width:{MARK_WIDTH}}}\
         .line{{fill:none;stroke:currentColor;stroke-width:{LINE_WIDTH};stroke-linejoin:round}}\
         .area{{fill:currentColor;opacity:{AREA_OPACITY}}}.dot{{fill:currentColor;opacity:{DOT_OPACITY}}}{series}",
        soft = css(SOFT),
        ink = css(INK),
        rule = css(RULE),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_the_same_colours() {
        let page = include_str!("style.css");
        let light = page.split("@media").next().unwrap();
        let named = [
            ("paper", PAPER),
            ("ink", INK),
            ("soft", SOFT),
            ("rule", RULE),
        ];
        for (name, colour) in named {
            assert!(
                light.contains(&format!("--{name}:{}", css(colour))),
                "{name}"
            );
        }
        for (series, colour) in SERIES.iter().enumerate() {
            assert!(
                light.contains(&format!("--c{series}:{}", css(*colour))),
                "{series}"
            );
        }
    }
}
