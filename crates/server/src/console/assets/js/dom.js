// Building nodes. Text only ever becomes a text node, so nothing that was indexed can run or restyle the page.

/** Makes an element: `node("p", { class: "x", onclick: f }, "text", child)`; null attributes and children are left out. */
export function node(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : String(value));
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

const SVG = "http://www.w3.org/2000/svg";

/** Makes an SVG element. */
export function shape(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) if (value !== null) made.setAttribute(key, String(value));
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** Makes one of the page's line drawings. */
export const drawing = (...paths) =>
  shape("svg", { viewBox: "0 0 24 24", "aria-hidden": "true", class: "icon" }, ...paths.map((d) => shape("path", { d })));

export const DRAWN = {
  text: ["M6 3.5h8l4 4v13H6z", "M14 3.5v4h4", "M9 12h6M9 15.5h6"],
  image: ["M4 5h16v14H4z", "m5 17 4.5-4.5 3 3 3.5-4 4 5"],
  vector: ["M5 19V5", "M5 19h14", "m5 19 10-10", "M15 13V9h-4"],
  plus: ["M12 5v14M5 12h14"],
  minus: ["M5 12h14"],
  close: ["m6 6 12 12M18 6 6 18"],
  like: ["M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13", "m15.5 15.5 5 5", "M8 9h5M8 12h5"],
  crop: ["M7 3v14h14", "M3 7h14v14"],
  copy: ["M9 9h11v11H9z", "M5 15H4V4h11v1"],
  upload: ["M12 16V5", "m7 9.5 5-5 5 5", "M5 19h14"],
  back: ["m14 6-6 6 6 6"],
  out: ["M10 5H5v14h14v-5", "M14 4h6v6M20 4l-9 9"],
};

/** The element of the page with this id. */
export const byId = (id) => document.getElementById(id);

/** A button; `kind` is `main`, `loss` or nothing. */
export const button = (words, onclick, kind = "", more = {}) =>
  node("button", { type: "button", class: `button ${kind}`.trim(), onclick, ...more }, words);

/** A labelled field: the words, the control and a line of help. */
export const field = (words, control, help = null) =>
  node("label", { class: "field" }, node("span", {}, words), control, help ? node("small", {}, help) : null);

/** A choice of [value, words] pairs. */
export function choice(pairs, chosen, attributes = {}) {
  const made = node("select", attributes, pairs.map(([value, words]) => node("option", { value }, words)));
  made.value = chosen;
  return made;
}

/** A row of radio buttons that look like one switch. */
export function segments(name, label, pairs, chosen, onChoose) {
  return node("div", { class: "segments", role: "radiogroup", "aria-label": label },
    pairs.map(([value, words]) => {
      const input = node("input", { type: "radio", name, value, onchange: () => onChoose(value) });
      input.checked = value === chosen;
      return node("label", {}, input, node("span", {}, words));
    }));
}

/** Figures as a list of terms: [term, value, note] each; entries without a value are left out. */
export const facts = (entries) =>
  node("dl", { class: "facts" }, entries.filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([term, value, note]) => node("div", {}, node("dt", {}, term), node("dd", {}, value, note ? node("small", {}, note) : null))));

/** A box that says kindly what went wrong; `command` is something to type. */
export const problemBox = (problem, command = null) =>
  node("div", { class: "problem", role: "alert" }, problemParts(problem, command));

/** What stands in such a box. */
export const problemParts = (problem, command = null) =>
  [node("strong", {}, problem.message), problem.hint ? node("p", {}, problem.hint) : null, command ? node("code", {}, command) : null]
    .filter((part) => part !== null);

let toastEnds = 0;
/** Says something for a few seconds, also to screen readers. */
export function toast(words) {
  byId("toast").textContent = words;
  clearTimeout(toastEnds);
  toastEnds = setTimeout(() => byId("toast").replaceChildren(), 4000);
}
