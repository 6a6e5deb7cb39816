//! Numbers of lists and headings, as Word would print them: counters by list and level, and the pattern of each level.

use crate::xml;
use roxmltree::Node;
use std::collections::{HashMap, HashSet};

/// Levels of a list.
const LEVELS: usize = 9;

/// One level of a list.
#[derive(Clone, Debug, Default)]
struct Level {
    format: String,
    /// `%1.%2`: the numbers of the levels stand for their signs.
    pattern: String,
    start: u32,
    /// All numbers in digits, whatever the formats of their levels.
    in_digits: bool,
}

/// The lists of a document with their counters.
#[derive(Debug, Default)]
pub(super) struct Numbering {
    /// Levels by abstract list.
    lists: HashMap<String, Vec<Level>>,
    /// Abstract list of each numbering id.
    of_id: HashMap<String, String>,
    /// Numbers that a numbering id begins at, by level.
    starts: HashMap<(String, usize), u32>,
    /// Counters by abstract list: lists that share one go on with its numbers.
    counters: HashMap<String, [Option<u32>; LEVELS]>,
    /// Numbering ids whose own start was applied.
    started: HashSet<(String, usize)>,
}

impl Numbering {
    pub(super) fn of(root: Node<'_, '_>) -> Self {
        let mut numbering = Self::default();
        for node in xml::children(root) {
            match xml::name(node) {
                "abstractNum" => numbering.add_list(node),
                "num" => numbering.add_id(node),
                _ => {}
            }
        }
        numbering
    }

    fn add_list(&mut self, node: Node<'_, '_>) {
        let Some(id) = xml::attribute(node, "abstractNumId") else { return };
        let mut levels = vec![Level::default(); LEVELS];
        for level in xml::children(node).filter(|level| xml::name(*level) == "lvl") {
            if let Some(slot) = level_index(level).and_then(|index| levels.get_mut(index)) {
                *slot = read_level(level);
            }
        }
        self.lists.insert(id.to_owned(), levels);
    }

    fn add_id(&mut self, node: Node<'_, '_>) {
        let Some(id) = xml::attribute(node, "numId") else { return };
        let list = xml::child(node, "abstractNumId").and_then(|list| xml::attribute(list, "val"));
        self.of_id.insert(id.to_owned(), list.unwrap_or_default().to_owned());
        for changed in xml::children(node).filter(|changed| xml::name(*changed) == "lvlOverride") {
            let start = xml::child(changed, "startOverride").and_then(|start| xml::attribute(start, "val"));
            let start = start.and_then(|start| start.parse().ok());
            if let (Some(level), Some(start)) = (level_index(changed), start) {
                self.starts.insert((id.to_owned(), level), start);
            }
        }
    }

    /// Counts one paragraph of a list and gives its number or bullet; none if it has neither.
    pub(super) fn next(&mut self, id: &str, level: usize) -> Option<String> {
        // Numbering 0 takes away what the style gives.
        let list = self.of_id.get(id).filter(|_| id != "0")?;
        let levels = self.lists.get(list)?;
        let at = levels.get(level)?;
        let counters = self.counters.entry(list.clone()).or_default();
        let key = (id.to_owned(), level);
        let own_start = self.starts.get(&key).copied().filter(|_| self.started.insert(key));
        if let Some(counter) = counters.get_mut(level) {
            *counter = Some(match (own_start, *counter) {
                (Some(start), _) => start,
                (None, Some(number)) => number.saturating_add(1),
                (None, None) => at.start,
            });
        }
        for deeper in counters.iter_mut().skip(level + 1) {
            *deeper = None;
        }
        match at.format.as_str() {
            "none" => None,
            "bullet" => Some("-".to_owned()),
            _ => Some(filled(at, levels, counters)).filter(|number| !number.is_empty()),
        }
    }
}

fn level_index(node: Node<'_, '_>) -> Option<usize> {
    xml::attribute(node, "ilvl").and_then(|level| level.parse().ok())
}

fn read_level(node: Node<'_, '_>) -> Level {
    let value = |name: &str| xml::child(node, name).and_then(|node| xml::attribute(node, "val"));
    Level {
        format: value("numFmt").unwrap_or("decimal").to_owned(),
        pattern: value("lvlText").unwrap_or_default().to_owned(),
        start: value("start").and_then(|start| start.parse().ok()).unwrap_or(1),
        in_digits: xml::child(node, "isLgl").is_some_and(|legal| !xml::is_off(xml::attribute(legal, "val"))),
    }
}

/// A pattern with its signs replaced by the numbers of their levels.
fn filled(at: &Level, levels: &[Level], counters: &[Option<u32>; LEVELS]) -> String {
    let mut text = String::new();
    let mut rest = at.pattern.chars().peekable();
    while let Some(character) = rest.next() {
        let digit = rest.peek().filter(|_| character == '%').and_then(|digit| digit.to_digit(10));
        let index = digit.and_then(|digit| (digit as usize).checked_sub(1));
        match index.and_then(|index| levels.get(index).zip(counters.get(index))) {
            Some((level, counter)) => {
                rest.next();
                let format = if at.in_digits { "decimal" } else { &level.format };
                text.push_str(&number_as(format, counter.unwrap_or(level.start)));
            }
            None => text.push(character),
        }
    }
    text.trim().to_owned()
}

/// A number in one of Word's formats; plain digits in those that are not known here.
fn number_as(format: &str, number: u32) -> String {
    match format {
        "upperRoman" => roman(number),
        "lowerRoman" => roman(number).to_lowercase(),
        "upperLetter" => letters(number),
        "lowerLetter" => letters(number).to_lowercase(),
        "chineseCounting"
        | "chineseCountingThousand"
        | "taiwaneseCounting"
        | "taiwaneseCountingThousand"
        | "japaneseCounting" => chinese(number),
        "decimalZero" => format!("{number:02}"),
        "decimalEnclosedCircle" | "decimalEnclosedCircleChinese" => circled(number),
        _ => number.to_string(),
    }
}

/// ① to ⑳.
fn circled(number: u32) -> String {
    let circled = |number: u32| char::from_u32('①' as u32 + number - 1).map(String::from);
    match number {
        1..=20 => circled(number).unwrap_or_default(),
        _ => number.to_string(),
    }
}

fn roman(number: u32) -> String {
    const PARTS: [(u32, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    const MOST: u32 = 3999;
    if number > MOST {
        return number.to_string();
    }
    let (mut left, mut text) = (number, String::new());
    for (value, letters) in PARTS {
        while left >= value {
            text.push_str(letters);
            left -= value;
        }
    }
    text
}

/// A to Z, then AA to ZZ, as Word goes on.
fn letters(number: u32) -> String {
    const LETTERS: u32 = 26;
    const MOST_REPEATS: u32 = 30;
    let Some(index) = number.checked_sub(1) else { return number.to_string() };
    let letter = char::from_u32(u32::from(b'A') + index % LETTERS).unwrap_or('A');
    let repeats = index / LETTERS + 1;
    if repeats > MOST_REPEATS { number.to_string() } else { letter.to_string().repeat(repeats as usize) }
}

/// 一, 十, 十一, 二十三, 一百零五; digits from ten thousand on.
fn chinese(number: u32) -> String {
    const DIGITS: [&str; 10] = ["零", "一", "二", "三", "四", "五", "六", "七", "八", "九"];
    const UNITS: [(u32, &str); 4] = [(1000, "千"), (100, "百"), (10, "十"), (1, "")];
    const MOST: u32 = 9999;
    if number == 0 {
        return "零".to_owned();
    }
    if number > MOST {
        return number.to_string();
    }
    let mut text = String::new();
    let mut gap = false;
    for (value, unit) in UNITS {
        let digit = number / value % 10;
        if digit == 0 {
            gap |= !text.is_empty();
            continue;
        }
        if std::mem::take(&mut gap) {
            text.push('零');
        }
        // Ten to nineteen are said without their one.
        if !(digit == 1 && value == 10 && text.is_empty()) {
            text.push_str(DIGITS.get(digit as usize).copied().unwrap_or_default());
        }
        text.push_str(unit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_words() {
        let numbers = [1, 10, 11, 20, 23, 100, 105, 110, 1001, 2010].map(chinese);
        assert_eq!(
            numbers,
            ["一", "十", "十一", "二十", "二十三", "一百", "一百零五", "一百一十", "一千零一", "二千零一十"]
        );
        assert_eq!([1, 4, 9, 14, 1999].map(roman), ["I", "IV", "IX", "XIV", "MCMXCIX"]);
        assert_eq!([1, 26, 27, 53].map(letters), ["A", "Z", "AA", "AAA"]);
        assert_eq!([1, 20, 21].map(circled), ["①", "⑳", "21"]);
    }
}
