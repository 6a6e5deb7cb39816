// Adding files: dropped (folders too), or picked. They go up a few at a time, so that progress shows and one bad file does not stop the rest.

import { Problem, addFiles } from "../api.js";
import { DRAWN, button, drawing, field, node, problemBox } from "../dom.js";
import { count, say } from "../words.js";

/** Files and bytes of one request. */
const BATCH_FILES = 8;
const BATCH_BYTES = 16 << 20;
const MOST_PROBLEMS = 20;

/** Files below an entry of a drop, with the folder they lie in. */
async function filesBelow(entry, folder) {
  if (entry.isFile) {
    const file = await new Promise((done, failed) => entry.file(done, failed));
    return file.name.startsWith(".") ? [] : [{ file, folder }];
  }
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (some.length === 0) return found;
    for (const inner of some) found.push(...(await filesBelow(inner, entry.name)));
  }
}

/** What a drop carries. */
async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (entries.length === 0) return [...transfer.files].map((file) => ({ file, folder: null }));
  return (await Promise.all(entries.map((entry) => filesBelow(entry, null)))).flat();
}

/** Requests' worth of files, each of one folder, since a request's metadata are for all of its files. */
function batches(files) {
  const made = [];
  for (const one of files) {
    const last = made.at(-1);
    const isFull = !last || last.files.length >= BATCH_FILES || last.bytes + one.file.size > BATCH_BYTES || last.folder !== one.folder;
    if (isFull) made.push({ folder: one.folder, files: [one.file], bytes: one.file.size });
    else {
      last.files.push(one.file);
      last.bytes += one.file.size;
    }
  }
  return made;
}

function formOf(batch, metadata) {
  const form = new FormData();
  if (Object.keys(metadata).length > 0) form.append("metadata", JSON.stringify(metadata));
  for (const file of batch.files) form.append("file", file, file.name);
  return form;
}

/** One request for a batch; when it is refused whole, its files go one by one, so that only the bad ones fail. */
async function send(name, batch, metadata, sums) {
  try {
    const added = await addFiles(name, formOf(batch, metadata));
    sums.added += added.added;
    sums.updated += added.updated;
    sums.problems.push(...added.problems);
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    if (batch.files.length > 1 && problem.status >= 400 && problem.status < 500) {
      for (const file of batch.files) await send(name, { files: [file] }, metadata, sums);
    } else {
      sums.problems.push(`${batch.files.map((file) => file.name).join(", ")}: ${problem.message}${problem.hint ? ` (${problem.hint})` : ""}`);
    }
  }
}

async function addAll(one, files, category, box) {
  const bar = node("progress", { max: files.length, value: 0, "aria-label": say("adding") });
  const line = node("p", { class: "soft small number" }, say("addingOf", 0, count(files.length)));
  box.replaceChildren(bar, line);
  const sums = { added: 0, updated: 0, problems: [] };
  let done = 0;
  for (const batch of batches(files)) {
    const named = category || (one.kind === "image" ? batch.folder : null);
    await send(one.name, batch, named ? { category: named } : {}, sums);
    done += batch.files.length;
    bar.value = done;
    line.textContent = say("addingOf", count(done), count(files.length));
  }
  const problems = sums.problems.slice(0, MOST_PROBLEMS).map((told) => node("li", { class: "small" }, told));
  const box2 = problems.length > 0 ? problemBox({ message: say("notRead", sums.problems.length), hint: "" }) : null;
  box2?.append(node("ul", {}, problems));
  box.replaceChildren(node("p", { role: "status" }, say("addedFiles", count(sums.added), count(sums.updated))), ...(box2 ? [box2] : []));
}

/** The part of the page that adds; `onAdded()` hears of each end. */
export function addPanel(one, onAdded) {
  if (one.kind === "vector") {
    return node("section", { class: "panel" }, node("h2", {}, say("add")), node("p", { class: "soft" }, say("addVectors")));
  }
  const told = node("div", { class: "added", "aria-live": "polite" });
  const category = node("input", { class: "input", autocomplete: "off" });
  let isBusy = false;
  const take = async (files) => {
    if (isBusy || files.length === 0) return;
    isBusy = true;
    try {
      await addAll(one, files, category.value.trim(), told);
    } finally {
      isBusy = false;
      onAdded();
    }
  };
  const input = node("input", {
    type: "file", multiple: true, hidden: true, id: "add-files", accept: one.kind === "image" ? "image/*" : null,
    onchange: () => {
      const files = [...input.files].map((file) => ({ file, folder: null }));
      input.value = "";
      take(files);
    },
  });
  const drop = node("div", { class: "drop" }, drawing(...DRAWN.upload), node("p", {}, say(one.kind === "image" ? "dropPictures" : "dropFiles")),
    button(say("pickFiles"), () => input.click()), input);
  drop.addEventListener("dragover", () => drop.classList.add("over"));
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", async (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    take(await dropped(event.dataTransfer));
  });
  return node("section", { class: "panel" }, node("h2", {}, say("add")), drop,
    one.kind === "image" ? node("div", { class: "added" }, field(say("categoryField"), category, say("categoryHelp"))) : null, told);
}
