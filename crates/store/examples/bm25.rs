//! Our search by words, asked a file of questions: `cargo run --release -p bilin-store --example bm25 -- TEXTS QUESTIONS`.
//!
//! One text and one question per line; words are letters and digits between anything else, in small letters. Standard output gets a
//! JSON line per question with the rows and scores of the best ten, then one with the CPU seconds: adding, the questions asked
//! one by one (the first time, and once more when lists of occurrences are in memory). `./bench words` compares them with those of `bm25s`.
mod notes;

use bilin_store::{DataDir, TextQuery};
use std::io::Write;

const LIMIT: usize = 10;
/// As `bm25s` is told, too.
const K1: f32 = 1.2;
const B: f32 = 0.75;
/// Vectors are no matter here, but every item has one.
const DIM: usize = 8;

/// CPU seconds of this process so far, to the hundredth (Linux).
fn cpu_s() -> Result<f64, Box<dyn std::error::Error>> {
    let told = std::fs::read_to_string("/proc/self/stat")?;
    let fields = told.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: Result<Vec<f64>, _> = fields.skip(11).take(2).map(str::parse).collect();
    Ok(ticks?.iter().sum::<f64>() / 100.0)
}

fn words(question: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in question.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty())
    {
        let word = word.to_lowercase();
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut file = || {
        std::fs::read_to_string(arguments.next().ok_or("expected TEXTS QUESTIONS")?)
            .map_err(|error| -> Box<dyn std::error::Error> { error.into() })
    };
    let (texts, questions) = (file()?, file()?);
    let folder = tempfile::tempdir()?;
    let data = DataDir::open(folder.path())?;
    let begun = cpu_s()?;
    let notes = notes::filled(&data, DIM, texts.lines().map(|text| (vec![1.0; DIM], text.to_owned())))?;
    let add_s = cpu_s()? - begun;
    let snapshot = notes.snapshot();
    let mut out = std::io::stdout().lock();
    let mut seconds = Vec::new();
    for round in 0..2 {
        let (mut found, begun) = (Vec::new(), cpu_s()?);
        for question in questions.lines() {
            let terms = words(question);
            let query =
                TextQuery { analyzer: "plain 1", terms: &terms, phrases: &[], limit: LIMIT, k1: K1, b: B };
            found.push(snapshot.search_text(&query, None, &|| true)?);
        }
        seconds.push(cpu_s()? - begun);
        for hits in found.iter().filter(|_| round == 0) {
            let (rows, scores): (Vec<u32>, Vec<f32>) =
                hits.hits.iter().map(|hit| (hit.row, hit.score)).unzip();
            let left_out = &hits.left_out;
            writeln!(out, "{}", serde_json::json!({"rows": rows, "scores": scores, "left_out": left_out}))?;
        }
    }
    writeln!(out, "{}", serde_json::json!({"add_s": add_s, "first_s": seconds[0], "again_s": seconds[1]}))?;
    Ok(())
}
