// One collection: its figures, why its index is what it is, adding to it, its tasks, backups, duplicates, watched folders, and its end.

import { acknowledge, collection, deleteCollection, health } from "../api.js";
import { confirm } from "../dialog.js";
import { DRAWN, button, drawing, facts, node, problemBox, toast } from "../dom.js";
import { bytes, count, say, time } from "../words.js";
import { addPanel } from "./add.js";
import { backupsPanel } from "./backups.js";
import { duplicatesPanel } from "./duplicates.js";
import { healthBadge } from "./page.js";
import { poll } from "./poll.js";
import { tasksPanel } from "./tasks.js";

const POLL_MS = 4000;
const BUSY_POLL_MS = 500;

/** Why the index is what it is, in a sentence. */
function why({ index, count: items, recall, target_recall: target, tail_rows: tail }) {
  const parts = [];
  if (index.requested !== "auto") parts.push(say("whyAsked", index.requested));
  else if (index.generation === null) parts.push(say("whyExact", count(items)));
  else parts.push(say("whyAuto", index.current, target, recall.toFixed(3)));
  if (index.generation !== null && tail > 0) parts.push(say("whyTail", count(tail)));
  return parts.join(" ");
}

function figures(one) {
  const { index, live_recall: live } = one;
  return facts([
    [say("items"), count(one.count), say("inDocuments", count(one.documents))],
    [say("index"), index.current, index.requested === index.current ? null : say("requested", index.requested)],
    [say("effort"), index.effort === null ? null : count(index.effort), say("effortHelp")],
    [say("measuredRecall"), one.recall.toFixed(3), say("aimedAt", one.target_recall)],
    [say("liveRecall"), live ? live.recall_at_10.toFixed(3) : index.generation === null ? say("exactSearch") : say("notYet"),
      live ? say("interval", live.low.toFixed(3), live.high.toFixed(3), count(live.samples)) : null],
    [say("onDisk"), bytes(one.disk_bytes)],
    [say("vectors"), `${one.dim}-d`, one.metric],
    [say("model"), one.model],
    [say("built"), index.built_unix_s ? time(index.built_unix_s) : null],
    [say("commit"), count(one.seq)],
  ]);
}

function warnings(one, again) {
  if (one.warnings.length === 0) return null;
  const box = problemBox({ message: say("needsAttention"), hint: "" });
  box.append(...one.warnings.map((warning) => node("p", {}, warning)));
  box.append(button(say("acknowledge"), async () => {
    try {
      await acknowledge(one.name);
    } catch (problem) {
      toast(problem.message);
    }
    again();
  }));
  return box;
}

function watching(watch) {
  if (!watch) return null;
  const state = (folder) => watch.missing[folder] ?? watch.polled[folder] ?? say("watched");
  return node("section", { class: "panel" }, node("h2", {}, say("watchedFolders")),
    node("ul", { class: "listed" }, watch.folders.map((folder) => node("li", {}, node("code", { class: "grow" }, folder), node("span", { class: "soft small" }, state(folder))))),
    node("p", { class: "soft small" }, say("watchFigures", count(watch.files), count(watch.waiting), count(watch.passes))),
    watch.failure ? problemBox({ message: watch.failure, hint: "" }) : null);
}

function ending(name) {
  const end = button(say("deleteCollection"), () => confirm({
    title: say("deleteTitle", name), words: say("deleteWords"), action: say("deleteCollection"), typed: name,
    async act() {
      await deleteCollection(name);
      toast(say("deleted", name));
      location.hash = "#/collections";
    },
  }), "loss", { id: "delete-collection" });
  return node("section", { class: "panel danger" }, node("h2", {}, say("danger")),
    node("div", { class: "row" }, node("p", { class: "soft grow" }, say("deleteHelp")), end));
}

/** Shows the collection in `box`; gives what ends it. */
export async function showDetail(box, name) {
  let ends = null;
  const again = () => ends?.now();
  const first = await collection(name);
  const badges = node("div", { class: "row" });
  const head = node("header", { class: "page-head" },
    node("div", {}, node("a", { class: "back", href: "#/collections" }, drawing(...DRAWN.back), say("collections")), node("h1", {}, name), badges),
    node("a", { class: "button", href: `#c=${encodeURIComponent(name)}` }, say("searchIn")),
    node("a", { class: "button", href: `#/tuning/${encodeURIComponent(name)}` }, say("tune")));
  const told = node("div");
  const shown = node("section", { class: "panel", "aria-label": say("figures") });
  const tasks = tasksPanel(first, again);
  const watched = node("div");
  box.replaceChildren(head, told, shown, addPanel(first, again), tasks.element, backupsPanel(name, again),
    duplicatesPanel(first, again), watched, ending(name));
  let drawn = "";
  ends = await poll(async () => {
    try {
      const [one, whole] = await Promise.all([collection(name), health().catch(() => ({ watching: {} }))]); // a key may not reach it
      const now = JSON.stringify([one, whole.watching[name]]);
      const isBusy = await tasks.draw(one);
      if (now !== drawn) {
        drawn = now;
        badges.replaceChildren(node("span", { class: "badge" }, say(`kind_${one.kind}`)), healthBadge(one));
        const warned = warnings(one, again);
        told.replaceChildren(...(warned ? [warned] : []));
        shown.replaceChildren(figures(one), node("p", { class: "why" }, why(one)));
        const watch = watching(whole.watching[name]);
        watched.replaceChildren(...(watch ? [watch] : []));
      }
      return isBusy ? BUSY_POLL_MS : POLL_MS;
    } catch (problem) {
      drawn = "";
      told.replaceChildren(problemBox(problem));
      return POLL_MS;
    }
  });
  return () => {
    ends();
    tasks.end();
  };
}
