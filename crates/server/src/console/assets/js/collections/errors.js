// The newest warnings and errors of this server, folded until there is one worth a look. Hidden where the key may not see them.

import { recentErrors } from "../api.js";
import { node } from "../dom.js";
import { count, say, time } from "../words.js";

const MOST = 50;

function line(one) {
  const fields = Object.entries(one.fields).map(([key, value]) => `${key}: ${value}`).join(" · ");
  return node("li", {},
    node("div", { class: "grow" }, node("div", { class: "row" }, node("span", { class: one.level === "ERROR" ? "badge bad" : "badge warn" }, one.level.toLowerCase()), node("b", {}, one.message)),
      node("p", { class: "soft small" }, [time(Date.parse(one.time) / 1000), one.target, one.request, fields].filter(Boolean).join(" · "))));
}

/** The panel, or nothing. */
export async function errorsPanel() {
  try {
    const { errors } = await recentErrors();
    if (errors.length === 0) return null;
    return node("details", { class: "panel", id: "errors" }, node("summary", {}, node("b", {}, say("recentErrors")), " ", node("span", { class: "badge" }, count(errors.length))),
      node("ul", { class: "listed added" }, errors.slice(0, MOST).map(line)));
  } catch {
    return null; // not for this key, or the server does not answer, which the list itself tells of
  }
}
