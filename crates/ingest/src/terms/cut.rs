//! Folded letters become terms: runs of one kind of script, each cut in its own way.
//!
//! * Han: words of the dictionary; two lone characters beside each other are a pair. Each character is a unit.
//! * Kana, Hangul and scripts without blanks: pairs of characters (one alone stays alone). Each character is a unit.
//! * Letters and digits: a piece is a unit as spelled, and a word by its stem. A piece of letters and digits (`HNSW32`) is
//!   also its parts, pieces joined by marks (`IVF1024,Flat`, `faiss-cpu`, `1.2.3`, `a@b.org`) are also one word,
//!   and `C++` and `C#` keep their signs.
//! * Symbols and emoji: each by itself.

use super::fold::Letter;
use super::words::{han_words, stem};
use super::{Layer, MAX_RUN_CHARS, MAX_TERM_CHARS};
use std::ops::Range;

/// Pieces of a word that is also known as a whole; longer ones are known by their pieces alone.
const MAX_JOINED_PIECES: usize = 6;
/// Parts into which a piece of letters and digits is taken apart.
const MAX_PARTS: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Han,
    Syllable,
    Letter,
    /// Joins letters when it stands between them.
    Joint,
    Symbol,
    Break,
}

fn class(character: char) -> Class {
    match character {
        '\u{3400}'..='\u{9fff}' | '\u{20000}'..='\u{323af}' | '々' | '〇' => Class::Han,
        // Kana, bopomofo, Hangul; Thai, Lao, Burmese, Khmer.
        '\u{3041}'..='\u{312f}'
        | '\u{3131}'..='\u{318e}'
        | '\u{31a0}'..='\u{31bf}'
        | '\u{31f0}'..='\u{31ff}'
        | '\u{1100}'..='\u{11ff}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{e01}'..='\u{eff}'
        | '\u{1000}'..='\u{109f}'
        | '\u{1780}'..='\u{17ff}'
            if character != '・' =>
        {
            Class::Syllable
        }
        // Arrows to miscellaneous symbols (mathematics among them), and the emoji of the second plane.
        '\u{2190}'..='\u{2bff}' | '\u{1f000}'..='\u{1faff}' => Class::Symbol,
        '.' | '_' | '-' | '@' | '/' | ':' | ',' | '+' | '#' | '&' | '=' | '~' | '\'' | '*' | '\\' => {
            Class::Joint
        }
        _ if character.is_alphanumeric() => Class::Letter,
        _ => Class::Break,
    }
}

/// Gathers letters into runs and tells their terms.
pub(super) struct Cutter<'v> {
    visit: &'v mut dyn FnMut(Layer, &str, Range<usize>),
    run: Vec<Letter>,
    class: Class,
    text: String,
}

impl<'v> Cutter<'v> {
    pub(super) fn new(visit: &'v mut dyn FnMut(Layer, &str, Range<usize>)) -> Cutter<'v> {
        Cutter { visit, run: Vec::new(), class: Class::Break, text: String::new() }
    }

    pub(super) fn push(&mut self, letter: Letter) {
        let class = class(letter.character);
        match class {
            Class::Break => self.flush(),
            Class::Symbol => {
                self.flush();
                self.run.push(letter);
                self.term(Layer::Word, 0..1);
                self.term(Layer::Unit, 0..1);
                self.run.clear();
            }
            Class::Joint if self.class == Class::Letter && self.run.len() < MAX_RUN_CHARS => {
                self.run.push(letter);
            }
            Class::Joint => self.flush(),
            Class::Han | Class::Syllable | Class::Letter => {
                if class != self.class || self.run.len() >= MAX_RUN_CHARS {
                    self.flush();
                    self.class = class;
                }
                self.run.push(letter);
            }
        }
    }

    /// Tells the terms of what was gathered.
    pub(super) fn flush(&mut self) {
        match self.class {
            Class::Han => self.flush_han(),
            Class::Syllable => self.flush_syllables(),
            Class::Letter => self.flush_letters(),
            Class::Joint | Class::Symbol | Class::Break => {}
        }
        self.run.clear();
        self.class = Class::Break;
    }

    /// Tells a term that stands for letters of the run, as they are folded.
    fn term(&mut self, layer: Layer, letters: Range<usize>) {
        let Some(letters) = self.run.get(letters) else { return };
        let (Some(first), Some(last)) = (letters.first(), letters.last()) else { return };
        self.text.clear();
        self.text.extend(letters.iter().take(MAX_TERM_CHARS).map(|letter| letter.character));
        (self.visit)(layer, &self.text, first.start..last.end);
    }

    /// As [`Cutter::term`], by its stem.
    fn stemmed(&mut self, letters: Range<usize>) {
        let Some(letters) = self.run.get(letters) else { return };
        let (Some(first), Some(last)) = (letters.first(), letters.last()) else { return };
        self.text.clear();
        self.text.extend(letters.iter().take(MAX_TERM_CHARS).map(|letter| letter.character));
        (self.visit)(Layer::Word, &stem(&self.text), first.start..last.end);
    }

    fn flush_han(&mut self) {
        let run: String = self.run.iter().map(|letter| letter.character).collect();
        let mut lone: Option<usize> = None;
        han_words(&run, |start, end| {
            if end > start + 1 {
                self.term(Layer::Word, start..end);
                return;
            }
            if lone == Some(start) {
                self.term(Layer::Pair, start - 1..end);
            }
            lone = Some(end);
        });
        for at in 0..self.run.len() {
            self.term(Layer::Unit, at..at + 1);
        }
    }

    fn flush_syllables(&mut self) {
        match self.run.len() {
            1 => self.term(Layer::Word, 0..1),
            count => (1..count).for_each(|at| self.term(Layer::Word, at - 1..at + 1)),
        }
        for at in 0..self.run.len() {
            self.term(Layer::Unit, at..at + 1);
        }
    }

    fn flush_letters(&mut self) {
        let pieces = self.pieces();
        let mut joined: Vec<Range<usize>> = Vec::new();
        for piece in &pieces {
            match joined.last_mut() {
                // One mark between them, as in `1.2.3`.
                Some(last) if last.end + 1 == piece.start => last.end = piece.end,
                _ => joined.push(piece.clone()),
            }
            self.term(Layer::Unit, piece.clone());
            self.stemmed(piece.clone());
            self.parts(piece.clone());
        }
        for whole in joined {
            let count =
                pieces.iter().filter(|piece| piece.start >= whole.start && piece.end <= whole.end).count();
            if (2..=MAX_JOINED_PIECES).contains(&count) && whole.len() <= MAX_TERM_CHARS {
                self.term(Layer::Word, whole);
            }
        }
    }

    fn is_letter(&self, at: usize) -> bool {
        self.run.get(at).is_some_and(|letter| class(letter.character) == Class::Letter)
    }

    fn is(&self, at: usize, character: char) -> bool {
        self.run.get(at).is_some_and(|letter| letter.character == character)
    }

    /// The pieces of a run of letters and marks: letters with the apostrophes inside them, and the signs of `C++` and `C#`.
    fn pieces(&self) -> Vec<Range<usize>> {
        let mut pieces = Vec::new();
        let mut at = 0;
        while at < self.run.len() {
            if !self.is_letter(at) {
                at += 1;
                continue;
            }
            let start = at;
            while self.is_letter(at) || (self.is(at, '\'') && self.is_letter(at + 1)) {
                at += 1;
            }
            if self.is(at, '+') && self.is(at + 1, '+') {
                at += 2;
            } else if self.is(at, '#') && !self.is_letter(at + 1) {
                at += 1;
            }
            pieces.push(start..at);
        }
        pieces
    }

    /// Letters and digits of a piece that has both, each by themselves.
    fn parts(&mut self, piece: Range<usize>) {
        let is_digit = |at: usize| self.run.get(at).is_some_and(|letter| letter.character.is_numeric());
        let mut parts: Vec<Range<usize>> = Vec::new();
        for at in piece.clone() {
            match parts.last_mut() {
                Some(last) if is_digit(last.start) == is_digit(at) => last.end = at + 1,
                _ => parts.push(at..at + 1),
            }
        }
        if (2..=MAX_PARTS).contains(&parts.len()) {
            parts.into_iter().for_each(|part| self.stemmed(part));
        }
    }
}
