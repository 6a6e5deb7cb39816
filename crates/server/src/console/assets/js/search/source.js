// The source of a result: all of its document as it is kept, with the passage that was found; for a picture, the picture and its fields.

import { getDocument, thumbnail } from "../api.js";
import { openDialog } from "../dialog.js";
import { node, problemBox } from "../dom.js";
import { say } from "../words.js";

/** Where the source stands on the web, if it does; nothing but http and https is ever a link. */
export function webAddress(metadata) {
  return [metadata.url, metadata.source].find((value) => typeof value === "string" && /^https?:\/\//i.test(value)) ?? null;
}

/** All fields of a result, as a table. */
function fieldsTable(metadata) {
  const rows = Object.entries(metadata).map(([key, value]) =>
    node("tr", {}, node("th", { scope: "row" }, key), node("td", {}, typeof value === "object" ? JSON.stringify(value) : String(value))));
  return node("table", { class: "fields-table" }, node("caption", { class: "hidden" }, say("fields")), node("tbody", {}, rows));
}

/** The parts of a document in their order, with headings where the chapter or section changes. */
function parts(items, here) {
  let head = "";
  return items.flatMap((item) => {
    const place = [item.metadata.chapter, item.metadata.section].filter(Boolean).join(" › ");
    const isNew = place !== head;
    head = place;
    const isHere = item.ordinal === here;
    const page = item.metadata.page ? say("pageOf", item.metadata.page) : item.metadata.slide ? say("slideOf", item.metadata.slide) : null;
    return [
      isNew && place ? node("h3", { class: "document-head" }, place) : null,
      node("p", { class: isHere ? "document-part here" : "document-part", "aria-current": isHere ? "true" : null },
        item.text ?? "", page ? node("span", { class: "soft small" }, `  ${page}`) : null),
    ];
  });
}

/** Opens the source of a result. */
export async function openSource(collection, result) {
  const path = String(result.metadata.source ?? result.metadata.image_path ?? result.id);
  const dialog = openDialog(path.split(/[/\\]/).filter(Boolean).at(-1) ?? path, node("p", { class: "soft" }, say("loading")));
  try {
    if (result.text === null || result.text === undefined) {
      const picture = node("img", { class: "document-picture", src: thumbnail(collection, result.id), alt: String(result.metadata.product_id ?? result.id) });
      picture.addEventListener("error", () => picture.remove());
      dialog.body.replaceChildren(picture, fieldsTable({ id: result.id, ...result.metadata, l2_distance: result.l2_distance }));
      return;
    }
    const found = await getDocument(collection, result.id);
    dialog.body.replaceChildren(node("div", {}, parts(found.items, result.ordinal)), fieldsTable(result.metadata));
    const here = dialog.body.querySelector(".here");
    // Not scrollIntoView, which would scroll the dialog's head out of sight as well.
    if (here) dialog.body.scrollTop = here.offsetTop - (dialog.body.clientHeight - here.offsetHeight) / 2;
  } catch (problem) {
    dialog.body.replaceChildren(problemBox(problem));
  }
}
