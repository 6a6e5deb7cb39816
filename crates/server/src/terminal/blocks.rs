//! Pictures of half blocks: the upper half of a cell in the colour of its letter, the lower half in that of its ground.

use super::resized;
use image::{Rgb, RgbImage};
use std::fmt::Write;

/// `rows` lines of `columns` cells.
pub(super) fn show(
    picture: &RgbImage,
    columns: u32,
    rows: u32,
    indent: usize,
    is_true_colour: bool,
) -> String {
    let small = resized(picture, columns, 2 * rows);
    let mut shown = String::new();
    for row in 0..rows {
        shown.extend(std::iter::repeat_n(' ', indent));
        for column in 0..columns {
            let (upper, lower) = (small.get_pixel(column, 2 * row), small.get_pixel(column, 2 * row + 1));
            // Writing to a text cannot fail.
            let _ = match is_true_colour {
                true => {
                    let (Rgb([r, g, b]), Rgb([s, h, c])) = (upper, lower);
                    write!(shown, "\x1b[38;2;{r};{g};{b}m\x1b[48;2;{s};{h};{c}m▀")
                }
                false => write!(shown, "\x1b[38;5;{}m\x1b[48;5;{}m▀", of_256(upper), of_256(lower)),
            };
        }
        shown.push_str("\x1b[0m\n");
    }
    shown
}

/// The nearest of xterm's 256 colours: its cube of 6 x 6 x 6, or for greys its ramp of 24.
fn of_256(&Rgb([r, g, b]): &Rgb<u8>) -> u8 {
    // Steps of the cube: 0, 95, 135, 175, 215, 255.
    let step = |value: u8| match value {
        0..48 => 0,
        48..115 => 1,
        _ => (value - 35) / 40,
    };
    if r.abs_diff(g) < 8 && g.abs_diff(b) < 8 && (8..=243).contains(&g) {
        return 232 + ((g - 8) / 10).min(23);
    }
    16 + 36 * step(r) + 6 * step(g) + step(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_near() {
        for (colour, expected) in [
            ([0, 0, 0], 16),
            ([255, 255, 255], 231),
            ([255, 0, 0], 196),
            ([95, 135, 175], 67),
            ([128; 3], 244),
        ] {
            assert_eq!(of_256(&Rgb(colour)), expected, "{colour:?}");
        }
    }
}
