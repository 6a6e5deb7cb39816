// Runs of the past, kept in this browser: when, how, and the figures at the head, with their course as a plot.

import { button, node } from "../dom.js";
import { keepValue, keptValue } from "../kept.js";
import { linePlot } from "../plots.js";
import { count, say, time } from "../words.js";
import { headline, measureName } from "./report.js";

const MOST = 40;

/** Keeps what a run gave. */
export function remember(collection, evaluation) {
  const entry = {
    at: Math.round(Date.now() / 1000), collection, questions: evaluation.questions.length, set: evaluation.questions_blake3,
    runs: evaluation.runs.map((run) => ({ label: run.label, figures: Object.fromEntries(headline(run).map(([key, figure]) => [key, figure.value])) })),
  };
  keepValue("evaluations", [...keptValue("evaluations", []), entry].slice(-MOST));
}

/** The parts of the page for the past runs of a collection; `onChange()` hears when they are forgotten. */
export function historyPanel(collection, onChange) {
  const all = keptValue("evaluations", []).filter((one) => one.collection === collection);
  if (all.length === 0) return [];
  const keys = [...new Set(all.flatMap((one) => Object.keys(one.runs[0].figures)))];
  const rows = all.toReversed().flatMap((one) => one.runs.map((run, at) => node("tr", {},
    node("td", {}, at === 0 ? time(one.at) : ""), node("td", { class: "number" }, at === 0 ? count(one.questions) : ""), node("td", {}, run.label),
    keys.map((key) => node("td", { class: "number" }, run.figures[key]?.toFixed(3) ?? "–")))));
  const course = all.length < 2 ? null : linePlot({
    title: say("course"), caption: say("courseHelp"), x: { label: say("runNumber") }, y: { label: say("value"), range: [0, 1] },
    series: keys.slice(0, 3).map((key) => ({
      name: measureName(key), isLine: true,
      points: all.map((one, at) => ({ x: at + 1, y: one.runs[0].figures[key] ?? 0, title: `${time(one.at)}: ${(one.runs[0].figures[key] ?? 0).toFixed(3)}` })),
    })),
  });
  const forget = button(say("forgetHistory"), () => {
    keepValue("evaluations", keptValue("evaluations", []).filter((one) => one.collection !== collection));
    onChange();
  });
  return [node("section", { class: "panel", id: "history" },
    node("div", { class: "row" }, node("h2", { class: "grow" }, say("history")), forget), course,
    node("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": say("history") }, node("table", {},
      node("thead", {}, node("tr", {}, [say("when"), say("questions"), say("way"), ...keys.map(measureName)].map((head) => node("th", { scope: "col" }, head)))),
      node("tbody", {}, rows))))];
}
