// The collections to choose from, as a row of radio buttons.

import { byId, drawing, node } from "./dom.js";
import { say } from "./words.js";

const DRAWINGS = {
  text: ["M6 3.5h8l4 4v13H6z", "M14 3.5v4h4", "M9 12h6M9 15.5h6"],
  image: ["M4 5h16v14H4z", "m5 17 4.5-4.5 3 3 3.5-4 4 5"],
  vector: ["M5 19V5", "M5 19h14", "m5 19 10-10", "M15 13V9h-4"],
};

/** Draws the row; `onChoose` gets the collection's name. */
export function drawCollections(all, chosen, onChoose) {
  const row = byId("collections");
  const legend = row.querySelector("legend");
  const choices = all.map((one) => {
    const input = node("input", { type: "radio", name: "collection", value: one.name });
    input.checked = one.name === chosen;
    input.addEventListener("change", () => onChoose(one.name));
    const worn = one.health !== "ok";
    const label = node("span", {}, drawing(...DRAWINGS[one.kind]), node("b", {}, one.name),
      node("i", {}, one.count.toLocaleString()), worn ? node("i", { class: "worn" }, say("degraded")) : null);
    const title = [say(one.kind), one.model, `${one.dim}-d`, one.index.current, ...one.warnings].filter(Boolean).join(" · ");
    return node("label", { class: "choice", title }, input, label);
  });
  row.replaceChildren(legend, ...choices);
}

/** Ticks another one. */
export function tickCollection(name) {
  for (const input of document.querySelectorAll("#collections input")) input.checked = input.value === name;
}
