// Ways for a picture to come in: dropped anywhere, pasted, or picked.

import { Problem } from "./api.js";
import { byId } from "./dom.js";
import { say } from "./words.js";

/** A file's bytes as the data URL that the API takes. */
export function readPicture(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(reader.result));
    reader.addEventListener("error", () => reject(new Problem(say("notPicture", file.name), say("notPictureHint"))));
    reader.readAsDataURL(file);
  });
}

const carriesFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");

/** Calls `onFile` with each file that comes in. */
export function watchPictures(onFile) {
  const veil = byId("veil");
  const file = byId("file");
  byId("pick").addEventListener("click", () => file.click());
  file.addEventListener("change", () => {
    if (file.files[0]) onFile(file.files[0]);
    file.value = ""; // so that the same file can be picked again
  });

  let depth = 0; // enter and leave come for every element under the pointer
  const lift = () => {
    depth = 0;
    veil.hidden = true;
  };
  window.addEventListener("dragenter", (event) => {
    if (!carriesFiles(event)) return;
    depth += 1;
    veil.hidden = false;
  });
  window.addEventListener("dragleave", () => {
    depth = Math.max(0, depth - 1);
    if (depth === 0) veil.hidden = true;
  });
  window.addEventListener("dragover", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
  });
  window.addEventListener("drop", (event) => {
    lift();
    if (!carriesFiles(event)) return;
    event.preventDefault();
    if (event.dataTransfer.files[0]) onFile(event.dataTransfer.files[0]);
  });
  window.addEventListener("paste", (event) => {
    const pasted = [...(event.clipboardData?.files ?? [])][0];
    if (!pasted) return;
    event.preventDefault();
    onFile(pasted);
  });
}
