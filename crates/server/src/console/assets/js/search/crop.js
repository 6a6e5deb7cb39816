// Choosing a region of the picture that is asked: by dragging, or by keyboard (arrows move the frame, Shift with arrows changes its size,
// Escape takes all of the picture again). A region is [left, top, width, height] in fractions of the upright picture.

import { button, node } from "../dom.js";
import { say } from "../words.js";

const STEP = 0.05;
const LEAST = 0.05;
const START = [0.25, 0.25, 0.5, 0.5];

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const rounded = (part) => Math.round(part * 1000) / 1000;
/** Three places are enough for any screen; what is rounded must not reach over the edge. */
const tidy = ([left, top, width, height]) => {
  const [x, y] = [rounded(left), rounded(top)];
  return [x, y, Math.min(rounded(width), rounded(1 - x)), Math.min(rounded(height), rounded(1 - y))];
};
const percent = (part) => Math.round(part * 100);

/** The part of the page with the picture and its frame; `onRegion(region | null)` hears of each choice. */
export function cropper(source, name, region, onRegion) {
  let now = region ?? START;
  const picture = node("img", { src: source, alt: name, draggable: "false" });
  const frame = node("div", { class: "crop-frame", tabindex: "0", role: "application", "aria-label": say("cropFrame"), "aria-describedby": "crop-help crop-now" });
  const told = node("span", { id: "crop-now", class: "small soft number", "aria-live": "polite" });
  const stage = node("div", { class: "crop-stage" }, picture, frame);

  const draw = () => {
    const [left, top, width, height] = now;
    Object.assign(frame.style, { left: `${left * 100}%`, top: `${top * 100}%`, width: `${width * 100}%`, height: `${height * 100}%` });
    told.textContent = say("cropNow", ...now.map(percent));
  };
  const choose = (next) => {
    now = tidy(next);
    draw();
    onRegion(now);
  };

  frame.addEventListener("keydown", (event) => {
    const [left, top, width, height] = now;
    const by = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }[event.key];
    if (by) {
      event.preventDefault();
      if (event.shiftKey) choose([left, top, clamp(width + by[0], LEAST, 1 - left), clamp(height + by[1], LEAST, 1 - top)]);
      else choose([clamp(left + by[0], 0, 1 - width), clamp(top + by[1], 0, 1 - height), width, height]);
    } else if (event.key === "Escape") {
      event.preventDefault();
      onRegion(null, true);
    }
  });

  const place = (event) => {
    const box = stage.getBoundingClientRect();
    return [clamp((event.clientX - box.left) / box.width, 0, 1), clamp((event.clientY - box.top) / box.height, 0, 1)];
  };
  let drag = null;
  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const [x, y] = place(event);
    drag = { x, y, moved: event.target === frame ? now : null };
    stage.setPointerCapture(event.pointerId);
    event.preventDefault();
    frame.focus();
  });
  stage.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const [x, y] = place(event);
    if (drag.moved) {
      const [left, top, width, height] = drag.moved;
      now = tidy([clamp(left + x - drag.x, 0, 1 - width), clamp(top + y - drag.y, 0, 1 - height), width, height]);
    } else {
      const left = clamp(Math.min(x, drag.x), 0, 1 - LEAST);
      const top = clamp(Math.min(y, drag.y), 0, 1 - LEAST);
      now = tidy([left, top, clamp(Math.abs(x - drag.x), LEAST, 1 - left), clamp(Math.abs(y - drag.y), LEAST, 1 - top)]);
    }
    draw();
  });
  stage.addEventListener("pointerup", () => {
    if (!drag) return;
    drag = null;
    onRegion(now);
  });
  draw();
  return node("div", { class: "crop" }, stage, node("div", { class: "crop-side" },
    node("p", { class: "small soft", id: "crop-help" }, say("cropHelp")), told, button(say("cropAll"), () => onRegion(null, true))));
}
