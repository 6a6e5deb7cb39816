//! What holds for any input: nothing is lost, nothing is over budget, nothing panics, numbers only grow.

use bilin_ingest::{
    Content, Format, Found, Limits, ReadFile, ReadOptions, Split, heading_path, read, split_text,
};
use proptest::prelude::*;

/// Counts like a tokenizer: one token per Chinese character or mark, one per four letters, and two around the text.
fn count_tokens(text: &str) -> usize {
    let (mut tokens, mut letters) = (2usize, 0usize);
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

/// Counts characters: white space counts as well, so that a whole is more than its parts.
fn count_chars(text: &str) -> usize {
    text.chars().count()
}

type Counter = fn(&str) -> usize;

fn any_counter() -> impl Strategy<Value = Counter> {
    prop_oneof![Just(count_tokens as Counter), Just(count_chars as Counter)]
}

fn found(format: Format) -> Found {
    Found {
        path: "/data/a".into(),
        source: "a".into(),
        format,
        category: None,
        fields: bilin_ingest::Metadata::new(),
        bytes: 0,
    }
}

fn options(split: Split, max_tokens: usize) -> ReadOptions<'static> {
    counted(split, max_tokens, &(count_tokens as Counter))
}

fn counted(split: Split, max_tokens: usize, count_tokens: &Counter) -> ReadOptions<'_> {
    ReadOptions {
        split,
        max_tokens,
        count_tokens,
        overlap_tokens: 0,
        max_file_bytes: 1 << 20,
        limits: Limits::default(),
    }
}

fn texts(file: &ReadFile) -> Vec<(&str, usize)> {
    let items = file.documents.iter().flat_map(|document| &document.items);
    items
        .map(|item| {
            let Content::Text(text) = &item.content else { panic!("a picture") };
            let sentence = item
                .metadata
                .get("sentence_id")
                .and_then(|id| id.as_str())
                .and_then(|id| id.parse().ok())
                .unwrap_or(0);
            (text.as_str(), sentence)
        })
        .collect()
}

fn without_blanks(text: &str) -> String {
    text.chars().filter(|character| !character.is_whitespace()).collect()
}

fn any_split() -> impl Strategy<Value = Split> {
    prop_oneof![Just(Split::Auto), Just(Split::Sentence), Just(Split::Passage)]
}

/// Text made of what the rules look at.
fn tricky_text() -> impl Strategy<Value = String> {
    let fragment = prop_oneof![
        "[一-龥]{1,12}",
        "[a-zA-Z]{1,8}",
        "[0-9]{1,3}",
        "[。！？；，、：…!?;.,:]{1,3}",
        "[“”‘’「」（）《》()\\[\\]\"']",
        "[ \n\r\t\u{3000}\u{2028}]{1,3}",
        Just("……".to_owned()),
        Just("e.g. ".to_owned()),
        Just("\n# 标题 ".to_owned()),
        Just("\n```\n".to_owned()),
        Just("\n| a | b |\n|---|---|\n".to_owned()),
        Just("\n- ".to_owned()),
        Just("👩‍👩‍👧e\u{301}".to_owned()),
        any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(fragment, 0..80).prop_map(|fragments| fragments.concat().replace('\0', ""))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn plain_text_is_covered_in_order_within_budget(text in tricky_text(), split in any_split(), count in any_counter(), max_tokens in 13usize..80) {
        let expected = without_blanks(text.strip_prefix('\u{FEFF}').unwrap_or(&text));
        let file = read(&found(Format::Text), text.into_bytes(), &counted(split, max_tokens, &count)).unwrap();
        let items = texts(&file);
        let joined: String = items.iter().map(|(text, _)| without_blanks(text)).collect();
        prop_assert_eq!(joined, expected);
        let mut last = 1;
        for (text, sentence) in items {
            prop_assert!(count(text) <= max_tokens, "{} tokens in {text:?}", count(text));
            prop_assert_eq!(text.trim(), text);
            prop_assert!(!text.is_empty() && sentence >= last);
            last = sentence;
        }
    }

    #[test]
    fn markdown_stays_within_budget(text in tricky_text(), split in any_split(), count in any_counter(), max_tokens in 30usize..80) {
        let file = read(&found(Format::Markdown), text.into_bytes(), &counted(split, max_tokens, &count)).unwrap();
        let mut last = 1;
        for (text, sentence) in texts(&file) {
            prop_assert!(count(text) <= max_tokens, "{} tokens in {text:?}", count(text));
            prop_assert!(!text.trim().is_empty() && sentence >= last);
            last = sentence;
        }
        for item in &file.documents[0].items {
            let total: usize = item.metadata["total_sentences"].as_str().unwrap().parse().unwrap();
            prop_assert!(total >= last);
            prop_assert_eq!(heading_path(&item.metadata).is_some(), item.metadata.contains_key("chapter"));
        }
    }

    #[test]
    fn records_stay_within_budget(texts_in in proptest::collection::vec(tricky_text(), 1..4), split in any_split(), count in any_counter(), max_tokens in 13usize..80) {
        let lines: Vec<String> = texts_in.iter().map(|text| serde_json::json!({"text": text}).to_string()).collect();
        let file = read(&found(Format::JsonLines), lines.join("\n").into_bytes(), &counted(split, max_tokens, &count)).unwrap();
        let blank = texts_in.iter().filter(|text| text.trim().is_empty()).count();
        prop_assert_eq!((file.documents.len(), file.problems.len()), (texts_in.len() - blank, blank));
        let joined: String = texts(&file).iter().map(|(text, _)| without_blanks(text)).collect();
        prop_assert_eq!(joined, without_blanks(&texts_in.concat()));
        for (text, _) in texts(&file) {
            prop_assert!(count(text) <= max_tokens, "{text:?}");
        }
    }

    #[test]
    fn csv_gives_back_what_was_written(texts_in in proptest::collection::vec(tricky_text(), 1..4)) {
        let quoted: String = texts_in.iter().map(|text| format!("\"{}\",1\n", text.replace('"', "\"\""))).collect();
        let file = read(&found(Format::Csv), format!("text,n\n{quoted}").into_bytes(), &options(Split::Auto, 10_000)).unwrap();
        let written: Vec<&str> = texts_in.iter().map(|text| text.trim()).filter(|text| !text.is_empty()).collect();
        let read_back: Vec<&str> = texts(&file).iter().map(|(text, _)| *text).collect();
        prop_assert_eq!(read_back, written);
    }

    #[test]
    fn no_bytes_cause_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), max_tokens in 0usize..20) {
        for format in [Format::Text, Format::Markdown, Format::JsonLines, Format::Csv] {
            let _ = read(&found(format), bytes.clone(), &options(Split::Auto, max_tokens));
        }
        let _ = split_text(&String::from_utf8_lossy(&bytes), &options(Split::Passage, max_tokens));
    }

    #[test]
    fn no_text_causes_a_panic(text in tricky_text(), max_tokens in 0usize..6) {
        for format in [Format::Text, Format::Markdown, Format::JsonLines, Format::Csv] {
            let _ = read(&found(format), text.clone().into_bytes(), &options(Split::Passage, max_tokens));
        }
        prop_assert_eq!(without_blanks(&split_text(&text, &options(Split::Sentence, max_tokens)).concat()), without_blanks(&text));
    }
}
