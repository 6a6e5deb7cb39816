// Long work on a collection: moving it to another model, merging others into it, keeping it in order, reading it back. What the server does
// in the background shows its progress; what it answers when done runs here until then.

import { collections, maintain, merge, reencode, stopReencode, tuning, verify } from "../api.js";
import { ask } from "../dialog.js";
import { button, choice, field, node, problemBox } from "../dom.js";
import { count, say } from "../words.js";

const ENDED = new Set(["done", "failed", "cancelled"]);

function reencodeTask(name, task, again) {
  const isOver = ENDED.has(task.stage);
  const figures = say("reencodeFigures", count(task.items_done), count(task.items_total), count(Math.round(task.items_per_s)));
  const left = !isOver && task.seconds_left !== null ? say("secondsLeft", count(task.seconds_left)) : "";
  return node("li", { class: "task" },
    node("div", { class: "row" }, node("b", { class: "grow" }, say("reencodeTo", task.model)), node("span", { class: task.stage === "failed" ? "badge bad" : "badge" }, say(`stage_${task.stage}`)),
      isOver ? null : button(say("stop"), async () => {
        await stopReencode(name).catch(() => {}); // it ended meanwhile
        again();
      })),
    isOver ? null : node("progress", { max: Math.max(1, task.items_total), value: task.items_done, "aria-label": say("reencodeTo", task.model) }),
    node("p", { class: "soft small number" }, `${figures} ${left}`), task.error ? problemBox({ message: task.error, hint: "" }) : null);
}

function tuneTask(name, { step, progress }) {
  return node("li", { class: "task" }, node("div", { class: "row" }, node("b", { class: "grow" }, say("tuning")),
    node("a", { class: "link", href: `#/tuning/${encodeURIComponent(name)}` }, say("look", say("tuning")))),
  node("progress", { max: 1, value: progress, "aria-label": say("tuning") }), node("p", { class: "soft small" }, step));
}

/** The part of the page with the tasks: {element, draw(collection) → whether something runs, end()}. */
export function tasksPanel(first, again) {
  const { name } = first;
  const list = node("ul", { class: "listed", id: "tasks" });
  const told = node("div", { "aria-live": "polite" });
  const running = new Map();
  let drawn = "";
  let latest = first;
  let canTune = true;
  let isOver = false;

  async function draw(one) {
    latest = one;
    let tuned = null;
    if (canTune) {
      try {
        tuned = await tuning(name);
      } catch {
        canTune = false; // not for this key
      }
    }
    const isTuning = tuned?.state === "running";
    const now = JSON.stringify([one.reencode, [...running.keys()], isTuning && [tuned.step, tuned.progress]]);
    const isBusy = running.size > 0 || isTuning || (one.reencode && !ENDED.has(one.reencode.stage));
    if (now !== drawn && !isOver) {
      drawn = now;
      const tasks = [...(one.reencode ? [reencodeTask(name, one.reencode, again)] : []), ...(isTuning ? [tuneTask(name, tuned)] : []),
        ...[...running.keys()].map((words) => node("li", { class: "task" }, node("b", {}, words), node("progress", { "aria-label": words })))];
      list.replaceChildren(...(tasks.length > 0 ? tasks : [node("li", { class: "soft" }, say("noTasks"))]));
    }
    return Boolean(isBusy);
  }

  /** Runs a request that is answered when the work is done. */
  const run = async (words, act) => {
    running.set(words, true);
    told.replaceChildren();
    again();
    try {
      told.replaceChildren(node("p", { role: "status", class: "why" }, await act()));
    } catch (problem) {
      told.replaceChildren(problemBox(problem));
    }
    running.delete(words);
    await draw(latest);
    again();
  };

  const reencoder = button(say("reencode"), () => {
    const model = node("input", { class: "input", spellcheck: "false", autocomplete: "off", value: latest.model ?? "" });
    const act = async () => {
      await reencode(name, { model: model.value.trim(), force: model.value.trim() === latest.model });
      again();
    };
    ask({ title: say("reencode"), words: say("reencodeWords"), controls: [field(say("model"), model)], action: say("start"), act });
  });
  const merger = button(say("merge"), async () => {
    const { collections: all } = await collections();
    const others = all.filter((one) => one.name !== name && one.kind === latest.kind);
    if (others.length === 0) return told.replaceChildren(node("p", { class: "why" }, say("noneToMerge")));
    const from = choice(others.map((one) => [one.name, `${one.name} (${count(one.count)})`]), others[0].name);
    const conflict = choice([["fail", say("conflictFail")], ["keep", say("conflictKeep")], ["replace", say("conflictReplace")]], "fail");
    const act = async () => {
      run(say("merging", from.value), async () => {
        const done = await merge(name, { sources: [from.value], on_conflict: conflict.value });
        return say("merged", count(done.added), count(done.updated), count(done.kept));
      });
    };
    const controls = [field(say("mergeFrom"), from), field(say("conflict"), conflict)];
    return ask({ title: say("merge"), words: say("mergeWords", name), controls, action: say("start"), act });
  });
  const keeper = button(say("maintain"), () => run(say("maintaining"), async () => {
    await maintain(name);
    return say("maintained");
  }));
  const verifier = button(say("verifyCollection"), () => run(say("verifying"), async () => {
    const found = await verify(name);
    return found.status === "ok" ? say("verifiedFigures", count(found.found.items)) : `${found.reason} ${found.hint ?? ""}`;
  }), "", { id: "verify" });
  const element = node("section", { class: "panel" }, node("h2", {}, say("tasks")), list, told,
    node("div", { class: "row added" }, first.kind === "vector" ? null : reencoder, merger, keeper, verifier));
  return { element, draw, end: () => (isOver = true) };
}
