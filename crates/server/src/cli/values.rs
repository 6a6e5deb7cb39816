//! Values on the command line that clap does not know: index specs, filters, `k=v` pairs, kinds, splits, small files.

use super::Failure;
use bilin_engine::eval::{EvalSetting, Measure};
use bilin_engine::{Filter, IndexSpec, Kind, LongTexts, Metric, Prompt, Region, Split};
use clap::ValueEnum;
use serde_json::Value;
use std::io::Read;
use std::path::Path;

/// Largest `-k`.
pub(super) const MAX_K: u64 = 1_000;

/// An index spec string.
pub(super) fn index_spec(text: &str) -> Result<IndexSpec, String> {
    text.parse::<IndexSpec>().map_err(|error| error.to_string())
}

/// A share above 0, at most 1.
pub(super) fn recall(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(recall) if recall > 0.0 && recall <= 1.0 => Ok(recall),
        _ => Err("expected a number above 0, at most 1, such as 0.95".to_owned()),
    }
}

/// A number of bytes, with or without a unit: `1500000`, `512MB`, `2GiB`.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "kib" | "k" => 1024.0,
        "mib" | "m" => 1024.0 * 1024.0,
        "gib" | "g" => 1024.0 * 1024.0 * 1024.0,
        _ => return Err("expected a number of bytes, such as 1500000, 512MB or 2GiB".to_owned()),
    };
    match number.parse::<f64>() {
        Ok(number) if number * factor >= 1.0 && number * factor < u64::MAX as f64 => {
            Ok((number * factor) as u64)
        }
        _ => Err("expected a number of bytes above 0, such as 1500000, 512MB or 2GiB".to_owned()),
    }
}

/// A time in UTC, as seconds since 1970.
pub(super) fn time(text: &str) -> Result<u64, String> {
    let expected = "expected a time in UTC, such as 2026-01-31, 2026-01-31T12:00 or 20260131T120000Z";
    bilin_engine::parse_utc(text).ok_or_else(|| expected.to_owned())
}

/// `key=a,b`: a part of a setting and its values.
pub(super) fn axis(text: &str) -> Result<(String, Vec<String>), String> {
    let told = || format!("expected KEY=VALUE,VALUE, such as k=3,10, received {text:?}");
    let (key, list) = text.split_once('=').ok_or_else(told)?;
    let values: Vec<String> =
        list.split(',').map(|value| value.trim().to_owned()).filter(|value| !value.is_empty()).collect();
    if key.trim().is_empty() || values.is_empty() {
        return Err(told());
    }
    let mut probe = EvalSetting::new("probe");
    for value in &values {
        probe.set(key.trim(), value)?;
    }
    Ok((key.trim().to_owned(), values))
}

/// `measure=share`: what a figure must reach.
pub(super) fn floor(text: &str) -> Result<(Measure, f64), String> {
    let told = || format!("expected MEASURE=SHARE, such as hit@1=0.8, received {text:?}");
    let (measure, share) = text.split_once('=').ok_or_else(told)?;
    let share = share.trim().parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share));
    Ok((measure.parse()?, share.ok_or_else(told)?))
}

/// `left,top,width,height` in fractions of a picture's sides.
pub(super) fn region(text: &str) -> Result<Region, String> {
    let parts: Vec<f32> = text.split(',').filter_map(|part| part.trim().parse().ok()).collect();
    match parts.as_slice() {
        &[left, top, width, height] if text.split(',').count() == 4 => {
            Ok(Region { left, top, width, height })
        }
        _ => {
            Err("expected LEFT,TOP,WIDTH,HEIGHT in fractions of the picture, such as 0,0,0.5,0.5".to_owned())
        }
    }
}

/// A filter expression.
pub(super) fn filter(text: &str) -> Result<Filter, String> {
    text.parse::<Filter>().map_err(|error| error.to_string())
}

/// `key=value`; numbers, `true` and `false` keep their type, quotes force text.
pub(super) fn pair(text: &str) -> Result<(String, Value), String> {
    let Some((key, value)) = text.split_once('=') else {
        return Err(format!("expected KEY=VALUE, such as author=Li, received {text:?}"));
    };
    let key = key.trim();
    if key.is_empty() {
        return Err("the key before = is empty".to_owned());
    }
    let value = match serde_json::from_str::<Value>(value) {
        Ok(scalar @ (Value::Number(_) | Value::Bool(_) | Value::String(_))) => scalar,
        _ => Value::String(value.to_owned()),
    };
    Ok((key.to_owned(), value))
}

/// A file, refused before it is read when it is longer than `max_bytes`.
pub(super) fn read_bounded(path: &Path, max_bytes: u64) -> Result<Vec<u8>, Failure> {
    let shown = path.display().to_string();
    let cannot = |error: std::io::Error| {
        let failure = Failure::mendable(format!("cannot read {shown:?}: {error}"));
        match error.kind() {
            std::io::ErrorKind::NotFound => failure.with_hint("check the spelling and the working folder"),
            _ => failure,
        }
    };
    let metadata = path.metadata().map_err(cannot)?;
    if metadata.is_dir() {
        return Err(Failure::mendable(format!("{shown:?} is a folder")).with_hint("name one file"));
    }
    let file = std::fs::File::open(path).map_err(cannot)?;
    let mut bytes = Vec::new();
    // One byte more than allowed: files that grow and devices have no honest length.
    file.take(max_bytes + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > max_bytes {
        let length = metadata.len().max(bytes.len() as u64);
        return Err(Failure::mendable(format!(
            "{shown:?} is {length} bytes long, at most {max_bytes} are read"
        ))
        .with_hint("make it smaller"));
    }
    Ok(bytes)
}

/// `--kind` of files.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum FileKind {
    /// Documents
    Text,
    /// Pictures
    Image,
}

impl From<FileKind> for Kind {
    fn from(kind: FileKind) -> Kind {
        match kind {
            FileKind::Text => Kind::Text,
            FileKind::Image => Kind::Image,
        }
    }
}

/// `--split`.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum Cut {
    /// Sentences for plain text, passages for Markdown
    #[default]
    Auto,
    /// One sentence per item
    Sentence,
    /// Neighbouring sentences of one section
    Passage,
}

impl From<Cut> for Split {
    fn from(cut: Cut) -> Split {
        match cut {
            Cut::Auto => Split::Auto,
            Cut::Sentence => Split::Sentence,
            Cut::Passage => Split::Passage,
        }
    }
}

/// `--prompt`.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum Side {
    /// What is searched for
    Query,
    /// What is searched
    #[default]
    Document,
    /// The text as it is
    None,
}

impl From<Side> for Prompt {
    fn from(side: Side) -> Prompt {
        match side {
            Side::Query => Prompt::Query,
            Side::Document => Prompt::Document,
            Side::None => Prompt::None,
        }
    }
}

/// `--long-texts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Long {
    /// Only the beginning is read
    Truncate,
    /// All is read, in windows whose vectors are averaged
    Window,
}

impl From<Long> for LongTexts {
    fn from(long: Long) -> LongTexts {
        match long {
            Long::Truncate => LongTexts::Truncate,
            Long::Window => LongTexts::Window,
        }
    }
}

/// `--metric` of a benchmark.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum BenchMetric {
    /// Squared Euclidean distance
    #[default]
    L2,
    /// Inner product
    Ip,
}

impl From<BenchMetric> for Metric {
    fn from(metric: BenchMetric) -> Metric {
        match metric {
            BenchMetric::L2 => Metric::L2,
            BenchMetric::Ip => Metric::InnerProduct,
        }
    }
}

/// `--metric` of a collection.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum MetricWord {
    /// Squared Euclidean distance
    L2,
    /// Inner product
    Ip,
    /// Cosine
    Cosine,
}

impl From<MetricWord> for Metric {
    fn from(metric: MetricWord) -> Metric {
        match metric {
            MetricWord::L2 => Metric::L2,
            MetricWord::Ip => Metric::InnerProduct,
            MetricWord::Cosine => Metric::Cosine,
        }
    }
}

/// The word for a kind of collection.
pub(super) fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::Image => "image",
        Kind::Vector => "vector",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pairs_keep_numbers_and_switches() {
        let value = |text| pair(text).unwrap().1;
        assert_eq!(value("price=9.5"), json!(9.5));
        assert_eq!(value("new=true"), json!(true));
        assert_eq!(value("code=\"007\""), json!("007"));
        assert_eq!(value("code=007"), json!("007"));
        assert_eq!(value("author=李白"), json!("李白"));
        assert_eq!(value("formula=a=b"), json!("a=b"));
        assert_eq!(value("list=[1]"), json!("[1]"));
        assert!(pair("author").is_err());
        assert!(pair("=x").is_err());
    }
}
