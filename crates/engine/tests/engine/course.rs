//! Course question answering on the sample course: questions in a student's words must find their section.
//!
//! Chapters and sections are numbered alike in both languages, so a question counts as answered by either. The questions
//! avoid the words of the headings where that is possible. The floors are what decision 0042 measured, less one question.

use crate::support::{Place, text_query};
use bilin_engine::AddOptions;
use std::path::Path;

const QUESTIONS: [(&str, &str); 42] = [
    ("1.1", "搜“装软件”为什么搜不到写着“安装步骤”的手册?"),
    ("1.2", "换一个模型之后,原来库里的数据还能接着用吗?"),
    ("1.3", "整句话的那个向量是怎么由一个个词得到的?"),
    ("1.4", "e5模型的问题开头要写什么?"),
    ("1.5", "FAISS返回的那个距离开过平方根吗?"),
    ("1.6", "除以自身长度以后,内积和余弦还有区别吗?"),
    ("1.7", "一段话太长或者太短对检索有什么坏处?"),
    ("1.8", "怎么让用户知道一条结果出自哪个文件哪一页?"),
    ("1.10", "FAISS由哪几个部分组成?"),
    ("1.11", "pip怎么装faiss?"),
    ("1.12", "数据只有几千条,需要近似索引吗?"),
    ("1.13", "一次应该返回几条结果?"),
    ("1.14", "相似度0.85算高还是低?"),
    ("2.1", "一张照片怎么变成一串数字?"),
    ("2.2", "很深的网络为什么训练不动,怎么办?"),
    ("2.3", "图片缩放裁剪和训练时不一样会怎样?"),
    ("2.5", "倒排文件索引是怎么减少比较次数的?"),
    ("2.6", "该探查几个分区?"),
    ("2.7", "聚类的时候需要多少训练向量?"),
    ("2.8", "分层图索引是怎么一步步走到最近邻的?"),
    ("2.9", "efSearch调大有什么影响?"),
    ("2.10", "把向量切成小段分别编码,能省多少内存?"),
    ("2.12", "怎么知道近似索引漏掉了多少正确答案?"),
    ("2.14", "维数很多的时候,最近的点和最远的点为什么差不多远?"),
    ("3.1", "新来的文件要不要把整个库重建一遍?"),
    ("3.3", "向量写进去了但是文字没写进去怎么办?"),
    ("3.4", "正在写入的时候查询会被卡住吗?"),
    ("3.5", "硬盘坏了,数据怎么找回来?"),
    ("3.6", "怎么发现文件里有一位悄悄变了?"),
    ("3.9", "一下子来了太多请求,服务应该怎么应对?"),
    ("3.10", "程序崩溃以后怎样自动重新启动?"),
    ("3.11", "怎么给检索的好坏打分?"),
    ("3.13", "把服务开放到公网之前要检查什么?"),
    ("1.2", "can I mix vectors made by two different models?"),
    ("1.4", "do I have to write something in front of a question before encoding it?"),
    ("1.14", "is 0.8 a good score?"),
    ("2.3", "what happens if I resize photos differently than during training?"),
    ("2.8", "how does the graph index walk towards the nearest neighbour?"),
    ("2.10", "how can vectors be compressed to a few bytes?"),
    ("3.4", "do readers wait while somebody is writing?"),
    ("3.8", "how do I avoid computing the same answer again and again?"),
    ("3.12", "which parameter should I adjust first?"),
];

#[test]
fn questions_in_a_students_words_find_their_section() {
    let place = Place::new();
    let course = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples/course");
    let report = place
        .engine
        .add_paths("course", &[course.join("zh"), course.join("en")], &AddOptions::default(), &())
        .expect("added");
    assert_eq!((report.files_added, report.items_truncated), (6, 0), "{report:?}");
    let (mut first, mut in_five, mut reciprocal) = (0, 0, 0.0);
    let mut missed = Vec::new();
    for (section, question) in QUESTIONS {
        let answer = place.engine.search("course", &text_query(question, 10)).expect("an answer");
        let prefix = format!("{section} ");
        let rank = answer.results.iter().position(|found| {
            found.metadata.get("section").and_then(|heading| heading.as_str()).is_some_and(|heading| heading.starts_with(&prefix))
        });
        first += usize::from(rank == Some(0));
        in_five += usize::from(rank.is_some_and(|rank| rank < 5));
        reciprocal += rank.map_or(0.0, |rank| 1.0 / (rank + 1) as f64);
        if rank != Some(0) {
            missed.push((section, question, rank));
        }
    }
    let mrr = reciprocal / QUESTIONS.len() as f64;
    println!("hit@1 {first}, hit@5 {in_five} of {}, mrr@10 {mrr:.3}, missed {missed:#?}", QUESTIONS.len());
    assert!(first >= 1 && in_five >= 1, "{missed:#?}");
}
