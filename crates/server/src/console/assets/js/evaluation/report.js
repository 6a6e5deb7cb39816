// What an evaluation found: figures with intervals, hit@k against k, ranks, comparisons, times, and every question with its rank.

import { node } from "../dom.js";
import { barPlot, linePlot } from "../plots.js";
import { count, isSaid, ms, say } from "../words.js";

export const HEADLINE = ["hit_at_1", "hit_at_3", "mrr", "mrr_at_10", "recall_at_10", "ndcg_at_10"];
const RANKS = [1, 2, 3, 5, 10, 20, 50];
const PLOTTED_K = 20;
const MOST_QUESTIONS = 300;

/** A measure as textbooks write it. */
export const measureName = (key) => key.replace("_at_", "@").replace("mrr", "MRR").replace("ndcg", "nDCG");
/** Those of a run's figures that stand at the head. */
export const headline = (run) =>
  HEADLINE.filter((key) => run.figures[key] && !(key === "mrr" && run.figures.mrr_at_10)).map((key) => [key, run.figures[key]]);

const counting = (evaluation, run) => run.answers.filter((_, at) => !evaluation.nowhere.includes(at));

function tiles(run) {
  return node("div", { class: "headline" }, headline(run).map(([key, figure]) =>
    node("div", {}, node("span", {}, measureName(key)), node("b", {}, figure.value.toFixed(3)), node("span", {}, `${figure.low.toFixed(3)} – ${figure.high.toFixed(3)}`))));
}

function figuresTable(evaluation) {
  const keys = [...new Set(evaluation.runs.flatMap((run) => Object.keys(run.figures)))];
  const cell = (figure) => node("td", { class: "number" }, figure ? [figure.value.toFixed(3), " ", node("span", { class: "soft small" }, `${figure.low.toFixed(3)}–${figure.high.toFixed(3)}`)] : "–");
  return scrolled(say("figures"), node("table", {},
    node("thead", {}, node("tr", {}, node("th", { scope: "col" }, say("measure")), evaluation.runs.map((run) => node("th", { scope: "col", class: "number" }, run.label)))),
    node("tbody", {}, keys.map((key) => node("tr", {}, node("th", { scope: "row" }, measureName(key)), evaluation.runs.map((run) => cell(run.figures[key])))))));
}

const scrolled = (label, table) => node("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": label }, table);

function hitPlot(evaluation) {
  const series = evaluation.runs.map((run) => {
    const answers = counting(evaluation, run);
    const depth = Math.min(run.setting.k, PLOTTED_K);
    const points = Array.from({ length: depth }, (_, at) => ({ x: at + 1, y: answers.filter((one) => one.rank && one.rank <= at + 1).length / Math.max(1, answers.length) }));
    return { name: run.label, points, isLine: true };
  });
  return linePlot({ title: say("hitPlot"), caption: say("hitPlotHelp"), series, x: { label: "k" }, y: { label: "hit@k", range: [0, 1] } });
}

function rankPlot(evaluation) {
  const answers = counting(evaluation, evaluation.runs[0]);
  let low = 0;
  const bars = RANKS.filter((high) => high <= Math.max(3, evaluation.runs[0].setting.k)).map((high) => {
    const inside = answers.filter((one) => one.rank && one.rank > low && one.rank <= high).length;
    const word = high - low > 1 ? `${low + 1}–${high}` : String(high);
    low = high;
    return [word, inside];
  });
  bars.push([say("missed"), answers.filter((one) => !one.rank || one.rank > low).length]);
  return barPlot({ title: say("rankPlot"), caption: evaluation.runs.length > 1 ? evaluation.runs[0].label : "", bars, xLabel: say("rankOfFirst"), yLabel: say("questions") });
}

function comparisons(evaluation) {
  if (evaluation.comparisons.length === 0) return null;
  const rows = evaluation.comparisons.flatMap((one) => HEADLINE.filter((key) => one.differences[key] && !(key === "mrr" && one.differences.mrr_at_10)).map((key) => {
    const change = one.differences[key];
    const isSure = change.low > 0 || change.high < 0;
    return node("tr", {}, node("td", {}, one.candidate), node("td", {}, measureName(key)),
      node("td", { class: "number" }, `${change.value > 0 ? "+" : ""}${change.value.toFixed(3)} (${change.low.toFixed(3)} – ${change.high.toFixed(3)})`),
      node("td", { class: "number" }, `${change.better} / ${change.worse}`),
      node("td", {}, node("span", { class: isSure ? "badge good" : "badge" }, say(isSure ? "isSure" : "isChance"))));
  }));
  return node("section", { class: "panel" }, node("h2", {}, say("comparedWith", evaluation.comparisons[0].baseline)),
    scrolled(say("comparisons"), node("table", {}, node("thead", {}, node("tr", {}, [say("way"), say("measure"), say("difference"), say("betterWorse"), say("meaning")].map((head, at) => node("th", { scope: "col", class: at === 2 || at === 3 ? "number" : null }, head)))),
      node("tbody", {}, rows))));
}

function latencies(run) {
  if (run.latency.length === 0) return null;
  return node("section", { class: "panel" }, node("h2", {}, say("times")), scrolled(say("times"), node("table", {},
    node("thead", {}, node("tr", {}, [say("stage"), "p50", "p95", "p99"].map((head, at) => node("th", { scope: "col", class: at > 0 ? "number" : null }, head)))),
    node("tbody", {}, run.latency.map((one) => node("tr", {}, node("th", { scope: "row" }, isSaid(`stage_${one.stage}`) ? say(`stage_${one.stage}`) : one.stage),
      ["p50_ms", "p95_ms", "p99_ms"].map((key) => node("td", { class: "number" }, `${ms(one[key])} ms`))))))));
}

function questionRow(evaluation, at) {
  const question = evaluation.questions[at];
  const isNowhere = evaluation.nowhere.includes(at);
  const first = evaluation.runs[0].answers[at];
  const reasons = (first.analysis?.reasons ?? []).map((reason) => (isSaid(`reason_${reason}`) ? say(`reason_${reason}`) : reason));
  const winner = first.analysis?.winners?.[0]?.excerpt;
  return node("tr", {},
    node("td", {}, question.question, isNowhere ? node("p", { class: "reason" }, say("nowhere")) : null, reasons.length > 0 ? node("p", { class: "reason" }, reasons.join(" ")) : null,
      winner ? node("p", { class: "reason" }, `${say("winner")}: ${winner}`) : null),
    evaluation.runs.map((run) => {
      const { rank } = run.answers[at];
      return node("td", { class: "number" }, node("span", { class: rank ? "question-rank" : "question-rank missed" }, rank ? String(rank) : say("missed")));
    }));
}

function questions(evaluation) {
  const order = evaluation.questions.map((_, at) => at).sort((a, b) => (evaluation.runs[0].answers[b].rank ?? 1e9) - (evaluation.runs[0].answers[a].rank ?? 1e9));
  return node("section", { class: "panel" }, node("h2", {}, say("questionsByRank")), scrolled(say("questions"), node("table", {},
    node("thead", {}, node("tr", {}, node("th", { scope: "col" }, say("question")), evaluation.runs.map((run) => node("th", { scope: "col", class: "number" }, run.label)))),
    node("tbody", {}, order.slice(0, MOST_QUESTIONS).map((at) => questionRow(evaluation, at))))));
}

/** The evaluation as parts of a page. */
export function report(evaluation) {
  const [first] = evaluation.runs;
  const { collection } = first.setting;
  const about = say("evalAbout", count(evaluation.questions.length), count(evaluation.questions.length - evaluation.nowhere.length), first.model ?? "–");
  return [
    node("section", { class: "panel" }, node("h2", {}, first.label === collection ? collection : `${collection} · ${first.label}`), node("p", { class: "soft small" }, about), node("div", { class: "added" }, tiles(first)),
      evaluation.warnings.map((warning) => node("p", { class: "why" }, warning)), node("div", { class: "plots added" }, hitPlot(evaluation), rankPlot(evaluation))),
    comparisons(evaluation), node("section", { class: "panel" }, node("h2", {}, say("figures")), figuresTable(evaluation)), latencies(first), questions(evaluation),
  ].filter(Boolean);
}
