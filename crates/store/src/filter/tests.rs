//! The translation to SQL is compared with a direct reading of the language, on random filters and metadata; `Display`
//! round-trips; no text makes the parser panic; errors show where.
use proptest::prelude::*;
use rusqlite::{Connection, params_from_iter};
use serde_json::{Value as Json, json};

use super::{Comparison, Filter, MAX_FILTER_BYTES, MAX_FILTER_DEPTH, MAX_FILTER_VALUES, Node, Value};
use crate::settings::Metadata;

/// Slots of the metadata that a filter selects, by SQLite.
fn selected(filter: &Filter, all: &[Metadata]) -> Vec<usize> {
    let connection = Connection::open_in_memory().expect("a database");
    connection
        .execute_batch("CREATE TABLE items (slot INTEGER PRIMARY KEY, metadata TEXT)")
        .expect("a table");
    for (slot, metadata) in all.iter().enumerate() {
        let text = Json::Object(metadata.clone()).to_string();
        connection.execute("INSERT INTO items VALUES (?1, ?2)", (slot as i64, text)).expect("a row");
    }
    let (condition, parameters) = filter.to_sql();
    let bound = std::iter::once(rusqlite::types::Value::Integer(0)).chain(parameters);
    let sql = format!("SELECT slot FROM items WHERE ?1 = 0 AND ({condition}) ORDER BY slot");
    let mut statement = connection.prepare(&sql).expect("a statement");
    statement
        .query_map(params_from_iter(bound), |row| row.get::<_, i64>(0).map(|slot| slot as usize))
        .expect("rows")
        .collect::<Result<_, _>>()
        .expect("slots")
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

/// The language as its documentation has it.
fn holds(node: &Node, metadata: &Metadata) -> bool {
    let field = |name: &String| metadata.get(name);
    match node {
        Node::Or(parts) => parts.iter().any(|part| holds(part, metadata)),
        Node::And(parts) => parts.iter().all(|part| holds(part, metadata)),
        Node::Not(inner) => !holds(inner, metadata),
        Node::Compare { field: name, comparison: Comparison::NotEqual, value } => {
            !compares(field(name), Comparison::Equal, value)
        }
        Node::Compare { field: name, comparison, value } => compares(field(name), *comparison, value),
        Node::In { field: name, values } => {
            values.iter().any(|value| compares(field(name), Comparison::Equal, value))
        }
        Node::Like { field: name, pattern } => {
            let pattern: Vec<char> = pattern.chars().collect();
            matches!(field(name), Some(Json::String(text)) if like(&pattern, &text.chars().collect::<Vec<_>>()))
        }
        Node::Exists { field: name } => field(name).is_some_and(|value| !value.is_null()),
    }
}

fn compares(found: Option<&Json>, comparison: Comparison, value: &Value) -> bool {
    let ordered = |order: Option<std::cmp::Ordering>| match comparison {
        Comparison::Equal => order.is_some_and(|order| order.is_eq()),
        Comparison::NotEqual => order.is_some_and(|order| order.is_ne()),
        Comparison::Less => order.is_some_and(|order| order.is_lt()),
        Comparison::LessOrEqual => order.is_some_and(|order| order.is_le()),
        Comparison::Greater => order.is_some_and(|order| order.is_gt()),
        Comparison::GreaterOrEqual => order.is_some_and(|order| order.is_ge()),
    };
    let by_value = |wanted: f64, with_text: bool| {
        let found = match found {
            Some(Json::Number(found)) => found.as_f64(),
            // With spaces around it, too, as columns of CSV files have them.
            Some(Json::String(text)) if with_text => number(text.trim_matches(' ')),
            _ => None,
        };
        ordered(found.and_then(|found| found.partial_cmp(&wanted)))
    };
    match (value, found) {
        (Value::Null, found) => found.is_none_or(Json::is_null),
        (Value::Integer(wanted), _) => by_value(*wanted as f64, true),
        (Value::Real(wanted), _) => by_value(*wanted, true),
        (Value::Text(wanted), Some(Json::String(text))) => {
            ordered(Some(text.as_bytes().cmp(wanted.as_bytes())))
        }
        (Value::Text(wanted), Some(Json::Bool(found))) => {
            comparison == Comparison::Equal && *wanted == found.to_string()
        }
        (Value::Text(wanted), _) => number(wanted).is_some_and(|wanted| by_value(wanted, false)),
        (Value::Boolean(wanted), Some(Json::Bool(found))) => wanted == found,
        (Value::Boolean(wanted), Some(Json::String(text))) => *text == wanted.to_string(),
        (Value::Boolean(_), _) => false,
    }
}

fn like(pattern: &[char], text: &[char]) -> bool {
    let same = |a: &char, b: &char| a.eq_ignore_ascii_case(b);
    match (pattern, text) {
        ([], text) => text.is_empty(),
        (['%', rest @ ..], text) => (0..=text.len()).any(|skipped| like(rest, &text[skipped..])),
        (['\\', wanted, rest @ ..], [found, more @ ..]) => same(wanted, found) && like(rest, more),
        (['_', rest @ ..], [_, more @ ..]) => like(rest, more),
        ([wanted, rest @ ..], [found, more @ ..]) => same(wanted, found) && like(rest, more),
        _ => false,
    }
}

fn fields() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "价格", "x.y", "b c", "not", "x-1"]).prop_map(str::to_owned)
}

fn texts() -> impl Strategy<Value = String> {
    let common =
        ["", "5", "5.0", "-1e1", "05", "1e999", "true", "null", "鸟类", "a", "A", "b%", "it's \"so\"", "\\"];
    prop_oneof![prop::sample::select(common.to_vec()).prop_map(str::to_owned), "[a-c0-9%_. 鸟]{0,4}"]
}

fn values() -> impl Strategy<Value = Value> {
    prop_oneof![
        (-12_i64..12).prop_map(Value::Integer),
        prop::sample::select(vec![5.0, -10.0, 0.5, 1e300, -0.0]).prop_map(Value::Real),
        texts().prop_map(Value::Text),
        any::<bool>().prop_map(Value::Boolean),
        Just(Value::Null),
    ]
}

fn conditions() -> impl Strategy<Value = Node> {
    let signs = [Comparison::Less, Comparison::LessOrEqual, Comparison::Greater, Comparison::GreaterOrEqual];
    let ordered = values().prop_filter("has an order", |value| {
        matches!(value, Value::Integer(_) | Value::Real(_) | Value::Text(_))
    });
    prop_oneof![
        (fields(), any::<bool>(), values()).prop_map(|(field, equal, value)| {
            let comparison = if equal { Comparison::Equal } else { Comparison::NotEqual };
            Node::Compare { field, comparison, value }
        }),
        (fields(), prop::sample::select(signs.to_vec()), ordered)
            .prop_map(|(field, comparison, value)| Node::Compare { field, comparison, value }),
        (fields(), prop::collection::vec(values(), 1..4))
            .prop_map(|(field, values)| Node::In { field, values }),
        (fields(), "([a-b鸟%_]|\\\\%){0,3}").prop_map(|(field, pattern)| Node::Like { field, pattern }),
        fields().prop_map(|field| Node::Exists { field }),
    ]
}

fn filters() -> impl Strategy<Value = Filter> {
    let nodes = conditions().prop_recursive(4, 16, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Node::And),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Node::Or),
            inner.prop_map(|node| Node::Not(Box::new(node))),
        ]
    });
    nodes.prop_map(|root| Filter { root })
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let json = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        (-12_i64..12).prop_map(Json::from),
        prop::sample::select(vec![5.0, -10.0, 0.5]).prop_map(Json::from),
        texts().prop_map(Json::from),
        Just(json!([1, "a"])),
        Just(json!({"a": 5})),
    ];
    prop::collection::vec((fields(), json), 0..5).prop_map(|fields| fields.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn sql_means_what_the_language_says(filter in filters(), all in prop::collection::vec(metadata(), 0..12)) {
        let expected: Vec<usize> =
            (0..all.len()).filter(|slot| holds(&filter.root, &all[*slot])).collect();
        prop_assert_eq!(selected(&filter, &all), expected, "{}", filter);
    }

    #[test]
    fn display_is_read_back_as_the_same_filter(filter in filters(), all in prop::collection::vec(metadata(), 0..12)) {
        let text = filter.to_string();
        let again: Filter = text.parse().expect("what was displayed");
        prop_assert_eq!(again.to_string().parse::<Filter>().expect("what was displayed"), again.clone());
        for metadata in &all {
            prop_assert_eq!(holds(&again.root, metadata), holds(&filter.root, metadata), "{}", text);
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,60}") {
        let _ = text.parse::<Filter>();
    }

    #[test]
    fn no_sequence_of_words_makes_it_panic(words in prop::collection::vec(prop::sample::select(vec![
        "a", "AND", "or", "NOT", "IN", "(", ")", ",", "=", "<>", "<", "1", "-", "\"x\"", "'", "`", "LIKE", "EXISTS", "null",
    ]), 0..12)) {
        if let Ok(filter) = words.join(" ").parse::<Filter>() {
            selected(&filter, &[Metadata::new()]);
        }
    }
}

#[test]
fn metadata_of_the_tutorial_compares_as_expected() {
    let all: Vec<Metadata> = [
        json!({"category": "birds", "price": "9.5", "chapter": "第三章"}),
        json!({"category": "birds", "price": 12, "page": 1}),
        json!({"category": "cats", "price": "10"}),
        json!({}),
    ]
    .into_iter()
    .map(|value| value.as_object().expect("an object").clone())
    .collect();
    let of = |text: &str| selected(&text.parse().expect(text), &all);
    assert_eq!(of("category = 'birds' AND price < 10"), [0]);
    assert_eq!(of("price <= \"10\""), [2], "a string compares with strings as text, with numbers by value");
    assert_eq!(of("price >= 10"), [1, 2]);
    assert_eq!(of("category != \"birds\""), [2, 3]);
    assert_eq!(of("NOT category IN (\"birds\", \"cats\")"), [3]);
    assert_eq!(of("category NOT IN ('birds')"), [2, 3]);
    assert_eq!(of("chapter like '第%'"), [0]);
    assert_eq!(of("page EXISTS or (category='cats' and not page exists)"), [1, 2]);
    assert_eq!(of("page = null"), [0, 2, 3]);
    let spaced = [json!({"price": " 9.5 "}).as_object().expect("an object").clone()];
    assert_eq!(selected(&"price < 10".parse().expect("a filter"), &spaced), [0]);
    assert_eq!(of("`category` == \"cats\""), [2]);
}

#[test]
fn integers_beyond_the_precision_of_f64_stay_apart() {
    let all: Vec<Metadata> = [9_007_199_254_740_993_i64, 9_007_199_254_740_992]
        .into_iter()
        .map(|value| json!({"id": value}).as_object().expect("an object").clone())
        .collect();
    assert_eq!(selected(&"id = 9007199254740993".parse().expect("a filter"), &all), [0]);
}

#[test]
fn errors_show_where_and_what_to_do() {
    let error = |text: &str| text.parse::<Filter>().expect_err(text).to_string();
    assert_eq!(
        error("价格 < "),
        "filter, character 6: expected a value, found the end; a number, a string in quotation marks, true, false or null"
    );
    assert_eq!(
        error("a = birds"),
        "filter, character 5: expected a value, found \"birds\"; text stands in quotation marks: \"birds\""
    );
    assert!(error("").starts_with("filter, character 1: expected a field, found the end"));
    assert!(
        error("a = 1 b = 2").starts_with("filter, character 7: expected AND, OR or the end, found \"b\"")
    );
    assert!(error("a = “x”").contains("use straight quotation marks"));
    assert!(error("a = 1;").contains("character 6"));
    assert!(error("(a = 1").contains("expected AND, OR or \")\""));
    assert!(error("a = \"x").contains("a closing \""));
    assert!(error("a < true").contains("have no order"));
    assert!(error("a = 1e999").contains("a number"));
    assert!(error("`a\"b` = 1").contains("rename the field"));
    assert!(error("a LIKE '%a%b%c%d%'").contains("at most 4"));
    assert!(error("a LIKE 'x\\'").contains("a character after"));
    assert!(error("in = 1").contains("backquotes"));
}

#[test]
fn length_depth_and_values_are_bounded_and_the_largest_run() {
    let long = format!("a = \"{}\"", "x".repeat(MAX_FILTER_BYTES));
    assert!(long.parse::<Filter>().is_err());
    let nested = |levels: usize| format!("{}a = 1{}", "(".repeat(levels), ")".repeat(levels));
    assert!(nested(MAX_FILTER_DEPTH + 1).parse::<Filter>().is_err());
    assert!("not ".repeat(5000).parse::<Filter>().is_err());
    let values = |count: usize| format!("a IN ({})", vec!["'5'"; count].join(","));
    assert!(values(MAX_FILTER_VALUES + 1).parse::<Filter>().is_err());
    let chain = vec!["a!='5'"; MAX_FILTER_VALUES].join(" or ");
    let all = [json!({"a": 6}).as_object().expect("an object").clone()];
    for (text, expected) in [(nested(MAX_FILTER_DEPTH), 0), (values(MAX_FILTER_VALUES), 0), (chain, 1)] {
        let filter = text.parse().expect("within the bounds");
        assert_eq!(selected(&filter, &all).len(), expected);
    }
}
