// Dialogs: the browser's own element, which keeps the focus inside, closes on Escape and gives the focus back.

import { DRAWN, button, drawing, field, node, problemBox } from "./dom.js";
import { say } from "./words.js";

/** Opens a dialog with these nodes; gives {element, body, close}. */
export function openDialog(title, body, narrow = false) {
  const close = () => element.close();
  const label = `dialog-${Date.now()}`;
  const shut = node("button", { type: "button", class: "quiet", "aria-label": say("close"), onclick: close }, drawing(...DRAWN.close));
  const inside = node("div", { class: "dialog-body", tabindex: "0" }, body);
  const element = node("dialog", { "aria-labelledby": label, class: narrow ? "narrow" : null },
    node("div", { class: "dialog-head" }, node("h2", { id: label }, title), shut), inside);
  element.addEventListener("close", () => element.remove());
  element.addEventListener("click", (event) => event.target === element && close());
  document.body.append(element);
  element.showModal();
  return { element, body: inside, close };
}

/**
 * A dialog with `controls` and a button that does something. `act` may fail: the dialog then says why and stays. Gives the button.
 */
export function ask({ title, words, controls = [], action, act, look = "main" }) {
  const told = node("div");
  const go = button(action, async () => {
    go.disabled = true;
    try {
      await act();
      dialog.close();
    } catch (problem) {
      told.replaceChildren(problemBox(problem));
      go.disabled = false;
    }
  }, look);
  const dialog = openDialog(title, [node("p", { class: "soft" }, words), ...controls, told,
    node("div", { class: "dialog-foot" }, button(say("cancel"), () => dialog.close()), go)], true);
  return go;
}

/** Asks before something that cannot be taken back. With `typed`, that very text must be typed first. */
export function confirm({ title, words, action, typed = null, act }) {
  const input = typed === null ? null : node("input", { class: "input", autocomplete: "off", spellcheck: "false" });
  const go = ask({ title, words, controls: input ? [field(say("typeToConfirm", typed), input)] : [], action, act, look: "loss" });
  if (input) {
    go.disabled = true;
    input.addEventListener("input", () => (go.disabled = input.value !== typed));
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.isComposing && !go.disabled) go.click();
    });
    input.focus();
  }
}
