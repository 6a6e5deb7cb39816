//! The short form of every fuzz target: valid files, then hundreds of mutations of each from a fixed seed.

use super::mutate::{Random, mutated};
use crate::formats::pdf::seeds;
use std::io::{Cursor, Write};
use zip::write::SimpleFileOptions;

const PAGE: &str = "<!doctype html><html><head><meta charset=utf-8><title>书</title></head><body><nav><a href=/>首页</a></nav><main>\
    <h1>向量检索</h1><p>第一段 <b>粗</b> &amp; 引用</p><ul><li>甲<li>乙<ol start=3><li>丙</ol></ul><table><thead><tr><th>名<th>数</thead>\
    <tr><td>一<td>1</table><pre>fn main() {}\n</pre><dl><dt>词<dd>义</dl><script>if (a < b) {}</script></main><footer>尾</footer></body></html>";
const TEXTS: [&str; 5] = [
    "第一句。第二句！\n\n# 标题\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```\ncode\n```\n- 项\n  1. 子\n",
    "{\"id\": \"a\", \"text\": \"一。二。\", \"year\": 2024}\n{\"question\": \"什么？\", \"answer\": \"这个。\"}\n",
    "id,text,price\n1,\"第一行\n第二行\",9.5\n2,plain,42\n",
    "---\ntitle: 书\ntags: [a, b]\n---\n正文。\n",
    "{\"cells\": [{\"cell_type\": \"markdown\", \"source\": [\"# 题\\n\", \"文\"]}, {\"cell_type\": \"code\", \"source\": \"x = 1\", \"outputs\": []}],\
     \"metadata\": {}, \"nbformat\": 4, \"nbformat_minor\": 5}",
];

/// Calls `target` with every seed and with `rounds` mutations of each; a panic is reported with what reproduces it.
fn throw(seeds: &[Vec<u8>], rounds: u64, target: impl Fn(&[u8])) {
    for (place, seed) in seeds.iter().enumerate() {
        target(seed);
        for round in 0..rounds {
            let bytes = mutated(seed, &mut Random::new(round + 1));
            let attempt = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| target(&bytes)));
            assert!(
                attempt.is_ok(),
                "mutation {round} of seed {place}: {:?}",
                bytes.escape_ascii().to_string()
            );
        }
    }
}

fn archive(parts: &[(&str, &str)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in parts {
        // Stored, so that mutations reach the parts themselves.
        writer
            .start_file(
                *name,
                SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored),
            )
            .unwrap();
        writer.write_all(content.as_bytes()).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn pdfs_are_read_or_refused() {
    throw(&seeds(), 300, super::pdf);
}

#[test]
fn web_pages_are_read_or_refused() {
    throw(&[PAGE.into()], 600, super::html);
}

#[test]
fn texts_are_read_or_refused() {
    throw(&TEXTS.map(Vec::from), 200, super::text);
    let chinese = encoding_rs::GB18030.encode(TEXTS[0]).0.into_owned();
    throw(&[chinese], 200, super::text);
}

#[test]
fn packages_are_read_or_refused() {
    let word = archive(&[
        (
            "_rels/.rels",
            "<Relationships xmlns='r'><Relationship Id='1' Type='http://x/officeDocument' Target='word/document.xml'/></Relationships>",
        ),
        (
            "word/document.xml",
            "<w:document xmlns:w='w'><w:body><w:p><w:r><w:t>一段。</w:t></w:r></w:p><w:tbl><w:tr><w:tc><w:p><w:r><w:t>格</w:t></w:r></w:p></w:tc></w:tr></w:tbl></w:body></w:document>",
        ),
    ]);
    let book = archive(&[
        (
            "META-INF/container.xml",
            "<container><rootfiles><rootfile full-path='b.opf'/></rootfiles></container>",
        ),
        (
            "b.opf",
            "<package><manifest><item id='c' href='c.xhtml' media-type='application/xhtml+xml'/></manifest><spine><itemref idref='c'/></spine></package>",
        ),
        ("c.xhtml", "<html><body><h1>章</h1><p>文。</p></body></html>"),
    ]);
    throw(&[word, book, archive(&[("a.txt", "甲。"), ("b/c.md", "# 乙")])], 200, super::package);
}
