// The page's words. `say(key, ...)` gives them in the language that is on; elements with data-say* follow a switch.

import { kept, keep } from "./kept.js";
import { EN } from "./words/en.js";
import { ZH } from "./words/zh.js";

const WORDS = { en: EN, zh: ZH };
let language = "en";

/** The words for `key`, with its arguments filled in. */
export function say(key, ...values) {
  const words = WORDS[language][key] ?? EN[key] ?? key;
  return typeof words === "function" ? words(...values) : words;
}

/** Whether there are words for `key`. */
export const isSaid = (key) => Object.hasOwn(EN, key);

/** Writes the words into every element below `root` that asks for some. */
function write(root = document) {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const element of root.querySelectorAll("[data-say]")) element.textContent = say(element.dataset.say);
  for (const element of root.querySelectorAll("[data-say-label]")) element.setAttribute("aria-label", say(element.dataset.sayLabel));
  for (const element of root.querySelectorAll("[data-say-title]")) element.title = say(element.dataset.sayTitle);
  for (const element of root.querySelectorAll("[data-say-placeholder]")) element.placeholder = say(element.dataset.sayPlaceholder);
}

/** Takes the kept language, else the browser's. */
export function startLanguage() {
  const wanted = kept("language") ?? navigator.language ?? "en";
  language = wanted.toLowerCase().startsWith("zh") ? "zh" : "en";
  write();
}

/** Changes to the other language and keeps that. */
export function switchLanguage() {
  language = language === "zh" ? "en" : "zh";
  keep("language", language);
  write();
}

const locale = () => (language === "zh" ? "zh-CN" : "en");

/** A count with its thousands apart. */
export const count = (number) => number.toLocaleString(locale());

/** Bytes as people read them. */
export function bytes(number) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let at = 0;
  let left = number;
  while (left >= 1000 && at + 1 < units.length) {
    left /= 1000;
    at += 1;
  }
  return `${left.toLocaleString(locale(), { maximumFractionDigits: left < 10 && at > 0 ? 1 : 0 })} ${units[at]}`;
}

/** A time of seconds since 1970, in this place. */
export const time = (unixS) =>
  new Date(unixS * 1000).toLocaleString(locale(), { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });

/** Milliseconds with as many places as they deserve. */
export const ms = (number) => (number >= 100 ? number.toFixed(0) : number.toFixed(1));
