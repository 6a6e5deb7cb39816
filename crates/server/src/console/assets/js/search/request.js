// The request behind an answer, as curl and as Python, to be copied. Pictures stand as a file's name that the command reads itself.

import { at } from "../api.js";
import { DRAWN, drawing, node, segments, toast } from "../dom.js";
import { keep, kept } from "../kept.js";
import { say } from "../words.js";
import { state } from "./state.js";

const PICTURE = "picture.jpg";

/** The body with pictures as {file}. */
function namedBody(body) {
  let number = 0;
  const name = (value) => {
    number += 1;
    return { file: state.asked?.items?.filter((item) => item.kind === "image")[number - 1]?.name ?? PICTURE, value };
  };
  const named = (value) => (Array.isArray(value) ? value.map(name) : name(value));
  return Object.fromEntries(Object.entries(body).map(([key, value]) => [key, key === "image" || key === "unlike_image" ? named(value) : value]));
}

const shellQuoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
const isFile = (value) => typeof value === "object" && value !== null && "file" in value;

/** JSON in which files are read by the shell. */
function shellJson(value) {
  if (isFile(value)) return `"'"$(base64 -w0 ${shellQuoted(value.file)})"'"`;
  if (Array.isArray(value)) return `[${value.map(shellJson).join(", ")}]`;
  return JSON.stringify(value).replaceAll("'", `'\\''`);
}

/** The request as a curl command. */
export function asCurl(path, body) {
  const parts = Object.entries(namedBody(body)).map(([key, value]) => `${JSON.stringify(key)}: ${shellJson(value)}`);
  return `curl ${shellQuoted(location.origin + path)} \\\n  -H 'content-type: application/json' \\\n  -d '{${parts.join(", ")}}'`;
}

/** A value as Python writes it. */
function python(value) {
  if (isFile(value)) return `base64.b64encode(open(${JSON.stringify(value.file)}, "rb").read()).decode()`;
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  if (value === true) return "True";
  if (value === false) return "False";
  return JSON.stringify(value);
}

/** The request as a Python program. */
export function asPython(path, body) {
  const named = namedBody(body);
  const hasFiles = Object.values(named).some((value) => isFile(Array.isArray(value) ? value[0] : value));
  const lines = Object.entries(named).map(([key, value]) => `    ${JSON.stringify(key)}: ${python(value)},`);
  return [
    ...(hasFiles ? ["import base64"] : []), "import requests", "",
    `answer = requests.post(${JSON.stringify(location.origin + path)}, json={`, ...lines, "})", "answer.raise_for_status()",
    'for result in answer.json()["results"]:', '    print(result["rank"], result["similarity"], result["text"] or result["id"])',
  ].join("\n");
}

/** Copies text; where the browser allows no clipboard (plain http from elsewhere), the text is selected instead. */
async function copy(text, pre) {
  try {
    await navigator.clipboard.writeText(text);
    toast(say("copied"));
  } catch {
    getSelection().selectAllChildren(pre);
    toast(document.execCommand("copy") ? say("copied") : say("copyByHand"));
  }
}

/** The panel's content for a request. */
export function requestPanel(collection, body) {
  const path = `${at(collection)}/search`;
  const pre = node("pre", { tabindex: "0", "aria-label": say("request") });
  const draw = (form) => {
    pre.textContent = form === "python" ? asPython(path, body) : asCurl(path, body);
  };
  const form = kept("request") === "python" ? "python" : "curl";
  draw(form);
  const tabs = segments("request-form", say("request"), [["curl", "curl"], ["python", "Python"]], form, (value) => {
    keep("request", value);
    draw(value);
  });
  const copier = node("button", { type: "button", class: "button", id: "copy", onclick: () => copy(pre.textContent, pre) }, drawing(...DRAWN.copy), say("copy"));
  return [node("div", { class: "request-tools" }, tabs, copier), node("div", { class: "snippet" }, pre)];
}
