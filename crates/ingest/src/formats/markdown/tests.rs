//! Markdown as sections and passages.

use super::*;
use crate::read::Content;
use crate::{Metadata, heading_path};

fn count_chars(text: &str) -> usize {
    text.chars().count()
}

fn read_with(text: &str, split: Split, tokens: usize) -> Vec<(String, String, Metadata)> {
    let budget = Budget { tokens, count: &count_chars, overlap: 0 };
    read(text, &Source { name: "a.md" }, split, budget)
        .into_iter()
        .map(|item| {
            let Content::Text(text) = item.content else { panic!("no text") };
            (heading_path(&item.metadata).unwrap_or_default(), text, item.metadata)
        })
        .collect()
}

#[track_caller]
fn check(text: &str, expected: &[(&str, &str)]) {
    let items = read_with(text, Split::Auto, 1000);
    let found: Vec<(&str, &str)> =
        items.iter().map(|(path, text, _)| (path.as_str(), text.as_str())).collect();
    assert_eq!(found, expected);
}

#[test]
fn chapters_and_sections() {
    let text = "前言在此。\n\n# 第一章 向量\n\n向量是数组。它有维度。\n\n## 距离\n\n### 余弦 `cosine`\n\n余弦相似度。\n\n## 索引\n\n索引加速检索。\n\n# 第二章\n\n结束。\n";
    check(
        text,
        &[
            ("", "前言在此。"),
            ("第一章 向量", "向量是数组。它有维度。"),
            ("第一章 向量 > 距离 > 余弦 cosine", "余弦相似度。"),
            ("第一章 向量 > 索引", "索引加速检索。"),
            ("第二章", "结束。"),
        ],
    );
    let items = read_with(text, Split::Auto, 1000);
    let metadata = serde_json::to_value(&items[2].2).unwrap();
    let expected = serde_json::json!({"chapter": "第一章 向量", "section": "距离 > 余弦 cosine", "sentence_id": "4", "source": "a.md", "total_sentences": "6", "passage": "3"});
    assert_eq!(metadata, expected);
    assert!(!items[0].2.contains_key("chapter") && !items[1].2.contains_key("section"));
}

#[test]
fn setext_duplicate_and_missing_levels() {
    check(
        "总则\n====\n\n甲。\n\n细则\n----\n\n乙。\n\n细则\n----\n\n丙。\n",
        &[("总则", "甲。"), ("总则 > 细则", "乙。"), ("总则 > 细则", "丙。")],
    );
    // Without a heading of level 1 the outermost heading is the chapter.
    check(
        "## 甲\n\na\n\n#### 乙\n\nb\n\n### 丙\n\nc\n\n## 丁\n\nd\n",
        &[("甲", "a"), ("甲 > 乙", "b"), ("甲 > 丙", "c"), ("丁", "d")],
    );
    check("没有标题。\n\n两段。", &[("", "没有标题。\n\n两段。")]);
    check("# \n\n空标题。\n\n## 有字 {#id .class}\n\n正文。", &[("", "空标题。"), ("有字", "正文。")]);
}

#[test]
fn headings_without_text_are_found_themselves() {
    check(
        "# 课程\n\n## 第一讲\n\n## 第二讲\n\n内容。\n",
        &[("课程 > 第一讲", "第一讲"), ("课程 > 第二讲", "内容。")],
    );
}

#[test]
fn code_is_no_heading_and_keeps_its_lines() {
    check(
        "# 安装\n\n运行：\n\n```bash\n# 这是注释，不是标题\npip install faiss-cpu\n\n  indented\n```\n\n~~~\n## 也不是\n~~~\n\n    # 缩进代码\n\n完成。\n",
        &[(
            "安装",
            "运行：\n\n# 这是注释，不是标题\npip install faiss-cpu\n\n  indented\n\n## 也不是\n\n# 缩进代码\n\n完成。",
        )],
    );
    check("# 甲\n\n```\n没有结束\n# 不是标题\n", &[("甲", "没有结束\n# 不是标题")]);
}

#[test]
fn lists_and_quotes_stay_readable() {
    check(
        "模块：\n- **存储**模块\n- `距离`模块\n  - L2\n  - IP\n\n步骤如下\n\n3. 训练。再检查。\n4. 添加\n\n   补充说明\n\n> # 引用里的标题\n> 引文。\n\n- [x] 完成\n- [ ] 未完\n",
        &[(
            "",
            "模块：\n- 存储模块\n- 距离模块\n  - L2\n  - IP\n\n步骤如下\n\n3. 训练。再检查。\n4. 添加\n  补充说明\n\n引用里的标题\n\n引文。\n\n- [x] 完成\n- [ ] 未完",
        )],
    );
}

#[test]
fn tables_are_rows() {
    check(
        "| 索引 | 说明 |\n|---|:-:|\n| Flat | 精确，`O(n)` |\n| IVF | [倒排](http://x) |\n",
        &[("", "索引 | 说明\nFlat | 精确，O(n)\nIVF | 倒排")],
    );
    check("| | |\n|-|-|\n| a | b |\n", &[("", "a | b")]);
}

#[test]
fn a_table_over_budget_repeats_its_header() {
    let rows: String = (0..6).map(|row| format!("| 行{row} | 值{row} |\n")).collect();
    let items = read_with(&format!("| 名 | 数 |\n|-|-|\n{rows}"), Split::Auto, 24);
    let texts: Vec<&str> = items.iter().map(|(_, text, _)| text.as_str()).collect();
    assert_eq!(
        texts,
        ["名 | 数\n行0 | 值0\n行1 | 值1", "名 | 数\n行2 | 值2\n行3 | 值3", "名 | 数\n行4 | 值4\n行5 | 值5"]
    );
    assert!(
        items
            .iter()
            .all(|(_, _, metadata)| metadata["sentence_id"] == "1" && metadata["total_sentences"] == "1")
    );
}

#[test]
fn inline_markup_shows_its_text() {
    check(
        "见[官网](https://faiss.ai \"标题\")和<https://x.org>，**粗**、*斜*、~~删~~、`a_b`、![架构图](a.png)。<!-- 注释 -->公式$a_i * b_i$与脚注[^1]。<b>字</b><br>换行\n\n[^1]: 脚注在此。\n\n<!--\n多行\n注释\n-->\n",
        &[(
            "",
            "见官网和https://x.org，粗、斜、删、a_b、架构图。公式$a_i * b_i$与脚注[1]。字\n换行\n\n[1] 脚注在此。",
        )],
    );
    check(
        "[![Build](b.svg)](http://ci) [![npm](n.svg)](http://npm)\n\n正文 &amp; 实体 &lt;b&gt;\n",
        &[("", "正文 & 实体 <b>")],
    );
}

#[test]
fn a_table_of_contents_is_no_text() {
    check(
        "- [安装](#安装)\n  - [Linux](#linux)\n- [使用](#使用)\n\n## 安装\n\n见[使用](#使用)一节。\n",
        &[("安装", "见使用一节。")],
    );
}

#[test]
fn soft_line_ends() {
    check(
        "This text goes on\nover the line. And\n*then* it ends.",
        &[("", "This text goes on over the line. And then it ends.")],
    );
    check(
        "很长的中文一行写到编辑器自动换行的那一列才断开并不是想要断开\n这里。短行\n也短。",
        &[("", "很长的中文一行写到编辑器自动换行的那一列才断开并不是想要断开这里。短行\n也短。")],
    );
}

#[test]
fn front_matter_is_metadata_and_cannot_forge_ours() {
    let items = read_with(
        "---\ntitle: 检索\nsource: 别处\nsection: 假\ntags: [a]\n---\n# 章\n\n正文。\n",
        Split::Auto,
        100,
    );
    let metadata = serde_json::to_value(&items[0].2).unwrap();
    let expected = serde_json::json!({"title": "检索", "tags": ["a"], "source": "a.md", "chapter": "章", "sentence_id": "1", "total_sentences": "1", "passage": "1"});
    assert_eq!(metadata, expected);
}

#[test]
fn passages_are_balanced_and_stop_at_headings() {
    let sentence = "这一句正好有二十个字符，不多也不少呢。"; // 19 characters
    let text = format!("# 章\n\n{}\n\n## 节\n\n尾。\n", sentence.repeat(6));
    let items = read_with(&text, Split::Auto, 104);
    let lengths: Vec<usize> = items.iter().map(|(_, text, _)| text.chars().count()).collect();
    // 5 and 1 would fit as well.
    assert_eq!(lengths, [57, 57, 2]);
}

#[test]
fn the_heading_path_fits_beside_the_passage() {
    let text = format!("# {}\n\n{}", "题".repeat(30), "一句话五字。".repeat(40));
    for (_, text, metadata) in read_with(&text, Split::Auto, 100) {
        let whole = format!("{}\n{text}", heading_path(&metadata).unwrap());
        assert!(count_chars(&whole) <= 100, "{whole}");
    }
}

#[test]
fn sentences_one_by_one() {
    let items = read_with("# 章\n\n甲。乙！\n\n- 丙\n- 丁\n\n```\na\nb\n```\n", Split::Sentence, 100);
    let texts: Vec<&str> = items.iter().map(|(_, text, _)| text.as_str()).collect();
    assert_eq!(texts, ["甲。", "乙！", "丙", "丁", "a\nb"]);
    let ids: Vec<_> =
        items.iter().map(|(_, _, metadata)| metadata["sentence_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["1", "2", "3", "4", "5"]);
}

#[test]
fn a_passage_from_the_depth_of_a_list_is_moved_left() {
    let text = "- 一级的第一项内容\n  - 二级的第一项内容\n  - 二级的第二项内容\n  - 二级的第三项内容\n";
    let items = read_with(text, Split::Auto, 26);
    let texts: Vec<&str> = items.iter().map(|(_, text, _)| text.as_str()).collect();
    assert_eq!(texts, ["- 一级的第一项内容\n  - 二级的第一项内容", "- 二级的第二项内容\n- 二级的第三项内容"]);
}
