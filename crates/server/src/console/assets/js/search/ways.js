// How is searched: by meaning, words or both, what counts as one result, reranking, and how many.

import { byId, choice, node, segments } from "../dom.js";
import { keepValue, keptValue } from "../kept.js";
import { say } from "../words.js";
import { chosen, state } from "./state.js";

const COUNTS = [3, 5, 10, 24, 50, 100];

/** Takes what was chosen last time. */
export function startWays() {
  const kept = keptValue("ways", {});
  if (["", "dense", "lexical", "hybrid"].includes(kept.mode)) state.ways.mode = kept.mode;
  if (["item", "section", "document"].includes(kept.per)) state.ways.per = kept.per;
  if (COUNTS.includes(kept.topK)) state.ways.topK = kept.topK;
}

/** Draws the row; `onChange()` hears of each choice. */
export function drawWays(onChange) {
  const row = byId("ways");
  const kind = chosen()?.kind;
  row.hidden = !kind;
  const set = (key, value) => {
    state.ways[key] = value;
    keepValue("ways", { ...state.ways, rerank: false });
    onChange();
  };
  const parts = [];
  if (kind === "text") {
    const modes = [["", say("modeAsSet")], ["dense", say("modeDense")], ["lexical", say("modeLexical")], ["hybrid", say("modeHybrid")]];
    parts.push(segments("mode", say("modeLabel"), modes, state.ways.mode, (value) => set("mode", value)));
    const pers = [["item", say("perItem")], ["section", say("perSection")], ["document", say("perDocument")]];
    parts.push(node("label", {}, say("per"), choice(pers, state.ways.per, { id: "per", onchange: (event) => set("per", event.target.value) })));
  }
  const counts = [[0, say("countAuto", kind === "image" ? 24 : 10)], ...COUNTS.map((n) => [n, String(n)])];
  parts.push(node("label", {}, say("topK"), choice(counts, String(state.ways.topK), { id: "top-k", onchange: (event) => set("topK", Number(event.target.value)) })));
  if (kind === "text") {
    const rerank = node("input", { type: "checkbox", id: "rerank", onchange: (event) => set("rerank", event.target.checked) });
    rerank.checked = state.ways.rerank;
    parts.push(node("label", { title: say("rerankHelp") }, rerank, say("rerank")));
  }
  row.replaceChildren(...parts);
}
