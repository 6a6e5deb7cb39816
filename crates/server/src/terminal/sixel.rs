//! Pictures as sixels: bands of six lines, in each band a run of columns for every colour in it.
//!
//! Colours are those of a cube of 6 x 6 x 6, which is always within the 256 that terminals have.

use super::resized;
use image::{Rgb, RgbImage};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Pixels of a cell: terminals do not tell without being asked, and these are common.
const CELL: (u32, u32) = (9, 18);
const LEVELS: u32 = 6;
const BAND: u32 = 6;

/// The picture in about so many cells.
pub(super) fn show(picture: &RgbImage, columns: u32, rows: u32, indent: usize) -> String {
    let small = resized(picture, columns * CELL.0, rows * CELL.1);
    let (width, height) = small.dimensions();
    let mut shown = " ".repeat(indent);
    // Pixels that no colour sets stay as they are; square pixels, width, height.
    let _ = write!(shown, "\x1bP0;1q\"1;1;{width};{height}");
    for level in 0..LEVELS.pow(3) {
        let percent = |at: u32| (level / LEVELS.pow(at)) % LEVELS * 100 / (LEVELS - 1);
        let _ = write!(shown, "#{level};2;{};{};{}", percent(2), percent(1), percent(0));
    }
    for top in (0..height).step_by(BAND as usize) {
        let mut bits: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
        for y in top..(top + BAND).min(height) {
            for x in 0..width {
                let line =
                    bits.entry(colour(small.get_pixel(x, y))).or_insert_with(|| vec![0; width as usize]);
                if let Some(column) = line.get_mut(x as usize) {
                    *column |= 1 << (y - top);
                }
            }
        }
        for (colour, line) in bits {
            let _ = write!(shown, "#{colour}");
            for run in line.chunk_by(|a, b| a == b) {
                let letter = char::from(63 + run.first().copied().unwrap_or(0));
                let _ = match run.len() {
                    count @ 4.. => write!(shown, "!{count}{letter}"),
                    count => write!(shown, "{}", String::from(letter).repeat(count)),
                };
            }
            // Back to the beginning of the band.
            shown.push('$');
        }
        shown.push('-');
    }
    shown.push_str("\x1b\\\n");
    shown
}

fn colour(&Rgb(parts): &Rgb<u8>) -> u32 {
    parts.iter().fold(0, |all, &part| all * LEVELS + (u32::from(part) * (LEVELS - 1) + 127) / 255)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_band_holds_a_run_of_each_colour() {
        let picture = RgbImage::from_fn(18, 18, |x, _| Rgb(if x < 9 { [255, 0, 0] } else { [0, 0, 255] }));
        let shown = show(&picture, 2, 1, 0);
        assert_eq!(colour(&Rgb([255, 0, 0])), 180);
        assert!(shown.contains("#180;2;100;0;0"), "the colour is defined");
        // 18 lines are 3 bands; each half of its columns in each colour, all six lines of a band set.
        let bands: Vec<&str> = shown.split('-').collect();
        assert_eq!(bands.len(), 4, "{shown:?}");
        assert_eq!(bands[1], "#5!9?!9~$#180!9~!9?$", "{shown:?}");
    }
}
