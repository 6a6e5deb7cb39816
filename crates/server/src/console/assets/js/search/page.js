// The search: what is asked, of which collection, and that the last question wins. Each new question aborts the one before it, and an answer
// that comes late is dropped. Collection, question and filters stand behind # in the address: they can be shared and never reach a log.

import { Problem, collections, isAborted, search } from "../api.js";
import { byId, toast } from "../dom.js";
import { say } from "../words.js";
import { drawAsked, stopCropping } from "./asked.js";
import { drawChoices, tickChoice } from "./choices.js";
import { drawChips, toggleFilter } from "./filters.js";
import { readPicture, watchPictures } from "./incoming.js";
import { pictureName } from "./cards.js";
import { clear, show, showProblem } from "./results.js";
import { chosen, requestBody, state } from "./state.js";
import { watchTyping } from "./typing.js";
import { drawWays, startWays } from "./ways.js";

const MOST_ASKED = 8;
/** Models of pictures that turned out not to read words; those that are known not to need not be asked. */
const wordless = new Set();
const KNOWN_WORDLESS = /^(efficientnet|resnet|mobilenet)/i;
let asking = null;
let pickMore = () => {};
let remembered = "";

const acts = {
  onLike: (result, source) => ask({ items: [item(result, source, 1)] }),
  onJoin(result, source, sign) {
    const items = (state.asked?.items ?? []).filter((one) => one.value !== result.id);
    ask({ items: [...items, item(result, source, sign)].slice(-MOST_ASKED), ...words() });
  },
  onFilter(field, value) {
    toggleFilter(field, value);
    acts.onFilters();
  },
  onFilters() {
    drawChips(acts.onFilters);
    const typed = byId("expression-text");
    if (typed) {
      typed.value = state.expression;
      typed.blur();
    }
    remember();
    run();
  },
};

/** The words that stay beside examples. */
const words = () => (state.asked?.text !== undefined && findsByWords(chosen()) ? { text: state.asked.text } : {});

const item = (result, source, sign) => ({ kind: "like", value: result.id, src: source, name: pictureName(result), sign });

const askedActs = {
  onClear: () => forget(),
  onMore: () => pickMore(),
  onDrop(dropped) {
    const items = state.asked.items.filter((one) => one !== dropped);
    if (dropped.src?.startsWith("blob:")) URL.revokeObjectURL(dropped.src);
    const { text } = words();
    if (items.some((one) => one.sign > 0) || (text !== undefined && items.length > 0)) ask({ items, ...words() });
    else if (text !== undefined) ask({ text });
    else forget();
  },
  onRegion(region) {
    state.region = region;
    run();
  },
};

const firstOf = (kind) => state.all.find((one) => one.kind === kind && one.count > 0) ?? state.all.find((one) => one.kind === kind);

/** Whether words find pictures in a collection, alone or beside examples. */
const findsByWords = (one) => one?.kind === "image" && !wordless.has(one.model) && !KNOWN_WORDLESS.test(one.model);

/** Whether the chosen collection can be asked this. */
function reads(asked) {
  const one = chosen();
  if (!one) return false;
  if (asked.text !== undefined && one.kind !== "text" && !findsByWords(one)) return false;
  return !asked.items || asked.items.every((each) => each.kind === "like") || one.kind === "image";
}

/** Another collection when the chosen one cannot read what is asked. */
function moveFor(asked) {
  if (reads(asked)) return true;
  const kind = asked.items ? "image" : "text";
  const other = firstOf(kind);
  if (!other) {
    const command = kind === "image" ? "bilin add pictures FOLDER" : "bilin add notes FOLDER";
    showProblem(new Problem(say(kind === "image" ? "noImages" : "noTexts"), say("addHint")), command);
    return false;
  }
  take(other.name);
  return true;
}

/** Takes a collection; filters of another one say nothing about it. */
function take(name) {
  if (state.chosen !== name) {
    state.filters = [];
    state.expression = "";
  }
  state.chosen = name;
  tickChoice(name);
  drawWays(() => run());
  remember();
}

function choose(name) {
  take(name);
  const { asked } = state;
  if (!asked) return clear(chosen().kind === "image" ? say("pickPicture") : "");
  const isForeign = asked.items?.some((one) => one.kind === "like"); // an item of the collection before
  if (isForeign || !reads(asked)) return forget(chosen().kind === "image" ? say("pickPicture") : "");
  return run();
}

/** Writes collection, question and filters into the address. */
function remember() {
  const parts = new URLSearchParams();
  if (state.chosen) parts.set("c", state.chosen);
  if (state.asked?.text) parts.set("q", state.asked.text);
  for (const { field, value } of state.filters) parts.append("f", JSON.stringify([field, value]));
  if (state.expression.trim()) parts.set("filter", state.expression.trim());
  remembered = `#${parts}`;
  byId("to-search").href = remembered;
  if (!location.hash.startsWith("#/")) history.replaceState(null, "", remembered);
}

function forget(line = "") {
  asking?.abort();
  for (const one of state.asked?.items ?? []) if (one.src?.startsWith("blob:")) URL.revokeObjectURL(one.src);
  state.asked = null;
  state.region = null;
  state.shown = null;
  stopCropping();
  document.body.classList.remove("busy");
  drawAsked(askedActs);
  clear(line);
  remember();
}

async function run() {
  asking?.abort();
  if (!state.asked || !chosen()) return;
  const mine = new AbortController();
  asking = mine;
  const collection = state.chosen;
  const body = requestBody();
  document.body.classList.add("busy");
  try {
    const answer = await search(collection, body, mine.signal);
    if (asking !== mine) return;
    state.shown = { answer, collection, body };
    show(acts);
  } catch (problem) {
    if (asking !== mine || isAborted(problem)) return;
    if (!(problem instanceof Problem)) throw problem;
    if (body.text !== undefined && chosen()?.kind === "image" && problem.status === 422 && !body.filter) {
      wordless.add(chosen().model); // its model reads pictures alone
      if (state.asked.items) toast(say("wordless", chosen().model));
      if (state.asked.items) ask({ items: state.asked.items });
      else if (moveFor(state.asked)) run();
      return;
    }
    state.shown = null;
    showProblem(problem, null, acts);
  } finally {
    if (asking === mine) document.body.classList.remove("busy");
  }
}

/** Asks something else. */
function ask(asked) {
  if (asked.text === undefined) byId("query").value = "";
  if (asked.items && asked.items !== state.asked?.items) window.scrollTo({ top: 0 });
  const isSamePictures = asked.items !== undefined && asked.items === state.asked?.items;
  state.asked = asked;
  if (!isSamePictures) {
    state.region = null;
    stopCropping();
  }
  if (!moveFor(asked)) return undefined;
  drawAsked(askedActs);
  remember();
  return run();
}

function askText(text, isAgain) {
  const trimmed = text.trim();
  const items = findsByWords(chosen()) ? state.asked?.items : undefined;
  if (!trimmed) return items ? ask({ items }) : forget();
  if (!isAgain && state.asked?.text === trimmed && state.shown) return undefined;
  return ask({ text: trimmed, ...(items ? { items } : {}) });
}

async function askPictures(files, isMore) {
  const kept = isMore ? state.asked?.items ?? [] : [];
  try {
    const items = await Promise.all(files.slice(0, MOST_ASKED).map(async (file) =>
      ({ kind: "image", value: await readPicture(file), src: URL.createObjectURL(file), name: file.name || say("picture"), sign: 1 })));
    await ask({ items: [...kept, ...items].slice(-MOST_ASKED), ...words() });
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    forget();
    showProblem(problem);
  }
}

/** Takes what the address says; gives the question. */
function readAddress() {
  const parts = new URLSearchParams(location.hash.startsWith("#/") ? "" : location.hash.slice(1));
  const wanted = state.all.find((one) => one.name === parts.get("c")) ?? chosen() ?? firstOf("text") ?? state.all[0];
  state.chosen = wanted.name;
  state.expression = parts.get("filter") ?? "";
  state.filters = parts.getAll("f").flatMap((text) => {
    try {
      const [field, value] = JSON.parse(text);
      return typeof field === "string" && ["string", "number", "boolean"].includes(typeof value) ? [{ field, value }] : [];
    } catch {
      return []; // an address that was cut off
    }
  });
  return parts.get("q") ?? "";
}

/** Takes the list of collections anew; other pages change it. */
async function load() {
  const { collections: all } = await collections();
  state.all = all;
  if (!chosen()) state.chosen = null;
}

/** The address was changed from outside, or another page was left. */
async function returned() {
  const wanted = location.hash;
  if (wanted.startsWith("#/")) return;
  await load();
  if (wanted === remembered && chosen()) {
    drawChoices(choose);
    return;
  }
  byId("query").value = "";
  forget();
  history.replaceState(null, "", wanted);
  await begin();
}

async function begin() {
  try {
    await load();
  } catch (problem) {
    showProblem(problem);
    return;
  }
  if (state.all.length === 0) {
    showProblem(new Problem(say("empty"), say("emptyHint")), "bilin add notes FOLDER");
    return;
  }
  const query = byId("query");
  const asked = readAddress() || query.value;
  drawChoices(choose);
  drawWays(() => run());
  if (asked) {
    query.value = asked;
    await askText(asked, true);
  }
}

/** Draws again what depends on the language. */
export function redrawSearch() {
  drawChoices(choose);
  drawWays(() => run());
  drawAsked(askedActs);
  if (state.shown) {
    byId("side").replaceChildren();
    show(acts);
  }
}

/** Starts the page. */
export async function startSearch() {
  startWays();
  watchTyping({
    onText: (text) => askText(text, false), onSubmit: (text) => askText(text, true), onClear: () => forget(), hasAsked: () => state.asked !== null,
  });
  ({ pickMore } = watchPictures(askPictures));
  window.addEventListener("hashchange", returned);
  await begin();
}
