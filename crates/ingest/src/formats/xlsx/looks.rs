//! How numbers look in their cells: the number formats of a workbook's styles.
//!
//! Understood are fixed decimals, groups of thousands, percentages, what is written around the number (`¥`, `元`), dates, times
//! and durations. Dates are shown as ISO 8601 has them (`2026-01-15 09:30`), whatever order the cell has: one way to be found.
//! Other formats (fractions, exponents, conditions) show the number as it is.

use crate::error::IngestError;
use crate::limits::Limits;
use crate::xml;
use std::collections::HashMap;

/// Most decimals that a format can ask for.
const MAX_DECIMALS: usize = 15;
/// Days that a date can have: to the end of the year 9999.
const MAX_DAYS: f64 = 2_958_466.0;
const DAY_SECONDS: f64 = 86_400.0;

/// How the numbers of a style look.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Look {
    /// As the number is written.
    Plain,
    Number(NumberFormat),
    /// A day, a time of day, or both.
    Date {
        day: bool,
        time: bool,
    },
    /// Hours that go on beyond a day.
    Duration,
}

/// Decimals, groups and what is written around a number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct NumberFormat {
    before: String,
    after: String,
    decimals: usize,
    grouped: bool,
    percent: bool,
}

/// The looks of a workbook's cell styles.
#[derive(Debug, Default)]
pub(super) struct Looks {
    by_style: Vec<Look>,
    /// Days are counted from 1904, as the first Macintosh did.
    from_1904: bool,
}

/// Reads the part with the styles, if there is one.
pub(super) fn of_styles(text: Option<&str>, from_1904: bool, limits: &Limits) -> Result<Looks, IngestError> {
    let Some(text) = text else { return Ok(Looks { by_style: Vec::new(), from_1904 }) };
    let tree = xml::parse(text, super::FORMAT, limits)?;
    let root = tree.root_element();
    let mut codes: HashMap<&str, &str> = HashMap::new();
    for format in xml::child(root, "numFmts").into_iter().flat_map(xml::children) {
        if let (Some(id), Some(code)) =
            (xml::attribute(format, "numFmtId"), xml::attribute(format, "formatCode"))
        {
            codes.insert(id, code);
        }
    }
    let styles = xml::child(root, "cellXfs").into_iter().flat_map(xml::children);
    let look_of = |style| {
        let id = xml::attribute(style, "numFmtId").unwrap_or_default();
        codes.get(id).map_or_else(|| built_in(id), |code| Look::of_code(code))
    };
    Ok(Looks { by_style: styles.map(look_of).collect(), from_1904 })
}

/// The formats that are known by their number (ECMA-376 part 1, 18.8.30), those of East Asia among them.
fn built_in(id: &str) -> Look {
    match id.parse::<u32>().unwrap_or(0) {
        1 => Look::of_code("0"),
        2 => Look::of_code("0.00"),
        3 | 37 | 38 => Look::of_code("#,##0"),
        4 | 39 | 40 => Look::of_code("#,##0.00"),
        9 => Look::of_code("0%"),
        10 => Look::of_code("0.00%"),
        14..=17 | 27..=31 | 36 | 50..=54 | 57 | 58 => Look::Date { day: true, time: false },
        18..=21 | 32..=35 | 45 | 47 | 55 | 56 => Look::Date { day: false, time: true },
        22 => Look::Date { day: true, time: true },
        46 => Look::Duration,
        _ => Look::Plain,
    }
}

impl Looks {
    /// What a number of this style looks like, and whether that is a date or a time; none if it is as it is written.
    pub(super) fn show(&self, style: usize, number: f64) -> Option<(String, bool)> {
        match self.by_style.get(style)? {
            Look::Plain => None,
            Look::Number(format) => Some((format.show(number), false)),
            Look::Date { day, time } => self.date(number, *day, *time).map(|date| (date, true)),
            Look::Duration => {
                let seconds = (number.abs() * DAY_SECONDS).round();
                let seconds = (seconds <= MAX_DAYS * DAY_SECONDS).then_some(seconds as u64)?;
                let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
                Some((format!("{hours}:{minutes:02}:{:02}", seconds % 60), true))
            }
        }
    }

    /// Days since the last day of 1899 (or since 1904) as a date, their fraction as a time.
    fn date(&self, number: f64, day: bool, time: bool) -> Option<String> {
        if !(0.0..MAX_DAYS).contains(&number) {
            return None;
        }
        // The time is rounded to its second first: it may be the next day then.
        let seconds = (number * DAY_SECONDS).round() as i64;
        let (days, seconds) = (seconds / DAY_SECONDS as i64, seconds % DAY_SECONDS as i64);
        let mut shown = String::new();
        if day {
            let (year, month, day) = civil(self.since_1970(days));
            shown = format!("{year:04}-{month:02}-{day:02}");
        }
        if time {
            if day {
                shown.push(' ');
            }
            shown += &format!("{:02}:{:02}", seconds / 3600, seconds / 60 % 60);
            if seconds % 60 != 0 {
                shown += &format!(":{:02}", seconds % 60);
            }
        }
        Some(shown)
    }

    fn since_1970(&self, days: i64) -> i64 {
        const FROM_1900: i64 = 25_569;
        const FROM_1904: i64 = 24_107;
        /// Excel believes that there was a 29 February 1900: before it, days count one less.
        const LEAP_BUG: i64 = 60;
        match (self.from_1904, days < LEAP_BUG) {
            (true, _) => days - FROM_1904,
            (false, true) => days + 1 - FROM_1900,
            (false, false) => days - FROM_1900,
        }
    }
}

/// Year, month and day of a day since 1970: years are counted from March, so that the leap day is the last one, in eras of 400.
fn civil(days: i64) -> (i64, i64, i64) {
    const ERA_DAYS: i64 = 146_097;
    const FROM_MARCH_0: i64 = 719_468;
    let days = days + FROM_MARCH_0;
    let era = days.div_euclid(ERA_DAYS);
    let of_era = days.rem_euclid(ERA_DAYS);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

impl Look {
    fn of_code(code: &str) -> Self {
        let code = code.split(';').next().unwrap_or_default();
        if code.eq_ignore_ascii_case("general") || code.ends_with("通用格式") {
            return Self::Plain;
        }
        Self::date_of_code(code)
            .or_else(|| NumberFormat::of_code(code).map(Self::Number))
            .unwrap_or(Self::Plain)
    }

    /// A date, time or duration, by the letters that stand outside of quotes and brackets.
    fn date_of_code(code: &str) -> Option<Self> {
        let (mut day, mut time, mut minutes_or_months) = (false, false, false);
        let mut characters = code.chars();
        while let Some(character) = characters.next() {
            match character.to_ascii_lowercase() {
                'y' | 'd' | '年' | '月' | '日' => day = true,
                'h' | 's' | '时' | '時' | '分' | '秒' => time = true,
                'm' => minutes_or_months = true,
                // An exponent, or a number after all.
                'e' | '0' | '#' if !time && !day => return None,
                '"' => drop(characters.by_ref().take_while(|next| *next != '"').last()),
                '\\' | '_' | '*' => drop(characters.next()),
                '[' => {
                    let bracket: String = characters.by_ref().take_while(|next| *next != ']').collect();
                    let is_running =
                        !bracket.is_empty() && bracket.bytes().all(|letter| b"hmsHMS".contains(&letter));
                    if is_running {
                        return Some(Self::Duration);
                    }
                }
                _ => {}
            }
        }
        day |= minutes_or_months && !time;
        (day || time).then_some(Self::Date { day, time })
    }
}

impl NumberFormat {
    /// Reads a format code; none if it is not one of the understood kinds.
    fn of_code(code: &str) -> Option<Self> {
        let mut format = Self::default();
        let mut digits = 0;
        let mut in_decimals = false;
        let mut characters = code.chars();
        while let Some(character) = characters.next() {
            match character {
                '0' | '#' => {
                    digits += 1;
                    format.decimals += usize::from(in_decimals);
                }
                '.' if digits > 0 && !in_decimals => in_decimals = true,
                ',' => format.grouped = true,
                '%' => {
                    format.percent = true;
                    format.after.push('%');
                }
                '"' => {
                    let literal: String = characters.by_ref().take_while(|next| *next != '"').collect();
                    format.literal(digits, &literal);
                }
                '\\' => format.literal(digits, &characters.next().map(String::from).unwrap_or_default()),
                // The width of a character, or a filling: nothing to read.
                '_' | '*' => drop(characters.next()),
                '[' => {
                    // `[$¥-804]` is a currency; colours and conditions are not shown.
                    let bracket: String = characters.by_ref().take_while(|next| *next != ']').collect();
                    match bracket.strip_prefix('$') {
                        Some(currency) => {
                            format.literal(digits, currency.split('-').next().unwrap_or_default())
                        }
                        None if bracket.starts_with(['<', '>', '=']) => return None,
                        None => {}
                    }
                }
                '¥' | '$' | '€' | '£' | '-' | '+' | '(' | ')' | ' ' => {
                    format.literal(digits, character.encode_utf8(&mut [0; 4]));
                }
                _ => return None,
            }
        }
        (digits > 0 && format.decimals <= MAX_DECIMALS).then_some(format)
    }

    fn literal(&mut self, digits: usize, text: &str) {
        let side = if digits == 0 { &mut self.before } else { &mut self.after };
        side.push_str(text);
    }

    /// A number as its cell shows it.
    fn show(&self, number: f64) -> String {
        let number = if self.percent { number * 100.0 } else { number };
        let digits = format!("{:.*}", self.decimals, number.abs());
        let (whole, decimals) = digits.split_once('.').unwrap_or((&digits, ""));
        let mut shown = String::new();
        // A number that rounds to nothing has no sign.
        if number < 0.0 && digits.bytes().any(|digit| (b'1'..=b'9').contains(&digit)) {
            shown.push('-');
        }
        shown.push_str(&self.before);
        for (position, digit) in whole.chars().enumerate() {
            if self.grouped && position > 0 && (whole.len() - position) % 3 == 0 {
                shown.push(',');
            }
            shown.push(digit);
        }
        if !decimals.is_empty() {
            shown.push('.');
            shown.push_str(decimals);
        }
        shown.push_str(&self.after);
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_look_as_in_their_cells() {
        let shown = |code: &str, number: f64| {
            let looks = Looks { by_style: vec![Look::of_code(code)], from_1904: false };
            looks.show(0, number).map(|(look, _)| look)
        };
        for (code, number, look) in [
            ("0%", 0.856, "86%"),
            ("0.00", 88.5, "88.50"),
            ("#,##0.00_ ;[Red]-#,##0.00", 1_234_567.5, "1,234,567.50"),
            ("[$¥-804]#,##0", -1200.0, "-¥1,200"),
            ("0\"元\"", 12.0, "12元"),
            ("0", -0.2, "0"),
            ("yyyy\"年\"m\"月\"d\"日\"", 46_037.0, "2026-01-15"),
            ("m/d/yy h:mm", 46_037.395_833_333, "2026-01-15 09:30"),
            ("h:mm AM/PM", 0.75, "18:00"),
            ("mm:ss", 0.000_1, "00:00:09"),
            ("[h]:mm", 1.5, "36:00:00"),
            ("[$-804]yyyy/m/d;@", 1.0, "1900-01-01"),
            ("d-mmm", 61.0, "1900-03-01"),
            ("yyyy-mm-dd hh:mm", 45_291.999_999_9, "2024-01-01 00:00"),
        ] {
            assert_eq!(shown(code, number).as_deref(), Some(look), "{code} {number}");
        }
        for code in ["General", "G/通用格式", "# ?/?", "0.00E+00", "@"] {
            assert_eq!(shown(code, 0.5), None, "{code}");
        }
        assert_eq!(shown("yyyy", 1e300), None);
        let macintosh = Looks { by_style: vec![built_in("14")], from_1904: true };
        assert_eq!(macintosh.show(0, 0.0), Some(("1904-01-01".into(), true)));
    }
}
