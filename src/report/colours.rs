//! Colours in two tones. A picture is drawn in the light one; a style sheet puts the other in its place where the reader prefers
//! the dark.

use plotters::style::RGBColor;
use std::fmt::Write;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour {
    light: (u8, u8, u8),
    dark: (u8, u8, u8),
}

impl Colour {
    pub fn rgb(self) -> RGBColor {
        let (r, g, b) = self.light;
        RGBColor(r, g, b)
    }
}

const fn colour(light: (u8, u8, u8), dark: (u8, u8, u8)) -> Colour {
    Colour { light, dark }
}

pub const PAPER: Colour = colour((255, 255, 255), (21, 24, 28));
pub const INK: Colour = colour((34, 38, 43), (221, 225, 230));
pub const AXIS: Colour = colour((120, 126, 134), (140, 147, 156));
pub const GRID: Colour = colour((222, 225, 229), (52, 58, 66));
pub const FAINT: Colour = colour((240, 242, 244), (36, 41, 47));

/// Told apart by colour-blind readers, too.
pub const LINES: [Colour; 5] = [
    colour((0, 98, 178), (86, 172, 240)),
    colour((201, 92, 0), (255, 158, 73)),
    colour((0, 128, 96), (58, 201, 158)),
    colour((165, 56, 132), (232, 134, 203)),
    colour((35, 39, 44), (235, 238, 241)),
];

/// From little to much.
pub const SHADES: [Colour; 8] = [
    colour((221, 234, 247), (22, 44, 68)),
    colour((186, 214, 238), (26, 66, 104)),
    colour((143, 187, 224), (32, 91, 144)),
    colour((95, 155, 207), (46, 122, 186)),
    colour((58, 122, 184), (78, 155, 216)),
    colour((31, 90, 154), (126, 186, 236)),
    colour((18, 63, 120), (176, 215, 248)),
    colour((10, 37, 80), (228, 242, 254)),
];

/// The style sheet.
pub fn dark_style() -> String {
    let mut css = String::from("rect{shape-rendering:crispEdges}@media(prefers-color-scheme:dark){");
    for Colour { light: (r, g, b), dark: (dr, dg, db) } in
        [PAPER, INK, AXIS, GRID, FAINT].into_iter().chain(LINES).chain(SHADES)
    {
        for property in ["fill", "stroke"] {
            // Writing into a string does not fail.
            let _ = write!(
                css,
                "svg [{property}=\"#{r:02X}{g:02X}{b:02X}\"]{{{property}:#{dr:02X}{dg:02X}{db:02X}}}"
            );
        }
    }
    css + "}"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_colours_share_a_tone_that_stands_for_both() {
        let all: Vec<Colour> =
            [PAPER, INK, AXIS, GRID, FAINT].into_iter().chain(LINES).chain(SHADES).collect();
        for (at, one) in all.iter().enumerate() {
            assert!(all[..at].iter().all(|other| other.light != one.light), "{one:?}");
        }
        assert!(dark_style().contains("svg [fill=\"#FFFFFF\"]{fill:#15181C}"), "{}", dark_style());
    }
}
