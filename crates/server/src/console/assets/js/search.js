// The search: what is asked, of which collection, and that the last answer wins.
//
// Typing asks after a short pause; while an input method composes (Chinese pinyin, Japanese kana) nothing is asked until
// the text is committed. Each new question aborts the one before it, and an answer that comes late is dropped.

import { Problem, collections, search } from "./api.js";
import { drawCollections, tickCollection } from "./collections.js";
import { byId } from "./dom.js";
import { readPicture, watchPictures } from "./picture.js";
import { clear, show, showProblem } from "./results.js";
import { say } from "./words.js";

const PAUSE_MS = 140;
const MOST_TEXTS = 10;
const MOST_PICTURES = 12;

const state = {
  all: [],
  chosen: null,
  /** {text}, {image, name} or {like, name}; null when nothing is asked */
  asked: null,
  asking: null,
  shown: null,
  pause: 0,
};

const chosen = () => state.all.find((one) => one.name === state.chosen);
const firstOf = (kind) => state.all.find((one) => one.kind === kind && one.count > 0) ?? state.all.find((one) => one.kind === kind);

/** Another collection when the one chosen cannot read what is asked. */
function moveTo(kind) {
  if (chosen()?.kind === kind) return true;
  const other = firstOf(kind);
  if (!other) {
    document.body.classList.add("answered");
    const command = kind === "image" ? "bilin add pictures FOLDER" : "bilin add notes FOLDER";
    showProblem(new Problem(say(kind === "image" ? "noImages" : "noTexts"), say("addHint")), command);
    return false;
  }
  choose(other.name, false);
  return true;
}

function choose(name, ask = true) {
  state.chosen = name;
  byId("modes").hidden = chosen()?.kind !== "text";
  tickCollection(name);
  remember();
  if (!ask) return;
  const kind = chosen().kind;
  if (state.asked?.text !== undefined && kind !== "text") return forget(kind === "image" ? say("pickPicture") : "");
  if (state.asked && state.asked.text === undefined && kind !== "image") return forget();
  if (!state.asked && kind === "image") return clear(say("pickPicture"));
  return run();
}

/** The address names collection and question behind #, which browsers do not send to servers. */
function remember() {
  const parts = new URLSearchParams();
  if (state.chosen) parts.set("c", state.chosen);
  if (state.asked?.text) parts.set("q", state.asked.text);
  history.replaceState(null, "", `#${parts}`);
}

function showAsked(source) {
  byId("asked").hidden = !source;
  const picture = byId("asked-picture");
  if (picture.src.startsWith("blob:") && picture.src !== source) URL.revokeObjectURL(picture.src);
  if (source) {
    picture.src = source;
    byId("asked-name").textContent = state.asked.name;
  } else {
    picture.removeAttribute("src");
  }
}

function forget(line = "") {
  state.asking?.abort();
  state.asked = null;
  showAsked(null);
  clear(line);
  remember();
}

async function run() {
  clearTimeout(state.pause);
  state.asking?.abort();
  if (!state.asked || !chosen()) return clear();
  const asking = new AbortController();
  state.asking = asking;
  const isPictures = chosen().kind === "image";
  const collection = state.chosen;
  const { name: _name, ...what } = state.asked;
  document.body.classList.add("busy");
  try {
    const mode = what.text !== undefined && byId("mode").value ? { mode: byId("mode").value } : {};
    const answer = await search(collection, { ...what, ...mode }, isPictures ? MOST_PICTURES : MOST_TEXTS, asking.signal);
    if (state.asking !== asking) return;
    state.shown = { answer, view: { collection, isPictures, question: what.text ?? "", onMore: moreLike } };
    show(answer, state.shown.view);
  } catch (problem) {
    if (state.asking !== asking || problem.name === "AbortError") return;
    if (!(problem instanceof Problem)) throw problem;
    state.shown = null;
    document.body.classList.add("answered");
    showProblem(problem);
  } finally {
    if (state.asking === asking) document.body.classList.remove("busy");
  }
}

function askText(text) {
  const trimmed = text.trim();
  if (!trimmed) return forget();
  if (state.asked?.text === trimmed && state.shown) return undefined;
  showAsked(null);
  state.asked = { text: trimmed };
  state.shown = null;
  if (!moveTo("text")) return undefined;
  remember();
  return run();
}

async function askPicture(file) {
  byId("query").value = "";
  document.body.classList.add("answered");
  if (file.type && !file.type.startsWith("image/")) {
    forget();
    document.body.classList.add("answered");
    return showProblem(new Problem(say("notPicture", file.name), say("notPictureHint")));
  }
  try {
    state.asked = { image: await readPicture(file), name: file.name || say("picture") };
  } catch (problem) {
    return showProblem(problem);
  }
  state.shown = null;
  showAsked(URL.createObjectURL(file));
  if (!moveTo("image")) return undefined;
  remember();
  return run();
}

function moreLike(id, source) {
  byId("query").value = "";
  state.asked = { like: id, name: id };
  state.shown = null;
  showAsked(source);
  window.scrollTo({ top: 0 });
  return run();
}

function watchTyping() {
  const query = byId("query");
  let isComposing = false;
  const soon = () => {
    clearTimeout(state.pause);
    state.pause = setTimeout(() => askText(query.value), PAUSE_MS);
  };
  query.addEventListener("compositionstart", () => {
    isComposing = true;
    clearTimeout(state.pause);
  });
  query.addEventListener("compositionend", () => {
    isComposing = false;
    soon();
  });
  query.addEventListener("input", (event) => {
    if (!isComposing && !event.isComposing) soon();
  });
  byId("form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (isComposing) return;
    state.shown = null;
    askText(query.value);
  });
  document.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    const isTyping = event.target instanceof HTMLInputElement && event.target.type === "search";
    if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      query.focus();
      query.select();
    } else if (event.key === "Escape" && (query.value || state.asked)) {
      query.value = "";
      forget();
      query.focus();
    }
  });
}

/** Draws again what depends on the language. */
export function redraw() {
  drawCollections(state.all, state.chosen, choose);
  if (state.shown) show(state.shown.answer, state.shown.view);
}

/** Starts the page. */
export async function startSearch() {
  watchTyping();
  watchPictures(askPicture);
  byId("forget").addEventListener("click", () => forget());
  byId("mode").addEventListener("change", () => run());
  try {
    state.all = await collections();
  } catch (problem) {
    return showProblem(problem);
  }
  if (state.all.length === 0) {
    return showProblem(new Problem(say("empty"), say("emptyHint")), "bilin add notes FOLDER");
  }
  const kept = new URLSearchParams(location.hash.slice(1));
  const wanted = state.all.find((one) => one.name === kept.get("c")) ?? firstOf("text") ?? state.all[0];
  state.chosen = wanted.name;
  byId("modes").hidden = wanted.kind !== "text";
  drawCollections(state.all, state.chosen, choose);
  const query = byId("query");
  if (!query.value && kept.get("q")) query.value = kept.get("q");
  if (query.value) await askText(query.value);
}
