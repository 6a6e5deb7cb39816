//! A page's content stream as glyphs with places: the text operators of PDF and what they depend on, nothing else.
//!
//! Nothing is drawn: colours, paths and pictures are passed over, so that no picture is ever unpacked. What is shown through
//! forms (`Do`) is read where it stands. Every operator, glyph and unpacked byte is paid from a [`Budget`] of the whole file,
//! which also ends loops and nests that a hostile file makes.
//!
//! Places are in points, y downwards from the top of the page as it is shown, whatever its rotation. PDF 32000-1, 8 and 9.

use super::fonts::{Fonts, PageFont};
use super::unpack::{NoRoom, Room};
use hayro_syntax::content::{Instruction, UntypedIter};
use hayro_syntax::object::{Array, Dict, MaybeRef, Name, Object, Stream};
use hayro_syntax::page::Page;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Forms within forms.
const MAX_FORMS: usize = 12;
/// Saved graphics states.
const MAX_STATES: usize = 1000;
/// Glyphs of one page; a page of print has some thousand.
const MAX_PAGE_GLYPHS: usize = 1 << 20;
/// Operators between two looks at the clock.
const LOOK_OPERATORS: u32 = 4096;

/// What the reading of one file may still take.
pub(super) struct Budget {
    pub(super) room: Room,
    pub(super) glyphs: u64,
    pub(super) deadline: Instant,
    /// Set when nobody waits any more.
    pub(super) cancelled: Arc<AtomicBool>,
    since_look: u32,
}

/// Why the reading of a file ends early.
#[derive(Debug)]
pub(super) enum Stop {
    NoRoom(NoRoom),
    TooSlow,
    TooManyGlyphs,
}

impl From<NoRoom> for Stop {
    fn from(error: NoRoom) -> Self {
        Self::NoRoom(error)
    }
}

impl Budget {
    pub(super) fn new(room: Room, glyphs: u64, deadline: Instant, cancelled: Arc<AtomicBool>) -> Self {
        Self { room, glyphs, deadline, cancelled, since_look: 0 }
    }

    /// Looks at the clock.
    pub(super) fn look(&mut self) -> Result<(), Stop> {
        self.since_look = 0;
        let is_late = Instant::now() > self.deadline || self.cancelled.load(Ordering::Relaxed);
        if is_late { Err(Stop::TooSlow) } else { Ok(()) }
    }

    fn operator(&mut self) -> Result<(), Stop> {
        self.since_look += 1;
        if self.since_look >= LOOK_OPERATORS { self.look() } else { Ok(()) }
    }

    fn glyph(&mut self) -> Result<(), Stop> {
        self.glyphs = self.glyphs.checked_sub(1).ok_or(Stop::TooManyGlyphs)?;
        Ok(())
    }
}

/// A shown character, or the few that a glyph stands for.
#[derive(Clone, Debug)]
pub(super) struct Glyph {
    pub(super) text: Rc<str>,
    /// Where it begins and where the next one would, on its baseline.
    pub(super) from: (f64, f64),
    pub(super) to: (f64, f64),
    pub(super) size: f64,
    pub(super) is_fixed: bool,
}

/// What a page shows.
#[derive(Debug, Default)]
pub(super) struct Shown {
    pub(super) glyphs: Vec<Glyph>,
    /// Characters in fonts that do not say what they are.
    pub(super) unknown: usize,
    /// Share of the page's area that its largest picture covers.
    pub(super) picture: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// `[a b c d e f]` as in PDF: row vectors from the left.
pub(super) type Matrix = [f64; 6];

pub(super) fn times(a: Matrix, b: Matrix) -> Matrix {
    [
        a[0] * b[0] + a[1] * b[2],
        a[0] * b[1] + a[1] * b[3],
        a[2] * b[0] + a[3] * b[2],
        a[2] * b[1] + a[3] * b[3],
        a[4] * b[0] + a[5] * b[2] + b[4],
        a[4] * b[1] + a[5] * b[3] + b[5],
    ]
}

pub(super) fn place((x, y): (f64, f64), by: Matrix) -> (f64, f64) {
    (x * by[0] + y * by[2] + by[4], x * by[1] + y * by[3] + by[5])
}

#[derive(Clone)]
struct State<'a> {
    ctm: Matrix,
    font: Option<Rc<PageFont<'a>>>,
    size: f64,
    characters: f64,
    words: f64,
    scale: f64,
    leading: f64,
    rise: f64,
}

/// Reads one page after the other.
pub(super) struct Interpreter<'f, 'a> {
    fonts: &'f mut Fonts<'a>,
    budget: &'f mut Budget,
    shown: Shown,
    states: Vec<State<'a>>,
    state: State<'a>,
    text: Matrix,
    line: Matrix,
    /// Text that stands for the glyphs within (`ActualText`), by the nesting of marked content; used up by the first glyph.
    marked: Vec<Option<Rc<str>>>,
    forms: usize,
}

/// All glyphs of a page.
pub(super) fn read_page<'a>(
    page: &Page<'a>,
    fonts: &mut Fonts<'a>,
    budget: &mut Budget,
) -> Result<Shown, Stop> {
    budget.look()?;
    let (width, height) = page.render_dimensions();
    let ctm = page.initial_transform(true).as_coeffs();
    let state = State {
        ctm,
        font: None,
        size: 0.0,
        characters: 0.0,
        words: 0.0,
        scale: 1.0,
        leading: 0.0,
        rise: 0.0,
    };
    let identity = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0];
    let mut interpreter = Interpreter {
        fonts,
        budget,
        shown: Shown { width: f64::from(width), height: f64::from(height), ..Shown::default() },
        states: Vec::new(),
        state,
        text: identity,
        line: identity,
        marked: Vec::new(),
        forms: 0,
    };
    let content = interpreter.content(page.raw())?;
    let resources = page.resources();
    interpreter
        .run(&content, &Resources { fonts: resources.fonts.clone(), forms: resources.x_objects.clone() })?;
    Ok(interpreter.shown)
}

struct Resources<'a> {
    fonts: Dict<'a>,
    forms: Dict<'a>,
}

impl<'a> Interpreter<'_, 'a> {
    /// A page's content streams, one after the other.
    fn content(&mut self, page: &Dict<'a>) -> Result<Vec<u8>, Stop> {
        let streams: Vec<Stream<'a>> = match page.get::<Stream<'a>>("Contents") {
            Some(stream) => vec![stream],
            None => page
                .get::<Array<'a>>("Contents")
                .map(|all| all.iter::<Stream<'a>>().collect())
                .unwrap_or_default(),
        };
        let mut content = Vec::new();
        for stream in streams {
            if let Some(part) = self.budget.room.unpack(&stream)? {
                content.extend_from_slice(&part);
                content.push(b'\n');
            }
        }
        Ok(content)
    }

    fn run(&mut self, content: &[u8], resources: &Resources<'a>) -> Result<(), Stop> {
        let mut operators = UntypedIter::new(content);
        while let Some(instruction) = operators.next() {
            self.budget.operator()?;
            self.operator(&instruction, resources)?;
            if self.shown.glyphs.len() >= MAX_PAGE_GLYPHS {
                break;
            }
        }
        Ok(())
    }

    fn operator(&mut self, instruction: &Instruction<'_, '_>, resources: &Resources<'a>) -> Result<(), Stop> {
        let number = |place: usize| match instruction.operands().nth(place) {
            Some(Object::Number(number)) => Some(number.as_f64()),
            _ => None,
        };
        let all = || -> Option<Matrix> {
            Some([number(0)?, number(1)?, number(2)?, number(3)?, number(4)?, number(5)?])
        };
        match &**instruction.operator {
            b"q" if self.states.len() < MAX_STATES => self.states.push(self.state.clone()),
            b"Q" => {
                if let Some(state) = self.states.pop() {
                    self.state = state;
                }
            }
            b"cm" => {
                if let Some(matrix) = all() {
                    self.state.ctm = times(matrix, self.state.ctm);
                }
            }
            b"BT" => {
                self.text = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0];
                self.line = self.text;
            }
            b"Tf" => self.set_font(instruction, resources)?,
            b"Tc" => self.state.characters = number(0).unwrap_or(0.0),
            b"Tw" => self.state.words = number(0).unwrap_or(0.0),
            b"Tz" => self.state.scale = number(0).unwrap_or(100.0) / 100.0,
            b"TL" => self.state.leading = number(0).unwrap_or(0.0),
            b"Ts" => self.state.rise = number(0).unwrap_or(0.0),
            b"Td" => self.next_line(number(0).unwrap_or(0.0), number(1).unwrap_or(0.0)),
            b"TD" => {
                self.state.leading = -number(1).unwrap_or(0.0);
                self.next_line(number(0).unwrap_or(0.0), number(1).unwrap_or(0.0));
            }
            b"Tm" => {
                if let Some(matrix) = all() {
                    self.line = matrix;
                    self.text = matrix;
                }
            }
            b"T*" => self.next_line(0.0, -self.state.leading),
            b"Tj" | b"'" | b"\"" => {
                if **instruction.operator != *b"Tj" {
                    self.next_line(0.0, -self.state.leading);
                }
                if let Some(Object::String(text)) = instruction.operands().last() {
                    self.show(text.as_bytes())?;
                }
            }
            b"TJ" => {
                if let Some(Object::Array(parts)) = instruction.operands().next() {
                    self.show_parts(parts)?;
                }
            }
            b"Do" => self.draw(instruction, resources)?,
            b"BI" => self.picture(),
            b"BMC" => self.marked.push(None),
            b"BDC" => self.marked.push(actual_text(instruction)),
            b"EMC" => drop(self.marked.pop()),
            _ => {}
        }
        self.marked.truncate(MAX_STATES);
        Ok(())
    }

    fn set_font(&mut self, instruction: &Instruction<'_, '_>, resources: &Resources<'a>) -> Result<(), Stop> {
        let mut operands = instruction.operands();
        let (Some(Object::Name(name)), Some(Object::Number(size))) = (operands.next(), operands.next())
        else {
            return Ok(());
        };
        self.state.size = size.as_f64();
        let dict = resources.fonts.get::<Dict<'a>>(&**name);
        self.state.font = match dict {
            Some(dict) => self.fonts.font(&dict, &mut self.budget.room)?,
            None => None,
        };
        Ok(())
    }

    fn next_line(&mut self, x: f64, y: f64) {
        self.line = times([1.0, 0.0, 0.0, 1.0, x, y], self.line);
        self.text = self.line;
    }

    fn show_parts(&mut self, parts: &Array<'_>) -> Result<(), Stop> {
        for part in parts.raw_iter() {
            match part {
                MaybeRef::NotRef(Object::String(text)) => self.show(text.as_bytes())?,
                MaybeRef::NotRef(Object::Number(number)) => {
                    let back = -number.as_f64() / 1000.0 * self.state.size;
                    self.advance(back);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Moves on along the line, by unscaled text units.
    fn advance(&mut self, by: f64) {
        let is_vertical = self.state.font.as_ref().is_some_and(|font| font.is_vertical);
        let (x, y) = if is_vertical { (0.0, by) } else { (by * self.state.scale, 0.0) };
        self.text = times([1.0, 0.0, 0.0, 1.0, x, y], self.text);
    }

    fn show(&mut self, string: &[u8]) -> Result<(), Stop> {
        let Some(font) = self.state.font.clone() else { return Ok(()) };
        let mut rest = string;
        while !rest.is_empty() && self.shown.glyphs.len() < MAX_PAGE_GLYPHS {
            self.budget.glyph()?;
            let code = font.next_code(rest);
            let is_space = rest.first() == Some(&b' ') && code.bytes == 1;
            rest = rest.get(code.bytes..).unwrap_or_default();
            let from = self.point();
            let up = self.above();
            let width = code.advance * self.state.size;
            self.advance(width);
            let to = self.point();
            let extra = self.state.characters + if is_space { self.state.words } else { 0.0 };
            self.advance(if font.is_vertical { -extra } else { extra });
            self.push(&font, code.code, from, to, (up.0 - from.0).hypot(up.1 - from.1));
        }
        Ok(())
    }

    fn push(&mut self, font: &PageFont<'a>, code: u32, from: (f64, f64), to: (f64, f64), size: f64) {
        if ![from.0, from.1, to.0, to.1, size].iter().all(|number| number.is_finite()) || size <= 0.0 {
            return;
        }
        let text = match self.marked.iter_mut().rev().find_map(Option::as_mut) {
            // The first glyph shows all of the text, the others none of it.
            Some(actual) => Some(std::mem::replace(actual, Rc::from(""))),
            None => font.text(code),
        };
        match text {
            Some(text) => self.shown.glyphs.push(Glyph { text, from, to, size, is_fixed: font.is_fixed }),
            None => self.shown.unknown += 1,
        }
    }

    fn point(&self) -> (f64, f64) {
        place(place((0.0, self.state.rise), self.text), self.state.ctm)
    }

    /// One em above [`Self::point`].
    fn above(&self) -> (f64, f64) {
        place(place((0.0, self.state.rise + self.state.size), self.text), self.state.ctm)
    }

    fn draw(&mut self, instruction: &Instruction<'_, '_>, resources: &Resources<'a>) -> Result<(), Stop> {
        let Some(Object::Name(name)) = instruction.operands().next() else { return Ok(()) };
        let Some(stream) = resources.forms.get::<Stream<'a>>(&**name) else { return Ok(()) };
        let dict = stream.dict();
        match dict.get::<Name<'_>>("Subtype").as_deref() {
            Some(b"Image") => self.picture(),
            Some(b"Form") if self.forms < MAX_FORMS => {
                let Some(content) = self.budget.room.unpack(&stream)? else { return Ok(()) };
                let own = dict.get::<Dict<'a>>("Resources");
                let part = |key: &str, above: &Dict<'a>| match &own {
                    Some(own) => own.get::<Dict<'a>>(key).unwrap_or_else(Dict::empty),
                    None => above.clone(),
                };
                let inner = Resources {
                    fonts: part("Font", &resources.fonts),
                    forms: part("XObject", &resources.forms),
                };
                let (before, states, text, line) =
                    (self.state.clone(), std::mem::take(&mut self.states), self.text, self.line);
                if let Some(matrix) = dict.get::<[f32; 6]>("Matrix") {
                    self.state.ctm = times(matrix.map(f64::from), self.state.ctm);
                }
                self.forms += 1;
                self.run(&content, &inner)?;
                self.forms -= 1;
                (self.state, self.states, self.text, self.line) = (before, states, text, line);
            }
            _ => {}
        }
        Ok(())
    }

    /// A picture fills the unit square.
    fn picture(&mut self) {
        let [a, b, c, d, ..] = self.state.ctm;
        let share = (a * d - b * c).abs() / (self.shown.width * self.shown.height).max(1.0);
        self.shown.picture = self.shown.picture.max(share);
    }
}

/// The text that a marked part of a page says it stands for.
fn actual_text(instruction: &Instruction<'_, '_>) -> Option<Rc<str>> {
    let Some(Object::Dict(properties)) = instruction.operands().nth(1) else { return None };
    let text = properties.get::<hayro_syntax::object::String<'_>>("ActualText")?;
    Some(Rc::from(super::bookmarks::text_string(text.as_bytes())))
}
