//! What a reader of Chinese and English expects to find, and what no text may do.

use super::*;
use proptest::prelude::*;

fn words(text: &str) -> Vec<String> {
    Terms::of(text).words.split(' ').map(str::to_owned).collect()
}

fn units(text: &str) -> Vec<String> {
    let units = Terms::of(text).units;
    units.split_whitespace().map(|unit| unit.trim_start_matches(UNIT_MARK).to_owned()).collect()
}

#[track_caller]
fn assert_words(text: &str, expected: &[&str]) {
    let found = words(text);
    for word in expected {
        assert!(found.iter().any(|found| found == word), "{text:?} has no {word:?}: {found:?}");
    }
}

/// Whether everything that is wanted by `query` is in `text`.
fn finds(query: &str, text: &str) -> bool {
    let wanted = Wanted::of(query);
    let (words, units) = (words(text), units(text));
    !wanted.is_empty()
        && wanted.words.iter().all(|word| words.contains(word))
        && wanted.units.iter().all(|unit| units.contains(unit))
        && wanted.phrases.iter().all(|phrase| units.windows(phrase.len()).any(|row| row == phrase))
}

#[test]
fn long_words_are_found_by_the_words_inside_them() {
    assert_words("向量数据库支持近似最近邻搜索", &["向量", "数据", "数据库", "支持", "近似", "最近", "搜索"]);
    assert_words("南京市长江大桥", &["南京", "南京市", "长江", "大桥", "长江大桥"]);
    assert!(finds("数据库", "向量数据库的选择") && finds("数据", "向量数据库的选择"));
    assert!(!words("研究生命的起源").contains(&"研究生".to_owned()), "研究 / 生命, not 研究生 / 命");
}

#[test]
fn traditional_and_simplified_meet_both_ways() {
    for (traditional, simplified) in [
        ("餘弦相似度", "余弦相似度"),
        ("倒排檔案索引", "倒排档案索引"),
        ("向量資料庫", "向量资料库"),
        ("壓縮與量化", "压缩与量化"),
        ("裡面", "里面"),
        ("裏面", "里面"),
        ("臺灣", "台湾"),
        ("頭髮", "头发"),
        ("乾燥", "干燥"),
    ] {
        assert_eq!(Terms::of(traditional), Terms::of(simplified), "{traditional}");
    }
    assert!(finds("檢索", "信息检索系统") && finds("检索", "資訊檢索系統"));
}

#[test]
fn width_case_and_accents_do_not_matter() {
    for (written, plain) in [
        ("ＨＮＳＷ３２", "hnsw32"),
        ("ﾃﾞｰﾀ", "データ"),
        ("か\u{3099}", "が"),
        ("Café", "cafe"),
        ("Cafe\u{301}", "CAFE"),
        ("ﬁle", "file"),
        ("①", "1"),
        ("co\u{ad}operate", "cooperate"),
        ("don’t", "don't"),
    ] {
        assert_eq!(Terms::of(written), Terms::of(plain), "{written}");
    }
    assert_ne!(Terms::of("が"), Terms::of("か"));
}

#[test]
fn english_is_found_in_any_of_its_forms() {
    assert!(finds("indexes", "An index is built") && finds("searching vectors", "he searched a vector"));
    assert!(finds("neighbours", "the nearest neighbour"));
    // A phrase is as it is spelled.
    assert!(finds("\"nearest neighbour\"", "The nearest neighbour wins."));
    assert!(!finds("\"nearest neighbours\"", "The nearest neighbour wins."));
}

#[test]
fn codes_numbers_and_names_stay_findable() {
    assert_words("IVF1024,Flat", &["ivf1024,flat", "ivf1024", "ivf", "1024", "flat"]);
    assert_words("用HNSW32建索引", &["hnsw32", "hnsw", "32", "索引"]);
    assert_words("write to a.b@example.org now", &["a.b@example.org", "exampl", "org"]);
    assert_words("faiss-cpu 1.7.4", &["faiss-cpu", "faiss", "1.7.4"]);
    assert_words("C++ 和 C# 与 F#", &["c++", "c#", "f#"]);
    assert_words("C++11", &["c++", "11"]);
    assert!(finds("C++", "用 C++ 写成") && !finds("C++", "用 C 写成") && !finds("C#", "用 C++ 写成"));
    assert!(finds("hnsw", "HNSW32 很快") && finds("ivf1024", "IVF1024,Flat"));
    assert!(finds("3.14", "约等于3.14。"));
}

#[test]
fn what_no_dictionary_knows_is_found_by_its_characters() {
    assert!(finds("李雷", "昨天李雷来了") && finds("熵", "信息熵是什么") && finds("是", "但是"));
    assert!(finds("ベクトル", "ベクトル検索") && !finds("ベクトル", "クトベル"));
    assert!(finds("검색", "검색엔진은 빠르다") && finds("😀", "好😀!") && finds("ภาษา", "ภาษาไทย"));
    assert!(finds("поиск", "Быстрый ПОИСК"));
    assert!(Wanted::of("！？……。、 \t").is_empty());
}

#[test]
fn phrases_stand_in_quotes_of_any_kind() {
    for query in ["\"余弦相似度\"", "“余弦相似度”", "「餘弦相似度」", "＂余弦相似度＂"]
    {
        let wanted = Wanted::of(query);
        assert_eq!(wanted.phrases, [["余", "弦", "相", "似", "度"]], "{query}");
        assert!(finds(query, "计算余弦相似度的方法") && !finds(query, "余弦值和相似度"));
    }
    // Whatever the dictionary makes of the neighbours.
    assert!(finds("「似度量」", "相似度量化") && finds("“HNSW 索引”", "建HNSW索引"));
    assert_eq!(Wanted::of("\"a b\" “c” 「d").phrases, [vec!["a", "b"], vec!["c"]]);
    assert!(Wanted::of("「」 \"\" “！”").phrases.is_empty());
    for (query, around) in
        [("「余弦」", false), ("“余弦”、\"cosine\"?", false), ("什么是“余弦”?", true), ("「余弦", true)]
    {
        assert_eq!(Wanted::of(query).asks_around_phrases, around, "{query}");
    }
    assert_eq!(Wanted::of("「never \"closed\"").phrases, [["closed"]]);
}

#[test]
fn the_best_sentence_is_shown_with_its_matches() {
    let text = "第一句没有。我们用ＨＮＳＷ建立索引,再搜尋最近鄰。Searching indexes is fast.";
    let excerpt_of = |query: &str| excerpt(text, &Wanted::of(query), &|_| 1.0);
    let marked = |excerpt: &Excerpt| -> Vec<String> {
        let cut = |range: &Range<usize>| excerpt.text.chars().skip(range.start).take(range.len()).collect();
        excerpt.highlights.iter().map(cut).collect()
    };
    let found = excerpt_of("hnsw 搜寻");
    assert_eq!(found.text, "我们用ＨＮＳＷ建立索引,再搜尋最近鄰。");
    assert_eq!(marked(&found), ["ＨＮＳＷ", "搜尋"]);
    assert_eq!(found.start, 6);
    assert_eq!(marked(&excerpt_of("index search")), ["Searching", "indexes"]);
    assert_eq!(marked(&excerpt_of("「最近邻」")), ["最近鄰"]);
    assert_eq!(excerpt_of("没有的词").text, "第一句没有。");
    assert_eq!(excerpt("", &Wanted::of("x"), &|_| 1.0), Excerpt::default());
    // What has no weight is not marked.
    assert!(excerpt(text, &Wanted::of("索引"), &|_| 0.0).highlights.is_empty());
}

#[test]
fn a_long_sentence_is_cut_around_its_match() {
    let text = format!("{}余弦{}", "很长的话,".repeat(200), "还没有完,".repeat(200));
    let found = excerpt(&text, &Wanted::of("余弦"), &|_| 1.0);
    assert_eq!(found.text.chars().count(), 240);
    assert_eq!(found.highlights.first(), Some(&(40..42)));
    assert_eq!(found.highlights.len(), 1);
}

#[test]
fn hostile_texts_take_time_in_proportion() {
    for (name, part) in [
        ("marks", "a+#.,"),
        ("digits", "a1"),
        ("han", "的熵"),
        ("quotes", "「“\""),
        ("marks over", "e\u{301}\u{323}"),
    ] {
        let text = part.repeat(200_000);
        let started = std::time::Instant::now();
        let terms = Terms::of(&text);
        assert!(terms.words.split(' ').all(|word| word.chars().count() <= MAX_TERM_CHARS));
        // Generous, as tests share machines: what is quadratic here takes hours.
        assert!(started.elapsed().as_secs() < 60, "{name}");
    }
}

proptest! {
    #[test]
    fn any_text_is_cut_within_its_bounds(text in "(\\PC|[\\x00-\\x20]|[一-龥]|[a-zA-Z0-9+#.,@'-]|[ぁ-ん]|\u{301}|\u{200d}){0,80}") {
        let count = text.chars().count();
        let mut last_unit = 0;
        each_term(&text, &mut |layer, term, chars| {
            assert!(chars.start < chars.end && chars.end <= count, "{term:?} at {chars:?} of {count}");
            assert!(!term.is_empty() && term.chars().count() <= MAX_TERM_CHARS);
            assert!(!term.contains(|c: char| c.is_whitespace() || c.is_control()), "{term:?}");
            if layer == Layer::Unit {
                assert!(chars.start >= last_unit, "units are in order");
                last_unit = chars.start;
            }
        });
        prop_assert_eq!(Terms::of(&text), Terms::of(&text));
        let wanted = Wanted::of(&text);
        let excerpt = excerpt(&text, &wanted, &|_| 1.0);
        prop_assert!(text.contains(&excerpt.text));
        let shown = excerpt.text.chars().count();
        let mut end = None;
        for range in &excerpt.highlights {
            prop_assert!(range.start < range.end && range.end <= shown);
            prop_assert!(end.is_none_or(|end| range.start > end));
            end = Some(range.end);
        }
    }

    /// A text finds itself, folded in any way.
    #[test]
    fn a_text_is_found_by_itself(text in "[一-龥a-z0-9 ]{1,40}") {
        let terms = Terms::of(&text);
        let again = Terms::of(&text.to_uppercase());
        prop_assert_eq!(&terms, &again);
        if !Wanted::of(&text).is_empty() {
            prop_assert!(finds(&text, &text));
        }
    }
}
