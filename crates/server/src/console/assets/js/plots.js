// Plots as SVG: lines, points and bars with axes. Every plot is a figure with a caption and a table of its numbers for who cannot see it.

import { node, shape } from "./dom.js";
import { say } from "./words.js";

const WIDTH = 520;
const HEIGHT = 290;
const LEFT = 62;
const RIGHT = 16;
const TOP = 12;
const BOTTOM = 46;
const TICKS = 5;

/** Round numbers that span low to high. */
function ticks(low, high) {
  const raw = (high - low) / TICKS || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((part) => part * power).find((part) => part >= raw) ?? raw;
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9) * step; at <= high + step * 1e-9; at += step) found.push(Number(at.toPrecision(12)));
  return found;
}

/** Powers of ten between low and high, and halves between them where few are. */
function logTicks(low, high) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) {
    for (const part of Math.log10(high / low) < 1.5 ? [1, 2, 5] : [1]) found.push(part * 10 ** power);
  }
  return found.filter((at) => at >= low * 0.999 && at <= high * 1.001);
}

const written = (value) => {
  if (Math.abs(value) >= 10_000) return `${Number((value / 1000).toPrecision(4))}k`;
  return Math.abs(value) >= 1000 ? value.toLocaleString("en") : String(Number(value.toPrecision(4)));
};

/** A scale from values to pixels, with its ticks. */
function scale(values, isLog, range, from, to) {
  const finite = values.filter(Number.isFinite);
  let [low, high] = range ?? [Math.min(...finite), Math.max(...finite)];
  if (!Number.isFinite(low)) [low, high] = [0, 1];
  if (low === high) [low, high] = isLog ? [low / 2 || 0.5, high * 2 || 2] : [low - 0.5, high + 0.5];
  const placed = isLog ? (value) => Math.log10(value / low) / Math.log10(high / low) : (value) => (value - low) / (high - low);
  return { at: (value) => from + (to - from) * placed(value), ticks: isLog ? logTicks(low, high) : ticks(low, high) };
}

function frame(x, y, labels) {
  const bottom = HEIGHT - BOTTOM;
  return [
    ...y.ticks.flatMap((tick) => [
      shape("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y.at(tick), y2: y.at(tick) }),
      shape("text", { x: LEFT - 8, y: y.at(tick) + 4, "text-anchor": "end" }, written(tick)),
    ]),
    ...x.ticks.map((tick) => shape("text", { x: x.at(tick), y: bottom + 18, "text-anchor": "middle" }, written(tick))),
    shape("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: bottom, y2: bottom }),
    shape("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, labels.x),
    shape("text", { x: 0, y: 0, transform: `translate(13 ${(TOP + bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, labels.y),
  ];
}

function figure(title, caption, drawn, legend, heads, rows) {
  const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": title }, ...drawn);
  const table = node("table", {}, node("thead", {}, node("tr", {}, heads.map((head) => node("th", { scope: "col" }, head)))),
    node("tbody", {}, rows.map((row) => node("tr", {}, row.map((cell) => node("td", { class: "number" }, String(cell)))))));
  return node("figure", { class: "plot" }, node("figcaption", {}, node("b", {}, title), caption), svg, legend,
    node("details", {}, node("summary", {}, say("asTable")), node("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": title }, table)));
}

/**
 * Lines or points. `series` are {name, points: [{x, y, title?, isFull?, isChosen?, isApart?}], isLine}, where the line leaves out what stands
 * apart; axes are {label, isLog?, range?}; `target` is a
 * dashed line across at this y.
 */
export function linePlot({ title, caption, series, x: xAxis, y: yAxis, target = null }) {
  const all = series.flatMap((one) => one.points);
  const x = scale(all.map((point) => point.x), xAxis.isLog, xAxis.range, LEFT, WIDTH - RIGHT);
  const y = scale([...all.map((point) => point.y), ...(target === null ? [] : [target])], yAxis.isLog, yAxis.range, HEIGHT - BOTTOM, TOP);
  const drawn = frame(x, y, { x: xAxis.label, y: yAxis.label });
  if (target !== null) drawn.push(shape("line", { class: "target", x1: LEFT, x2: WIDTH - RIGHT, y1: y.at(target), y2: y.at(target) }));
  series.forEach((one, at) => {
    const group = shape("g", { class: `series-${at % 5}` });
    if (one.isLine) group.append(shape("polyline", { class: "line", points: one.points.filter((point) => !point.isApart).map((point) => `${x.at(point.x)},${y.at(point.y)}`).join(" ") }));
    for (const point of one.points) {
      const kind = point.isChosen ? "dot chosen" : point.isFull ? "dot full" : "dot";
      group.append(shape("circle", { class: kind, cx: x.at(point.x), cy: y.at(point.y), r: point.isChosen ? 6 : 4 },
        shape("title", {}, point.title ?? `${one.name}: ${written(point.x)}, ${written(point.y)}`)));
    }
    drawn.push(group);
  });
  const legend = series.length > 1 ? node("p", { class: "legend" }, series.map((one, at) => node("span", { class: `series-${at % 5}` }, one.name))) : null;
  const rows = series.flatMap((one) => one.points.map((point) => [one.name, written(point.x), written(point.y)]));
  return figure(title, caption, drawn, legend, ["", xAxis.label, yAxis.label], rows);
}

/** Bars over words: `bars` are [word, height]. */
export function barPlot({ title, caption, bars, xLabel, yLabel }) {
  const bottom = HEIGHT - BOTTOM;
  const y = scale([], false, [0, 1.05 * Math.max(1, ...bars.map(([, height]) => height))], bottom, TOP);
  if (bars.every(([, height]) => Number.isInteger(height))) y.ticks = y.ticks.filter(Number.isInteger); // there is no half question
  const step = (WIDTH - LEFT - RIGHT) / bars.length;
  const drawn = frame({ at: () => 0, ticks: [] }, y, { x: xLabel, y: yLabel });
  bars.forEach(([word, height], at) => {
    const left = LEFT + at * step;
    drawn.push(
      shape("rect", { class: "bar-of", x: left + step * 0.16, width: step * 0.68, y: y.at(height), height: bottom - y.at(height), rx: 3 }, shape("title", {}, `${word}: ${height}`)),
      shape("text", { x: left + step / 2, y: bottom + 18, "text-anchor": "middle" }, word));
  });
  return figure(title, caption, drawn, null, [xLabel, yLabel], bars);
}
