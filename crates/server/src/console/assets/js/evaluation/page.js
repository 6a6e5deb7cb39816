// The evaluation page: questions whose answers are known are given, asked in one way or several, and the figures drawn. The server keeps what
// past runs came to.

import { collections, evaluate, evaluations, forgetPastRuns, isAborted, pastRuns } from "../api.js";
import { poll } from "../collections/poll.js";
import { button, choice, field, node, problemBox } from "../dom.js";
import { count, say } from "../words.js";
import { historyPanel } from "./history.js";
import { EXAMPLE, readQuestions } from "./questions.js";
import { report } from "./report.js";

const PROGRESS_MS = 200;
const WAYS = ["configured", "dense", "lexical", "hybrid"];
const DEPTHS = ["3", "5", "10", "20", "100"];

/** What the page keeps while another one is open. */
const left = { text: "", collection: null, ways: ["configured"], k: "10", evaluation: null };

function settings() {
  return left.ways.map((way) => (way === "configured" ? { k: Number(left.k) } : { k: Number(left.k), mode: way }));
}

/** Shows how far the server is with the run of this name; gives what ends it. */
function progressBox(collection, run, box) {
  const bar = node("progress", { max: 1, "aria-label": say("running") });
  const line = node("p", { class: "soft small number" }, say("evalStage_waiting"));
  box.replaceChildren(bar, line);
  return poll(async () => {
    const { under_way: all } = await evaluations(collection).catch(() => ({ under_way: [] })); // the run itself tells what is wrong
    const now = all.find((one) => one.run === run);
    if (now) {
      if (now.total > 0) bar.value = now.done / now.total;
      else bar.removeAttribute("value");
      line.textContent = say(`evalStage_${now.stage}`, count(now.done), count(now.total));
    }
    return PROGRESS_MS;
  });
}

/** Shows the page in `box`; gives what ends it. */
export async function show(box, [wanted]) {
  const { collections: all } = await collections();
  const usable = all.filter((one) => one.kind === "text" && one.count > 0);
  const head = node("header", {}, node("h1", {}, say("evaluation")), node("p", { class: "lead" }, say("evaluationLead")));
  if (usable.length === 0) {
    box.replaceChildren(head, node("div", { class: "empty" }, node("h2", {}, say("noTexts")), node("p", {}, say("addHint")), node("code", {}, "bilin add notes FOLDER")));
    return null;
  }
  const names = usable.map((one) => one.name);
  left.collection = names.find((name) => name === (wanted ?? left.collection)) ?? names[0];
  const which = choice(names.map((name) => [name, name]), left.collection, { id: "eval-collection", onchange: () => (left.collection = which.value) });
  const k = choice(DEPTHS.map((n) => [n, n]), left.k, { onchange: () => (left.k = k.value) });
  const ways = WAYS.map((way) => {
    const input = node("input", { type: "checkbox", value: way, onchange: () => {
      left.ways = WAYS.filter((one) => ways.some((label) => label.firstChild.value === one && label.firstChild.checked));
    } });
    input.checked = left.ways.includes(way);
    return node("label", { class: "check" }, input, say(`way_${way}`));
  });
  const text = node("textarea", { class: "input", id: "questions", spellcheck: "false", placeholder: EXAMPLE, oninput: () => (left.text = text.value) });
  text.value = left.text;
  const take = async (file) => {
    text.value = await file.text();
    left.text = text.value;
  };
  const file = node("input", { type: "file", id: "questions-file", hidden: true, accept: ".jsonl,.json,.csv,.txt", onchange: () => file.files[0] && take(file.files[0]) });
  text.addEventListener("drop", (event) => {
    if (event.dataTransfer.files[0]) {
      event.preventDefault();
      take(event.dataTransfer.files[0]);
    }
  });
  const told = node("div", { class: "added", "aria-live": "polite" });
  const shown = node("div", { id: "report" });
  const history = node("div");
  const drawHistory = async () => {
    const of = left.collection;
    const { evaluations: past } = await pastRuns(of).catch(() => ({ evaluations: [] })); // not for this key
    if (of !== left.collection) return;
    history.replaceChildren(...historyPanel(past, async () => {
      await forgetPastRuns(of);
      drawHistory();
    }));
  };
  which.addEventListener("change", drawHistory);

  let asking = null;
  const stop = button(say("stop"), () => asking?.abort(), "", { hidden: true });
  const go = button(say("run"), async () => {
    let ended = null;
    go.disabled = true;
    stop.hidden = false;
    asking = new AbortController();
    try {
      const questions = readQuestions(text.value);
      const ways = settings();
      if (ways.length === 0) ways.push({ k: Number(left.k) });
      const run = `page-${Math.random().toString(36).slice(2)}`;
      const answer = evaluate(left.collection, { questions, settings: ways, run }, asking.signal);
      answer.catch(() => {}); // told below, also when it fails before the first look is done
      ended = await progressBox(left.collection, run, told);
      left.evaluation = await answer;
      ended();
      ended = null;
      told.replaceChildren(node("p", { role: "status", class: "hidden" }, say("evalDone")));
      shown.replaceChildren(...report(left.evaluation));
      drawHistory();
      shown.scrollIntoView({ block: "start", behavior: "auto" });
    } catch (problem) {
      told.replaceChildren(...(isAborted(problem) ? [] : [problemBox(problem)]));
    }
    ended?.();
    go.disabled = false;
    stop.hidden = true;
  }, "main", { id: "run-evaluation" });

  box.replaceChildren(head,
    node("section", { class: "panel" },
      node("div", { class: "fields" }, field(say("collection"), which), field(say("depth"), k, say("depthHelp"))),
      node("fieldset", { class: "row added" }, node("legend", { class: "hidden" }, say("waysToAsk")), node("span", { class: "soft small" }, say("waysToAsk")), ways),
      node("div", { class: "added" }, field(say("questions"), text, say("questionsHelp")),
        node("div", { class: "row" }, button(say("questionsFile"), () => file.click()), file, node("span", { class: "grow" }), stop, go)),
      told), shown, history);
  if (left.evaluation) shown.replaceChildren(...report(left.evaluation));
  drawHistory();
  return () => asking?.abort();
}
