//! From text to a filter: a tokenizer and a recursive-descent parser.
//!
//! Bounds: length before anything else, depth at every `NOT` and parenthesis, values as they come. So neither the stack nor
//! SQLite's limits can be reached by a caller.
use super::{
    Comparison, FilterError, MAX_FILTER_BYTES, MAX_FILTER_DEPTH, MAX_FILTER_VALUES, MAX_LIKE_WILDCARDS, Node,
    Value,
};

const EXAMPLE: &str = "for example: category = \"birds\" AND price < 10";
/// Words that a bare field cannot be.
const WORDS: [&str; 9] = ["and", "or", "not", "in", "like", "exists", "true", "false", "null"];

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Field(String),
    Text(String),
    Number(Value),
    Symbol(&'static str),
    End,
}

pub(super) fn parse(text: &str) -> Result<Node, FilterError> {
    if text.len() > MAX_FILTER_BYTES {
        return Err(FilterError {
            position: 1,
            expected: format!("at most {MAX_FILTER_BYTES} bytes"),
            found: format!("{} bytes", text.len()),
            hint: "split the question, or mark the items with a field of their own".to_owned(),
        });
    }
    let tokens = tokenize(text)?;
    let mut parser = Parser { tokens, next: 0, depth: 0, values: 0 };
    let root = parser.expression()?;
    match parser.peek() {
        Token::End => Ok(root),
        _ => Err(parser.unexpected("AND, OR or the end", EXAMPLE)),
    }
}

/// Whether a field can be written without backquotes.
pub(super) fn is_bare_field(field: &str) -> bool {
    field.chars().next().is_some_and(starts_word)
        && field.chars().all(continues_word)
        && !WORDS.contains(&field.to_ascii_lowercase().as_str())
}

fn starts_word(c: char) -> bool {
    c == '_' || c.is_alphabetic()
}

fn continues_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// Tokens with the character they start at, from 1; the last one is `End`.
fn tokenize(text: &str) -> Result<Vec<(Token, usize)>, FilterError> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let start = at;
        let token = match c {
            _ if c.is_whitespace() => {
                at += 1;
                continue;
            }
            '"' | '\'' | '`' => {
                let content = quoted(&chars, &mut at)?;
                if c == '`' { Token::Field(check_field(content, start)?) } else { Token::Text(content) }
            }
            '0'..='9' | '-' | '+' | '.' => Token::Number(number(&chars, &mut at)?),
            _ if starts_word(c) => {
                while chars.get(at).is_some_and(|c| continues_word(*c)) {
                    at += 1;
                }
                Token::Word(chars.get(start..at).unwrap_or_default().iter().collect())
            }
            _ => Token::Symbol(symbol(&chars, &mut at)?),
        };
        tokens.push((token, start + 1));
    }
    tokens.push((Token::End, chars.len() + 1));
    Ok(tokens)
}

/// The content between the quotes that start at `at`; a doubled quote stands for one.
fn quoted(chars: &[char], at: &mut usize) -> Result<String, FilterError> {
    let start = *at;
    let quote = chars.get(start).copied().unwrap_or('"');
    let mut content = String::new();
    *at += 1;
    loop {
        match (chars.get(*at), chars.get(*at + 1)) {
            (Some(c), Some(next)) if *c == quote && *next == quote => {
                content.push(quote);
                *at += 2;
            }
            (Some(c), _) if *c == quote => {
                *at += 1;
                return Ok(content);
            }
            (Some(c), _) => {
                content.push(*c);
                *at += 1;
            }
            (None, _) => {
                return Err(FilterError {
                    position: start + 1,
                    expected: format!("a closing {quote}"),
                    found: "the end".to_owned(),
                    hint: format!("close what this {quote} opens; inside, write it twice"),
                });
            }
        }
    }
}

/// SQLite's JSON paths take any key in quotes, except one with quotes, backslashes or control characters in it.
fn check_field(field: String, start: usize) -> Result<String, FilterError> {
    match field.chars().find(|c| matches!(c, '"' | '\\') || c.is_control()) {
        None if !field.is_empty() => Ok(field),
        bad => Err(FilterError {
            position: start + 1,
            expected: "a field name without quotation marks, backslashes and control characters".to_owned(),
            found: bad.map_or("an empty name".to_owned(), |c| format!("{c:?}")),
            hint: "rename the field in the metadata".to_owned(),
        }),
    }
}

fn number(chars: &[char], at: &mut usize) -> Result<Value, FilterError> {
    let start = *at;
    while let Some(c) = chars.get(*at) {
        let after_exponent = *at > start && chars.get(*at - 1).is_some_and(|c| matches!(c, 'e' | 'E'));
        let belongs =
            c.is_alphanumeric() || *c == '.' || (matches!(c, '+' | '-') && (*at == start || after_exponent));
        if !belongs {
            break;
        }
        *at += 1;
    }
    let text: String = chars.get(start..*at).unwrap_or_default().iter().collect();
    if let Ok(integer) = text.parse::<i64>() {
        return Ok(Value::Integer(integer));
    }
    let spelled = text.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '+' | '-' | 'e' | 'E'));
    match text.parse::<f64>() {
        Ok(real) if spelled && real.is_finite() => Ok(Value::Real(real)),
        _ => Err(FilterError {
            position: start + 1,
            expected: "a number".to_owned(),
            found: format!("{text:?}"),
            hint: "put text in quotation marks, and a field that starts like a number in `backquotes`"
                .to_owned(),
        }),
    }
}

fn symbol(chars: &[char], at: &mut usize) -> Result<&'static str, FilterError> {
    let two: String = chars.iter().skip(*at).take(2).collect();
    for symbol in ["!=", "<>", "<=", ">=", "==", "=", "<", ">", "(", ")", ","] {
        if two.starts_with(symbol) {
            *at += symbol.len();
            return Ok(symbol);
        }
    }
    let found = chars.get(*at).copied().unwrap_or(' ');
    let hint = match found {
        '“' | '”' | '‘' | '’' | '「' | '」' => "use straight quotation marks: \"…\"".to_owned(),
        '\u{ff08}' | '\u{ff09}' | '\u{ff0c}' | '\u{ff1d}' | '\u{ff1c}' | '\u{ff1e}' => {
            "use the half-width form of this sign".to_owned()
        }
        '&' | '|' | '!' => "write AND, OR, NOT".to_owned(),
        _ => "text stands in quotation marks, an unusual field in `backquotes`".to_owned(),
    };
    Err(FilterError {
        position: *at + 1,
        expected: "a field, a value or a sign of comparison".to_owned(),
        found: format!("{found:?}"),
        hint,
    })
}

struct Parser {
    tokens: Vec<(Token, usize)>,
    next: usize,
    depth: usize,
    values: usize,
}

impl Parser {
    fn expression(&mut self) -> Result<Node, FilterError> {
        let mut parts = vec![self.conjunction()?];
        while self.take_word("or") {
            parts.push(self.conjunction()?);
        }
        Ok(flatten(parts, Node::Or, |node| match node {
            Node::Or(inner) => Ok(inner),
            other => Err(other),
        }))
    }

    fn conjunction(&mut self) -> Result<Node, FilterError> {
        let mut parts = vec![self.negation()?];
        while self.take_word("and") {
            parts.push(self.negation()?);
        }
        Ok(flatten(parts, Node::And, |node| match node {
            Node::And(inner) => Ok(inner),
            other => Err(other),
        }))
    }

    fn negation(&mut self) -> Result<Node, FilterError> {
        if self.take_word("not") {
            return self.nested(|parser| Ok(Node::Not(Box::new(parser.negation()?))));
        }
        if self.take_symbol("(") {
            return self.nested(|parser| {
                let inner = parser.expression()?;
                if parser.take_symbol(")") {
                    Ok(inner)
                } else {
                    Err(parser.unexpected("AND, OR or \")\"", EXAMPLE))
                }
            });
        }
        self.condition()
    }

    fn nested(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<Node, FilterError>,
    ) -> Result<Node, FilterError> {
        if self.depth == MAX_FILTER_DEPTH {
            return Err(
                self.unexpected(&format!("at most {MAX_FILTER_DEPTH} levels"), "write the condition flatter")
            );
        }
        self.depth += 1;
        let node = parse(self)?;
        self.depth -= 1;
        Ok(node)
    }

    fn condition(&mut self) -> Result<Node, FilterError> {
        let field = match self.peek() {
            Token::Word(word) if is_bare_field(word) => word.clone(),
            Token::Field(field) => field.clone(),
            Token::Word(_) => {
                return Err(self.unexpected(
                    "a field",
                    "a field that is also a word of the language stands in `backquotes`",
                ));
            }
            Token::Text(_) => {
                return Err(self.unexpected(
                    "a field",
                    "the field stands on the left, without quotation marks or in `backquotes`",
                ));
            }
            _ => return Err(self.unexpected("a field", EXAMPLE)),
        };
        self.next += 1;
        if self.take_word("exists") {
            return Ok(Node::Exists { field });
        }
        if self.take_word("not") {
            let node = if self.take_word("in") {
                self.list(field)?
            } else if self.take_word("like") {
                self.like(field)?
            } else {
                return Err(self.unexpected("IN or LIKE", "for example: page NOT IN (1, 2)"));
            };
            return Ok(Node::Not(Box::new(node)));
        }
        if self.take_word("in") {
            return self.list(field);
        }
        if self.take_word("like") {
            return self.like(field);
        }
        let comparison = match self.peek() {
            Token::Symbol("=" | "==") => Comparison::Equal,
            Token::Symbol("!=" | "<>") => Comparison::NotEqual,
            Token::Symbol("<") => Comparison::Less,
            Token::Symbol("<=") => Comparison::LessOrEqual,
            Token::Symbol(">") => Comparison::Greater,
            Token::Symbol(">=") => Comparison::GreaterOrEqual,
            _ => return Err(self.unexpected("=, !=, <, <=, >, >=, IN, LIKE or EXISTS", EXAMPLE)),
        };
        self.next += 1;
        let ordered = !matches!(comparison, Comparison::Equal | Comparison::NotEqual);
        if ordered && matches!(self.peek(), Token::Word(_)) {
            return Err(self.unexpected("a number or a string", "true, false and null have no order"));
        }
        let value = self.value()?;
        Ok(Node::Compare { field, comparison, value })
    }

    fn list(&mut self, field: String) -> Result<Node, FilterError> {
        if !self.take_symbol("(") {
            return Err(self.unexpected("\"(\"", "for example: page IN (1, 2)"));
        }
        let mut values = vec![self.value()?];
        while self.take_symbol(",") {
            values.push(self.value()?);
        }
        if !self.take_symbol(")") {
            return Err(self.unexpected("\",\" or \")\"", "for example: page IN (1, 2)"));
        }
        Ok(Node::In { field, values })
    }

    fn like(&mut self, field: String) -> Result<Node, FilterError> {
        self.count_value()?;
        let Token::Text(pattern) = self.peek().clone() else {
            return Err(self.unexpected("a pattern in quotation marks", "for example: title LIKE \"bird%\""));
        };
        if pattern.matches('%').count() > MAX_LIKE_WILDCARDS {
            return Err(self.unexpected(
                &format!("at most {MAX_LIKE_WILDCARDS} \"%\" in a pattern"),
                "join several LIKE with AND",
            ));
        }
        let trailing = pattern.chars().rev().take_while(|c| *c == '\\').count();
        if trailing % 2 == 1 {
            return Err(self.unexpected("a character after \"\\\"", "write \\\\ for a backslash"));
        }
        self.next += 1;
        Ok(Node::Like { field, pattern })
    }

    fn value(&mut self) -> Result<Value, FilterError> {
        self.count_value()?;
        let value = match self.peek() {
            Token::Text(text) => Value::Text(text.clone()),
            Token::Number(number) => number.clone(),
            Token::Word(word) if word.eq_ignore_ascii_case("true") => Value::Boolean(true),
            Token::Word(word) if word.eq_ignore_ascii_case("false") => Value::Boolean(false),
            Token::Word(word) if word.eq_ignore_ascii_case("null") => Value::Null,
            Token::Word(word) => {
                let hint = format!("text stands in quotation marks: \"{word}\"");
                return Err(self.unexpected("a value", &hint));
            }
            _ => {
                return Err(
                    self.unexpected("a value", "a number, a string in quotation marks, true, false or null")
                );
            }
        };
        self.next += 1;
        Ok(value)
    }

    fn count_value(&mut self) -> Result<(), FilterError> {
        self.values += 1;
        if self.values > MAX_FILTER_VALUES {
            return Err(
                self.unexpected(&format!("at most {MAX_FILTER_VALUES} values"), "ask in several queries")
            );
        }
        Ok(())
    }

    fn peek(&self) -> &Token {
        self.tokens.get(self.next).map_or(&Token::End, |(token, _)| token)
    }

    fn take_word(&mut self, word: &str) -> bool {
        let is = matches!(self.peek(), Token::Word(found) if found.eq_ignore_ascii_case(word));
        self.next += usize::from(is);
        is
    }

    fn take_symbol(&mut self, symbol: &str) -> bool {
        let is = matches!(self.peek(), Token::Symbol(found) if *found == symbol);
        self.next += usize::from(is);
        is
    }

    fn unexpected(&self, expected: &str, hint: &str) -> FilterError {
        let position = self.tokens.get(self.next).or(self.tokens.last()).map_or(1, |(_, position)| *position);
        let found = match self.peek() {
            Token::Word(word) => format!("{word:?}"),
            Token::Field(field) => format!("the field {field:?}"),
            Token::Text(text) => format!("the string {text:?}"),
            Token::Number(number) => format!("the number {number}"),
            Token::Symbol(symbol) => format!("{symbol:?}"),
            Token::End => "the end".to_owned(),
        };
        FilterError { position, expected: expected.to_owned(), found, hint: hint.to_owned() }
    }
}

/// One part alone is itself; parts of the same kind are taken apart, so that equal filters are equal values.
fn flatten(
    parts: Vec<Node>,
    combine: impl Fn(Vec<Node>) -> Node,
    open: impl Fn(Node) -> Result<Vec<Node>, Node>,
) -> Node {
    let mut flat = Vec::with_capacity(parts.len());
    for part in parts {
        match open(part) {
            Ok(inner) => flat.extend(inner),
            Err(other) => flat.push(other),
        }
    }
    if flat.len() == 1 { flat.remove(0) } else { combine(flat) }
}
