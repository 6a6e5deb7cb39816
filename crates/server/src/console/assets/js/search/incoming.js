// Ways for a picture to come in: dropped anywhere on the search page, pasted, picked, or photographed.

import { Problem } from "../api.js";
import { byId } from "../dom.js";
import { say } from "../words.js";

/** A file's bytes as the data URL that the API takes. */
export function readPicture(file) {
  if (file.type && !file.type.startsWith("image/")) {
    return Promise.reject(new Problem(say("notPicture", file.name), say("notPictureHint")));
  }
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(reader.result));
    reader.addEventListener("error", () => reject(new Problem(say("notPicture", file.name), say("notPictureHint"))));
    reader.readAsDataURL(file);
  });
}

const carriesFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
const isSearching = () => !byId("search").hidden && !document.querySelector("dialog[open]");

/** Calls `onFiles(files, isMore)`; `isMore`: beside the pictures that are asked already. */
export function watchPictures(onFiles) {
  const veil = byId("veil");
  let isMore = false;
  for (const [opener, input] of [["pick", "file"], ["photo", "camera"]]) {
    byId(opener).addEventListener("click", () => {
      isMore = false;
      byId(input).click();
    });
    byId(input).addEventListener("change", () => {
      const files = [...byId(input).files];
      byId(input).value = ""; // so that the same file can be picked again
      if (files.length > 0) onFiles(files, isMore);
      isMore = false;
    });
  }
  let depth = 0; // enter and leave come for every element under the pointer
  window.addEventListener("dragenter", (event) => {
    if (!carriesFiles(event) || !isSearching()) return;
    depth += 1;
    veil.hidden = false;
  });
  window.addEventListener("dragleave", () => {
    depth = Math.max(0, depth - 1);
    if (depth === 0) veil.hidden = true;
  });
  window.addEventListener("dragover", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault(); // also on other pages: a missed drop must not replace the page by the file
    event.dataTransfer.dropEffect = isSearching() || event.target.closest?.(".drop") ? "copy" : "none";
  });
  window.addEventListener("drop", (event) => {
    depth = 0;
    veil.hidden = true;
    if (!carriesFiles(event)) return;
    event.preventDefault();
    const files = [...event.dataTransfer.files];
    if (isSearching() && files.length > 0) onFiles(files, false);
  });
  window.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length === 0 || !isSearching()) return;
    event.preventDefault();
    onFiles(files, false);
  });
  return {
    /** Lets one more picture be picked. */
    pickMore() {
      isMore = true;
      byId("file").click();
    },
  };
}
