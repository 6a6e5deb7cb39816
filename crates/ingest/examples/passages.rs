//! Shows how files are split, to be read by a person, and what it costs.
//!
//! `cargo run --release -p bilin-ingest --example passages -- [--quiet] [--sentence | --passage] TOKENS PATH...`
//!
//! Tokens are counted roughly: one per Chinese character or mark, one per four letters. The last line, on standard error,
//! gives the time and how many bytes were counted in how many calls, the measure that a slow tokenizer feels.

use bilin_ingest::{Content, Limits, Problem, ReadOptions, Split, Wanted, load, read, walk};
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

const MAX_FILE_BYTES: u64 = 256 << 20;

static CALLS: AtomicUsize = AtomicUsize::new(0);
static COUNTED_BYTES: AtomicUsize = AtomicUsize::new(0);

fn count_tokens(text: &str) -> usize {
    CALLS.fetch_add(1, Relaxed);
    COUNTED_BYTES.fetch_add(text.len(), Relaxed);
    let (mut tokens, mut letters) = (0, 0);
    for character in text.chars() {
        if character.is_ascii_alphanumeric() {
            tokens += usize::from(letters % 4 == 0);
            letters += 1;
        } else {
            letters = 0;
            tokens += usize::from(!character.is_whitespace());
        }
    }
    tokens
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut flag = |name: &str| {
        let before = arguments.len();
        arguments.retain(|argument| argument != name);
        arguments.len() < before
    };
    let quiet = flag("--quiet");
    let (sentence, passage) = (flag("--sentence"), flag("--passage"));
    let (max_tokens, paths) = arguments.split_first().ok_or("expected TOKENS PATH...")?;
    let split = match (sentence, passage) {
        (true, _) => Split::Sentence,
        (_, true) => Split::Passage,
        _ => Split::Auto,
    };
    let options = ReadOptions {
        split,
        max_tokens: max_tokens.parse()?,
        count_tokens: &count_tokens,
        overlap_tokens: 0,
        max_file_bytes: MAX_FILE_BYTES,
        limits: Limits::default(),
    };

    let mut out = std::io::stdout().lock();
    let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
    let walked = walk(&paths, Wanted::Text);
    let mut problems = walked.problems;
    let (mut items, mut bytes) = (0usize, 0usize);
    let start = Instant::now();
    for found in &walked.found {
        let content = load(found, options.max_file_bytes);
        match content.and_then(|content| {
            bytes += content.len();
            read(found, content, &options)
        }) {
            Ok(mut file) => {
                problems.append(&mut file.problems);
                for item in file.documents.iter().flat_map(|document| &document.items) {
                    items += 1;
                    if let (false, Content::Text(text)) = (quiet, &item.content) {
                        writeln!(out, "--- {}\n{text}\n", serde_json::to_string(&item.metadata)?)?;
                    }
                }
            }
            Err(error) => problems.push(Problem::of_file(&found.path, &error)),
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let mut log = std::io::stderr().lock();
    for problem in problems {
        writeln!(log, "{}: {}", problem.path.display(), problem.reason)?;
    }
    let (calls, counted) = (CALLS.load(Relaxed), COUNTED_BYTES.load(Relaxed));
    writeln!(
        log,
        "{items} items of {bytes} bytes in {seconds:.2} s; {counted} bytes counted in {calls} calls"
    )?;
    Ok(())
}
