// A dialog that makes a collection.

import { createCollection } from "../api.js";
import { openDialog } from "../dialog.js";
import { button, choice, field, node, problemBox } from "../dom.js";
import { say } from "../words.js";
import { addressOf } from "./page.js";

/** Opens the dialog; a collection that was made is opened. */
export function openCreate() {
  const name = node("input", { class: "input", required: true, autocomplete: "off", spellcheck: "false", maxlength: "64", id: "new-name" });
  const kind = choice([["text", say("kind_text")], ["image", say("kind_image")], ["vector", say("kind_vector")]], "text", { id: "new-kind" });
  const model = node("input", { class: "input", placeholder: say("builtIn"), spellcheck: "false", autocomplete: "off" });
  const dim = node("input", { class: "input", type: "number", min: "1", max: "65536", value: "384" });
  const metric = choice([["cosine", "cosine"], ["l2", "L2"], ["ip", say("innerProduct")]], "cosine");
  const index = node("input", { class: "input", value: "auto", spellcheck: "false", autocomplete: "off" });
  const target = node("input", { class: "input", type: "number", min: "0.5", max: "1", step: "0.01", value: "0.95" });
  const told = node("div");
  const forVectors = [field(say("dim"), dim), field(say("metric"), metric)];
  const forModel = [field(say("model"), model, say("modelHelp"))];
  const fit = () => {
    for (const one of forVectors) one.hidden = kind.value !== "vector";
    for (const one of forModel) one.hidden = kind.value === "vector";
  };
  kind.addEventListener("change", fit);
  const make = button(say("create"), () => {}, "main", { type: "submit" });
  const form = node("form", {
    onsubmit: async (event) => {
      event.preventDefault();
      make.disabled = true;
      const wishes = { kind: kind.value, index: index.value.trim() || "auto", target_recall: Number(target.value) };
      if (kind.value === "vector") Object.assign(wishes, { dim: Number(dim.value), metric: metric.value });
      else if (model.value.trim()) wishes.model = model.value.trim();
      try {
        await createCollection(name.value.trim(), wishes);
        dialog.close();
        location.hash = addressOf(name.value.trim());
      } catch (problem) {
        told.replaceChildren(problemBox(problem));
        make.disabled = false;
      }
    },
  }, node("div", { class: "fields" }, field(say("name"), name, say("nameHelp")), field(say("kind"), kind), forModel, forVectors,
    field(say("index"), index, say("indexHelp")), field(say("targetRecall"), target, say("targetHelp"))));
  const foot = node("div", { class: "dialog-foot" }, button(say("cancel"), () => dialog.close()), make);
  form.append(foot);
  foot.style.marginTop = "1.2rem";
  const dialog = openDialog(say("newCollection"), [told, form]);
  fit();
  name.focus();
}
