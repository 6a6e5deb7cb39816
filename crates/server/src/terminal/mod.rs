//! A face for terminals: pictures as thumbnails, links that open.
//!
//! Which way pictures are shown is told by the setting, or guessed from the environment as terminals document themselves; nothing is
//! asked of the terminal, for an answer that comes late would end up in the shell. Where stdout is no terminal, nothing of this
//! is written. Protocols: kitty graphics (<https://sw.kovidgoyal.net/kitty/graphics-protocol/>), iTerm2 inline images
//! (<https://iterm2.com/documentation-images.html>), sixel (DEC VT330/VT340, EK-VT38T-UG-001, chapter 14), OSC 8 hyperlinks
//! (<https://gist.github.com/egmontkob/eb114294efbcd5adb1944c9f3cb5feda>).

mod blocks;
mod inline;
mod sixel;

use clap::ValueEnum;
use image::RgbImage;
use reqwest::Url;
use std::path::Path;

/// Cells that a picture takes at most.
const MAX_COLUMNS: u32 = 24;
const MAX_ROWS: u32 = 10;

/// How pictures are shown, as it is wished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum PictureWish {
    /// As the terminal can
    #[default]
    Auto,
    /// By the protocol of kitty, ghostty and Konsole
    Kitty,
    /// By the protocol of iTerm2, WezTerm and mintty
    Iterm,
    /// As sixels: foot, mlterm, xterm with -ti vt340
    Sixel,
    /// As coloured half blocks, which every terminal with colours can
    Blocks,
    /// Not at all
    None,
}

/// How pictures are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureFace {
    /// The protocol of kitty.
    Kitty,
    /// The protocol of iTerm2.
    Iterm,
    /// Sixels.
    Sixel,
    /// Half blocks, of all colours or of 256.
    Blocks {
        /// 24 bits a colour.
        is_true_colour: bool,
    },
}

/// How pictures are shown on a terminal with this environment; `None`: not at all.
pub fn picture_face(wish: PictureWish, variable: &dyn Fn(&str) -> Option<String>) -> Option<PictureFace> {
    let told = |name: &str| variable(name).filter(|value| !value.is_empty());
    let is_true_colour = matches!(told("COLORTERM").as_deref(), Some("truecolor" | "24bit"));
    let blocks = PictureFace::Blocks { is_true_colour };
    match wish {
        PictureWish::None => return None,
        PictureWish::Kitty => return Some(PictureFace::Kitty),
        PictureWish::Iterm => return Some(PictureFace::Iterm),
        PictureWish::Sixel => return Some(PictureFace::Sixel),
        PictureWish::Blocks => return Some(blocks),
        PictureWish::Auto => {}
    }
    let term = told("TERM").filter(|term| term != "dumb")?;
    let program = told("TERM_PROGRAM").unwrap_or_default();
    let begins = |names: &[&str]| names.iter().any(|name| term.starts_with(name));
    // What stands between passes letters and colours on, and little else.
    let is_multiplexed = told("TMUX").is_some() || told("STY").is_some() || begins(&["screen", "tmux"]);
    if !is_multiplexed {
        if told("KITTY_WINDOW_ID").is_some()
            || begins(&["xterm-kitty", "xterm-ghostty"])
            || matches!(program.as_str(), "kitty" | "ghostty")
        {
            return Some(PictureFace::Kitty);
        }
        if matches!(program.as_str(), "iTerm.app" | "WezTerm" | "mintty")
            || told("LC_TERMINAL").as_deref() == Some("iTerm2")
        {
            return Some(PictureFace::Iterm);
        }
        if begins(&["foot", "mlterm", "yaft"]) || term.contains("sixel") {
            return Some(PictureFace::Sixel);
        }
    }
    // Half blocks are colours, so who wants none gets none.
    let has_colours = is_true_colour || term.contains("256color");
    (has_colours && told("NO_COLOR").is_none()).then_some(blocks)
}

impl PictureFace {
    /// What shows the picture in a JPEG or PNG file, `indent` cells from the left, with a line end behind it; `None` for what is
    /// no picture.
    pub fn show(self, file: &[u8], indent: usize) -> Option<String> {
        let picture = image::load_from_memory(file).ok()?.into_rgb8();
        let (columns, rows) = cells(&picture);
        Some(match self {
            PictureFace::Kitty => inline::kitty(&picture, columns, rows, indent)?,
            PictureFace::Iterm => inline::iterm(file, columns, rows, indent),
            PictureFace::Sixel => sixel::show(&picture, columns, rows, indent),
            PictureFace::Blocks { is_true_colour } => {
                blocks::show(&picture, columns, rows, indent, is_true_colour)
            }
        })
    }
}

/// Columns and rows that a picture takes; a cell is twice as high as wide.
fn cells(picture: &RgbImage) -> (u32, u32) {
    let (width, height) = (f64::from(picture.width().max(1)), f64::from(picture.height().max(1)));
    let scale = (f64::from(MAX_COLUMNS) / width).min(f64::from(2 * MAX_ROWS) / height);
    let whole = |side: f64, most: u32| (side.round() as u32).clamp(1, most);
    (whole(width * scale, MAX_COLUMNS), whole(height * scale / 2.0, MAX_ROWS))
}

/// A picture of other sides.
fn resized(picture: &RgbImage, width: u32, height: u32) -> RgbImage {
    image::imageops::thumbnail(picture, width, height)
}

/// `text` as a link to `address`.
pub fn link(address: &str, text: &str) -> String {
    format!("\x1b]8;;{address}\x1b\\{text}\x1b]8;;\x1b\\")
}

/// The address that opens a document: the one that it came from, or its file.
pub fn address(source: Option<&str>, file: Option<&Path>) -> Option<String> {
    let is_web = |source: &&str| source.starts_with("https://") || source.starts_with("http://");
    let url = match source.filter(is_web) {
        Some(source) => Url::parse(source).ok()?,
        None => Url::from_file_path(file?).ok()?,
    };
    // Anything but plain letters is percent-encoded in it, so nothing can end the escape sequence early.
    Some(url.to_string()).filter(|url| url.bytes().all(|byte| byte.is_ascii_graphic()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn face(variables: &[(&str, &str)]) -> Option<PictureFace> {
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        picture_face(PictureWish::Auto, &variable)
    }

    #[test]
    fn terminals_are_known_by_what_they_say_of_themselves() {
        use PictureFace::{Blocks, Iterm, Kitty, Sixel};
        let blocks = Some(Blocks { is_true_colour: false });
        for (variables, expected) in [
            (&[("TERM", "xterm-kitty")][..], Some(Kitty)),
            (&[("TERM", "xterm-256color"), ("KITTY_WINDOW_ID", "1")], Some(Kitty)),
            (&[("TERM", "xterm-256color"), ("TERM_PROGRAM", "iTerm.app")], Some(Iterm)),
            (&[("TERM", "xterm-256color"), ("LC_TERMINAL", "iTerm2")], Some(Iterm)),
            (&[("TERM", "foot")], Some(Sixel)),
            (&[("TERM", "xterm-256color")], blocks),
            (&[("TERM", "tmux-256color"), ("KITTY_WINDOW_ID", "1")], blocks),
            (&[("TERM", "xterm-256color"), ("TMUX", "/tmp/x"), ("TERM_PROGRAM", "WezTerm")], blocks),
            (&[("TERM", "xterm"), ("COLORTERM", "truecolor")], Some(Blocks { is_true_colour: true })),
            (&[("TERM", "xterm-256color"), ("NO_COLOR", "1")], None),
            (&[("TERM", "vt100")], None),
            (&[("TERM", "dumb"), ("COLORTERM", "truecolor")], None),
            (&[], None),
        ] {
            assert_eq!(face(variables), expected, "{variables:?}");
        }
        let none = |_: &str| None;
        assert_eq!(picture_face(PictureWish::Sixel, &none), Some(Sixel), "who wishes knows");
        assert_eq!(picture_face(PictureWish::None, &|_| Some("xterm-kitty".to_owned())), None);
    }

    #[test]
    fn the_shape_is_kept_within_the_cells() {
        for ((width, height), expected) in
            [((256, 256), (20, 10)), ((256, 64), (24, 3)), ((10, 200), (1, 10)), ((1, 1), (20, 10))]
        {
            assert_eq!(cells(&RgbImage::new(width, height)), expected);
        }
    }

    #[test]
    fn every_face_shows_a_picture_and_none_what_is_none() {
        let mut png = std::io::Cursor::new(Vec::new());
        let picture = RgbImage::from_fn(40, 20, |x, _| image::Rgb([if x < 20 { 255 } else { 0 }, 0, 0]));
        picture.write_to(&mut png, image::ImageFormat::Png).unwrap();
        let png = png.into_inner();
        let shown = |face: PictureFace| face.show(&png, 2).unwrap();
        let kitty = shown(PictureFace::Kitty);
        assert!(kitty.starts_with("  \x1b_Ga=T,f=100,q=2,c=24,r=6,m="), "{kitty:?}");
        assert!(kitty.ends_with("\x1b\\\n"), "{kitty:?}");
        let iterm = shown(PictureFace::Iterm);
        let size = format!("size={};width=24;height=6", png.len());
        assert!(iterm.starts_with("  \x1b]1337;File=inline=1;") && iterm.contains(&size), "{iterm:?}");
        let sixel = shown(PictureFace::Sixel);
        assert!(sixel.starts_with("  \x1bP") && sixel.ends_with("\x1b\\\n"), "{sixel:?}");
        let blocks = shown(PictureFace::Blocks { is_true_colour: true });
        assert_eq!((blocks.lines().count(), blocks.matches('▀').count()), (6, 24 * 6), "{blocks:?}");
        assert!(
            blocks.contains("\x1b[38;2;255;0;0m") && blocks.lines().all(|line| line.ends_with("\x1b[0m"))
        );
        let few = shown(PictureFace::Blocks { is_true_colour: false });
        assert!(few.contains("\x1b[38;5;196m"), "{few:?}");
        assert_eq!(PictureFace::Kitty.show(b"no picture", 0), None);
    }

    #[test]
    fn links_lead_to_the_source_and_cannot_break_out() {
        let file = address(Some("notes/a.md"), Some(Path::new("/data/一 b\x1b]c.md")));
        let file = file.unwrap();
        assert!(file.starts_with("file:///data/%E4%B8%80%20b%1B") && file.ends_with("c.md"), "{file}");
        let web = address(Some("https://example.org/\x1b\\x"), None).unwrap();
        assert!(web.bytes().all(|byte| byte.is_ascii_graphic()), "{web}");
        assert_eq!(address(Some("javascript:alert(1)"), None), None);
        assert_eq!(link("file:///a", "a"), "\x1b]8;;file:///a\x1b\\a\x1b]8;;\x1b\\");
    }
}
