// The tuning page: a sweep over indexes and their settings on a collection's own vectors, its progress, and what it found.

import { collections, pastRuns, startTuning, stopTuning, tuning, tuningReport } from "../api.js";
import { poll } from "../collections/poll.js";
import { DRAWN, button, choice, drawing, field, node, problemBox, toast } from "../dom.js";
import { count, say, time } from "../words.js";
import { study } from "./study.js";

const IDLE_MS = 3000;
const RUNNING_MS = 250;
const LEAST_ITEMS = 20;
const MB = 1e6;

function historyPanel(all) {
  if (all.length === 0) return [];
  const heads = [say("when"), say("target"), say("index"), say("setting"), "recall@10", "QPS", "p99"];
  const setting = (one) => (one.setting === "exact" ? say("exactSearch") : one.setting);
  return [node("section", { class: "panel", id: "history" }, node("h2", {}, say("history")),
    node("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": say("history") }, node("table", {},
      node("thead", {}, node("tr", {}, heads.map((head) => node("th", { scope: "col" }, head)))),
      node("tbody", {}, all.toReversed().map((one) => node("tr", {}, [time(one.at_unix_s), one.target_recall.toFixed(2), one.index, setting(one), one.recall_at_10.toFixed(3), count(Math.round(one.qps)), `${Math.round(one.p99_us)} µs`]
        .map((cell) => node("td", {}, cell))))))))];
}

function progress(state, onStop) {
  return node("section", { class: "panel task", id: "tuning-progress" },
    node("div", { class: "row" }, node("b", { class: "grow" }, state.step), node("span", { class: "number soft" }, `${Math.round(state.progress * 100)} %`), button(say("stop"), onStop)),
    node("progress", { max: 1, value: state.progress, "aria-label": say("tuning") }));
}

/** Shows the page in `box`; gives what ends it. */
export async function show(box, [wanted]) {
  const { collections: all } = await collections();
  const head = node("header", {}, node("h1", {}, say("tuning")), node("p", { class: "lead" }, say("tuningLead")));
  const usable = all.filter((one) => one.count >= LEAST_ITEMS);
  if (usable.length === 0) {
    box.replaceChildren(head, node("div", { class: "empty" }, node("h2", {}, say("tooFew")), node("p", {}, say("tooFewHint", LEAST_ITEMS))));
    return null;
  }
  const one = usable.find((each) => each.name === wanted) ?? usable[0];
  const go = (name) => (location.hash = `#/tuning/${encodeURIComponent(name)}`);
  const which = choice(usable.map((each) => [each.name, `${each.name} (${count(each.count)})`]), one.name, { id: "tune-collection", onchange: () => go(which.value) });
  const target = node("input", { class: "input", type: "number", min: "0.5", max: "1", step: "0.01", value: String(one.target_recall), id: "tune-target" });
  const memory = node("input", { class: "input", type: "number", min: "1", step: "1", placeholder: say("unbounded") });
  const apply = node("input", { type: "checkbox" });
  const told = node("div", { "aria-live": "polite" });
  const running = node("div");
  const found = node("div", { id: "study" });
  const history = node("div");
  let ends = null;
  let drawn = null;

  const drawHistory = async () => {
    const { studies } = await pastRuns(one.name).catch(() => ({ studies: [] })); // not for this key
    history.replaceChildren(...historyPanel(studies));
  };

  const starter = button(say("sweep"), () => begin(apply.checked), "main", { id: "run-tuning" });
  async function begin(isApplied) {
    starter.disabled = true;
    told.replaceChildren();
    const wishes = { target_recall: Number(target.value), sweep: true, apply: isApplied };
    if (memory.value) wishes.memory_bytes = Math.round(Number(memory.value) * MB);
    try {
      await startTuning(one.name, wishes);
      drawn = null;
    } catch (problem) {
      told.replaceChildren(problemBox(problem));
    }
    await ends?.now();
  }
  const stop = async () => {
    await stopTuning(one.name).catch(() => {}); // it ended meanwhile
    ends?.now();
  };

  function draw(state) {
    const isRunning = state.state === "running";
    starter.disabled = isRunning;
    running.replaceChildren(...(isRunning ? [progress(state, stop)] : []));
    const key = JSON.stringify([state.state, state.ended_unix_s]);
    if (isRunning || key === drawn) return;
    drawn = key;
    told.replaceChildren(...(state.state === "failed" ? [problemBox({ message: state.error ?? say("stage_failed"), hint: "" })] : []));
    if (state.state === "cancelled") toast(say("stage_cancelled"));
    if (!state.study) return;
    const language = document.documentElement.lang.startsWith("zh") ? "zh" : "en";
    const links = node("div", { class: "row added" },
      node("a", { class: "button", href: tuningReport(one.name, language), target: "_blank", rel: "noopener", id: "tuning-report" }, say("reportLink"), drawing(...DRAWN.out)),
      state.study.applied ? node("span", { class: "badge good" }, say("applied", state.study.applied)) : button(say("applyNow"), () => begin(true)));
    found.replaceChildren(...study(state.study, links));
    drawHistory();
  }

  box.replaceChildren(head,
    node("section", { class: "panel" },
      node("div", { class: "fields" }, field(say("collection"), which), field(say("targetRecall"), target, say("targetHelp")), field(say("memory"), memory, say("memoryHelp"))),
      node("div", { class: "row added" }, node("label", { class: "check grow" }, apply, say("applyAfter")), starter), told),
    running, found, history);
  await drawHistory();
  ends = await poll(async () => {
    try {
      const state = await tuning(one.name);
      draw(state);
      return state.state === "running" ? RUNNING_MS : IDLE_MS;
    } catch (problem) {
      told.replaceChildren(problemBox(problem));
      return IDLE_MS;
    }
  });
  return ends;
}
