// What the page says, in Chinese and English. `say(key, ...)` gives the words; elements with data-say* follow a switch.

const WORDS = {
  en: {
    skip: "Skip to results", navigation: "Navigation", docs: "API", otherLanguage: "中文", switchLanguage: "切换到中文",
    searchArea: "Search", answerArea: "Answer", results: "Results", collections: "Collection to search in",
    motto: "Far things, near in meaning", queryLabel: "What are you looking for?",
    placeholder: "Ask, or drop a picture", picture: "Picture", pick: "Search with a picture",
    askedPicture: "Pictures like", forget: "Clear", dropHere: "Drop the picture to find what is alike",
    hint: "Type and answers follow. Pictures can be dropped anywhere, pasted or picked. Press / to search.",
    similarity: "similarity", found: (n) => (n === 1 ? "1 result" : `${n} results`),
    took: (t) => `${t.total} ms`, split: (t) => `encode ${t.encode} · search ${t.search} · fetch ${t.fetch}`,
    nothing: "Nothing found here.", searching: "Searching…", more: "More like this", like: (id) => `like ${id}`,
    whole: "Show all", less: "Show less", noPicture: "no preview", price: "price",
    text: "text", image: "pictures", vector: "vectors", degraded: "needs attention",
    empty: "Nothing to search yet", emptyHint: "Add a folder of documents or pictures, then reload this page:",
    noImages: "There is no collection of pictures to search in.", noTexts: "There is no collection of texts to search in.",
    addHint: "Make one:", offline: "The server does not answer.", offlineHint: "Is bilin serve still running?",
    strange: "The server's answer could not be read.", strangeHint: "Reload the page and try again.",
    modeLabel: "Find by", modeAsSet: "default", modeDense: "meaning", modeLexical: "words", modeHybrid: "both",
    pickPicture: "Drop, paste or pick a picture to search in this collection.",
    notPicture: (name) => `“${name}” is not a picture.`, notPictureHint: "Choose a jpeg, png, webp, gif or bmp file.",
  },
  zh: {
    skip: "跳到结果", navigation: "导航", docs: "接口", otherLanguage: "English", switchLanguage: "Switch to English",
    searchArea: "检索", answerArea: "结果", results: "结果列表", collections: "在哪个集合中检索",
    motto: "海内存知己，天涯若比邻", queryLabel: "想找什么？",
    placeholder: "提一个问题，或拖入一张图片", picture: "图片", pick: "以图搜图",
    askedPicture: "查找相似图片", forget: "清除", dropHere: "松开即可查找相似图片",
    hint: "边输入边检索。图片可拖入、粘贴或选取。按 / 键回到输入框。",
    similarity: "相似度", found: (n) => `${n} 条结果`,
    took: (t) => `用时 ${t.total} 毫秒`, split: (t) => `编码 ${t.encode} · 检索 ${t.search} · 取回 ${t.fetch}`,
    nothing: "这里没有找到内容。", searching: "检索中…", more: "找相似", like: (id) => `与 ${id} 相似`,
    whole: "展开全文", less: "收起", noPicture: "无预览", price: "价格",
    text: "文本", image: "图片", vector: "向量", degraded: "需要处理",
    empty: "还没有可检索的内容", emptyHint: "先添加一个文档或图片文件夹，再刷新本页：",
    noImages: "没有可检索的图片集合。", noTexts: "没有可检索的文本集合。",
    addHint: "创建一个：", offline: "服务没有应答。", offlineHint: "bilin serve 还在运行吗？",
    strange: "无法读懂服务的应答。", strangeHint: "请刷新页面再试。",
    modeLabel: "检索方式", modeAsSet: "默认", modeDense: "按语义", modeLexical: "按词语", modeHybrid: "两者结合",
    pickPicture: "拖入、粘贴或选取一张图片，在这个集合中查找。",
    notPicture: (name) => `“${name}”不是图片。`, notPictureHint: "请选择 jpeg、png、webp、gif 或 bmp 文件。",
  },
};

const KEPT = "bilin.language";
let language = "en";

function kept() {
  try {
    return localStorage.getItem(KEPT);
  } catch {
    return null; // storage may be switched off; the browser's language then decides each time
  }
}

/** The words for `key`, with its arguments filled in. */
export function say(key, ...values) {
  const words = WORDS[language][key] ?? WORDS.en[key] ?? key;
  return typeof words === "function" ? words(...values) : words;
}

/** Writes the words into every element that asks for some. */
function write() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const element of document.querySelectorAll("[data-say]")) element.textContent = say(element.dataset.say);
  for (const element of document.querySelectorAll("[data-say-label]")) {
    element.setAttribute("aria-label", say(element.dataset.sayLabel));
  }
  for (const element of document.querySelectorAll("[data-say-placeholder]")) {
    element.placeholder = say(element.dataset.sayPlaceholder);
  }
}

/** Takes the kept language, else the browser's. */
export function startLanguage() {
  const wanted = kept() ?? navigator.language ?? "en";
  language = wanted.toLowerCase().startsWith("zh") ? "zh" : "en";
  write();
}

/** Changes to the other language and keeps that. */
export function switchLanguage() {
  language = language === "zh" ? "en" : "zh";
  try {
    localStorage.setItem(KEPT, language);
  } catch {
    // see kept()
  }
  write();
}
