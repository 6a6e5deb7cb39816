// The pictures that are asked, as a strip below the box: those to be like, those not to be like, and the region of a single one.

import { DRAWN, byId, drawing, node } from "../dom.js";
import { say } from "../words.js";
import { cropper } from "./crop.js";
import { state } from "./state.js";

let isCropping = false;

/** No region is being chosen any more. */
export function stopCropping() {
  isCropping = false;
}

/** The one picture of which a region can be chosen. */
function single() {
  const items = state.asked?.items ?? [];
  const pictures = items.filter((item) => item.kind === "image" && item.sign > 0);
  return pictures.length === 1 ? pictures[0] : null;
}

/** Draws the strip. `acts` are {onDrop(item), onClear(), onMore(), onRegion(region)}. */
export function drawAsked(acts) {
  const box = byId("asked");
  const items = state.asked?.items;
  box.hidden = !items;
  if (!items) {
    box.replaceChildren();
    return;
  }
  const list = node("ul", { class: "asked-list" }, items.map((item) => {
    const drop = node("button", { type: "button", class: "quiet", "aria-label": say("drop", item.name), onclick: () => acts.onDrop(item) }, drawing(...DRAWN.close));
    return node("li", { class: item.sign > 0 ? "asked-item" : "asked-item minus" },
      item.src ? node("img", { src: item.src, alt: "" }) : null,
      node("p", { class: "grow" }, node("span", { class: "sign" }, say(item.sign > 0 ? "alike" : "unlike")), node("span", { class: "asked-name", title: item.name }, item.name)),
      drop);
  }));
  const picture = single();
  const tools = node("div", { class: "asked-tools" });
  if (items.some((item) => item.kind === "image")) {
    tools.append(node("button", { type: "button", class: "link", id: "ask-more", onclick: acts.onMore }, drawing(...DRAWN.plus), say("addPicture")));
  }
  if (picture && !isCropping) {
    tools.append(node("button", {
      type: "button", class: "link", id: "crop", onclick: () => {
        isCropping = true;
        drawAsked(acts);
        box.querySelector(".crop-frame").focus();
      },
    }, drawing(...DRAWN.crop), say("crop")));
  }
  tools.append(node("button", { type: "button", class: "link", id: "forget", onclick: acts.onClear }, say("forget")));
  const crop = picture && isCropping
    ? cropper(picture.src, picture.name, state.region, (region, isOver) => {
      if (isOver) {
        isCropping = false;
        drawAsked(acts);
        byId("crop")?.focus();
      }
      acts.onRegion(region);
    })
    : null;
  box.replaceChildren(list, ...(crop ? [crop] : []), tools);
}
