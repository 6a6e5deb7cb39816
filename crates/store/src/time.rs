//! Times as people read them: `2026-01-31T12:00:00Z`, and `20260131T120000Z` for names of files.
//!
//! Civil dates from days by Howard Hinnant's algorithms (<https://howardhinnant.github.io/date_algorithms.html>).

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970 by the system's clock.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// `2026-01-31T12:00:00Z`.
pub(crate) fn utc(unix_s: u64) -> String {
    let [year, month, day, hour, minute, second] = civil(unix_s);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// `20260131T120000Z`: sorts by time, and every file system takes it.
pub fn compact(unix_s: u64) -> String {
    let [year, month, day, hour, minute, second] = civil(unix_s);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// The inverse of [`compact`]; `None` for anything else.
pub(crate) fn from_compact(text: &str) -> Option<u64> {
    let unix_s = from_digits(text, &['T', 'Z'])?;
    (compact(unix_s) == text).then_some(unix_s)
}

/// Reads a time as people write it: `2026-01-31`, `2026-01-31T12:00`, `2026-01-31T12:00:00Z`, `20260131T120000Z`. A date
/// alone is the end of that day, since "at" a day means all of it.
pub fn parse_utc(text: &str) -> Option<u64> {
    if !text.contains(['T', ' ']) {
        return from_digits(text, &['-']).map(|start| start + 86_399);
    }
    from_digits(text, &['-', ':', 'T', 'Z', ' '])
}

fn from_digits(text: &str, marks: &[char]) -> Option<u64> {
    if !text.chars().all(|c| c.is_ascii_digit() || marks.contains(&c)) {
        return None;
    }
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    if ![8, 12, 14].contains(&digits.len()) {
        return None;
    }
    let digits = format!("{digits:0<14}");
    let field = |from: usize, to: usize| digits[from..to].parse::<u64>().ok();
    let (year, month, day) = (field(0, 4)?, field(4, 6)?, field(6, 8)?);
    let (hour, minute, second) = (field(8, 10)?, field(10, 12)?, field(12, 14)?);
    let is_possible = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    is_possible.then(|| days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil(unix_s: u64) -> [u64; 6] {
    let (days, second) = (unix_s / 86_400, unix_s % 86_400);
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    [year, month, day, second / 3600, second / 60 % 60, second % 60]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_civil() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(utc(1_798_761_599), "2026-12-31T23:59:59Z");
        assert_eq!(compact(951_827_696), "20000229T123456Z");
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        assert_eq!(parse_utc("2000-02-29T12:34:56Z"), Some(951_827_696));
        assert_eq!(parse_utc("20000229T123456Z"), Some(951_827_696));
        assert_eq!(parse_utc("2000-02-29 12:34"), Some(951_827_696 - 56));
        assert_eq!(parse_utc("2000-02-29").map(utc).unwrap(), "2000-02-29T23:59:59Z");
        for wrong in ["", "yesterday", "2000-13-01", "2000-02-29T25:00", "1969-01-01", "2000-02"] {
            assert_eq!(parse_utc(wrong), None, "{wrong}");
        }
        assert_eq!(from_compact("20000230T000000Z"), None, "there was no such day");
        assert_eq!(from_compact("manifest.json"), None);
    }

    proptest! {
        #[test]
        fn compact_times_round_trip(unix_s in 0_u64..253_402_300_799) {
            prop_assert_eq!(from_compact(&compact(unix_s)), Some(unix_s));
            prop_assert_eq!(parse_utc(&utc(unix_s)), Some(unix_s));
        }
    }
}
