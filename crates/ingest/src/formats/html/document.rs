//! HTML files: main text, headings, lists, tables and listings, without navigation and other furniture.
//!
//! `html5ever` cuts the file into tags and text, as the standard says; no tree is made of them. One walk with a stack of open
//! elements (`elements`) writes the blocks (`writer`), so that a file of any nesting takes memory in proportion to its length; deeper than
//! [`Limits::depth`] is refused. What is main text is told by elements and roles first (`nav`, `aside`, `role="navigation"`),
//! then by the names that sites give their parts (`sidebar`, `navheader`, `breadcrumb`). Where a page marks its `main` part and
//! that holds a good part of the text, only that is read; where nearly nothing would be left, everything is.

mod charset;
mod elements;
mod writer;

use crate::error::IngestError;
use crate::limits::Limits;
use crate::outline::Section;
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{BufferQueue, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts};
use std::cell::RefCell;
use std::time::{Duration, Instant};
use writer::{Scope, Writer};

/// Fed to the tokenizer at a time; between two feeds the clock is looked at.
const FEED_BYTES: usize = 1 << 14;
/// Part of the text that a `main` element must hold to stand for the page.
const MAIN_SHARE: f64 = 0.3;
/// Less than this part of all text is no main text.
const LEFT_SHARE: f64 = 0.05;

/// The sections of a file.
pub(crate) fn sections(bytes: &[u8], limits: &Limits) -> Result<Vec<Section>, IngestError> {
    let text = charset::decode(bytes)?;
    let deadline = Instant::now() + Duration::from_secs(limits.seconds);
    let walk = |scope| walk(&text, scope, limits, deadline);
    let plain = walk(Scope::WithoutFurniture)?;
    if plain.main_characters > 0 && plain.main_characters as f64 >= MAIN_SHARE * plain.characters as f64 {
        return Ok(walk(Scope::Main)?.finish());
    }
    if (plain.characters as f64) < LEFT_SHARE * plain.all_characters as f64 {
        return Ok(walk(Scope::Everything)?.finish());
    }
    Ok(plain.finish())
}

/// Tokens go to the writer one by one; the tokenizer wants to call through a shared reference.
struct Sink(RefCell<Writer>);

impl TokenSink for Sink {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let mut writer = self.0.borrow_mut();
        match token {
            Token::TagToken(tag) => writer.tag(&tag),
            Token::CharacterTokens(text) => {
                writer.text(&text);
                TokenSinkResult::Continue
            }
            _ => TokenSinkResult::Continue,
        }
    }
}

fn walk(text: &str, scope: Scope, limits: &Limits, deadline: Instant) -> Result<Writer, IngestError> {
    let sink = Sink(RefCell::new(Writer::new(scope, limits.depth)));
    let options = TokenizerOpts { exact_errors: false, ..TokenizerOpts::default() };
    let tokenizer = Tokenizer::new(sink, options);
    let queue = BufferQueue::default();
    let mut rest = text;
    while !rest.is_empty() {
        let (part, after) = rest.split_at(rest.floor_char_boundary(FEED_BYTES.min(rest.len())));
        queue.push_back(StrTendril::from(part));
        let _ = tokenizer.feed(&queue);
        if tokenizer.sink.0.borrow().is_too_deep {
            return Err(IngestError::Unfolds { unit: "nested HTML elements", limit: limits.depth as u64 });
        }
        if Instant::now() > deadline {
            return Err(IngestError::TooSlow { seconds: limits.seconds });
        }
        rest = after;
    }
    tokenizer.end();
    let writer = tokenizer.sink.0.into_inner();
    if writer.is_too_deep {
        return Err(IngestError::Unfolds { unit: "nested HTML elements", limit: limits.depth as u64 });
    }
    Ok(writer)
}

#[cfg(test)]
mod tests;
