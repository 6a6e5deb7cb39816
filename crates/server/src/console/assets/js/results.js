// Draws results: passages as cards in a column, pictures as a grid.

import { thumbnail } from "./api.js";
import { byId, node } from "./dom.js";
import { highlight, marked } from "./highlight.js";
import { say } from "./words.js";

/** Fields that have a place of their own, or say nothing to a reader. */
const PLACED = new Set([
  "chapter", "section", "title", "heading", "headings", "source", "page", "page_end", "sentence_id", "total_sentences", "passage",
  "image_path", "product_id", "category", "price", "text",
]);
const MOST_TAGS = 4;

function score(similarity) {
  const shown = similarity.toFixed(4);
  const fill = node("i");
  fill.style.width = `${Math.max(0, Math.min(1, similarity)) * 100}%`;
  const bar = node("div", {
    class: "bar", role: "meter", "aria-label": say("similarity"),
    "aria-valuemin": -1, "aria-valuemax": 1, "aria-valuenow": shown,
  }, fill);
  return node("div", { class: "score" },
    node("span", { class: "score-name" }, say("similarity")),
    node("span", { class: "score-value" }, shown), bar);
}

function tags(metadata) {
  return Object.entries(metadata)
    .filter(([key, value]) => !PLACED.has(key) && ["string", "number", "boolean"].includes(typeof value) && value !== "")
    .slice(0, MOST_TAGS)
    .map(([key, value]) => node("span", { class: "tag", title: `${key}: ${value}` }, `${key}: ${value}`));
}

const isSaid = (value) => value !== undefined && value !== null && value !== "";

function passage(result, question) {
  const fields = result.metadata;
  const places = [fields.chapter, fields.section].filter(isSaid);
  const sources = [fields.source, fields.page].filter(isSaid);
  // Where nothing says the chapter, the file stands in its place.
  const steps = places.length > 0 ? places : sources;
  const trail = node("p", { class: "trail" }, node("span", { class: "rank" }, String(result.rank)),
    ...steps.map((step) => node("span", { class: "step" }, String(step))));
  const all = () => highlight(result.text ?? result.id, question);
  const best = result.snippet && result.snippet.text ? () => marked(result.snippet) : all;
  const text = node("p", { class: "text clamped" }, ...best());
  const source = places.length > 0 ? sources.map((part) => node("span", {}, String(part))) : [];
  const whole = node("button", { type: "button", class: "more", hidden: true, "aria-expanded": "false" }, say("whole"));
  whole.addEventListener("click", () => {
    const isClamped = text.classList.toggle("clamped");
    whole.setAttribute("aria-expanded", String(!isClamped));
    whole.textContent = say(isClamped ? "whole" : "less");
    if (best !== all) text.replaceChildren(...(isClamped ? best() : all()));
  });
  const foot = node("p", { class: "foot" }, ...source, ...tags(fields), whole);
  const isPart = best !== all && result.snippet.text !== result.text;
  return { element: node("li", { class: "passage" }, trail, text, foot, score(result.similarity)), text, whole, isPart };
}

function card(result, collection, onMore) {
  const fields = result.metadata;
  const name = String(fields.product_id ?? fields.image_path ?? result.id);
  const picture = node("img", { src: thumbnail(collection, result.id), alt: name, loading: "lazy", decoding: "async" });
  picture.addEventListener("error", () => picture.replaceWith(say("noPicture")));
  const more = node("button", { type: "button", class: "more" }, say("more"));
  more.addEventListener("click", () => onMore(result.id, picture.src));
  const facts = [fields.category, isSaid(fields.price) ? `${say("price")} ${fields.price}` : null].filter(isSaid);
  return node("li", { class: "card" },
    node("div", { class: "frame" }, picture, node("span", { class: "rank" }, String(result.rank))),
    node("div", { class: "about" },
      node("p", { class: "name", title: fields.image_path ?? result.id }, name),
      score(result.similarity),
      node("p", { class: "foot" }, ...facts.map((fact) => node("span", { class: "tag" }, String(fact))), more)));
}

/** Shows an answer. `view` is {collection, isPictures, question, onMore}. */
export function show(answer, view) {
  document.body.classList.add("answered");
  document.body.classList.toggle("pictures", view.isPictures);
  byId("problem").hidden = true;
  const list = byId("results");
  if (view.isPictures) {
    list.replaceChildren(...answer.results.map((result) => card(result, view.collection, view.onMore)));
  } else {
    const made = answer.results.map((result) => passage(result, view.question));
    list.replaceChildren(...made.map((one) => one.element));
    for (const one of made) one.whole.hidden = !one.isPart && one.text.scrollHeight <= one.text.clientHeight + 2;
  }
  const ms = Object.fromEntries(Object.entries(answer.timings_ms).map(([key, value]) => [key, value.toFixed(1)]));
  const count = answer.results.length;
  byId("status").replaceChildren(
    node("span", {}, count === 0 ? say("nothing") : say("found", count)),
    node("span", { class: "took" }, say("took", ms)), node("span", { class: "split" }, say("split", ms)));
}

/** Shows what went wrong, kindly; `command` is something to type. */
export function showProblem(problem, command = null) {
  const box = byId("problem");
  box.replaceChildren(node("strong", {}, problem.message), problem.hint ? node("p", {}, problem.hint) : "",
    command ? node("code", {}, command) : "");
  box.hidden = false;
  byId("results").replaceChildren();
  byId("status").replaceChildren();
}

/** Back to the empty page. */
export function clear(line = "") {
  document.body.classList.remove("answered", "pictures");
  byId("problem").hidden = true;
  byId("results").replaceChildren();
  byId("status").textContent = line;
}
