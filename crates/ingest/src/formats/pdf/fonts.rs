//! What the characters of a page's fonts are in Unicode, with their widths.
//!
//! A font's own `ToUnicode` map is asked first, then its glyph names (both by `hayro-font`). Many Chinese files have neither:
//! their codes are numbers of characters (CIDs) in one of Adobe's collections, found by the font's encoding (`GBK-EUC-H`,
//! `UniGB-UCS2-H`, `Identity-H`, ...) and turned into Unicode by the collection's table (`Adobe-GB1-UCS2`, ...), which the
//! crate `hayro-cmap` carries.
//!
//! What comes out is text as people write it: radicals and compatibility forms, which fonts often name in place of the
//! character, and ligatures are replaced by the plain characters.

use super::unpack::{NoRoom, Room};
use hayro_cmap::{BfString, CMap, CMapName, CidFamily, load_embedded};
use hayro_font::{Font, FontCache, FontGlyph, FontQuery};
use hayro_syntax::object::{Array, Dict, Name, ObjectIdentifier, Stream};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use unicode_normalization::UnicodeNormalization;

/// Most fonts of a file.
const MAX_FONTS: usize = 20_000;
/// Fonts whose names say that all their characters are equally wide.
const FIXED_NAMES: &[&str] = &["mono", "courier", "typewriter", "cmtt", "consol", "menlo", "fixed", "lmtt"];
/// Flag of a font descriptor.
const FIXED_PITCH: u32 = 1;

/// A font as the interpreter needs it.
pub(super) struct PageFont<'a> {
    font: Font<'a>,
    fallback: Option<Collection>,
    /// Shown characters of codes that were met before.
    known: std::cell::RefCell<HashMap<u32, Option<Rc<str>>>>,
    pub(super) is_fixed: bool,
    pub(super) is_vertical: bool,
    /// Units of one em per unit of the font's widths.
    scale: f64,
}

/// Codes to numbers of a collection, and those to Unicode.
struct Collection {
    encoding: CMap,
    unicode: Rc<CMap>,
}

/// A code of a shown string.
pub(super) struct Code {
    pub(super) code: u32,
    /// Bytes of the string that it takes.
    pub(super) bytes: usize,
    /// In parts of the font size; downwards (negative) where the font is vertical.
    pub(super) advance: f64,
}

impl PageFont<'_> {
    /// The code at the start of `bytes`, which are not empty.
    pub(super) fn next_code(&self, bytes: &[u8]) -> Code {
        let (code, read) = self.font.read_code(bytes, 0);
        let advance = self.font.code_advance(code);
        let advance = if self.is_vertical { advance.y } else { advance.x } * self.scale;
        Code {
            code,
            bytes: read.clamp(1, bytes.len()),
            advance: if advance.is_finite() { advance } else { 0.0 },
        }
    }

    /// The characters of a code; none where nothing says what they are.
    pub(super) fn text(&self, code: u32) -> Option<Rc<str>> {
        if let Some(known) = self.known.borrow().get(&code) {
            return known.clone();
        }
        let text = self.look_up(code);
        self.known.borrow_mut().insert(code, text.clone());
        text
    }

    fn look_up(&self, code: u32) -> Option<Rc<str>> {
        let glyph = self.font.glyph(self.font.map_code(code), code);
        let named = match &glyph {
            FontGlyph::Outline(glyph) => glyph.as_unicode(),
            FontGlyph::Type3(glyph) => glyph.as_unicode(),
        };
        let by_font = named.map(string_of).filter(|text| is_text(text));
        let text = by_font.or_else(|| {
            let collection = self.fallback.as_ref()?;
            let cid = (1..=4).find_map(|bytes| collection.encoding.lookup_cid_code(code, bytes))?;
            collection.unicode.lookup_bf_string(cid).map(string_of).filter(|text| is_text(text))
        })?;
        Some(Rc::from(plain(&text)))
    }
}

/// The fonts of a file, each read once.
pub(super) struct Fonts<'a> {
    cache: FontCache<'a>,
    read: HashMap<ObjectIdentifier, Option<Rc<PageFont<'a>>>>,
    tables: HashMap<CidFamily, Option<Rc<CMap>>>,
}

impl<'a> Fonts<'a> {
    pub(super) fn new() -> Self {
        Self { cache: FontCache::new(), read: HashMap::new(), tables: HashMap::new() }
    }

    /// The font that a dictionary describes; none where it is damaged or too large.
    pub(super) fn font(
        &mut self,
        dict: &Dict<'a>,
        room: &mut Room,
    ) -> Result<Option<Rc<PageFont<'a>>>, NoRoom> {
        let id = dict.obj_id();
        if let Some(known) = id.and_then(|id| self.read.get(&id)) {
            return Ok(known.clone());
        }
        if self.read.len() >= MAX_FONTS {
            return Ok(None);
        }
        let font = if streams_fit(dict, room)? { self.open(dict).map(Rc::new) } else { None };
        if let Some(id) = id {
            self.read.insert(id, font.clone());
        }
        Ok(font)
    }

    fn open(&mut self, dict: &Dict<'a>) -> Option<PageFont<'a>> {
        let resolver: hayro_font::FontResolverFn = Arc::new(|query| match query {
            FontQuery::Standard(font) => Some(font.get_font_data()),
            FontQuery::Fallback(query) => Some(query.pick_standard_font().get_font_data()),
        });
        let tables: hayro_font::CMapResolverFn = Arc::new(load_embedded);
        let font = self.cache.font(dict, &resolver, &tables)?;
        let is_type3 = dict.get::<Name<'_>>("Subtype").is_some_and(|name| name.as_ref() == b"Type3");
        let matrix = dict.get::<[f32; 6]>("FontMatrix").filter(|_| is_type3);
        let scale = matrix.map_or(0.001, |matrix| f64::from(matrix[0]).abs());
        Some(PageFont {
            is_vertical: !font.is_horizontal(),
            is_fixed: is_fixed(dict),
            fallback: self.collection(dict),
            known: std::cell::RefCell::default(),
            font,
            scale: if scale > 0.0 { scale } else { 0.001 },
        })
    }

    /// The collection of a composite font without a map of its own.
    fn collection(&mut self, dict: &Dict<'a>) -> Option<Collection> {
        if dict.get::<Name<'_>>("Subtype")?.as_ref() != b"Type0" {
            return None;
        }
        let encoding = if let Some(name) = dict.get::<Name<'_>>("Encoding") {
            match name.as_ref() {
                b"Identity-H" => CMap::identity_h(),
                b"Identity-V" => CMap::identity_v(),
                name => CMap::parse(load_embedded(CMapName::from_bytes(name))?, load_embedded)?,
            }
        } else {
            let stream = dict.get::<Stream<'_>>("Encoding")?;
            CMap::parse(&stream.decoded_data().ok()?, load_embedded)?
        };
        let stated = descendant(dict).and_then(|font| {
            let system = font.get::<Dict<'_>>("CIDSystemInfo")?;
            let of = |key: &str| system.get::<hayro_syntax::object::String<'_>>(key);
            Some(CidFamily::from_registry_ordering(of("Registry")?.as_bytes(), of("Ordering")?.as_bytes()))
        });
        let by_encoding = encoding.metadata().character_collection.as_ref().map(|of| of.family.clone());
        let family =
            [by_encoding, stated].into_iter().flatten().find(|family| family.ucs2_cmap().is_some())?;
        let unicode = self
            .tables
            .entry(family.clone())
            .or_insert_with(|| CMap::parse(load_embedded(family.ucs2_cmap()?)?, load_embedded).map(Rc::new));
        Some(Collection { encoding, unicode: unicode.clone()? })
    }
}

/// Measures every stream that is read with a font.
fn streams_fit(dict: &Dict<'_>, room: &mut Room) -> Result<bool, NoRoom> {
    let below = descendant(dict);
    for font in [Some(dict), below.as_ref()].into_iter().flatten() {
        let descriptor = font.get::<Dict<'_>>("FontDescriptor");
        let of_font = ["ToUnicode", "Encoding", "CIDToGIDMap"].map(|key| font.get::<Stream<'_>>(key));
        let of_program = ["FontFile", "FontFile2", "FontFile3"]
            .map(|key| descriptor.as_ref().and_then(|descriptor| descriptor.get::<Stream<'_>>(key)));
        for stream in of_font.into_iter().chain(of_program).flatten() {
            if !room.fits(&stream)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn descendant<'a>(dict: &Dict<'a>) -> Option<Dict<'a>> {
    dict.get::<Array<'_>>("DescendantFonts")?.iter::<Dict<'_>>().next()
}

fn is_fixed(dict: &Dict<'_>) -> bool {
    let name = dict.get::<Name<'_>>("BaseFont").map(|name| String::from_utf8_lossy(&name).to_lowercase());
    if name.is_some_and(|name| FIXED_NAMES.iter().any(|part| name.contains(part))) {
        return true;
    }
    let below = descendant(dict);
    let descriptor = below.as_ref().unwrap_or(dict).get::<Dict<'_>>("FontDescriptor");
    descriptor
        .and_then(|descriptor| descriptor.get::<u32>("Flags"))
        .is_some_and(|flags| flags & FIXED_PITCH != 0)
}

fn string_of(text: BfString) -> String {
    match text {
        BfString::Char(character) => character.into(),
        BfString::String(text) => text,
    }
}

/// Whether a map's answer is text: private characters and control codes are numbers of glyphs.
fn is_text(text: &str) -> bool {
    let stands_for_nothing = |c: char| {
        c.is_control() && !c.is_whitespace() || c == '\u{FFFD}' || matches!(c, '\u{F0000}'..='\u{10FFFF}')
    };
    !text.is_empty()
        && !text.chars().any(stands_for_nothing)
        && !text.chars().all(|c| matches!(c, '\u{E000}'..='\u{F8FF}') && bullet_of(c).is_none())
}

/// Bullets of the fonts "Symbol" and "Wingdings", whose characters are private ones.
fn bullet_of(character: char) -> Option<char> {
    Some(match character {
        '\u{F0B7}' | '\u{F06C}' | '\u{F09F}' => '•',
        '\u{F0A7}' | '\u{F06E}' => '■',
        '\u{F0D8}' | '\u{F0E8}' => '➢',
        '\u{F0FC}' => '✓',
        '\u{F076}' | '\u{F075}' => '❖',
        _ => return None,
    })
}

/// Radicals of simplified characters, and those that Unicode names another form for.
const RADICALS: &[(char, char)] = &[
    ('⼾', '户'),
    ('⺠', '民'),
    ('⺟', '母'),
    ('⻁', '虎'),
    ('⻄', '西'),
    ('⻅', '见'),
    ('⻆', '角'),
    ('⻉', '贝'),
    ('⻋', '车'),
    ('⻓', '长'),
    ('⻔', '门'),
    ('⻘', '青'),
    ('⻙', '韦'),
    ('⻚', '页'),
    ('⻛', '风'),
    ('⻜', '飞'),
    ('⻝', '食'),
    ('⻢', '马'),
    ('⻣', '骨'),
    ('⻤', '鬼'),
    ('⻥', '鱼'),
    ('⻦', '鸟'),
    ('⻨', '麦'),
    ('⻩', '黄'),
    ('⻬', '齐'),
    ('⻮', '齿'),
    ('⻰', '龙'),
    ('⻳', '龟'),
];

/// Text with radicals, compatibility forms and ligatures as the characters they stand for.
fn plain(text: &str) -> String {
    let stands_for_others = |c: char| matches!(c, '\u{2E80}'..='\u{2FD5}' | '\u{F900}'..='\u{FAFF}' | '\u{FB00}'..='\u{FB06}' | '\u{2F800}'..='\u{2FA1F}');
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            c if RADICALS.iter().any(|(radical, _)| *radical == c) => {
                plain.extend(
                    RADICALS.iter().find(|(radical, _)| *radical == c).map(|(_, character)| character),
                );
            }
            c if stands_for_others(c) => plain.extend(std::iter::once(c).nfkc()),
            '\u{A0}' | '\t' | '\r' | '\n' => plain.push(' '),
            c => plain.push(bullet_of(c).unwrap_or(c)),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_those_that_people_write() {
        assert_eq!(plain("⽤⼾⻓⻚ﬁle 豈\u{A0}\u{F0B7}"), "用户长页file 豈 •");
        assert!(is_text("向") && is_text(" ") && is_text("\u{F0B7}"));
        assert!(!is_text("\u{E123}") && !is_text("\u{3}") && !is_text("\u{FFFD}") && !is_text(""));
    }

    #[test]
    fn collections_know_chinese() {
        for (encoding, code, shown) in [
            ("UniGB-UCS2-H", 0x5411, "向"),
            ("GBK-EUC-H", 0xCFF2, "向"),
            ("GB-EUC-H", 0xCFF2, "向"),
            ("ETen-B5-H", 0xA656, "向"),
        ] {
            let map =
                CMap::parse(load_embedded(CMapName::from_bytes(encoding.as_bytes())).unwrap(), load_embedded);
            let map = map.unwrap();
            let cid = map.lookup_cid_code(code, 2).unwrap();
            let family = map.metadata().character_collection.clone().unwrap().family;
            let table =
                CMap::parse(load_embedded(family.ucs2_cmap().unwrap()).unwrap(), load_embedded).unwrap();
            assert_eq!(table.lookup_bf_string(cid).map(string_of).as_deref(), Some(shown), "{encoding}");
        }
    }
}
