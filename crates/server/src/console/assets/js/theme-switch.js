// The button that goes from the system's theme to light to dark and round again; the choice is remembered.

import { byId } from "./dom.js";
import { keep } from "./kept.js";
import { say } from "./words.js";

const ROUND = ["system", "light", "dark"];
const now = () => document.documentElement.dataset.theme ?? "system";

/** Writes the button's words anew. */
export function nameTheme() {
  byId("theme-name").textContent = say(`theme_${now()}`);
  byId("theme").setAttribute("aria-label", say("theme", say(`theme_${now()}`)));
  byId("theme").title = say("theme", say(`theme_${now()}`));
}

/** Starts the button. */
export function startTheme() {
  nameTheme();
  byId("theme").addEventListener("click", () => {
    const next = ROUND[(ROUND.indexOf(now()) + 1) % ROUND.length];
    if (next === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    keep("theme", next === "system" ? null : next);
    nameTheme();
  });
}
