//! The words of a report in its two languages, side by side, so that neither is forgotten.

use bilin_engine::eval::{Nearness, Place, Reason};
use clap::ValueEnum;

/// The language of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Language {
    /// 中文
    Zh,
    /// English
    #[default]
    En,
}

impl Language {
    /// The words in this language.
    pub fn say<'a>(self, english: &'a str, chinese: &'a str) -> &'a str {
        match self {
            Language::En => english,
            Language::Zh => chinese,
        }
    }

    /// For the `lang` attribute.
    pub fn tag(self) -> &'static str {
        match self {
            Language::En => "en",
            Language::Zh => "zh-CN",
        }
    }
}

/// How near a wrong result is.
pub fn nearness(language: Language, nearness: Nearness) -> &'static str {
    match nearness {
        Nearness::SamePage => language.say("same page", "同一页"),
        Nearness::SameSection => language.say("same section", "同一节"),
        Nearness::NextPage => language.say("next page", "相邻页"),
        Nearness::SameChapter => language.say("same chapter", "同一章"),
        Nearness::SameDocument => language.say("same document", "同一文档"),
    }
}

/// Why a passage won.
pub fn reason(language: Language, reason: Reason) -> &'static str {
    match reason {
        Reason::NearerInMeaning => {
            language.say("the winner's cosine is higher", "排在前面的段落余弦相似度更高")
        }
        Reason::MoreWords => {
            language.say("the winner shares more words", "排在前面的段落与问题共有的词更多或更少见")
        }
        Reason::NoSharedWord => {
            language.say("the right passage shares no word with the question", "正确段落与问题没有相同的词")
        }
        Reason::NearlyTied => language.say("the cosines are nearly tied", "两者的余弦相似度几乎相同"),
        Reason::Neighbour => {
            language.say("the winner stands beside a right passage", "排在前面的段落与正确段落相邻")
        }
        Reason::FarInMeaning => {
            language.say("the right passage is far down by meaning", "正确段落按语义排名靠后")
        }
        Reason::NotRetrieved => {
            language.say("the right passage is not among the results", "结果中没有正确段落")
        }
    }
}

/// File, page or slide, chapter and section; empty where an item has none of them.
pub fn place(language: Language, place: &Place) -> String {
    let page = place.page.as_ref().map(|page| match language {
        Language::En => format!("p. {page}"),
        Language::Zh => format!("第 {page} 页"),
    });
    let slide = place.slide.as_ref().map(|slide| match language {
        Language::En => format!("slide {slide}"),
        Language::Zh => format!("第 {slide} 张幻灯片"),
    });
    let parts = [place.source.clone(), page, slide, place.chapter.clone(), place.section.clone()];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" › ")
}
