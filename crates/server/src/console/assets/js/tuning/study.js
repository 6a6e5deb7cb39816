// What a sweep found: the chosen point, recall against queries per second with the Pareto front, recall and time against the effort, a table.

import { node } from "../dom.js";
import { linePlot } from "../plots.js";
import { bytes, count, isSaid, say } from "../words.js";

const settingOf = (point) =>
  [point.nprobe ? `nprobe ${point.nprobe}` : null, point.ef ? `ef ${point.ef}` : null, point.refine ? `refine ${point.refine}` : null].filter(Boolean).join(", ")
  || say("exactSearch");
const microseconds = (us) => (us >= 1000 ? `${(us / 1000).toFixed(2)} ms` : `${us.toFixed(0)} µs`);
const titled = (index, point) => `${index.index} · ${settingOf(point)} · recall ${point.recall_at_10.toFixed(3)} · ${count(Math.round(point.qps))} QPS`;

function chosenTiles(found) {
  const all = found.indexes.flatMap((index) => index.points.map((point) => ({ index, point })));
  const chosen = all.find(({ point }) => point.chosen);
  if (!chosen) return null;
  const { index, point } = chosen;
  const exact = all.find(({ index: one }) => one.index === "Flat")?.point;
  const speedup = exact && exact !== point ? say("timesExact", (point.qps / exact.qps).toFixed(1)) : "";
  const tile = (name, value, note) => node("div", {}, node("span", {}, name), node("b", {}, value), node("span", {}, note));
  return node("div", { class: "headline" },
    tile("recall@10", point.recall_at_10.toFixed(3), `± ${(1.96 * point.recall_error).toFixed(3)}`), tile("QPS", count(Math.round(point.qps)), speedup),
    tile("p99", microseconds(point.p99_us), `p50 ${microseconds(point.p50_us)}`), tile(say("bytes"), bytes(index.bytes_for_all), say("buildIn", index.build_s.toFixed(1))));
}

function recallAgainstSpeed(found) {
  const series = found.indexes.map((index) => ({
    name: index.index, isLine: index.points.length > 1,
    points: index.points.toSorted((a, b) => a.recall_at_10 - b.recall_at_10).map((point) =>
      ({ x: point.recall_at_10, y: point.qps, isFull: point.pareto, isChosen: point.chosen, isApart: point.refine !== null, title: titled(index, point) })),
  }));
  return linePlot({ title: say("recallQps"), caption: say("recallQpsHelp"), series, x: { label: "recall@10" }, y: { label: "QPS", isLog: true } });
}

/** A plot against the effort for those indexes that have one. */
function againstEffort(found, key, options) {
  const series = found.indexes.filter((index) => index.points.some((point) => point[key])).map((index) => ({
    name: index.index, isLine: true,
    points: index.points.filter((point) => point[key] && (point.refine === null || point.chosen || !index.points.some((one) => one[key] === point[key] && one.refine === null)))
      .map((point) => ({ x: point[key], y: options.of(point), isFull: point.pareto, isChosen: point.chosen, title: titled(index, point) })),
  }));
  return series.length === 0 ? null : linePlot({ title: options.title(key), caption: options.caption, series, target: options.target ?? null, x: { label: key, isLog: true }, y: options.y });
}

function table(found) {
  const heads = [say("index"), say("setting"), "recall@10", "QPS", "p50", "p99", say("build"), say("bytes"), say("meaning")];
  const rows = found.indexes.flatMap((index) => index.points.map((point, at) => node("tr", {},
    node("td", {}, at === 0 ? index.index : ""), node("td", {}, settingOf(point)), node("td", { class: "number" }, point.recall_at_10.toFixed(4)),
    node("td", { class: "number" }, count(Math.round(point.qps))), node("td", { class: "number" }, microseconds(point.p50_us)), node("td", { class: "number" }, microseconds(point.p99_us)),
    node("td", { class: "number" }, at === 0 ? `${index.build_s.toFixed(1)} s` : ""), node("td", { class: "number" }, at === 0 ? bytes(index.bytes_for_all) : ""),
    node("td", {}, point.chosen ? node("span", { class: "badge good" }, say("chosen")) : point.pareto ? node("span", { class: "badge" }, "Pareto") : ""))));
  return node("section", { class: "panel" }, node("h2", {}, say("allPoints")), node("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": say("allPoints") },
    node("table", {}, node("thead", {}, node("tr", {}, heads.map((head, at) => node("th", { scope: "col", class: at > 1 && at < heads.length - 1 ? "number" : null }, head)))), node("tbody", {}, rows))));
}

/** The study as parts of a page; `links` stand below the figures. */
export function study(found, links) {
  const chosen = found.indexes.find((index) => index.points.some((point) => point.chosen));
  const point = chosen?.points.find((one) => one.chosen);
  const reason = found.reason && isSaid(`because_${found.reason}`) ? say(`because_${found.reason}`, found.target_recall) : "";
  const recall = { title: (key) => say("recallAgainst", key), caption: say("recallAgainstHelp", found.target_recall), of: (one) => one.recall_at_10, target: found.target_recall, y: { label: "recall@10" } };
  const slow = { title: (key) => say("timeAgainst", key), caption: say("timeAgainstHelp"), of: (one) => one.p50_us, y: { label: "p50 µs", isLog: true } };
  const plots = [recallAgainstSpeed(found), ...["nprobe", "ef"].flatMap((key) => [againstEffort(found, key, recall), againstEffort(found, key, slow)])].filter(Boolean);
  return [
    node("section", { class: "panel" },
      node("h2", {}, chosen ? say("chosenIs", chosen.index_for_all, settingOf(point)) : say("noneChosen")),
      node("p", { class: "soft small" }, say("studyAbout", count(found.measured_rows), count(found.rows), count(found.queries.count), say(`queries_${found.queries.source}`)), " ", reason),
      node("div", { class: "added" }, chosenTiles(found)), links,
      found.left_out.length > 0 ? node("details", { class: "added small soft" }, node("summary", {}, say("leftOut", found.left_out.length)), node("ul", {}, found.left_out.map((one) => node("li", {}, one)))) : null,
      node("div", { class: "plots added" }, plots)),
    table(found),
  ];
}
