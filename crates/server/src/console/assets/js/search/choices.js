// The collections to choose from, as a row of radio buttons.

import { DRAWN, byId, drawing, node } from "../dom.js";
import { count, say } from "../words.js";
import { state } from "./state.js";

/** Draws the row; `onChoose` gets the collection's name. */
export function drawChoices(onChoose) {
  const row = byId("collections");
  const choices = state.all.map((one) => {
    const input = node("input", { type: "radio", name: "collection", value: one.name, onchange: () => onChoose(one.name) });
    input.checked = one.name === state.chosen;
    const label = node("span", {}, drawing(...DRAWN[one.kind]), node("b", {}, one.name), node("i", {}, count(one.count)),
      one.health === "ok" ? null : node("i", {}, `· ${say("needsAttention")}`));
    const title = [say(`kind_${one.kind}`), one.model, `${one.dim}-d`, one.index.current, ...one.warnings].filter(Boolean).join(" · ");
    return node("label", { class: "choice", title }, input, label);
  });
  row.replaceChildren(row.querySelector("legend"), ...choices);
}

/** Ticks another one. */
export function tickChoice(name) {
  for (const input of document.querySelectorAll("#collections input")) input.checked = input.value === name;
}
