//! What documents are read into: a JSON line a file, with its items and the seconds that reading took.
//!
//! `cargo run --release -p bilin-ingest --example documents -- [--tokens N] FILE...`; `./bench documents` and the peer test of
//! real documents run it. A token is taken for four letters or one Chinese character.

use bilin_ingest::{Content, Limits, ReadOptions, Split, Wanted, load, read, walk};
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

const MAX_FILE_BYTES: u64 = 1 << 30;

fn count_tokens(text: &str) -> usize {
    let wide = text.chars().filter(|character| !character.is_ascii()).count();
    wide + (text.len() - text.chars().filter(|c| !c.is_ascii()).map(char::len_utf8).sum::<usize>())
        .div_ceil(4)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut max_tokens = 256;
    let mut paths = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--tokens" {
            max_tokens = arguments.next().ok_or("--tokens needs a number")?.parse()?;
        } else {
            paths.push(PathBuf::from(argument));
        }
    }
    let options = ReadOptions {
        split: Split::Auto,
        max_tokens,
        count_tokens: &count_tokens,
        overlap_tokens: 0,
        max_file_bytes: MAX_FILE_BYTES,
        limits: Limits::default(),
    };
    let mut out = std::io::stdout().lock();
    for path in paths {
        let walked = walk(std::slice::from_ref(&path), Wanted::Text);
        for problem in &walked.problems {
            let line =
                serde_json::json!({"path": problem.path, "error": problem.reason, "hint": problem.hint});
            writeln!(out, "{line}")?;
        }
        for found in &walked.found {
            let started = Instant::now();
            let file = load(found, MAX_FILE_BYTES).and_then(|bytes| read(found, bytes, &options));
            let seconds = started.elapsed().as_secs_f64();
            let line = match file {
                Ok(file) => {
                    let items = file.documents.iter().flat_map(|document| &document.items).map(|item| {
                        let Content::Text(text) = &item.content else { return serde_json::Value::Null };
                        serde_json::json!({"text": text, "metadata": item.metadata})
                    });
                    let problems: Vec<&str> =
                        file.problems.iter().map(|problem| problem.reason.as_str()).collect();
                    serde_json::json!({
                        "path": found.path,
                        "seconds": seconds,
                        "items": items.collect::<Vec<_>>(),
                        "problems": problems,
                    })
                }
                Err(error) => serde_json::json!({
                    "path": found.path,
                    "seconds": seconds,
                    "error": error.to_string(),
                    "hint": error.hint(),
                }),
            };
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}
