//! Office documents as real programs write them, read end to end: slides, headings, pages, tables, and what is refused.
//!
//! The files are made by `fixtures/office/make.py`.

#![allow(clippy::unwrap_used)] // a test that cannot read its files has failed

use bilin_ingest::{
    Content, Found, IngestError, Limits, ReadFile, ReadOptions, Split, Wanted, heading_path, load, read, walk,
};
use proptest::prelude::*;
use std::io::{Cursor, Read, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn found(name: &str) -> Found {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/office").join(name);
    let walked = walk(&[path], Wanted::Text);
    let mut found =
        walked.found.into_iter().next().unwrap_or_else(|| panic!("{name}: {:?}", walked.problems));
    found.source = name.into();
    found
}

fn options(split: Split, limits: Limits) -> ReadOptions<'static> {
    ReadOptions {
        split,
        max_tokens: 200,
        count_tokens: &|text| text.chars().count(),
        overlap_tokens: 20,
        max_file_bytes: 1 << 20,
        limits,
    }
}

fn read_as(name: &str, split: Split) -> Result<ReadFile, IngestError> {
    let found = found(name);
    let bytes = load(&found, 1 << 20)?;
    read(&found, bytes, &options(split, Limits::default()))
}

/// One line per item: its place, heading path and text.
fn shown(name: &str) -> Vec<String> {
    let file = read_as(name, Split::Auto).unwrap();
    let items = file.documents.iter().flat_map(|document| &document.items);
    items
        .map(|item| {
            let Content::Text(text) = &item.content else { panic!("a picture") };
            let of = |name: &str| item.metadata.get(name).and_then(|value| value.as_str()).map(str::to_owned);
            let places = ["slide", "sheet", "row", "page", "page_end", "notes", "hidden"];
            let places: Vec<String> =
                places.iter().filter_map(|place| Some(format!("{place} {}", of(place)?))).collect();
            let path = heading_path(&item.metadata).unwrap_or_default();
            format!("{}|{path}|{}", places.join(" "), text.replace('\n', "/"))
        })
        .collect()
}

#[test]
fn slides_in_the_order_shown_with_title_table_groups_and_notes() {
    assert_eq!(
        shown("deck.pptx"),
        [
            "slide 1|第三讲 向量索引|第三讲 向量索引//数据与知识工程",
            "slide 2|第三讲 向量索引 > 为什么要索引|为什么要索引//- 逐个比较太慢/  - 百万条向量要算百万次距离/- 索引先分组，再在近的组里查",
            "slide 2 notes true|第三讲 向量索引 > 为什么要索引|这里停一下，问问大家图书馆的例子。",
            "slide 3|第三讲 向量索引 > 三种索引|三种索引//名称 | 速度 | 内存/Flat | 慢 | 大/IVF | 快 | 大//组里的第一句。//组中组的话。",
            "slide 4|实践部分|实践部分//动手试一试",
            "slide 5 hidden true|实践部分 > 备用：推导|备用：推导//距离的平方等于两个模长的平方和减去两倍内积。",
            "slide 6|实践部分|谢谢大家！//问题请发到课程邮箱。",
        ]
    );
}

#[test]
fn a_deck_of_pictures_is_named() {
    let found = found("deck.pptx");
    let bytes = load(&found, 1 << 20).unwrap();
    let wordless = with_parts(&bytes, |name, content| {
        match name.contains("slides/slide") || name.contains("notesSlide") {
            true => String::from_utf8(content)
                .unwrap()
                .replace("<a:t>", "<a:x>")
                .replace("</a:t>", "</a:x>")
                .into_bytes(),
            false => content,
        }
    });
    let file = read(&found, wordless, &options(Split::Auto, Limits::default())).unwrap();
    assert!(file.documents[0].items.is_empty());
    assert_eq!(file.problems[0].reason, "it holds no text");
}

#[test]
fn named_sections_are_chapters() {
    let paths: Vec<String> = shown("sections.pptx")
        .iter()
        .map(|item| item.split('|').nth(1).unwrap_or_default().to_owned())
        .collect();
    assert_eq!(
        paths,
        [
            "第三讲 向量索引",
            "基础 > 为什么要索引",
            "基础 > 为什么要索引",
            "基础 > 三种索引",
            "实验 > 实践部分",
            "实验 > 备用：推导",
            "实验"
        ]
    );
}

#[test]
fn word_headings_lists_tables_pages_and_changes() {
    assert_eq!(
        shown("handout.docx"),
        [
            "page 1||检索系统讲义//本讲义供课堂使用。",
            "page 1|第一章 绪论|检索就是从很多材料里找出有用的几条。",
            "page 1|第一章 绪论 > 1.1 什么是向量|向量是一串数。它表示一段话的意思。[1]//[1] 也叫嵌入。//（1） 分词/  - 按词典/（2） 编码",
            "page 1 page_end 2|第二章 方法|换页之前的话。换页之后的话。//方法 | 特点/稠密 | 懂意思/稀疏 | 认词 快, 省",
            "page 3|第二章 方法|另起一页的段落。//改动：加进来的，见链接，第3页//旁边有框。//框里的提示。",
        ]
    );
}

#[test]
fn a_lesson_plan_without_styles_has_headings_and_pages() {
    let items = shown("lesson.docx");
    assert_eq!(
        items[..2],
        [
            "page 1|一、教学目标|一、教学目标//理解倒排索引。//第一页的末尾。",
            "page 2 page_end 3|一、教学目标|第二页开头，写到第三页为止。"
        ]
    );
    assert!(
        items[2]
            .starts_with("page 3|一、教学目标 > （二）教学过程|（二）教学过程//课时 | 两节//步骤//先复习")
    );
    // Passages that begin within the long cell repeat a sentence of the one before.
    assert!(items[4].ends_with('。') && items.len() > 4, "{items:#?}");
}

#[test]
fn rows_of_a_workbook_under_their_names() {
    assert_eq!(
        shown("grades.xlsx"),
        [
            "sheet 成绩 row 1||期末成绩表",
            "sheet 成绩 row 3||姓名: 王小明/分数: 95/完成率: 85%/日期: 2026-01-15/评语: 推导清楚，/实验完整。",
            "sheet 成绩 row 4||姓名: 李华/分数: 88.50/完成率: 100%/日期: 2026-01-16 09:30",
            "sheet 问答 row 2||什么是倒排索引？/先分组，再在近的组里查。",
            "sheet 远 row 1048576||角落里的一句话",
        ]
    );
    let file = read_as("grades.xlsx", Split::Auto).unwrap();
    let metadata = &file.documents[0].items[2].metadata;
    assert_eq!(metadata["分数"], 88.5, "filters compare numbers");
}

#[test]
fn books_follow_their_spine_and_their_contents() {
    assert_eq!(
        shown("book.epub"),
        [
            "|第一章 起步|起步要慢。 先装软件。//- 一台电脑/- 一个下午",
            "|第二章 上路|上路要稳。",
            "|第二章 上路 > 第一节 方向|先看地图图。//路 | 长/甲 | 三里//go(/  1)",
        ]
    );
}

#[test]
fn archives_are_folders_with_bad_files_named() {
    assert_eq!(shown("archive.zip"), ["|归档|压缩包里的一句话。", "||名字越界的文件。"]);
    let file = read_as("archive.zip", Split::Auto).unwrap();
    let ids: Vec<&str> = file.documents.iter().map(|document| document.id.as_str()).collect();
    assert_eq!(ids, ["archive.zip/资料/讲义.docx", "archive.zip/越界.txt"]);
    let reasons: Vec<&str> = file.problems.iter().map(|problem| problem.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "资料/里层.zip: an archive within an archive is not read",
            "资料/旧.doc: files of Word 97-2003 (.doc) cannot be read"
        ]
    );
    assert!(file.problems.iter().all(|problem| problem.hint.is_some()));
    let gbk = read_as("gbk.zip", Split::Auto).unwrap();
    assert_eq!(gbk.documents[0].id, "gbk.zip/课件/笔记.txt");
}

#[test]
fn passwords_are_said_so() {
    assert!(matches!(read_as("secret.docx", Split::Auto), Err(IngestError::Encrypted { format: "Word" })));
    let archive = read_as("secret.zip", Split::Auto).unwrap();
    assert!(archive.documents.is_empty());
    assert_eq!(archive.problems[0].reason, "机密.txt: the archived file is protected by a password");
}

#[test]
fn one_sentence_per_item_for_all_formats() {
    for (name, sentence) in [
        ("deck.pptx", "问题请发到课程邮箱。"),
        ("handout.docx", "它表示一段话的意思。[1]"),
        ("archive.zip", "压缩包里的一句话。"),
    ] {
        let file = read_as(name, Split::Sentence).unwrap();
        let items = file.documents.iter().flat_map(|document| &document.items);
        let texts: Vec<_> = items.map(|item| &item.content).collect();
        assert!(texts.contains(&&Content::Text(sentence.into())), "{name}: {texts:?}");
    }
}

#[test]
fn limits_hold_for_what_lies_within() {
    let small = |limits: Limits, name: &str| {
        let found = found(name);
        read(&found, load(&found, 1 << 20).unwrap(), &options(Split::Auto, limits))
    };
    let limits = Limits::default();
    let bytes = small(Limits { unpacked_bytes: 4096, ..limits }, "deck.pptx");
    assert!(matches!(bytes, Err(IngestError::Unfolds { unit: "bytes", limit: 4096 })), "{bytes:?}");
    let entries = small(Limits { entries: 3, ..limits }, "deck.pptx");
    assert!(matches!(entries, Err(IngestError::Unfolds { unit: "entries", .. })));
    let slides = small(Limits { pages: 5, ..limits }, "deck.pptx");
    assert!(matches!(slides, Err(IngestError::Unfolds { unit: "slides", .. })));
    let depth = small(Limits { depth: 4, ..limits }, "handout.docx");
    assert!(matches!(depth, Err(IngestError::Unfolds { unit: "nested XML elements", .. })));
    let rows = small(Limits { rows: 2, ..limits }, "grades.xlsx");
    assert!(matches!(rows, Err(IngestError::Unfolds { unit: "rows", .. })));
    // What the members of an archive unfold into is counted together.
    let archive = small(Limits { unpacked_bytes: 8192, ..limits }, "archive.zip");
    assert!(matches!(archive, Err(IngestError::Unfolds { unit: "bytes", .. })));
}

#[test]
fn the_time_of_a_document_is_bounded_in_every_format() {
    let at_once = |name: &str| {
        let late = Limits { seconds: 0, ..Limits::default() };
        read(&found(name), load(&found(name), 1 << 24).unwrap(), &options(Split::Auto, late))
    };
    for name in ["deck.pptx", "handout.docx", "grades.xlsx", "book.epub"] {
        assert!(matches!(at_once(name), Err(IngestError::TooSlow { seconds: 0 })), "{name}");
    }
    // Each document of an archive has the time for itself, and is named.
    let archive = at_once("archive.zip").unwrap();
    assert!(archive.documents.iter().all(|document| document.items.is_empty()));
    let reasons: Vec<&str> = archive.problems.iter().map(|problem| problem.reason.as_str()).collect();
    assert!(
        reasons.iter().filter(|reason| reason.contains("took longer than 0 s")).count() > 1,
        "{reasons:?}"
    );
}

#[test]
fn splitting_is_within_the_time_of_a_document() {
    let folder = tempfile::tempdir().unwrap();
    let read_slowly = |name: &str, content: &str, seconds: u64| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let found = walk(&[path], Wanted::Text).found.remove(0);
        let calls = AtomicUsize::new(0);
        // A tokenizer that takes a second for its first text.
        let begun = Instant::now();
        let count_tokens = |text: &str| {
            if calls.fetch_add(1, Ordering::Relaxed) == 0 {
                while begun.elapsed() < Duration::from_millis(1_010) {
                    std::thread::yield_now();
                }
            }
            text.chars().count()
        };
        let limits = Limits { seconds, ..Limits::default() };
        let options = ReadOptions { count_tokens: &count_tokens, ..options(Split::Passage, limits) };
        let read = read(&found, load(&found, 1 << 20).unwrap(), &options);
        (read.map(|read| read.documents.len()), calls.into_inner())
    };
    let prose = "It holds for every sentence. ".repeat(5_000);
    let (read, calls) = read_slowly("a.txt", &prose, 1);
    assert!(
        matches!(read, Err(IngestError::TooSlow { seconds: 1 })) && calls == 1,
        "{calls} calls, {read:?}"
    );
    let (read, calls) = read_slowly("b.txt", &prose, 600);
    assert!(read.unwrap() == 1 && calls > 5_000, "{calls} calls");
    let others = [
        ("a.md", "# A\n\nwords\n"),
        ("a.html", "<h1>A</h1><p>words"),
        ("a.jsonl", "{\"text\": \"words\"}\n"),
        ("a.csv", "text,year\nwords,2024\n"),
        ("a.ipynb", "{\"cells\": [{\"cell_type\": \"markdown\", \"source\": \"words\"}]}"),
    ];
    for (name, content) in others {
        let (read, _) = read_slowly(name, content, 0);
        assert!(matches!(read, Err(IngestError::TooSlow { seconds: 0 })), "{name}: {read:?}");
    }
}

#[test]
fn a_new_document_under_an_old_name_is_read() {
    let mut renamed = found("handout.docx");
    let bytes = load(&renamed, 1 << 20).unwrap();
    renamed.path.set_extension("doc");
    renamed.format = bilin_ingest::Format::of_path(&renamed.path).unwrap();
    assert_eq!(
        read(&renamed, bytes, &options(Split::Auto, Limits::default())).unwrap().documents[0].items.len(),
        5
    );
    let old = read(&renamed, b"\xD0\xCF\x11\xE0".to_vec(), &options(Split::Auto, Limits::default()));
    assert!(matches!(&old, Err(error @ IngestError::OldFormat { .. }) if error.hint().is_some()));
}

/// The files with their bytes.
fn samples() -> Vec<(Found, Vec<u8>)> {
    ["deck.pptx", "handout.docx", "grades.xlsx", "archive.zip", "book.epub"]
        .into_iter()
        .map(|name| (found(name), load(&found(name), 1 << 20).unwrap()))
        .collect()
}

/// What XML is made of, so that what is damaged with it is still read.
const MARKS: &[u8] = b"<>/\"=&; :19aw";

/// An office file with each of its parts changed, stored without compression.
fn with_parts(bytes: &[u8], mut change: impl FnMut(&str, Vec<u8>) -> Vec<u8>) -> Vec<u8> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut written = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let name = entry.name().unwrap().into_owned();
        written.start_file(&*name, stored).unwrap();
        written.write_all(&change(&name, content)).unwrap();
    }
    written.finish().unwrap().into_inner()
}

/// An office file with some bytes of one of its parts changed, so that damage is not found by a checksum.
fn with_damaged_part(
    bytes: &[u8],
    part: prop::sample::Index,
    damage: &[(prop::sample::Index, u8)],
) -> Vec<u8> {
    let mut left = part.index(zip::ZipArchive::new(Cursor::new(bytes)).unwrap().len());
    with_parts(bytes, |_, mut content| {
        if left == 0 && !content.is_empty() {
            for (place, byte) in damage {
                let place = place.index(content.len());
                content[place] = MARKS[usize::from(*byte) % MARKS.len()];
            }
        }
        left = left.wrapping_sub(1);
        content
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_damaged_part_causes_a_panic(which in 0usize..4, part in any::<prop::sample::Index>(), damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let name = ["deck.pptx", "handout.docx", "grades.xlsx", "book.epub"][which];
        let found = found(name);
        let bytes = with_damaged_part(&load(&found, 1 << 20).unwrap(), part, &damage);
        let _ = read(&found, bytes, &options(Split::Auto, Limits::default()));
    }

    #[test]
    fn no_damage_causes_a_panic(which in 0usize..5, damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20), cut in any::<prop::sample::Index>()) {
        let (found, mut bytes) = samples().swap_remove(which);
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        let _ = read(&found, bytes.clone(), &options(Split::Auto, Limits::default()));
        bytes.truncate(cut.index(bytes.len()));
        let _ = read(&found, bytes, &options(Split::Auto, Limits::default()));
    }
}
