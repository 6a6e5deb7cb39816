// Documents that are the same, or nearly: found on request, looked at side by side, deleted one by one.

import { deleteDocuments, duplicates, getDocument, thumbnail } from "../api.js";
import { confirm } from "../dialog.js";
import { button, choice, field, node, problemBox, toast } from "../dom.js";
import { count, say } from "../words.js";

const LIMIT = 50;
const EXCERPT = 160;

function itemOf(one, item, onDelete) {
  const name = String(item.metadata.product_id ?? item.metadata.source ?? item.id);
  const shown = one.kind === "image" ? node("img", { src: thumbnail(one.name, item.id), alt: name, loading: "lazy" }) : node("p", { class: "soft" });
  if (one.kind === "text") {
    getDocument(one.name, item.id).then((found) => {
      const text = found.items.find((part) => part.ordinal === item.ordinal)?.text ?? "";
      shown.textContent = text.length > EXCERPT ? `${text.slice(0, EXCERPT)}…` : text;
    }, () => {});
  }
  const remove = button(say("remove"), () => confirm({
    title: say("deleteDocument"), words: say("deleteDocumentWords", item.id), action: say("remove"),
    async act() {
      await deleteDocuments(one.name, [item.id]);
      toast(say("deleted", name));
      onDelete();
    },
  }), "loss");
  return node("li", {}, shown, node("b", { title: item.id }, name), node("span", { class: "soft number" }, item.similarity === null || item.similarity === undefined ? "" : item.similarity.toFixed(4)), remove);
}

/** The part of the page that finds duplicates; `onDelete()` hears when a document is gone. */
export function duplicatesPanel(one, onDelete) {
  const told = node("div", { "aria-live": "polite" });
  const how = choice([["", say("exactOnly")], ["0.99", say("nearFrom", "0.99")], ["0.98", say("nearFrom", "0.98")], ["0.95", say("nearFrom", "0.95")], ["0.9", say("nearFrom", "0.90")]], "0.98", { id: "near" });
  const find = button(say("findDuplicates"), async () => {
    find.disabled = true;
    told.replaceChildren(node("progress", { "aria-label": say("findDuplicates") }));
    try {
      const found = await duplicates(one.name, { similarity: how.value, limit: String(LIMIT) });
      const groups = found.groups.map((group) => node("div", { class: "group" },
        node("h3", {}, say(group.kind === "exact" ? "exactGroup" : "nearGroup", count(group.count))),
        node("ul", {}, group.items.map((item) => itemOf(one, item, () => {
          onDelete();
          find.click();
        })))));
      told.replaceChildren(node("p", { class: "soft", role: "status" },
        say(found.complete ? "duplicatesFound" : "duplicatesPartly", count(found.groups.length), count(found.examined))), ...groups);
    } catch (problem) {
      told.replaceChildren(problemBox(problem));
    }
    find.disabled = false;
  }, "", { id: "find-duplicates" });
  return node("section", { class: "panel" }, node("h2", {}, say("duplicates")), node("div", { class: "row" }, field(say("howAlike"), how), find), told);
}
