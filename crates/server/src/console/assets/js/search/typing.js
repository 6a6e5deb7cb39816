// Typing: every change asks at once. While an input method composes (Chinese pinyin, Japanese kana) nothing is asked until the text is
// committed.

import { byId } from "../dom.js";

/** Changes that come together (a held key, a paste by pieces) are one question. */
const PAUSE_MS = 4;

/** Calls `onText(text)` after changes, `onSubmit(text)` on Enter, `onClear()` on Escape where there is something to clear. */
export function watchTyping({ onText, onSubmit, onClear, hasAsked }) {
  const query = byId("query");
  let isComposing = false;
  let pause = 0;
  const soon = () => {
    clearTimeout(pause);
    pause = setTimeout(() => onText(query.value), PAUSE_MS);
  };
  query.addEventListener("compositionstart", () => {
    isComposing = true;
    clearTimeout(pause);
  });
  query.addEventListener("compositionend", () => {
    isComposing = false;
    soon();
  });
  query.addEventListener("input", (event) => {
    if (!isComposing && !event.isComposing) soon();
  });
  byId("form").addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(pause);
    if (!isComposing) onSubmit(query.value);
  });
  document.addEventListener("keydown", (event) => {
    if (event.isComposing || byId("search").hidden || document.querySelector("dialog[open]")) return;
    const isTyping = event.target.matches?.("input:not([type=radio], [type=checkbox]), textarea, select");
    if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      query.focus();
      query.select();
    } else if (event.key === "Escape" && !event.defaultPrevented && (query.value || hasAsked())) {
      clearTimeout(pause);
      query.value = "";
      onClear();
      query.focus();
    }
  });
}
