//! Files read end to end: the tutorial's contract, limits, records, pictures.

use super::*;
use crate::formats::Format;
use std::path::PathBuf;

fn found(source: &str, format: Format) -> Found {
    Found {
        path: PathBuf::from("/data").join(source),
        source: source.into(),
        format,
        category: None,
        fields: crate::Metadata::new(),
        bytes: 0,
    }
}

fn count_chars(text: &str) -> usize {
    text.chars().count()
}

fn options(max_tokens: usize, split: Split) -> ReadOptions<'static> {
    ReadOptions {
        split,
        max_tokens,
        count_tokens: &count_chars,
        overlap_tokens: 0,
        max_file_bytes: 1 << 20,
        limits: Limits::default(),
    }
}

fn texts(document: &Document) -> Vec<&str> {
    document
        .items
        .iter()
        .map(|item| match &item.content {
            Content::Text(text) => text.as_str(),
            Content::Picture(_) => panic!("a picture among texts"),
        })
        .collect()
}

fn json(metadata: &Metadata) -> serde_json::Value {
    serde_json::to_value(metadata).unwrap()
}

#[test]
fn a_text_file_gives_the_tutorials_items() {
    let text = "FAISS是检索库。它支持GPU。\n架构包含三个模块。";
    let file =
        read(&found("text_corpus.txt", Format::Text), text.into(), &options(200, Split::Auto)).unwrap();
    assert!(file.problems.is_empty());
    let [document] = file.documents.as_slice() else { panic!("{:?}", file.documents) };
    assert_eq!(document.id, "text_corpus.txt");
    assert_eq!(texts(document), ["FAISS是检索库。", "它支持GPU。", "架构包含三个模块。"]);
    assert_eq!(
        json(&document.items[1].metadata),
        serde_json::json!({"sentence_id": "2", "source": "text_corpus.txt", "total_sentences": "3"})
    );
}

#[test]
fn a_text_file_in_passages_keeps_its_paragraphs() {
    let text = "第一句。第二句。\n\nOne. Two is longer.";
    let file = read(&found("a.txt", Format::Text), text.into(), &options(200, Split::Passage)).unwrap();
    assert_eq!(texts(&file.documents[0]), [text]);
    let file = read(&found("a.txt", Format::Text), text.into(), &options(20, Split::Passage)).unwrap();
    assert_eq!(texts(&file.documents[0]), ["第一句。第二句。", "One. Two is longer."]);
    assert_eq!(file.documents[0].items[1].metadata["sentence_id"], "3");
}

#[test]
fn a_sentence_over_budget_is_cut_after_a_comma() {
    let text = "向量检索需要很多内存，也需要很多时间，还需要好的索引。短句。";
    let file = read(&found("a.txt", Format::Text), text.into(), &options(12, Split::Auto)).unwrap();
    let document = &file.documents[0];
    assert_eq!(texts(document), ["向量检索需要很多内存，", "也需要很多时间，", "还需要好的索引。", "短句。"]);
    let ids: Vec<_> = document.items.iter().map(|item| item.metadata["sentence_id"].clone()).collect();
    assert_eq!(ids, ["1", "1", "1", "2"]);
    assert_eq!(document.items[0].metadata["total_sentences"], "2");
}

#[test]
fn blank_and_oversized_files() {
    let blank = read(&found("a.md", Format::Markdown), b" \n".to_vec(), &options(9, Split::Auto)).unwrap();
    assert_eq!(blank.documents, [Document { id: "a.md".into(), items: Vec::new() }]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.txt");
    std::fs::write(&path, "12345").unwrap();
    let file = Found { path, ..found("a.txt", Format::Text) };
    assert_eq!(load(&file, 5).unwrap(), b"12345");
    assert!(matches!(load(&file, 4), Err(IngestError::TooLarge { bytes: 5, limit: 4 })));
    let gone = Found { path: folder.path().join("b.txt"), ..found("b.txt", Format::Text) };
    assert!(matches!(load(&gone, 4), Err(IngestError::Read(_))));
    let read = read(&file, vec![b'a'; (1 << 20) + 1], &options(9, Split::Auto));
    assert!(matches!(read, Err(IngestError::TooLarge { .. })));
}

#[test]
fn json_lines_give_a_document_per_record() {
    let lines = "{\"id\": \"a\", \"text\": \"机器学习。深度学习。\", \"year\": 2024, \"tags\": [\"x\"]}\n\n\
        {\"text\": \"BERT\", \"metadata\": {\"id\": \"doc_002\", \"category\": \"论文摘要\", \"source\": \"NAACL2019\"}}\r\n\
        {\"id\": 7, \"question\": \"什么是IVF？\", \"answer\": \"倒排索引。\"}\n\
        {\"Content\": \"plain\"}\n";
    let file = read(&found("d.jsonl", Format::JsonLines), lines.into(), &options(50, Split::Auto)).unwrap();
    assert!(file.problems.is_empty(), "{:?}", file.problems);
    let ids: Vec<&str> = file.documents.iter().map(|document| document.id.as_str()).collect();
    assert_eq!(ids, ["a", "doc_002", "7", "d.jsonl#5"]);
    let all: Vec<Vec<&str>> = file.documents.iter().map(texts).collect();
    assert_eq!(all, [["机器学习。深度学习。"], ["BERT"], ["什么是IVF？\n倒排索引。"], ["plain"]]);
    assert_eq!(
        json(&file.documents[0].items[0].metadata),
        serde_json::json!({"year": 2024, "tags": ["x"], "source": "d.jsonl"})
    );
    assert_eq!(
        json(&file.documents[1].items[0].metadata),
        serde_json::json!({"id": "doc_002", "category": "论文摘要", "source": "NAACL2019"})
    );
}

#[test]
fn wrong_json_records_are_named_by_line() {
    let lines = "{\"text\": \"好\"}\n{\"text\": \n[1]\n{\"text\": 3}\n{\"title\": \"x\"}\n{\"id\": 1.5, \"text\": \"a\"}\n\
        {\"id\": \"x\", \"text\": \"a\"}\n{\"id\": \"x\", \"text\": \"b\"}\n{\"text\": \"  \"}\n{\"text\": \"最后\"}";
    let file = read(&found("d.jsonl", Format::JsonLines), lines.into(), &options(50, Split::Auto)).unwrap();
    let ids: Vec<&str> = file.documents.iter().map(|document| document.id.as_str()).collect();
    assert_eq!(ids, ["d.jsonl#1", "x", "d.jsonl#10"]);
    let reasons: Vec<&str> = file.problems.iter().map(|problem| problem.reason.as_str()).collect();
    let starts = [
        "line 2: not JSON",
        "line 3: not a JSON object",
        "line 4: the field \"text\" is a number",
        "line 5: no field",
        "line 6: the field \"id\"",
        "line 8: the id \"x\" was already used in line 7",
        "line 9: the field \"text\" is blank",
    ];
    assert_eq!(reasons.len(), starts.len(), "{reasons:#?}");
    for (reason, start) in reasons.iter().zip(starts) {
        assert!(reason.starts_with(start), "{reason} / {start}");
    }
}

#[test]
fn many_wrong_records_are_counted() {
    let lines = "oops\n".repeat(250);
    let file = read(&found("d.jsonl", Format::JsonLines), lines.into(), &options(50, Split::Auto)).unwrap();
    assert_eq!(file.problems.len(), 101);
    assert_eq!(file.problems[100].reason, "150 more records could not be read");
}

#[test]
fn csv_with_quotes_line_ends_and_numbers() {
    let text = "\u{FEFF}id,text,price,code,note\r\na,\"第一行\n第二行，\"\"引号\"\"\",9.5,007,\r\nb,plain,42,1e5,x\r\n\r\nc,\"a,b\",1.50,-3,2024-01\r\n";
    let file = read(&found("t.csv", Format::Csv), text.into(), &options(50, Split::Auto)).unwrap();
    assert!(file.problems.is_empty(), "{:?}", file.problems);
    let all: Vec<Vec<&str>> = file.documents.iter().map(texts).collect();
    assert_eq!(all, [["第一行\n第二行，\"引号\""], ["plain"], ["a,b"]]);
    let metadata: Vec<_> = file.documents.iter().map(|document| json(&document.items[0].metadata)).collect();
    assert_eq!(
        metadata,
        [
            serde_json::json!({"price": 9.5, "code": "007", "source": "t.csv"}),
            serde_json::json!({"price": 42, "code": "1e5", "note": "x", "source": "t.csv"}),
            serde_json::json!({"price": "1.50", "code": -3, "note": "2024-01", "source": "t.csv"}),
        ]
    );
}

#[test]
fn csv_delimiters_and_headers() {
    for text in ["内容;类别\n\"甲;乙\";书\n", "内容\t类别\n甲;乙\t书\n", ",内容,类别\n0,甲;乙,书\n"]
    {
        let file = read(&found("t.csv", Format::Csv), text.into(), &options(50, Split::Auto)).unwrap();
        assert_eq!(texts(&file.documents[0]), ["甲;乙"], "{text:?}");
        assert_eq!(file.documents[0].id, "t.csv#2");
        assert_eq!(
            json(&file.documents[0].items[0].metadata),
            serde_json::json!({"类别": "书", "source": "t.csv"}),
            "{text:?}"
        );
    }
    let missing = read(&found("t.csv", Format::Csv), b"a,b\n1,2\n".to_vec(), &options(50, Split::Auto));
    assert!(matches!(missing, Err(IngestError::NoTextColumn { .. })));
    let twice = read(&found("t.csv", Format::Csv), b"text,x,X\n1,2,3\n".to_vec(), &options(50, Split::Auto));
    assert!(matches!(twice, Err(IngestError::DuplicateColumn { name }) if name == "x"));
}

#[test]
fn wrong_csv_rows_are_named_by_line() {
    let text = "id,text\n1,\"a\nb\"\n2\n1,c\n3,d,e\n4,\n5,fine\n6,\"open\n7,swallowed\n";
    let file = read(&found("t.csv", Format::Csv), text.into(), &options(50, Split::Auto)).unwrap();
    let ids: Vec<&str> = file.documents.iter().map(|document| document.id.as_str()).collect();
    assert_eq!(ids, ["1", "5"]);
    let reasons: Vec<&str> = file.problems.iter().map(|problem| problem.reason.as_str()).collect();
    let starts = [
        "line 4: expected 2 cells",
        "line 5: the id \"1\" was already used in line 2",
        "line 6: expected 2 cells",
        "line 7: the field \"text\" is blank",
        "line 9: a quote is opened",
    ];
    assert_eq!(reasons.len(), starts.len(), "{reasons:#?}");
    for (reason, start) in reasons.iter().zip(starts) {
        assert!(reason.starts_with(start), "{reason} / {start}");
    }
}

#[test]
fn a_long_record_is_cut_and_numbered() {
    let line = format!("{{\"id\": \"r\", \"text\": \"{}\"}}", "这是一个句子。".repeat(10));
    let file = read(&found("d.jsonl", Format::JsonLines), line.into(), &options(30, Split::Auto)).unwrap();
    let document = &file.documents[0];
    assert_eq!(texts(document).concat(), "这是一个句子。".repeat(10));
    let ids: Vec<_> = document.items.iter().map(|item| item.metadata["sentence_id"].clone()).collect();
    assert_eq!(ids.len(), 3, "{:?}", texts(document));
    assert_eq!(document.items[0].metadata["total_sentences"], "10");
}

#[test]
fn pictures_keep_their_bytes_and_say_where_they_lie() {
    let file = Found { category: Some("birds".into()), ..found("pictures/birds/a.b.jpg", Format::Picture) };
    let read = read(&file, vec![0xFF, 0xD8, 0], &options(9, Split::Auto)).unwrap();
    let item = &read.documents[0].items[0];
    assert_eq!(item.content, Content::Picture(vec![0xFF, 0xD8, 0]));
    assert_eq!(
        json(&item.metadata),
        serde_json::json!({"source": "pictures/birds/a.b.jpg", "image_path": "pictures/birds/a.b.jpg", "product_id": "a.b", "category": "birds"})
    );
}

#[test]
fn texts_by_api_stay_whole_where_they_fit() {
    assert_eq!(split_text(" 你好。再见。\n", &options(10, Split::Auto)), ["你好。再见。"]);
    assert_eq!(split_text("你好。再见。", &options(10, Split::Sentence)), ["你好。", "再见。"]);
    assert_eq!(split_text("你好。再见。", &options(4, Split::Auto)), ["你好。", "再见。"]);
    assert!(split_text(" \n", &options(4, Split::Auto)).is_empty());
}
