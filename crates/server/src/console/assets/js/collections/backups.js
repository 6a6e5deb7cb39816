// Backups of a collection: made, read back, put in its place, removed.

import { backups, makeBackup, removeBackup, restoreBackup, verifyBackup } from "../api.js";
import { confirm } from "../dialog.js";
import { button, node, problemBox, toast } from "../dom.js";
import { bytes, count, say, time } from "../words.js";

/** The part of the page with the backups; `onRestored()` hears when the collection is another. */
export function backupsPanel(name, onRestored) {
  const list = node("div");
  const told = node("div", { "aria-live": "polite" });

  /** Does something that takes a while, with its button off, and tells how it ended. */
  const doing = async (starter, act) => {
    starter.disabled = true;
    told.replaceChildren();
    try {
      await act();
    } catch (problem) {
      told.replaceChildren(problemBox(problem));
    }
    starter.disabled = false;
    if (document.activeElement === document.body) starter.focus(); // a button that is off loses the focus
  };

  const line = (one) => {
    const verifier = button(say("verify"), () => doing(verifier, async () => {
      const { damaged } = await verifyBackup(name, one.time);
      if (damaged.length > 0) told.replaceChildren(problemBox({ message: say("damaged"), hint: damaged[0].reason }));
      else toast(say("verified"));
    }));
    const restore = button(say("restore"), () => confirm({
      title: say("restoreTitle", name), words: say("restoreWords", time(one.taken_unix_s)), action: say("restore"),
      async act() {
        await restoreBackup(name, one.time);
        toast(say("restored", time(one.taken_unix_s)));
        onRestored();
        await draw();
      },
    }));
    const remove = button(say("remove"), () => confirm({
      title: say("removeTitle"), words: say("removeWords", time(one.taken_unix_s)), action: say("remove"),
      async act() {
        await removeBackup(name, one.time);
        await draw();
      },
    }), "loss");
    return node("li", {},
      node("div", { class: "grow" }, node("b", {}, time(one.taken_unix_s)),
        node("p", { class: "soft small number" }, say("backupFigures", count(one.documents), count(one.items), bytes(one.bytes), count(one.seq)))),
      node("div", { class: "row" }, restore, verifier, remove));
  };

  async function draw() {
    try {
      const found = await backups(name);
      list.replaceChildren(
        ...found.bad.map((one) => problemBox({ message: say("badBackup", one.time), hint: one.reason })),
        found.backups.length === 0 ? node("p", { class: "soft" }, say("noBackups")) : node("ul", { class: "listed", id: "backups" }, found.backups.map(line)));
    } catch (problem) {
      list.replaceChildren(problemBox(problem));
    }
  }

  const make = button(say("backUp"), () => doing(make, async () => {
    await makeBackup(name);
    toast(say("backedUp"));
    await draw();
  }), "", { id: "make-backup" });
  draw();
  return node("section", { class: "panel" }, node("div", { class: "row" }, node("h2", { class: "grow" }, say("backups")), make), told, list);
}
