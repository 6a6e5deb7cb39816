// A result that is a picture (or a bare vector): what it is, how near, and what else to look for from here.

import { thumbnail } from "../api.js";
import { DRAWN, drawing, node } from "../dom.js";
import { say } from "../words.js";
import { isGiven, shortName, tag, tags } from "./passages.js";
import { scores } from "./scores.js";
import { openSource } from "./source.js";

/** What people call a picture. */
export const pictureName = (result) =>
  String(result.metadata.product_id ?? shortName(result.metadata.image_path ?? result.id));

/** An <img> that says so when there is no picture. */
export function pictureOf(collection, id, name) {
  const picture = node("img", { src: thumbnail(collection, id), alt: name, loading: "lazy", decoding: "async" });
  picture.addEventListener("error", () => picture.replaceWith(say("noPicture")));
  return picture;
}

/** The card of one result. `view` is {collection, kind, canUnlike, scales, acts}. */
export function card(result, view) {
  const fields = result.metadata;
  const name = pictureName(result);
  const source = view.kind === "image" ? thumbnail(view.collection, result.id) : null;
  const rank = node("span", { class: "rank" }, String(result.rank));
  const frame = source
    ? node("div", { class: "frame" }, node("button", { type: "button", "aria-label": say("look", name), onclick: () => openSource(view.collection, result) },
      pictureOf(view.collection, result.id, "")), rank)
    : null;
  const facts = [
    isGiven(fields.category) ? tag("category", fields.category, String(fields.category), view.acts.onFilter) : null,
    isGiven(fields.price) ? node("span", { class: "tag" }, `${say("price")} ${fields.price}`) : null,
    ...(source ? [] : tags(fields, view.acts.onFilter)),
  ];
  const act = (kind, drawn, label, onclick) =>
    node("button", { type: "button", class: kind, title: label, "aria-label": `${label}: ${name}`, onclick }, drawing(...DRAWN[drawn]),
      kind === "more" ? node("span", {}, label) : null);
  const like = node("div", { class: "like" },
    act("more", "like", say("more"), () => view.acts.onLike(result, source)),
    view.canJoin ? act("join", "plus", say("join"), () => view.acts.onJoin(result, source, 1)) : null,
    view.canJoin ? act("unlike", "minus", say("notLike"), () => view.acts.onJoin(result, source, -1)) : null);
  return node("li", { class: "card" }, frame,
    node("div", { class: "about" }, node("p", { class: "name", title: fields.image_path ?? result.id }, frame ? null : rank, frame ? name : ` ${name}`),
      scores(result, view.scales), node("div", { class: "foot" }, facts)),
    like);
}
