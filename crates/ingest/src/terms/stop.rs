//! Function words: what holds a sentence together and says nothing of what it is about. They rank as any word does, by how rare they
//! are; this list only keeps them from being shown as what matched.
//!
//! English: Snowball's stop words, by their stems. Chinese: particles, pronouns, prepositions, conjunctions, question words. Invariant: words
//! that could be a topic (无, 大, 年, may among them) are no function words when in doubt.

use super::words::stem;
use std::collections::HashSet;
use std::sync::LazyLock;

const ENGLISH: &str = "a about above after again against all am an and any are as at be because been before being below between both but by \
    can cannot could did do does doing down during each few for from further had has have having he her here hers herself him himself \
    his how i if in into is it its itself let me more most my myself no nor not of off on once only or other ought our ours ourselves \
    out over own same shall she should so some such than that the their theirs them themselves then there these they this those \
    through to too under until up upon us very was we were what when where whether which while who whom whose why will with would you \
    your yours yourself yourselves don't doesn't didn't isn't aren't wasn't weren't can't won't it's that's what's there's i'm";

const CHINESE: &str = "的 地 得 了 着 过 吗 呢 吧 啊 呀 么 嘛 之 其 此 这 那 该 某 每 各 们 我 你 您 他 她 它 我们 你们 他们 她们 它们 咱们 自己 \
    是 为 在 有 和 与 及 或 并 且 而 但 则 若 如 因 由 于 从 自 向 往 对 把 被 让 给 跟 同 以 所 就 才 都 也 还 又 再 很 太 更 最 只 便 即 \
    会 能 可 要 应 可以 能够 应该 应当 必须 需要 如果 因为 所以 但是 然而 而且 并且 或者 以及 虽然 不过 因此 由于 关于 对于 至于 为了 \
    什么 怎么 怎样 如何 为什么 为何 哪 哪些 哪个 哪里 哪种 哪儿 谁 何 几 多少 是否 能否 可否 是不是 有没有 能不能 会不会 怎么样 怎么办 \
    这个 那个 这些 那些 这样 那样 这里 那里 这种 那种 这么 那么 时候 之后 之前 以后 以前 一个 一种 一些 有些 没有 不是 还是 就是 都是 \
    上 下 里 中 内 外 个 来 去 用 不 没 请 请问";

/// Whether a term of the layer of words, or a unit without its mark, is a function word.
pub fn is_function_word(term: &str) -> bool {
    static WORDS: LazyLock<HashSet<String>> = LazyLock::new(|| {
        let english = ENGLISH.split_whitespace().flat_map(|word| [word.to_owned(), stem(word).into_owned()]);
        english.chain(CHINESE.split_whitespace().map(str::to_owned)).collect()
    });
    WORDS.contains(term)
}
