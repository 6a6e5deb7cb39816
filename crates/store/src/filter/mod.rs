//! Filter expressions over metadata: `category = "birds" AND price < 10 AND NOT page IN (1, 2)`.
//!
//! ```text
//! expression = conjunction { OR conjunction }            conjunction = negation { AND negation }
//! negation   = NOT negation | ( expression ) | condition
//! condition  = field ( = | != | <> | < | <= | > | >= ) value
//!            | field [NOT] IN ( value { , value } )
//!            | field [NOT] LIKE string                   % any text, _ one character, \ takes the next one literally
//!            | field EXISTS
//! field      = letters, digits, _ - . (not first a digit, - or .), or anything in `backquotes`
//! value      = number | "string" | 'string' | true | false | null      (a quote inside a string is doubled)
//! ```
//! Words of the language are case-insensitive. Meaning:
//! * A condition is true or false, never unknown. Where the field is missing, or is a list or an object, every comparison is
//!   false, so `!=` and `NOT` are true there. `= null` is true for a missing field and for JSON null; `EXISTS` is its opposite.
//! * A **number** compares by value with JSON numbers and with strings that spell one (`"5"`, `"1e3"`, `" 5 "`): metadata that came
//!   as text, as the tutorial's does, can still be compared with `<`.
//! * A **string** compares byte by byte with strings, and, when it spells a number itself, by value with JSON numbers.
//! * `true` and `false` equal JSON booleans and the strings that spell them; they have no order.
//! * `LIKE` looks at strings only and ignores the case of ASCII letters.
mod parse;
mod sql;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

/// Longest expression.
pub const MAX_FILTER_BYTES: usize = 16 << 10;
/// Deepest nesting of parentheses and `NOT`.
pub const MAX_FILTER_DEPTH: usize = 32;
/// Most values compared with, in one expression.
pub const MAX_FILTER_VALUES: usize = 1024;
/// Most `%` in one `LIKE` pattern; each one multiplies the work of a match.
pub const MAX_LIKE_WILDCARDS: usize = 4;

/// A parsed filter expression over metadata fields. `Display` writes it back so that it parses to the same filter.
///
/// ```
/// let filter: bilin_store::Filter = "price < 10 and not page in (1, 2)".parse()?;
/// assert_eq!(filter.to_string(), "price < 10 AND NOT page IN (1, 2)");
/// # Ok::<(), bilin_store::FilterError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    root: Node,
}

/// Why an expression cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("filter, character {position}: expected {expected}, found {found}; {hint}")]
pub struct FilterError {
    /// Where, in characters from 1.
    pub position: usize,
    /// What could stand there.
    pub expected: String,
    /// What stands there.
    pub found: String,
    /// An example, or what to do.
    pub hint: String,
}

#[derive(Clone, Debug, PartialEq)]
enum Node {
    /// At least two, none of them an `Or`.
    Or(Vec<Node>),
    /// At least two, none of them an `And`.
    And(Vec<Node>),
    Not(Box<Node>),
    Compare {
        field: String,
        comparison: Comparison,
        value: Value,
    },
    In {
        field: String,
        values: Vec<Value>,
    },
    Like {
        field: String,
        pattern: String,
    },
    Exists {
        field: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    fn symbol(self) -> &'static str {
        match self {
            Comparison::Equal => "=",
            Comparison::NotEqual => "!=",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Integer(i64),
    /// Finite.
    Real(f64),
    Text(String),
    Boolean(bool),
    Null,
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Filter, FilterError> {
        parse::parse(text).map(|root| Filter { root })
    }
}

impl Filter {
    /// A condition over the JSON column `metadata`, and its parameters from `?2` on (`?1` is the caller's).
    pub(crate) fn to_sql(&self) -> (String, Vec<rusqlite::types::Value>) {
        sql::translate(&self.root)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.root)
    }
}

impl fmt::Display for Node {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Node::Or(parts) => join(formatter, parts, " OR ", |_| false),
            Node::And(parts) => join(formatter, parts, " AND ", |part| matches!(part, Node::Or(_))),
            Node::Not(inner) if matches!(**inner, Node::Or(_) | Node::And(_)) => {
                write!(formatter, "NOT ({inner})")
            }
            Node::Not(inner) => write!(formatter, "NOT {inner}"),
            Node::Compare { field, comparison, value } => {
                write!(formatter, "{} {} {value}", Field(field), comparison.symbol())
            }
            Node::In { field, values } => {
                write!(formatter, "{} IN (", Field(field))?;
                for (at, value) in values.iter().enumerate() {
                    write!(formatter, "{}{value}", if at == 0 { "" } else { ", " })?;
                }
                formatter.write_str(")")
            }
            Node::Like { field, pattern } => write!(formatter, "{} LIKE {}", Field(field), Quoted(pattern)),
            Node::Exists { field } => write!(formatter, "{} EXISTS", Field(field)),
        }
    }
}

fn join(
    formatter: &mut fmt::Formatter<'_>,
    parts: &[Node],
    word: &str,
    needs_parentheses: impl Fn(&Node) -> bool,
) -> fmt::Result {
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            formatter.write_str(word)?;
        }
        if needs_parentheses(part) { write!(formatter, "({part})")? } else { write!(formatter, "{part}")? }
    }
    Ok(())
}

impl fmt::Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Integer(number) => write!(formatter, "{number}"),
            // `{:?}` keeps a point or an exponent, so that it is read back as a real number.
            Value::Real(number) => write!(formatter, "{number:?}"),
            Value::Text(text) => write!(formatter, "{}", Quoted(text)),
            Value::Boolean(value) => write!(formatter, "{value}"),
            Value::Null => formatter.write_str("null"),
        }
    }
}

struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "\"{}\"", self.0.replace('"', "\"\""))
    }
}

struct Field<'a>(&'a str);

impl fmt::Display for Field<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if parse::is_bare_field(self.0) {
            formatter.write_str(self.0)
        } else {
            write!(formatter, "`{}`", self.0.replace('`', "``"))
        }
    }
}
