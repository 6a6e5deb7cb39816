// Named score bars: the cosine always; BM25 and the cross-encoder's word where they were asked. Bars of scores without a natural scale are
// drawn against the best of the answer.

import { node } from "../dom.js";
import { say } from "../words.js";

function bar(name, help, shown, share, now, low, high, isMain) {
  const fill = node("i");
  fill.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
  return node("div", { class: isMain ? "score main" : "score", title: help },
    node("span", { class: "score-name" }, name), node("span", { class: "score-value" }, shown),
    node("div", { class: "bar", role: "meter", "aria-label": name, "aria-valuemin": low, "aria-valuemax": high, "aria-valuenow": now }, fill));
}

/** What the bars of one answer are drawn against. */
export function scalesOf(results) {
  const known = (key) => results.map((result) => result[key]).filter((value) => typeof value === "number");
  const reranked = known("reranked");
  return {
    lexical: Math.max(0, ...known("lexical")),
    reranked: reranked.length > 0 ? [Math.min(...reranked), Math.max(...reranked)] : null,
  };
}

/** The bars of one result. */
export function scores(result, scales) {
  const { similarity, lexical, reranked } = result;
  const bars = [bar(say("cosine"), say("cosineHelp"), similarity.toFixed(4), similarity, similarity.toFixed(4), -1, 1, true)];
  if (typeof lexical === "number") {
    const best = scales.lexical || 1;
    bars.push(bar("BM25", say("bm25Help"), lexical.toFixed(2), lexical / best, lexical.toFixed(2), 0, best.toFixed(2), false));
  }
  if (typeof reranked === "number" && scales.reranked) {
    const [low, high] = scales.reranked;
    const share = high > low ? 0.05 + (0.95 * (reranked - low)) / (high - low) : 1;
    bars.push(bar(say("rerankScore"), say("rerankScoreHelp"), reranked.toFixed(3), share, reranked.toFixed(3), low.toFixed(3), high.toFixed(3), false));
  }
  return node("div", { class: "scores" }, bars);
}
