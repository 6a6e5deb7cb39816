// Filters: chips for those that are on, facets with counts to choose from, and a field for a filter in the server's own words.

import { facets, isAborted } from "../api.js";
import { DRAWN, byId, drawing, node } from "../dom.js";
import { count, say } from "../words.js";
import { shortName } from "./passages.js";
import { filterText, state } from "./state.js";

/** Fields that are good to choose by, best first; others follow as they come. */
const LIKED = ["category", "chapter", "source", "section", "author", "year", "language", "tags"];
/** Fields of which every item has its own value, or whose values are not choices. */
const USELESS = new Set([
  "sentence_id", "total_sentences", "passage", "page", "page_end", "slide", "image_path", "product_id", "price", "text", "title", "heading",
  "headings", "url", "width", "height", "bytes", "id",
]);
const MOST_FIELDS = 3;
const MOST_SHOWN = 8;

/** Facets that were asked for, by collection, commit, field and filter. */
const known = new Map();
const MOST_KNOWN = 200;
let asking = null;

const isOn = (field, value) => state.filters.some((one) => one.field === field && one.value === value);
const shown = (field, value) => (field === "source" ? shortName(value) : String(value));

/** Turns a filter on or off. */
export function toggleFilter(field, value) {
  state.filters = isOn(field, value)
    ? state.filters.filter((one) => one.field !== field || one.value !== value)
    : [...state.filters, { field, value }];
}

/** The chips of the filters that are on. */
export function drawChips(onChange) {
  const chips = state.filters.map(({ field, value }) =>
    node("button", {
      type: "button", class: "chip on", "aria-label": say("dropFilter", `${field}: ${value}`), onclick: () => {
        toggleFilter(field, value);
        onChange();
      },
    }, node("span", {}, `${field}: ${shown(field, value)}`), drawing(...DRAWN.close)));
  const typed = state.expression.trim();
  if (typed) {
    chips.push(node("button", {
      type: "button", class: "chip on", "aria-label": say("dropFilter", typed), onclick: () => {
        state.expression = "";
        onChange();
      },
    }, node("span", {}, typed), drawing(...DRAWN.close)));
  }
  byId("chips").hidden = chips.length === 0;
  byId("chips").replaceChildren(...chips);
}

/** Fields of these results that are worth a facet. */
function fieldsOf(results) {
  const seen = new Set(state.filters.map((one) => one.field));
  for (const result of results) {
    for (const [key, value] of Object.entries(result.metadata)) {
      if (["string", "number", "boolean"].includes(typeof value) && !USELESS.has(key)) seen.add(key);
    }
  }
  const order = (key) => (LIKED.includes(key) ? LIKED.indexOf(key) : LIKED.length);
  return [...seen].sort((a, b) => order(a) - order(b)).slice(0, MOST_FIELDS);
}

/** What the chips say: the last part of a path, with its folder where two would read alike. */
function namesOf({ field, values }) {
  const short = values.map(({ value }) => shown(field, value));
  return new Map(values.map(({ value }, at) => {
    const isTwice = short.indexOf(short[at]) !== short.lastIndexOf(short[at]);
    return [value, isTwice ? String(value).split(/[/\\]/).slice(-2).join("/") : short[at]];
  }));
}

function facet(found, onChange) {
  const names = namesOf(found);
  const chip = ({ value, count: number }) =>
    node("button", {
      type: "button", class: "chip", "aria-pressed": String(isOn(found.field, value)), title: String(value), onclick: () => {
        toggleFilter(found.field, value);
        onChange();
      },
    }, node("span", {}, names.get(value)), node("i", {}, count(number)));
  const isLong = found.values.length > MOST_SHOWN;
  const list = node("div", { class: "chips" }, found.values.slice(0, MOST_SHOWN).map(chip));
  if (isLong) {
    const rest = node("button", { type: "button", class: "link rest" }, say("moreValues", found.values.length - MOST_SHOWN));
    rest.addEventListener("click", () => rest.replaceWith(...found.values.slice(MOST_SHOWN).map(chip)));
    list.append(rest);
  }
  const others = found.others > 0 ? node("p", { class: "rest" }, say("otherValues", count(found.others))) : null;
  return node("div", { class: "facet", role: "group", "aria-label": found.field }, node("h3", {}, found.field), list, others);
}

/** Asks for the facets of an answer and draws them into `box`. */
export async function drawFacets(box, answer, collection, onChange) {
  asking?.abort();
  asking = new AbortController();
  const { signal } = asking;
  try {
    const found = await Promise.all(fieldsOf(answer.results).map(async (field) => {
      const filter = filterText(field);
      const key = JSON.stringify([collection, answer.seq, field, filter]);
      if (known.size > MOST_KNOWN) known.clear();
      if (!known.has(key)) known.set(key, await facets(collection, { field, filter }, signal));
      return known.get(key);
    }));
    if (signal.aborted) return undefined;
    const isOnNow = (field) => state.filters.some((filter) => filter.field === field);
    // A choice among values that one item has each is no choice.
    const useful = found.filter((one) => isOnNow(one.field) || (one.values.length > 1 && one.values[0].count > 1));
    return box.replaceChildren(...useful.map((one) => facet(one, onChange)));
  } catch (problem) {
    if (isAborted(problem)) return undefined;
    return box.replaceChildren(); // a filter that is wrong is told of by the search itself
  }
}

/** The field for a filter in words. */
export function expressionField(onChange) {
  const input = node("input", { class: "input", id: "expression-text", value: state.expression, placeholder: say("expressionExample"), spellcheck: "false", autocomplete: "off" });
  const form = node("form", {
    id: "expression", onsubmit: (event) => {
      event.preventDefault();
      state.expression = input.value;
      onChange();
    },
  }, node("label", { class: "field", for: "expression-text" }, node("span", {}, say("expression")), input, node("small", {}, say("expressionHelp"))));
  return form;
}
