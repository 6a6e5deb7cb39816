//! Pages as sites and manuals write them.

use super::*;
use crate::Metadata;
use crate::passages;
use crate::read::{Content, Source};
use crate::split::{Budget, Split};

fn read(html: &str) -> Vec<(String, String)> {
    let sections = sections(html.as_bytes(), &Limits::default()).unwrap();
    let count = |text: &str| text.chars().count();
    let budget = Budget { tokens: 1000, count: &count, overlap: 0 };
    passages::items(sections, &Metadata::new(), &Source { name: "a" }, Split::Auto, budget)
        .into_iter()
        .map(|item| {
            let Content::Text(text) = item.content else { panic!("no text") };
            (passages::heading_path(&item.metadata).unwrap_or_default(), text)
        })
        .collect()
}

fn pair(path: &str, text: &str) -> (String, String) {
    (path.into(), text.into())
}

#[test]
fn main_text_without_what_stands_around_it() {
    let page = "<!doctype html><html><head><title>站点</title><style>p{}</style></head><body>\
        <header role=banner><a href=/>首页</a></header><nav><ul><li><a href=/a>栏目</a></ul></nav>\
        <main><h1>向量检索<a class=headerlink href='#x'>¶</a></h1><p>第一段，<b>很</b>重要。\n<p>第二段&hellip;没有关闭\
        <h2>索引</h2><script>if (a < b) { document.write('<p>x') }</script><ul><li>甲<li>乙<ol><li>子</ol></ul></main>\
        <div id=sidebar>广告</div><footer>版权</footer></body></html>";
    assert_eq!(
        read(page),
        [
            pair("向量检索", "第一段，很重要。\n\n第二段…没有关闭"),
            pair("向量检索 > 索引", "- 甲\n- 乙\n  1. 子"),
        ]
    );
}

#[test]
fn tables_listings_and_definitions() {
    let page = "<h1>T</h1><table><thead><tr><th>名</th><th>数</th></tr></thead><tr><td>一<br>二<td>1</table>\
        <pre class=screen>fn main() {\n    run();\n}</pre><dl><dt>HNSW<dd>图。</dl>\
        <table><tr><td><p>版面</p><ul><li>甲</ul></td><td>右</td></tr></table>";
    let text = read(page).remove(0).1;
    assert_eq!(
        text,
        "名 | 数\n一 二 | 1\n\nfn main() {\n    run();\n}\n\nHNSW\n\n图。\n\n版面\n\n- 甲\n\n右"
    );
}

#[test]
fn a_page_without_headings_stands_under_its_title() {
    assert_eq!(read("<title> 说明\n书 </title><p>正文。"), [pair("说明 书", "正文。")]);
    assert_eq!(read("plain & simple < text"), [pair("", "plain & simple < text")]);
}

#[test]
fn what_is_hidden_or_only_leads_on_is_left_out() {
    let page = "<h1>书</h1><div class=toc><ul><li><a href=c1.html>第一章</a></ul></div><ul><li><a href='#s'>小节</a></ul>\
        <p hidden>隐藏</p><p style='display: none'>隐藏</p><p>显示</p>";
    assert_eq!(read(page), [pair("书", "显示")]);
}

#[test]
fn a_page_that_is_all_furniture_is_read_as_it_is() {
    assert_eq!(
        read("<nav><p>只有导航的页面，没有别的文字。</p></nav>"),
        [pair("", "只有导航的页面，没有别的文字。")]
    );
}

#[test]
fn deep_nesting_is_refused_and_unclosed_elements_are_not_nested() {
    let deep = "<div>".repeat(100_000);
    let started = std::time::Instant::now();
    assert!(matches!(
        sections(deep.as_bytes(), &Limits::default()),
        Err(IngestError::Unfolds { limit: 256, .. })
    ));
    assert!(started.elapsed().as_secs() < 5);
    let flat = "<p>段落<li>项<td>格<dd>解".repeat(10_000);
    assert!(sections(flat.as_bytes(), &Limits::default()).is_ok());
}
