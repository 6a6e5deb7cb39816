// Which page is shown: `#/collections`, `#/collections/NAME`, `#/evaluation`, `#/tuning`; everything else is the search, whose own part
// behind # search/page.js reads. What stands behind # never reaches a server's log. Pages other than the search are loaded when first opened.

import { byId, problemBox } from "./dom.js";
import { say } from "./words.js";

const PAGES = {
  collections: () => import("./collections/page.js"),
  evaluation: () => import("./evaluation/page.js"),
  tuning: () => import("./tuning/page.js"),
};

let leave = null;
let turn = 0;

/** The page of an address: its name and the parts behind it. */
function named() {
  const [, name, ...rest] = location.hash.slice(1).split("/");
  if (!location.hash.startsWith("#/") || !Object.hasOwn(PAGES, name)) return { name: "search", rest: [] };
  try {
    return { name, rest: rest.map(decodeURIComponent) };
  } catch {
    return { name, rest: [] }; // an address that was cut off
  }
}

/** The style of the other pages comes with the first of them. */
function wearWork() {
  if (document.querySelector('link[href$="work.css"]')) return Promise.resolve();
  return new Promise((done) => {
    const link = document.createElement("link");
    link.rel = "stylesheet";
    link.href = "/assets/css/work.css";
    link.addEventListener("load", done);
    link.addEventListener("error", done);
    document.head.append(link);
  });
}

async function follow(isMoved) {
  const { name, rest } = named();
  turn += 1;
  const mine = turn;
  leave?.();
  leave = null;
  for (const link of document.querySelectorAll(".pages a")) {
    if (link.dataset.page === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const page = byId("page");
  byId("search").hidden = name !== "search";
  page.hidden = name === "search";
  document.body.classList.toggle("working", name !== "search");
  document.title = name === "search" ? "bilin 比邻" : `${say(name)} · bilin 比邻`;
  if (name === "search") {
    page.replaceChildren();
    if (isMoved) byId("query").focus();
    return;
  }
  try {
    const [opened] = await Promise.all([PAGES[name](), wearWork()]);
    if (mine !== turn) return;
    leave = (await opened.show(page, rest)) ?? null;
  } catch (problem) {
    if (mine === turn) page.replaceChildren(problemBox(problem));
  }
  if (mine !== turn) leave?.();
  else if (isMoved) {
    window.scrollTo({ top: 0 });
    const head = page.querySelector("h1");
    head?.setAttribute("tabindex", "-1");
    head?.focus();
  }
}

/** Draws the open page again, in another language. */
export function redrawPage() {
  if (named().name !== "search") follow(false);
}

/** Follows the address from now on. */
export function startPages() {
  window.addEventListener("hashchange", () => follow(true));
  follow(false);
}
