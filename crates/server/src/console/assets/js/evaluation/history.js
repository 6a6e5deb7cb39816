// Runs of the past, as the server keeps them: when, how, and the figures at the head, with their course as a plot.

import { confirm } from "../dialog.js";
import { button, node } from "../dom.js";
import { linePlot } from "../plots.js";
import { count, say, time } from "../words.js";
import { HEADLINE, measureName } from "./report.js";

/** The figures of a run that stand at the head. */
const shown = (run) => HEADLINE.filter((key) => run.figures[key] !== undefined && !(key === "mrr" && run.figures.mrr_at_10 !== undefined));

/** The parts of the page for past evaluations, oldest first; `onForget()` forgets them. */
export function historyPanel(all, onForget) {
  if (all.length === 0) return [];
  const keys = [...new Set(all.flatMap((one) => shown(one.runs[0])))];
  const rows = all.toReversed().flatMap((one) => one.runs.map((run, at) => node("tr", {},
    node("td", {}, at === 0 ? time(one.at_unix_s) : ""), node("td", { class: "number" }, at === 0 ? count(one.questions) : ""), node("td", {}, run.label),
    keys.map((key) => node("td", { class: "number" }, run.figures[key]?.toFixed(3) ?? "–")))));
  const course = all.length < 2 ? null : linePlot({
    title: say("course"), caption: say("courseHelp"), x: { label: say("runNumber") }, y: { label: say("value"), range: [0, 1] },
    series: keys.slice(0, 3).map((key) => ({
      name: measureName(key), isLine: true,
      points: all.map((one, at) => ({ x: at + 1, y: one.runs[0].figures[key] ?? 0, title: `${time(one.at_unix_s)}: ${(one.runs[0].figures[key] ?? 0).toFixed(3)}` })),
    })),
  });
  const forget = button(say("forgetHistory"), () =>
    confirm({ title: say("forgetHistory"), words: say("forgetHistoryWords"), action: say("forgetHistory"), act: onForget }));
  return [node("section", { class: "panel", id: "history" },
    node("div", { class: "row" }, node("h2", { class: "grow" }, say("history")), forget), course,
    node("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": say("history") }, node("table", {},
      node("thead", {}, node("tr", {}, [say("when"), say("questions"), say("way"), ...keys.map(measureName)].map((head) => node("th", { scope: "col" }, head)))),
      node("tbody", {}, rows))))];
}
