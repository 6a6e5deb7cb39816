//! What the splitter needs to know of single characters: Chinese or not, what ends a sentence, what opens and closes.

/// Han, kana, bopomofo, Hangul and full-width forms, with their punctuation.
pub(crate) fn is_cjk(character: char) -> bool {
    matches!(character,
        '\u{1100}'..='\u{11FF}' | '\u{2E80}'..='\u{303E}' | '\u{3041}'..='\u{A4CF}' | '\u{AC00}'..='\u{D7A3}'
        | '\u{F900}'..='\u{FAFF}' | '\u{FE30}'..='\u{FE4F}' | '\u{FF01}'..='\u{FF60}' | '\u{FFE0}'..='\u{FFE6}'
        | '\u{20000}'..='\u{3FFFF}')
}

/// A Chinese character or letter, not punctuation: what may stand before a half-width mark used in the Chinese way.
pub(super) fn is_cjk_letter(character: char) -> bool {
    is_cjk(character) && character.is_alphanumeric()
}

/// Columns that a character takes in a terminal.
pub(super) fn columns(character: char) -> usize {
    if is_cjk(character) { 2 } else { 1 }
}

/// Line ends of plain text.
pub(super) fn is_line_end(character: char) -> bool {
    matches!(character, '\n' | '\r' | '\u{0B}' | '\u{0C}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Characters that may end a sentence; whether they do is decided in context.
pub(super) fn is_terminal(character: char) -> bool {
    matches!(
        character,
        '。' | '！'
            | '？'
            | '；'
            | '｡'
            | '．'
            | '…'
            | '⋯'
            | '‼'
            | '⁇'
            | '⁈'
            | '⁉'
            | '.'
            | '!'
            | '?'
            | ';'
    )
}

/// Marks that always end a sentence unless a bracket or a comma holds it open.
pub(super) fn is_strong_terminal(character: char) -> bool {
    matches!(character, '。' | '！' | '？' | '；' | '｡' | '‼' | '⁇' | '⁈' | '⁉')
}

/// Marks that bind what follows to what stands before: a sentence does not end before them.
pub(super) fn is_clause_mark(character: char) -> bool {
    matches!(character, '，' | '、' | '：' | ',' | ':' | '—' | '～' | '﹐' | '､')
}

/// Places where an over-long sentence is best cut: after these.
pub(super) fn is_cutting_mark(character: char) -> bool {
    is_clause_mark(character) || is_terminal(character) && character != '.'
}

/// The closing partner of an opening quote or bracket.
pub(super) fn closer_of(opener: char) -> Option<char> {
    Some(match opener {
        '“' => '”',
        '‘' => '’',
        '「' => '」',
        '『' => '』',
        '﹁' => '﹂',
        '（' => '）',
        '(' => ')',
        '【' => '】',
        '〔' => '〕',
        '［' => '］',
        '[' => ']',
        '｛' => '｝',
        '{' => '}',
        '《' => '》',
        '〈' => '〉',
        '«' => '»',
        '„' => '“',
        _ => return None,
    })
}

/// Closing quotes and brackets, the straight ones apart.
pub(super) fn is_closer(character: char) -> bool {
    matches!(
        character,
        '”' | '’'
            | '」'
            | '』'
            | '﹂'
            | '）'
            | ')'
            | '】'
            | '〕'
            | '］'
            | ']'
            | '｝'
            | '}'
            | '》'
            | '〉'
            | '»'
    )
}

/// Brackets around titles of books and films: what ends within them ends nothing.
pub(super) fn is_title_opener(character: char) -> bool {
    matches!(character, '《' | '〈')
}

/// Round, square and curly brackets.
pub(super) fn is_bracket_opener(character: char) -> bool {
    matches!(character, '（' | '(' | '【' | '〔' | '［' | '[' | '｛' | '{')
}

/// Whether two texts that a line wrap parted are joined again without a space: Chinese on both sides, or Chinese
/// punctuation on one.
pub(crate) fn joins_without_space(before: char, after: char) -> bool {
    let punctuation = |c: char| is_cjk(c) && !c.is_alphanumeric();
    is_cjk(before) && is_cjk(after) || punctuation(before) || punctuation(after)
}
