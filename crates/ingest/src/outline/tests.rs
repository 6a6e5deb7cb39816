//! Blocks as sections and passages: places, pages, overlap.

use super::*;
use crate::Metadata;
use crate::passages;
use crate::read::{Content, Source};
use crate::split::{Budget, Split};
use serde_json::json;

fn count_chars(text: &str) -> usize {
    text.chars().count()
}

fn items(outline: Outline, split: Split, tokens: usize, overlap: usize) -> Vec<(String, serde_json::Value)> {
    let budget = Budget { tokens, count: &count_chars, overlap };
    passages::items(outline.finish(), &Metadata::new(), &Source { name: "a" }, split, budget)
        .into_iter()
        .map(|item| {
            let Content::Text(text) = item.content else { panic!("no text") };
            let mut metadata = item.metadata;
            for shared in ["source", "sentence_id", "total_sentences"] {
                assert!(metadata.shift_remove(shared).is_some(), "{shared}");
            }
            (text, serde_json::Value::Object(metadata))
        })
        .collect()
}

fn slide(outline: &mut Outline, number: u32, title: &str, body: &str) {
    let mut fields = Metadata::new();
    fields.insert("slide".into(), number.to_string().into());
    outline.part(fields);
    outline.push(Block::Heading { level: 2, text: title.into(), show: Show::InText });
    outline.push(Block::paragraph(body));
}

#[test]
fn no_passage_spans_two_slides() {
    let mut outline = Outline::with_chapters_at(1);
    slide(&mut outline, 1, "索引", "倒排。");
    slide(&mut outline, 2, "索引", "");
    slide(&mut outline, 3, "", "没有标题。");
    assert_eq!(
        items(outline, Split::Auto, 1000, 0),
        [
            ("索引\n\n倒排。".into(), json!({"section": "索引", "slide": "1", "passage": "1"})),
            ("索引".into(), json!({"section": "索引", "slide": "2", "passage": "2"})),
            ("没有标题。".into(), json!({"slide": "3", "passage": "3"})),
        ]
    );
}

#[test]
fn a_chapter_that_is_only_named_makes_no_text() {
    let mut outline = Outline::with_chapters_at(1);
    let chapter = || Block::Heading { level: 1, text: "第一讲".into(), show: Show::Never };
    outline.part(Metadata::new());
    outline.push(chapter());
    outline.part(Metadata::new());
    outline.push(chapter());
    outline.push(Block::Heading { level: 2, text: "度量".into(), show: Show::InText });
    assert_eq!(
        items(outline, Split::Auto, 100, 0),
        [("度量".into(), json!({"chapter": "第一讲", "section": "度量", "passage": "1"}))]
    );
}

#[test]
fn pages_are_known_to_the_sentence() {
    let mut outline = Outline::default();
    outline.page(3);
    outline.push(Block::heading(1, "章"));
    outline.push(Block::paragraph("第三页。跨\u{c}页的一句。第四页。\u{c}"));
    outline.push(Block::paragraph("第五页。"));
    outline.page(9);
    outline.push(Block::paragraph("第九页。"));
    let found = items(outline, Split::Sentence, 1000, 0);
    let pages: Vec<_> = found
        .iter()
        .map(|(text, of)| {
            (text.as_str(), of["page"].as_str().unwrap(), of.get("page_end").and_then(|p| p.as_str()))
        })
        .collect();
    assert_eq!(
        pages,
        [
            ("第三页。", "3", None),
            ("跨页的一句。", "3", Some("4")),
            ("第四页。", "4", None),
            ("第五页。", "5", None),
            ("第九页。", "9", None),
        ]
    );
}

#[test]
fn passages_end_with_the_page_except_within_a_paragraph() {
    let mut outline = Outline::default();
    outline.page(1);
    outline.push(Block::paragraph("甲。"));
    outline.push(Block::paragraph("乙。"));
    outline.page(2);
    outline.push(Block::paragraph("丙。丁\u{c}。戊。"));
    outline.push(Block::paragraph("己。"));
    assert_eq!(
        items(outline, Split::Auto, 1000, 0),
        [
            ("甲。\n\n乙。".into(), json!({"page": "1", "passage": "1"})),
            ("丙。丁。戊。\n\n己。".into(), json!({"page": "2", "page_end": "3", "passage": "2"})),
        ]
    );
}

#[test]
fn a_table_stands_on_each_of_its_pages_under_its_header() {
    let mut outline = Outline::default();
    outline.page(1);
    let row = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
    outline.push(Block::Table {
        rows: vec![row("名", "数"), row("一", "1"), row("\u{c}二", "2"), row("", ""), row("三", "3")],
        header_rows: 1,
        depth: 0,
    });
    outline.push(Block::Code { text: "\nfn main() {\n\n}\n".into(), depth: 0 });
    let found = items(outline, Split::Sentence, 1000, 0);
    let seen: Vec<_> = found.iter().map(|(text, of)| (text.as_str(), of["page"].as_str().unwrap())).collect();
    assert_eq!(seen, [("名 | 数\n一 | 1", "1"), ("名 | 数\n二 | 2\n三 | 3", "2"), ("fn main() {\n\n}", "2")]);
}

#[test]
fn a_passage_within_a_paragraph_repeats_the_sentence_before() {
    let paragraph =
        "第一句有十个字符的呀。第二句有十个字符的呀。第三句有十个字符的呀。第四句有十个字符的呀。";
    let read = |overlap| {
        let mut outline = Outline::default();
        outline.push(Block::heading(1, "章"));
        outline.push(Block::paragraph(paragraph));
        outline.push(Block::heading(1, "节"));
        outline.push(Block::paragraph("另一节。"));
        items(outline, Split::Auto, 36, overlap).into_iter().map(|(text, _)| text).collect::<Vec<_>>()
    };
    let (first, second) =
        ("第一句有十个字符的呀。第二句有十个字符的呀。", "第三句有十个字符的呀。第四句有十个字符的呀。");
    assert_eq!(read(0), [first, second, "另一节。"]);
    assert_eq!(read(11), [first, &format!("第二句有十个字符的呀。{second}"), "另一节。"]);
    assert_eq!(read(10), [first, second, "另一节。"], "no sentence is repeated in part");
}

#[test]
fn lists_stand_off_and_stay_together() {
    let mut outline = Outline::default();
    let item = |depth, marker: &str, text: &str| Block::Text {
        text: text.into(),
        depth,
        marker: Some(marker.into()),
    };
    outline.push(Block::paragraph("步骤"));
    outline.push(item(1, "1.", "训练。"));
    outline.push(item(2, "-", "细节"));
    outline.push(Block::Text { text: "补充".into(), depth: 2, marker: None });
    outline.push(Block::paragraph("说明："));
    outline.push(item(1, "-", "甲"));
    let found = items(outline, Split::Auto, 1000, 0);
    assert_eq!(found[0].0, "步骤\n\n1. 训练。\n  - 细节\n    补充\n\n说明：\n- 甲");
}
