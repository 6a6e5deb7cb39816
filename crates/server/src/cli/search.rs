//! `bilin search`: by text, picture, vector, or what is like an item that is inside.

use super::values::{self, MAX_K};
use super::{Context, Exit, Failure};
use crate::printer::{BOLD, DIM, HIT, Printer, excerpt};
use crate::terminal::{self, PictureFace, PictureWish, picture_face};
use bilin_engine::{
    Alike, Answer, Engine, Filter, Found, Kind, Metadata, Mode, Per, QUERY_TRUNCATED, Query, RERANK_BUDGET,
    Region, Snippet, Target, npy,
};
use clap::{ArgGroup, Args};
use serde::Serialize;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Longest vector file that is read, bytes.
const MAX_VECTOR_FILE_BYTES: u64 = 4 << 20;
/// Lines of a passage shown to people; `--json` gives all of it.
const SHOWN_LINES: usize = 6;
/// Where text begins: after rank and score.
const INDENT: usize = 12;

/// Exit code 1 when nothing is found.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("target").required(true).multiple(true).args(["query", "image", "like", "vector"])))]
#[command(group(ArgGroup::new("examples").multiple(true).args(["query", "image", "like"]).conflicts_with("vector")))]
pub(super) struct Search {
    /// Collection
    collection: String,
    /// What to look for, in words; beside --image or --like one more example, where the model reads words and pictures
    query: Option<String>,
    /// What to look for, as a picture; may be repeated, and stand beside --like: the mean of all counts
    #[arg(long, value_name = "FILE")]
    image: Vec<PathBuf>,
    /// What to look for, as the id of a document that is inside; may be repeated
    #[arg(long, value_name = "ID")]
    like: Vec<String>,
    /// What results should not be like, as the id of a document that is inside; may be repeated
    #[arg(long, value_name = "ID", requires = "examples")]
    unlike: Vec<String>,
    /// What results should not be like, as a picture; may be repeated
    #[arg(long, value_name = "FILE", requires = "examples")]
    unlike_image: Vec<PathBuf>,
    /// The part of the one --image that counts: left, top, width and height in fractions, such as 0,0,0.5,0.5
    #[arg(long, value_name = "L,T,W,H", requires = "image", value_parser = values::region, allow_hyphen_values = true)]
    region: Option<Region>,
    /// What to look for, as numbers: a .npy or .json file, or [1, 2, ...] itself
    #[arg(long, value_name = "FILE", allow_hyphen_values = true, conflicts_with = "query")]
    vector: Option<String>,
    /// How pictures are shown on a terminal; never in a pipe or with --json [default: terminal.pictures]
    #[arg(long, value_enum, value_name = "HOW")]
    pub(super) pictures: Option<PictureWish>,
    /// How many answers
    #[arg(short = 'k', long = "top-k", default_value_t = 3, value_name = "K", allow_negative_numbers = true,
          value_parser = clap::value_parser!(u64).range(1..=MAX_K))]
    k: u64,
    /// Only items whose metadata fits, such as 'category = "birds" AND price < 10'
    #[arg(long, value_name = "EXPR", value_parser = values::filter)]
    filter: Option<Filter>,
    /// Search effort: lists (IVF) or candidates (HNSW) to visit [default: as calibrated]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    effort: Option<u32>,
    /// How candidates are found: dense (by meaning), lexical (by words) or hybrid (by both) [default: as configured]
    #[arg(long, value_name = "MODE")]
    mode: Option<Mode>,
    /// What counts as one answer: item, section or document, of which the best item is shown
    #[arg(long, value_name = "WHAT", default_value_t = Per::Item)]
    per: Per,
    /// Put the best found in order by a cross-encoder
    #[arg(long)]
    rerank: bool,
    /// The cross-encoder: a folder, or the name of one that was pulled; implies --rerank [default: rerank.model]
    #[arg(long, value_name = "DIR")]
    pub(super) rerank_model: Option<String>,
}

/// The line of `--json`.
#[derive(Serialize)]
struct Record<'a> {
    collection: &'a str,
    query: Option<&'a str>,
    top_k: usize,
    count: usize,
    results: Vec<FoundRecord<'a>>,
    mode: &'static str,
    degraded: &'a [String],
    reranked: Option<RerankedRecord>,
    seq: u64,
    timings_ms: TimingsRecord,
}

#[derive(Serialize)]
struct RerankedRecord {
    candidates: usize,
    scored: usize,
}

#[derive(Serialize)]
struct FoundRecord<'a> {
    rank: usize,
    id: &'a str,
    ordinal: u32,
    score: f32,
    similarity: f32,
    l2_distance: f32,
    reranked: Option<f32>,
    text: Option<&'a str>,
    metadata: &'a Metadata,
    lexical: Option<f32>,
    snippet: Option<SnippetRecord<'a>>,
}

#[derive(Serialize)]
struct SnippetRecord<'a> {
    text: &'a str,
    /// Begin and end in characters of `text`.
    highlights: Vec<[usize; 2]>,
}

#[derive(Serialize)]
struct TimingsRecord {
    encode: f64,
    search: f64,
    fetch: f64,
    rerank: f64,
    total: f64,
}

pub(super) fn run(args: &Search, context: &Context) -> Result<Exit, Failure> {
    let most = context.config.engine.picture_limits.max_bytes as u64;
    let read = |files: &[PathBuf]| -> Result<Vec<Vec<u8>>, Failure> {
        files.iter().map(|file| values::read_bounded(file, most)).collect()
    };
    let by_examples = [&args.image, &args.unlike_image].iter().any(|files| !files.is_empty())
        || [&args.like, &args.unlike].iter().any(|ids| !ids.is_empty());
    let target = match (&args.query, &args.vector) {
        (Some(text), _) if !by_examples => Target::Text(text.clone()),
        (_, Some(vector)) => Target::Vector(read_vector(vector)?),
        // clap's group asks for one of them.
        (text, None) => Target::Alike(Alike {
            text: text.clone(),
            pictures: read(&args.image)?,
            like: args.like.clone(),
            unlike: args.unlike.clone(),
            unlike_pictures: read(&args.unlike_image)?,
            region: args.region,
        }),
    };
    let engine = context.open_existing()?;
    let query = Query {
        top_k: args.k as usize,
        filter: args.filter.clone(),
        effort: args.effort.map(|effort| effort as usize),
        mode: args.mode,
        per: args.per,
        rerank: (args.rerank || args.rerank_model.is_some()).then_some(true),
        ..Query::new(target)
    };
    fill(&engine, &args.collection, &query, context)?;
    let count = search(&engine, &args.collection, &query, args.query.as_deref(), context)?;
    if count == 0 {
        context.printer.note("nothing found");
        return Ok(Exit::Mendable);
    }
    Ok(Exit::Success)
}

/// A process that asks once has nobody to fill a full text in the background, so it is done first.
fn fill(engine: &Engine, collection: &str, query: &Query, context: &Context) -> Result<(), Failure> {
    let mode = query.mode.unwrap_or(context.config.engine.search_mode);
    if mode == Mode::Dense || !matches!(query.target, Target::Text(_)) {
        return Ok(());
    }
    let told = std::cell::Cell::new(false);
    engine.fill_full_text(collection, &|done, all| {
        if done < all && !told.replace(true) {
            context.printer.note(format_args!("filling the full text of {collection:?}, once: {all} rows"));
        }
        true
    })?;
    Ok(())
}

/// Searches and shows; what `search` and `demo` share. `words` tell a script what was asked. Returns how many were found.
pub(super) fn search(
    engine: &Engine,
    collection: &str,
    query: &Query,
    words: Option<&str>,
    context: &Context,
) -> Result<usize, Failure> {
    let printer = &context.printer;
    let kind = engine.collection(collection)?.settings.kind;
    let answer = engine.search(collection, query)?;
    if printer.is_json() {
        printer.record("answer", &record(collection, words, query.top_k, &answer))?;
    } else {
        let face = Face::of(engine, collection, context);
        for found in &answer.results {
            show(found, kind, &face, printer)?;
        }
    }
    for degraded in &answer.degraded {
        if let Some(told) = in_words(degraded, &answer) {
            printer.warning(told);
        }
    }
    Ok(answer.results.len())
}

/// What an answer lacks, where there is more to say of it than its word.
fn in_words(degraded: &str, answer: &Answer) -> Option<String> {
    match (degraded, answer.reranked) {
        (QUERY_TRUNCATED, _) => Some(
            "the query is longer than the model reads; only its beginning was searched with (limits.long_queries = \"refuse\" refuses such)"
                .to_owned(),
        ),
        (RERANK_BUDGET, Some(reranked)) => Some(format!(
            "{} of {} candidates were reranked before the time was over (rerank.budget_ms); the others keep their order behind them",
            reranked.scored, reranked.candidates
        )),
        _ => None,
    }
}

fn record<'a>(collection: &'a str, words: Option<&'a str>, top_k: usize, answer: &'a Answer) -> Record<'a> {
    let round = |ms: f64| (ms * 1_000.0).round() / 1_000.0;
    Record {
        collection,
        query: words,
        top_k,
        count: answer.results.len(),
        results: answer.results.iter().map(found_record).collect(),
        mode: answer.mode.name(),
        degraded: &answer.degraded,
        reranked: answer
            .reranked
            .map(|reranked| RerankedRecord { candidates: reranked.candidates, scored: reranked.scored }),
        seq: answer.seq,
        timings_ms: TimingsRecord {
            encode: round(answer.timings.encode_ms),
            search: round(answer.timings.search_ms),
            fetch: round(answer.timings.fetch_ms),
            rerank: round(answer.timings.rerank_ms),
            total: round(answer.timings.total_ms),
        },
    }
}

fn found_record(found: &Found) -> FoundRecord<'_> {
    FoundRecord {
        rank: found.rank,
        id: &found.id,
        ordinal: found.ordinal,
        score: found.score,
        similarity: found.similarity,
        l2_distance: found.l2_distance,
        reranked: found.reranked,
        text: found.text.as_deref(),
        metadata: &found.metadata,
        lexical: found.lexical,
        snippet: found.snippet.as_ref().map(|snippet| SnippetRecord {
            text: &snippet.text,
            highlights: snippet.highlights.iter().map(|range| [range.start, range.end]).collect(),
        }),
    }
}

/// What a terminal can show beside text.
struct Face<'a> {
    engine: &'a Engine,
    collection: &'a str,
    is_terminal: bool,
    pictures: Option<PictureFace>,
}

impl<'a> Face<'a> {
    fn of(engine: &'a Engine, collection: &'a str, context: &Context) -> Face<'a> {
        let is_terminal = context.printer.is_terminal();
        let variable = |name: &str| std::env::var(name).ok();
        let pictures = match is_terminal {
            true => picture_face(context.config.terminal_pictures, &variable),
            false => None,
        };
        Face { engine, collection, is_terminal, pictures }
    }

    /// `text` as a link that opens what was found, where there is something to open.
    fn link(&self, found: &Found, text: &str) -> String {
        if !self.is_terminal {
            return text.to_owned();
        }
        // What cannot be looked up is shown without a link.
        let file = self.engine.document_file(self.collection, &found.id).ok().flatten();
        let source = field(&found.metadata, "source");
        match terminal::address(source.as_deref(), file.as_deref()) {
            Some(address) => terminal::link(&address, text),
            None => text.to_owned(),
        }
    }

    /// The thumbnail of what was found, with a line end.
    fn picture(&self, found: &Found) -> Option<String> {
        let jpeg = self.engine.thumbnail(self.collection, &found.id).ok()??;
        self.pictures?.show(&jpeg, INDENT)
    }
}

/// One answer for people: rank and score (the cosine of a text, whatever decided its rank), then the text, then where it stands.
fn show(found: &Found, kind: Kind, face: &Face<'_>, printer: &Printer) -> Result<(), Failure> {
    let rank = found.rank;
    let score = if kind == Kind::Text { found.similarity } else { found.score };
    let score = format!("{score:>7.4}");
    if kind == Kind::Image {
        let category = field(&found.metadata, "category").unwrap_or_else(|| "-".to_owned());
        let l2 = found.l2_distance;
        let id = face.link(found, &found.id);
        printer.line(format_args!(
            "{BOLD}{rank:>3}{BOLD:#} {score}  {id}  {DIM}{category}  L2 {l2:.4}{DIM:#}"
        ))?;
        return match face.picture(found) {
            Some(picture) => printer.bytes(picture.as_bytes()),
            None => Ok(()),
        };
    }
    let text = match &found.snippet {
        Some(snippet) => marked(snippet),
        None => found.text.clone().unwrap_or_else(|| found.id.clone()),
    };
    let text = excerpt(&text, printer.columns(), INDENT, SHOWN_LINES);
    // What is cut off may have taken the end of a highlight with it.
    printer.line(format_args!(
        "{BOLD}{rank:>3}{BOLD:#} {score} {}{HIT:#}",
        text.get(INDENT..).unwrap_or(&text)
    ))?;
    let place = face.link(found, &place(found));
    printer.line(format_args!("{:INDENT$}{DIM}{place}{DIM:#}", ""))
}

/// A snippet with what matched in bold and colour. The printer takes that out again where stdout is a pipe, a file or a terminal
/// without colours: there the text is what it is, to be copied and searched; `--json` tells the places.
fn marked(snippet: &Snippet) -> String {
    let mut text = String::with_capacity(snippet.text.len() + 16 * snippet.highlights.len());
    for (at, character) in snippet.text.chars().enumerate() {
        if snippet.highlights.iter().any(|range| range.start == at) {
            text += &HIT.render().to_string();
        }
        text.push(character);
        if snippet.highlights.iter().any(|range| range.end == at + 1) {
            text += &HIT.render_reset().to_string();
        }
    }
    text
}

/// File, chapter, section, and page or slide of a passage, or the id where it has none of them; and what the reranker said of it.
fn place(found: &Found) -> String {
    let mut parts: Vec<String> =
        ["source", "chapter", "section"].iter().filter_map(|name| field(&found.metadata, name)).collect();
    // A title that opens its chapter is said once.
    parts.dedup();
    let numbered = ["page", "slide", "sheet", "row"];
    parts
        .extend(numbered.iter().filter_map(|name| Some(format!("{name} {}", field(&found.metadata, name)?))));
    if field(&found.metadata, "notes").is_some_and(|notes| notes == "true") {
        parts.push("notes".to_owned());
    }
    let place = if parts.is_empty() { found.id.clone() } else { parts.join(" › ") };
    match found.reranked {
        Some(score) => format!("{place}  reranked {score:.4}"),
        None => place,
    }
}

fn field(metadata: &Metadata, name: &str) -> Option<String> {
    match metadata.get(name)? {
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(text.clone()),
        Value::Null => None,
        other => Some(other.to_string()),
    }
}

/// A vector written out as JSON, or in a .npy or JSON file.
fn read_vector(argument: &str) -> Result<Vec<f32>, Failure> {
    if argument.trim_start().starts_with('[') {
        return json_vector(argument.as_bytes(), "--vector");
    }
    let bytes = values::read_bounded(Path::new(argument), MAX_VECTOR_FILE_BYTES)?;
    if bytes.starts_with(b"\x93NUMPY") {
        return npy_vector(&bytes, argument);
    }
    json_vector(&bytes, &format!("{argument:?}"))
}

fn json_vector(bytes: &[u8], place: &str) -> Result<Vec<f32>, Failure> {
    serde_json::from_slice::<Vec<f32>>(bytes).map_err(|error| {
        Failure::mendable(format!("{place} holds no list of numbers: {error}"))
            .with_hint("expected one list such as [0.1, -0.2, 0.3], or a .npy file; NaN and infinity are no numbers here")
    })
}

/// The one row of a `.npy` file.
fn npy_vector(bytes: &[u8], place: &str) -> Result<Vec<f32>, Failure> {
    let array =
        npy::read_f32(bytes).map_err(|error| Failure::mendable(format!("cannot read {place:?}: {error}")))?;
    if array.rows != 1 {
        return Err(Failure::mendable(format!("{place:?} holds {} vectors", array.rows))
            .with_hint("expected one: a list of numbers, or an array with one row"));
    }
    Ok(array.values)
}
