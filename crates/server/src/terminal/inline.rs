//! Pictures sent as files within escape sequences: kitty's and iTerm2's protocol.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use image::RgbImage;
use std::io::Cursor;

/// Most letters of base64 in one sequence of kitty's.
const CHUNK: usize = 4_096;

/// A PNG in portions, shown at once in a given number of cells, without an answer from the terminal.
pub(super) fn kitty(picture: &RgbImage, columns: u32, rows: u32, indent: usize) -> Option<String> {
    let mut png = Cursor::new(Vec::new());
    picture.write_to(&mut png, image::ImageFormat::Png).ok()?;
    let coded = BASE64_STANDARD.encode(png.into_inner());
    let mut shown = " ".repeat(indent);
    let chunks = coded.len().div_ceil(CHUNK);
    for (at, chunk) in coded.as_bytes().chunks(CHUNK).enumerate() {
        let more = u8::from(at + 1 < chunks);
        shown += &match at {
            0 => format!("\x1b_Ga=T,f=100,q=2,c={columns},r={rows},m={more};"),
            _ => format!("\x1b_Gm={more};"),
        };
        shown += std::str::from_utf8(chunk).ok()?;
        shown += "\x1b\\";
    }
    shown.push('\n');
    Some(shown)
}

/// The file as it is.
pub(super) fn iterm(file: &[u8], columns: u32, rows: u32, indent: usize) -> String {
    let (size, coded) = (file.len(), BASE64_STANDARD.encode(file));
    let margin = " ".repeat(indent);
    format!(
        "{margin}\x1b]1337;File=inline=1;size={size};width={columns};height={rows};preserveAspectRatio=1:{coded}\x07\n"
    )
}
