// The collections page: all of them as tiles, or one of them with everything that can be done to it.

import { collections } from "../api.js";
import { DRAWN, button, drawing, node, problemBox } from "../dom.js";
import { bytes, count, say } from "../words.js";
import { openCreate } from "./create.js";
import { showDetail } from "./detail.js";
import { errorsPanel } from "./errors.js";
import { poll } from "./poll.js";

const POLL_MS = 5000;

/** How a collection is, as a badge. */
export const healthBadge = (one) =>
  node("span", { class: one.health === "ok" ? "badge good" : "badge bad" }, say(one.health === "ok" ? "healthy" : "needsAttention"));

/** The address of a collection's own page. */
export const addressOf = (name) => `#/collections/${encodeURIComponent(name)}`;

function tile(one) {
  const rows = [
    [say("index"), one.index.current], [say("recall"), one.live_recall ? one.live_recall.recall_at_10.toFixed(3) : one.recall.toFixed(3)],
    [say("onDisk"), bytes(one.disk_bytes)], one.model ? [say("model"), one.model] : [say("vectors"), `${one.dim}-d ${one.metric}`],
  ];
  return node("li", {}, node("a", { class: "tile", href: addressOf(one.name) },
    node("div", { class: "tile-head" }, drawing(...DRAWN[one.kind]), node("b", {}, one.name), healthBadge(one)),
    node("p", {}, node("span", { class: "big" }, count(one.count)), " ", node("span", { class: "soft" }, say(`items_${one.kind}`, one.count))),
    node("dl", {}, rows.flatMap(([term, value]) => [node("dt", {}, term), node("dd", {}, value)]))));
}

function empty() {
  return node("div", { class: "empty" }, drawing(...DRAWN.text), node("h2", {}, say("noCollections")), node("p", {}, say("noCollectionsHint")),
    node("code", {}, "bilin add notes FOLDER"), node("div", {}, button(say("newCollection"), openCreate, "main")));
}

/** Shows the page in `box`; gives what ends it. */
export async function show(box, [name]) {
  if (name !== undefined) return showDetail(box, name);
  const list = node("div");
  const errors = node("div");
  errorsPanel().then((panel) => panel && errors.replaceChildren(panel));
  box.replaceChildren(
    node("header", { class: "page-head" }, node("div", {}, node("h1", {}, say("collections")), node("p", { class: "lead" }, say("collectionsLead"))),
      button([drawing(...DRAWN.plus), say("newCollection")], openCreate, "main", { id: "new-collection" })), list, errors);
  let drawn = "";
  return poll(async () => {
    try {
      const { collections: all, broken } = await collections();
      const now = JSON.stringify([all, broken]);
      if (now === drawn) return POLL_MS; // the focus stays where it is
      drawn = now;
      list.replaceChildren(
        ...broken.map((one) => problemBox({ message: say("cannotOpen", one.name), hint: one.reason }, `bilin verify ${one.name}`)),
        all.length === 0 ? empty() : node("ul", { class: "tiles" }, all.map(tile)));
    } catch (problem) {
      drawn = "";
      list.replaceChildren(problemBox(problem));
    }
    return POLL_MS;
  });
}
