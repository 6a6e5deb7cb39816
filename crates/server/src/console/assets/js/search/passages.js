// A result that is text: where it stands, what matched, how well, and what can be done with it.

import { DRAWN, drawing, node } from "../dom.js";
import { say } from "../words.js";
import { highlight, marked } from "./highlight.js";
import { scores } from "./scores.js";
import { openSource, webAddress } from "./source.js";

/** Fields that have a place of their own, or say nothing to a reader. */
const PLACED = new Set([
  "chapter", "section", "title", "heading", "headings", "source", "page", "page_end", "slide", "sentence_id", "total_sentences", "passage",
  "image_path", "product_id", "category", "price", "text", "url",
]);
const MOST_TAGS = 4;

export const isGiven = (value) => value !== undefined && value !== null && value !== "";

/** A field and its value as a small button that filters by it; a filter cannot name fields with quotes, backslashes or control characters. */
export const tag = (field, value, words, onFilter) =>
  /["\\\p{Cc}]/u.test(field)
    ? node("span", { class: "tag" }, words)
    : node("button", { type: "button", class: "tag", title: say("filterBy", `${field}: ${value}`), onclick: () => onFilter(field, value) }, words);

/** What else a result's metadata say. */
export const tags = (metadata, onFilter) =>
  Object.entries(metadata)
    .filter(([key, value]) => !PLACED.has(key) && ["string", "number", "boolean"].includes(typeof value) && value !== "")
    .slice(0, MOST_TAGS)
    .map(([key, value]) => tag(key, value, `${key}: ${value}`, onFilter));

/** The last part of a path, which is what people call a file. */
export const shortName = (path) => String(path).split(/[/\\]/).filter(Boolean).slice(-1)[0] ?? String(path);

/** Where in its source a result stands. */
function places(fields) {
  const pages = isGiven(fields.page_end) && fields.page_end !== fields.page ? `${fields.page}–${fields.page_end}` : fields.page;
  return [isGiven(fields.page) ? say("pageOf", pages) : null, isGiven(fields.slide) ? say("slideOf", fields.slide) : null].filter(isGiven);
}

/** The link to the source: the web page where it is one, else all of the document as it is kept. */
function sourceLink(result, collection) {
  const name = shortName(result.metadata.source ?? result.id);
  const address = webAddress(result.metadata);
  if (address) {
    return node("a", { class: "link source", href: address, target: "_blank", rel: "noopener noreferrer", title: address }, name, drawing(...DRAWN.out));
  }
  return node("button", { type: "button", class: "link source", title: `${say("openSource")}: ${result.metadata.source ?? result.id}`, onclick: () => openSource(collection, result) }, name);
}

/** The card of one result. `view` is {collection, question, scales, acts}. */
export function passage(result, view) {
  const fields = result.metadata;
  const steps = [fields.chapter, fields.section].filter(isGiven);
  const trail = node("p", { class: "trail" }, node("span", { class: "rank" }, String(result.rank)),
    (steps.length > 0 ? steps : [shortName(fields.source ?? result.id)]).map((step) => node("span", { class: "step" }, String(step))));
  const all = () => highlight(result.text ?? result.id, view.question);
  const best = result.snippet?.text ? () => marked(result.snippet) : all;
  const isPart = best !== all && result.snippet.text !== result.text;
  const text = node("p", { class: "text clamped" }, best());
  const whole = node("button", { type: "button", class: "link", hidden: true, "aria-expanded": "false" }, say("whole"));
  whole.addEventListener("click", () => {
    const isClamped = text.classList.toggle("clamped");
    whole.setAttribute("aria-expanded", String(!isClamped));
    whole.textContent = say(isClamped ? "whole" : "less");
    if (best !== all) text.replaceChildren(...(isClamped ? best() : all()));
  });
  const more = node("button", { type: "button", class: "link more", onclick: () => view.acts.onLike(result, null) }, say("more"));
  const foot = node("div", { class: "foot" }, sourceLink(result, view.collection), places(fields).map((place) => node("span", {}, place)),
    tags(fields, view.acts.onFilter), whole, more);
  const element = node("li", { class: "passage" }, trail, text, foot, scores(result, view.scales));
  return { element, settle: () => (whole.hidden = !isPart && text.scrollHeight <= text.clientHeight + 2) };
}
