//! Headings of documents that use no heading styles, guessed from how Chinese texts number their parts.
//!
//! Many handouts are typed without styles: `第一章 绪论`, `一、教学目标`, `（二）难点`, `1.2 索引`. In a document without a single heading such lines,
//! if short and no sentences, are taken for headings; they stay in the text as well, so that a wrong guess loses nothing.

/// Longest line that may be a heading, in characters.
const MAX_CHARS: usize = 40;
const CHINESE_DIGITS: &str = "零一二三四五六七八九十百两〇";

/// The level of a line that looks like a heading.
pub(super) fn level_of(line: &str) -> Option<u8> {
    let line = line.trim();
    let is_sentence = line.ends_with(['。', '！', '？', '；', '，', ',', ';', '.', '：', ':']);
    if is_sentence || line.contains('\n') || line.chars().nth(MAX_CHARS).is_some() {
        return None;
    }
    part(line).or_else(|| numeral(line)).or_else(|| decimal(line))
}

/// `第三章`, `第2节`.
fn part(line: &str) -> Option<u8> {
    let rest = line.strip_prefix('第')?;
    let rest = after_number(rest)?;
    let level = match rest.chars().next()? {
        '编' | '篇' | '章' | '讲' | '课' => 1,
        '节' => 2,
        _ => match ["单元", "部分"].iter().any(|word| rest.starts_with(word)) {
            true => 1,
            false => return None,
        },
    };
    Some(level)
}

/// `一、目标`, `（二）难点`.
fn numeral(line: &str) -> Option<u8> {
    if let Some(rest) = line.strip_prefix(['（', '(']) {
        let rest = after_chinese(rest)?.strip_prefix(['）', ')'])?;
        return (!rest.trim().is_empty()).then_some(3);
    }
    let rest = after_chinese(line)?.strip_prefix('、')?;
    (!rest.trim().is_empty()).then_some(2)
}

/// `1.2 索引`, `3.1.4 图`; a single number begins list items more often than headings.
fn decimal(line: &str) -> Option<u8> {
    let end = line.find(|character: char| !character.is_ascii_digit() && character != '.')?;
    let (number, title) = line.split_at(end);
    let parts: Vec<&str> = number.trim_end_matches('.').split('.').collect();
    let is_number = parts.iter().all(|part| (1..=2).contains(&part.len()));
    let begins_title = title.trim_start().chars().next().is_some_and(char::is_alphabetic);
    let unit = title.starts_with(|character: char| character.is_alphabetic() && character.is_ascii());
    match parts.len() {
        count @ 2..=4 if is_number && begins_title && !unit => u8::try_from(count).ok(),
        _ => None,
    }
}

fn after_number(text: &str) -> Option<&str> {
    after_chinese(text).or_else(|| {
        let rest = text.trim_start().trim_start_matches(|character: char| character.is_ascii_digit());
        (rest.len() < text.trim_start().len()).then(|| rest.trim_start())
    })
}

fn after_chinese(text: &str) -> Option<&str> {
    let rest = text.trim_start_matches(|character: char| CHINESE_DIGITS.contains(character));
    (rest.len() < text.len()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_headings() {
        for (line, level) in [
            ("第一章 绪论", 1),
            ("第 3 讲 向量索引", 1),
            ("第二单元", 1),
            ("第十二节 距离", 2),
            ("一、教学目标", 2),
            ("（二）教学难点", 3),
            ("1.2 索引", 2),
            ("3.1.4 图的遍历", 3),
        ] {
            assert_eq!(level_of(line), Some(level), "{line}");
        }
    }

    #[test]
    fn lines_that_are_not() {
        for line in [
            "第一章讲了绪论，第二章讲索引。",
            "一、把水烧开，放进面条，煮三分钟；",
            "第一次作业",
            "1. 训练",
            "3.5mm 耳机",
            "12.5 %",
            "2026.11.26 星期四",
            "一",
            "（一）",
            "一个苹果",
        ] {
            assert_eq!(level_of(line), None, "{line}");
        }
    }
}
