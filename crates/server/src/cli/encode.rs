//! `bilin encode`: one text per line of stdin in, a float32 `.npy` of `[n, dim]` out.
//!
//! Lines are read one by one and bounded; vectors wait in an unnamed temporary file, because the `.npy` header in front of
//! them counts the rows and a pipe cannot be rewound. So memory stays the same for any number of lines.

use super::values::{Long, Side};
use super::{Context, Exit, Failure};
use bilin_engine::{Encoder, Prompt, Reading};
use clap::Args;
use serde::Serialize;
use std::io::{self, BufRead, IsTerminal, Read, Seek, Write};

/// Longest line, bytes. Models read far less.
const MAX_LINE_BYTES: usize = 1 << 20;
/// Lines encoded together.
const BATCH_LINES: usize = 64;
/// Bytes copied at a time from the temporary file.
const COPY_BYTES: usize = 1 << 16;

/// Needs no data folder, so it works while a service holds it.
#[derive(Debug, Args)]
pub(super) struct Encode {
    /// Model [default: models.text, e5-small-zh-en]
    #[arg(long, value_name = "ID|DIR")]
    model: Option<String>,
    /// Which side of a search the texts are on
    #[arg(long, value_enum, default_value_t)]
    prompt: Side,
    /// Print what the model reads instead: the ids of a line's tokens, as a JSON array
    #[arg(long)]
    tokens: bool,
    /// How texts are read that are longer than the model reads
    #[arg(long, value_enum, default_value = "truncate")]
    long_texts: Long,
}

#[derive(Serialize)]
struct Tokens {
    line: usize,
    tokens: Vec<u32>,
}

#[derive(Serialize)]
struct Vector<'a> {
    line: usize,
    vector: &'a [f32],
}

pub(super) fn run(args: &Encode, context: &Context) -> Result<Exit, Failure> {
    let printer = &context.printer;
    if !printer.is_json() && !args.tokens && io::stdout().is_terminal() {
        return Err(Failure::usage("a .npy file is binary and would garble the terminal")
            .with_hint("send it to a file: bilin encode < texts.txt > vectors.npy; or use --json"));
    }
    let id = args.model.as_deref().unwrap_or(&context.config.engine.default_text_model);
    let mut encoder = bilin_engine::open_model(&context.model_id(id))?;
    if args.long_texts == Long::Window {
        let reading = Reading { long_texts: args.long_texts.into(), ..Reading::default() };
        encoder = encoder.reading(&reading).map_err(bilin_engine::Error::from)?;
    }
    if io::stdin().is_terminal() {
        printer.note("reading texts from the terminal, one per line; Ctrl-D ends");
    }
    if args.tokens {
        return print_tokens(encoder.as_ref(), args.prompt.into(), context);
    }
    let mut sink = match printer.is_json() {
        true => Sink::Lines,
        false => Sink::File(io::BufWriter::new(tempfile::tempfile().map_err(spill)?)),
    };
    let bar = printer.bar("encoding", None);
    bar.beside("lines");
    let mut stdin = io::stdin().lock();
    let (mut done, mut truncated) = (0, 0);
    loop {
        let texts = read_batch(&mut stdin, done)?;
        if texts.is_empty() {
            break;
        }
        truncated += encode_batch(encoder.as_ref(), &texts, args.prompt.into(), done, &mut sink, context)?;
        done += texts.len();
        bar.advance(texts.len() as u64);
    }
    drop(bar);
    if let Sink::File(file) = sink {
        copy(file, done, encoder.card().dim, context)?;
    }
    if truncated > 0 {
        printer.warning(format_args!("{truncated} of {done} lines are longer than the model reads"));
    }
    Ok(Exit::Success)
}

fn print_tokens(encoder: &dyn Encoder, prompt: Prompt, context: &Context) -> Result<Exit, Failure> {
    let (mut stdin, mut done) = (io::stdin().lock(), 0);
    loop {
        let texts = read_batch(&mut stdin, done)?;
        if texts.is_empty() {
            return Ok(Exit::Success);
        }
        for text in &texts {
            done += 1;
            let tokens = encoder.token_ids(text, prompt);
            match context.printer.is_json() {
                true => context.printer.record("tokens", &Tokens { line: done, tokens })?,
                false => context.printer.line(format_args!("{tokens:?}"))?,
            }
        }
    }
}

/// Where vectors go.
enum Sink {
    File(io::BufWriter<std::fs::File>),
    Lines,
}

fn encode_batch(
    encoder: &dyn Encoder,
    texts: &[String],
    prompt: Prompt,
    done: usize,
    sink: &mut Sink,
    context: &Context,
) -> Result<usize, Failure> {
    let encoded = bilin_engine::encode_texts(encoder, texts, prompt)?;
    match sink {
        Sink::File(file) => {
            for value in &encoded.vectors {
                file.write_all(&value.to_le_bytes()).map_err(spill)?;
            }
        }
        Sink::Lines => {
            for (at, vector) in encoded.vectors.chunks_exact(encoded.dim).enumerate() {
                context.printer.record("vector", &Vector { line: done + at + 1, vector })?;
            }
        }
    }
    Ok(encoded.truncated)
}

/// The next lines, at most [`BATCH_LINES`]; `before` lines were read already.
pub(super) fn read_batch(input: &mut impl BufRead, before: usize) -> Result<Vec<String>, Failure> {
    let mut texts = Vec::new();
    while texts.len() < BATCH_LINES {
        let number = before + texts.len() + 1;
        let mut line = Vec::new();
        let read = input
            .by_ref()
            .take(MAX_LINE_BYTES as u64 + 2)
            .read_until(b'\n', &mut line)
            .map_err(|error| Failure::mendable(format!("cannot read standard input: {error}")))?;
        if read == 0 {
            break;
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if line.len() > MAX_LINE_BYTES {
            return Err(Failure::mendable(format!("line {number} is longer than {MAX_LINE_BYTES} bytes"))
                .with_hint("give one text per line"));
        }
        let text = String::from_utf8(line).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            Failure::mendable(format!("line {number} is not UTF-8 at byte {at}"))
                .with_hint("convert the texts first, for instance with iconv -f GB18030 -t UTF-8")
        })?;
        if text.trim().is_empty() {
            return Err(Failure::mendable(format!("line {number} is blank"))
                .with_hint("every line gives one row; take blank lines out"));
        }
        texts.push(text);
    }
    Ok(texts)
}

/// Header and rows to stdout.
fn copy(
    file: io::BufWriter<std::fs::File>,
    rows: usize,
    dim: usize,
    context: &Context,
) -> Result<(), Failure> {
    let mut file = file.into_inner().map_err(|error| spill(error.into_error()))?;
    file.rewind().map_err(spill)?;
    context.printer.bytes(&bilin_engine::npy::header_f32(rows, dim))?;
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        match file.read(&mut buffer).map_err(spill)? {
            0 => return Ok(()),
            length => context.printer.bytes(buffer.get(..length).unwrap_or_default())?,
        }
    }
}

fn spill(error: io::Error) -> Failure {
    Failure::mendable(format!("cannot use a temporary file: {error}"))
        .with_hint("make room, or set TMPDIR to a folder with room")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(input: &[u8]) -> Result<Vec<String>, Failure> {
        read_batch(&mut io::Cursor::new(input), 0)
    }

    #[test]
    fn lines_are_texts() {
        assert_eq!(batch("一\r\ntwo\nthree".as_bytes()).unwrap(), ["一", "two", "three"]);
        assert!(batch(b"").unwrap().is_empty());
        assert_eq!(batch(&b"x\n".repeat(100)).unwrap().len(), BATCH_LINES);
    }

    #[test]
    fn bad_lines_are_named() {
        assert!(batch(b"a\n\nb").unwrap_err().message().contains("line 2 is blank"));
        assert!(batch(b"a\n\xff\xfe\n").unwrap_err().message().contains("line 2 is not UTF-8"));
        let long = vec![b'a'; MAX_LINE_BYTES + 10];
        assert!(batch(&long).unwrap_err().message().contains("line 1 is longer"));
        let fits = vec![b'a'; MAX_LINE_BYTES];
        assert_eq!(batch(&fits).unwrap().len(), 1);
    }
}
