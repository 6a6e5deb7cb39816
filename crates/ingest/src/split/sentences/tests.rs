//! Sentences as a reader of Chinese or English would part them: `|` stands where one ends.

use super::sentences;

/// Splits `marked` without its bars and compares with the bars. Between two ASCII characters a bar is a space.
#[track_caller]
fn check(marked: &str) {
    let mut text = String::new();
    let mut parts = marked.split('|').peekable();
    while let Some(part) = parts.next() {
        text.push_str(part);
        if part.ends_with(|c: char| c.is_ascii())
            && parts.peek().is_some_and(|next| next.starts_with(|c: char| c.is_ascii()))
        {
            text.push(' ');
        }
    }
    let found: Vec<&str> = sentences(&text).into_iter().map(|range| &text[range]).collect();
    let expected: Vec<&str> = marked.split(['|', '\n']).map(str::trim).filter(|s| !s.is_empty()).collect();
    assert_eq!(found, expected, "in {text:?}");
}

#[test]
fn chinese_full_stops() {
    check("FAISS是高效的检索库。|它支持CPU和GPU加速！|真的吗？|是的；|没错");
    check("全角｡|半角!|也行?|对;|好");
    check("真的吗？！|太好了！！！|好。。。|行");
    check("第一行没有标点\n第二行也没有\n\n第三行。");
}

#[test]
fn the_tutorials_corpus_gives_its_six_sentences() {
    check(
        "FAISS是由Facebook AI研究院开发的高效向量相似性检索库。|它专为大规模高维向量的近邻搜索场景设计,支持CPU和GPU加速。\n\
         FAISS的核心特点包括支持多种索引类型,比如精确索引IndexFlatIP、IndexFlatL2,以及近似索引IVF、HNSW等。|它能处理亿级别的向量数据,还提供了距离计算、向量归一化等工具。\n\
         FAISS的架构主要包含向量存储模块、距离计算模块和索引优化模块。|它广泛应用于推荐系统、语义检索、计算机视觉中的特征匹配等场景。",
    );
}

#[test]
fn closing_quotes_and_brackets_stay_with_their_sentence() {
    check("他说：“好。”|然后走了。");
    check("他说:“好。”|然后……");
    check("「你好。」|她笑了。");
    check("她问：「他说『不行！』了吗？」|没人回答。");
    check("（完。）|下一句。");
    check("老师说：“你们好。今天我们学习向量检索！准备好了吗？”|同学们点头。");
    check("“走吧。”|“去哪儿？”|“回家。”");
}

#[test]
fn remarks_and_titles_within_a_sentence_do_not_end_it() {
    check("《谁动了我的奶酪？》是一本书。|《你好，李焕英！》是电影。");
    check("他（真的吗？）很高兴。|好");
    check("他大喊“救命！”的时候没人听见。|后来");
    check("“好。”，他说。|走了。");
    check("请阅读《向量检索。入门》（第2版！）一书。|谢谢。");
}

#[test]
fn a_quote_that_never_closes_does_not_swallow_the_text() {
    check("他说：“今天天气不错。|我们走吧。|好");
    check("见图（左。|右边也是。");
    let long = format!("他说：“{}”|好。", "这是很长的一段引文。|".repeat(30).trim_end_matches('|'));
    check(&long);
}

#[test]
fn ellipses() {
    check("他想了很久……|终于开口了。");
    check("苹果、香蕉、梨……等水果都有。|好");
    check("“我……我不知道。”|他说。");
    check("……他终于来了。|好。");
    check("Well... maybe not.|He waited...|Then he left.");
}

#[test]
fn enumerations() {
    check("一、向量存储；|二、距离计算；|三、索引优化。");
    check("(1)安装依赖；|(2)下载模型。");
    check("1. 安装依赖。|2. 下载模型。");
    check("1．第一步。|2．第二步。");
    check("见图1.2和第3.4节。|图1.结果对比。");
    check("苹果、香蕉、“梨”、《诗经》、（注）都在这里。|完");
}

#[test]
fn chinese_and_english_mixed() {
    check("使用pip install faiss-cpu==1.7.4安装。|Python 3.10及以上版本可用。");
    check("访问https://example.com/a?b=1;c=2!x 下载。|完成。");
    check("文件在README.md中。|配置见config.v2.yaml。");
    check("这是中文.|This is English.|又是中文!|OK");
    check("价格为3.14元。|版本v1.2.3已发布。");
    check("向量检索(Vector Search)很快.|它用SIMD.|好");
}

#[test]
fn english_sentences_and_abbreviations() {
    check("It works.|It is fast!|Is it?|Yes.");
    check("Dr. Smith met Mr. Jones at 3 p.m. on Jan. 5.|They left.");
    check("The U.S. Government paid J. K. Rowling, Inc. for it.|He lives in the U.S.|They do not.");
    check("See Fig. 3 and Eq. 2, e.g. the left one, i.e. this.|Next.");
    check("Version 3.14 is out.|Get foo.tar.gz from www.example.com.|Run ./a.out now.");
    check("He said \"Stop.\"|Then he left.|\"Go!\" she cried.|(See above.)|Done.");
    check("Is a != b?|No; it is equal.|Yahoo! is a firm.");
    check("We use apples, pears, etc. in it.|We sell pens, etc.|The end.");
    check("Pick plan B.|The rest is No. 7 of p. 12.|No.|Then go.");
    check("1. First do this.|2. Then that.");
}

#[test]
fn wrapped_lines_go_on() {
    let wrapped = "This library searches dense vectors of many dimensions for their nearest\nneighbours. It works on one machine.";
    let found: Vec<&str> = sentences(wrapped).into_iter().map(|range| &wrapped[range]).collect();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].ends_with("neighbours."));
    let chinese = "    欲了解更多关于这个系统的信息，请参见本文档第四节关于源代码兼容性的\n    说明，以及其他发行版的说明。这些非正式的移植尚未作为官方的版本发布\n    。我们使用下面的方式，把这个系统当作一个类似的系统来学习和使用，然\n    后继续。\n\n    下面这一段只有两行，但是它的第一行也写满了同样的宽度，所以也要接上\n    。\n";
    let found: Vec<usize> =
        sentences(chinese).into_iter().map(|range| chinese[range].chars().count()).collect();
    assert_eq!(found.len(), 4, "{found:?}");
    let texts: Vec<String> =
        crate::split::units_of_text(chinese, 1).into_iter().map(|unit| unit.text).collect();
    assert!(texts.iter().all(|text| !text.contains('\n')), "{texts:#?}");
    assert!(
        texts[1].ends_with("尚未作为官方的版本发布。") && texts[2].contains("使用，然后继续。"),
        "{texts:#?}"
    );
    // Lines of a table are filled as well.
    let table = "│ 第一列的内容是这样的很长很长的一行文字内容 │ 第二列是这样的 │\n".repeat(4);
    assert_eq!(sentences(&table).len(), 4);
    // Short lines are lines: verses, addresses, lists.
    check("床前明月光\n疑是地上霜\n举头望明月\n低头思故乡");
    check("Shopping list\napples\npears");
}

#[test]
fn bare_marks_stay_with_their_neighbour() {
    let text = "标题\n====\n正文。\n\n* * *\n结尾";
    let found: Vec<&str> = sentences(text).into_iter().map(|range| &text[range]).collect();
    assert_eq!(found, ["标题\n====", "正文。\n\n* * *", "结尾"]);
    assert!(sentences(" \n\t　\r\n").is_empty());
    assert_eq!(sentences("。。。").len(), 1);
}
