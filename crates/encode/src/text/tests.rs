//! The built-in text model: the scores it gives, odd texts, and the order and shape of batches.

use super::*;
use crate::{DEFAULT_TEXT_MODEL, open};

fn encode(texts: &[(&str, Prompt)]) -> Encoded {
    let inputs: Vec<_> = texts.iter().map(|&(text, prompt)| Input::Text { text, prompt }).collect();
    open(DEFAULT_TEXT_MODEL).expect("built in").encode(&inputs).expect("texts encode")
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn scores_of_the_built_in_model_stay_what_they_are() {
    let expected = [
        ("FAISS的架构主要包含向量存储模块、距离计算模块和索引优化模块", 0.855),
        ("FAISS的安装方式十分灵活,可通过pip安装", 0.769),
        ("FAISS是由Facebook AI研究院开发的高效向量相似性检索库", 0.743),
        ("今天天气很好", 0.497),
        ("Redis缓存高频查询结果", 0.606),
    ];
    let query = encode(&[("FAISS的架构包含哪些模块?", Prompt::Query)]).vectors;
    for (text, score) in expected {
        let received = cosine(&query, &encode(&[(text, Prompt::Document)]).vectors);
        assert!((received - score).abs() < 0.002, "{text}: {received}, expected {score}");
    }
}

#[test]
fn a_batch_gives_what_each_text_gives_alone() {
    let texts: Vec<String> = (0..40).map(|i| "向量 search 近邻。".repeat(1 + i * 7 % 23)).collect();
    let texts: Vec<_> = texts.iter().map(|text| (text.as_str(), Prompt::Document)).collect();
    let batch = encode(&texts);
    assert_eq!((batch.dim, batch.vectors.len(), batch.truncated), (384, 40 * 384, 0));
    for (text, row) in texts.iter().zip(batch.vectors.chunks_exact(384)).step_by(5) {
        let alone = encode(&[*text]).vectors;
        let largest = alone.iter().zip(row).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(largest < 1e-6, "{largest}");
    }
}

#[test]
fn any_number_of_threads_gives_the_same_vector() {
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| encode(&[("向量检索 finds near neighbours", Prompt::Query)]).vectors)
    };
    let alone = with(1);
    for threads in [2, 3, 5, 16] {
        let largest = alone.iter().zip(with(threads)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(largest < 1e-6, "{threads} threads: {largest}");
    }
}

#[test]
fn odd_texts_encode_to_finite_unit_vectors() {
    let long = "很长的一段文字。".repeat(12_500);
    let odd = [
        "\u{1F600}\u{1F468}\u{200D}\u{1F469}\u{200D}\u{1F467}",
        "\u{0}\u{1}\u{7f}\u{200b}\u{feff}",
        "ⴰⵎⴰⵣⵉⵖ ᏣᎳᎩ",
        "\u{301}\u{302}\u{303}",
        "<s></s><mask><pad><unk>",
        "\u{fffd}\u{10ffff}",
        "a",
        long.as_str(),
    ];
    let texts: Vec<_> = odd.iter().map(|text| (*text, Prompt::None)).collect();
    let encoded = encode(&texts);
    assert_eq!(encoded.truncated, 1);
    for (text, vector) in odd.iter().zip(encoded.vectors.chunks_exact(384)) {
        let norm = cosine(vector, vector);
        assert!((norm - 1.0).abs() < 1e-5, "{:.20}: {norm}", text);
    }
}

#[test]
fn a_long_text_is_cut_at_512_tokens_and_counted() {
    let encoder = open(DEFAULT_TEXT_MODEL).expect("built in");
    let word = "图";
    let tokens = |count: usize| word.repeat(count);
    let fits = (1..600).rev().find(|&count| encoder.count_tokens(&tokens(count)) <= 510).expect("some fit");
    let at_limit = encode(&[(&tokens(fits), Prompt::None)]);
    let above = encode(&[(&tokens(fits + 40), Prompt::None), ("短", Prompt::None)]);
    assert_eq!((at_limit.truncated, above.truncated), (0, 1));
}

#[test]
fn blank_texts_and_pictures_are_refused_by_position() {
    let encoder = open(DEFAULT_TEXT_MODEL).expect("built in");
    let good = Input::Text { text: "好", prompt: Prompt::Query };
    for blank in ["", " \t\n", "\u{3000}\u{a0}"] {
        let blank = Input::Text { text: blank, prompt: Prompt::Query };
        let error = encoder.encode(&[good, blank]).expect_err("blank");
        assert_eq!(error.to_string(), "text 1 of the batch is empty or only white space");
    }
    let picture = crate::Picture { width: 1, height: 1, rgb: vec![0; 3] };
    let error = encoder.encode(&[Input::Picture(&picture)]).expect_err("a picture");
    assert_eq!(error.to_string(), "model \"e5-small-zh-en\" reads text, received image");
    assert_eq!(encoder.encode(&[]).expect("an empty batch").vectors.len(), 0);
}

#[test]
fn prompts_tell_queries_from_documents() {
    let both = encode(&[("向量", Prompt::Query), ("向量", Prompt::Document), ("query: 向量", Prompt::None)]);
    let rows: Vec<_> = both.vectors.chunks_exact(384).collect();
    assert!(cosine(rows[0], rows[1]) < 0.999);
    assert!(cosine(rows[0], rows[2]) > 0.999_99);
}

#[test]
fn groups_hold_every_text_once_and_in_order() {
    for lengths in [vec![], vec![3], vec![500; 9], vec![1; 300], vec![512, 1, 1, 512]] {
        let texts: Vec<Vec<u32>> = lengths.iter().map(|&length| vec![7; length]).collect();
        let groups = groups(&texts);
        assert_eq!(groups.concat(), texts);
        assert!(groups.iter().all(|group| !group.is_empty()));
    }
}

fn windowed() -> std::sync::Arc<dyn Encoder> {
    let reading = Reading { long_texts: LongTexts::Window, ..Reading::default() };
    open(DEFAULT_TEXT_MODEL).expect("built in").reading(&reading).expect("windows")
}

#[test]
fn windows_cover_a_long_text_and_leave_a_short_one() {
    let (plain, windowed) = (open(DEFAULT_TEXT_MODEL).expect("built in"), windowed());
    let long = "向量检索 finds neighbours。".repeat(160);
    let text = |text| Input::Text { text, prompt: Prompt::Document };
    let inputs = [text("短文"), text(&long), text("另一段")];
    let (cut, whole) = (plain.encode(&inputs).expect("encodes"), windowed.encode(&inputs).expect("encodes"));
    assert_eq!((cut.truncated, whole.truncated), (1, 0));
    let rows = |encoded: &Encoded| encoded.vectors.chunks_exact(384).map(<[f32]>::to_vec).collect::<Vec<_>>();
    for (at, (cut, whole)) in rows(&cut).iter().zip(rows(&whole)).enumerate() {
        let same = cosine(cut, &whole);
        assert_eq!(same > 0.999_99, at != 1, "{at}: {same}");
        assert!((cosine(&whole, &whole) - 1.0).abs() < 1e-5);
    }
    let alone = windowed.encode(&inputs[1..2]).expect("encodes").vectors;
    assert!(cosine(&alone, &rows(&whole)[1]) > 0.999_999);
    // The first window is what was read when the text was cut.
    let (first, all) =
        (plain.token_ids(&long, Prompt::Document), windowed.token_ids(&long, Prompt::Document));
    assert_eq!(all[..first.len()], first);
    assert!(all.len() > 2 * first.len());
}

#[test]
fn other_prompts_are_read_and_too_long_ones_refused() {
    let encoder = open(DEFAULT_TEXT_MODEL).expect("built in");
    let reading = |prompt: &str| Reading { query_prompt: Some(prompt.to_owned()), ..Reading::default() };
    let other = encoder.reading(&reading("查询: ")).expect("a prompt");
    assert_ne!(other.card().space, encoder.card().space);
    assert_eq!(other.token_ids("向量", Prompt::Query), encoder.token_ids("查询: 向量", Prompt::None));
    assert_eq!(other.token_ids("向量", Prompt::Document), encoder.token_ids("向量", Prompt::Document));
    let refused = encoder.reading(&reading(&"word ".repeat(300))).err().expect("too long").to_string();
    assert!(refused.contains("prompt for queries takes"), "{refused}");
    let pictures = open(crate::DEFAULT_IMAGE_MODEL).expect("built in");
    assert!(pictures.reading(&reading("x")).is_err());
}
