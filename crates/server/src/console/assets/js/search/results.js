// Draws an answer: its figures, its results as passages or as a grid of pictures, and what stands beside them.

import { byId, node, problemParts } from "../dom.js";
import { ms, say } from "../words.js";
import { card } from "./cards.js";
import { drawChips, drawFacets, expressionField } from "./filters.js";
import { passage } from "./passages.js";
import { requestPanel } from "./request.js";
import { scalesOf } from "./scores.js";
import { chosen, state } from "./state.js";

const STAGES = ["encode", "search", "fetch", "rerank"];
/** Where the filters stand beside the results rather than above them. */
const WIDE = window.matchMedia("(min-width: 64rem)");

/** Count, time with its parts, and badges. */
function drawStatus(answer) {
  const times = answer.timings_ms;
  const bar = node("span", { class: "split-bar", "aria-hidden": "true" }, STAGES.filter((stage) => times[stage] > 0).map((stage) => {
    const part = node("i", { class: `stage-${stage}` });
    part.style.width = `${(100 * times[stage]) / Math.max(times.total, 1e-9)}%`;
    return part;
  }));
  const parts = STAGES.filter((stage) => stage !== "rerank" || times.rerank > 0).map((stage) => `${say(`stage_${stage}`)} ${ms(times[stage])}`).join(" · ");
  const length = answer.results.length;
  byId("status").replaceChildren(
    node("span", { class: "found-count" }, length === 0 ? say("nothing") : say("found", length)),
    node("span", { class: "took" }, say("took", ms(times.total))),
    node("span", { class: "split" }, bar, node("span", { class: "split-words" }, parts)),
    answer.cached ? node("span", { class: "badge good", title: say("cachedHelp") }, say("cached")) : "",
    ...answer.degraded.map((what) => node("span", { class: "badge warn", title: say("degradedHelp") }, say("degradedBy", what))));
}

function section(id, title, body, isOpen) {
  const made = node("details", { id }, node("summary", {}, title), body);
  made.open = isOpen;
  return made;
}

/** Filters and the request; drawn once for each question, so that what is open stays open. */
function drawSide({ answer, collection, body }, acts) {
  const side = byId("side");
  const open = Object.fromEntries([...side.querySelectorAll("details")].map((one) => [one.id, one.open]));
  const typed = side.querySelector("#expression-text");
  if (typed && document.activeElement === typed) return; // do not take the field away from who types in it
  const facetBox = byId("facets") ?? node("div", { id: "facets" });
  const request = section("request", say("request"), [], open.request ?? false);
  const fill = () => request.open && request.replaceChildren(request.firstChild, ...requestPanel(collection, body));
  request.addEventListener("toggle", fill);
  side.replaceChildren(section("filters", say("filters"), [facetBox, expressionField(acts.onFilters)], open.filters ?? WIDE.matches), request);
  side.hidden = false;
  drawFacets(facetBox, answer, collection, acts.onFilters);
}

/** Shows the answer that `state.shown` holds; `acts` are what its buttons do. */
export function show(acts) {
  const { answer, collection, body } = state.shown;
  const kind = chosen()?.kind;
  const isText = answer.results.some((result) => typeof result.text === "string") || kind === "text";
  document.body.classList.add("answered");
  document.body.classList.toggle("pictures", !isText);
  byId("problem").hidden = true;
  const view = { collection, kind, question: body.text ?? "", scales: scalesOf(answer.results), canJoin: Boolean(state.asked?.items), acts };
  const list = byId("results");
  const made = isText ? answer.results.map((result) => passage(result, view)) : [];
  const drawn = isText ? made.map((one) => one.element) : answer.results.map((result) => card(result, view));
  list.replaceChildren(...(drawn.length > 0 ? drawn : [node("li", { class: "nothing" }, node("b", {}, say("nothing")), say(body.filter ? "nothingFiltered" : "nothingHint"))]));
  for (const one of made) one.settle();
  drawStatus(answer);
  drawChips(acts.onFilters);
  drawSide(state.shown, acts);
}

/** Shows what went wrong, kindly; `command` is something to type. */
export function showProblem(problem, command = null, acts = null) {
  document.body.classList.add("answered");
  byId("problem").replaceChildren(...problemParts(problem, command));
  byId("problem").hidden = false;
  byId("results").replaceChildren();
  byId("status").replaceChildren();
  if (acts) drawChips(acts.onFilters);
}

/** Back to the empty page. */
export function clear(line = "") {
  document.body.classList.remove("answered", "pictures");
  byId("problem").hidden = true;
  byId("side").hidden = true;
  byId("side").replaceChildren();
  byId("chips").hidden = true;
  byId("results").replaceChildren();
  byId("status").textContent = line;
}
