// Marks what matched: where the server says so, its ranges; else the words of a question in a passage, whole words in Latin scripts, runs of two or more shared characters in Chinese.

import { node } from "../dom.js";

const HAN = /\p{Script=Han}/u;

/** Pieces of the question worth marking, lower case. */
function pieces(question) {
  const found = new Set();
  for (const run of question.toLowerCase().match(/[\p{L}\p{N}_+#.-]+/gu) ?? []) {
    for (const part of run.match(/\p{Script=Han}+|[^\p{Script=Han}]+/gu) ?? []) {
      if (!HAN.test(part)) {
        const word = part.replace(/^[.-]+|[.-]+$/g, "");
        if (word.length > 2) found.add(word);
      } else {
        const letters = [...part];
        for (let i = 0; i + 2 <= letters.length; i += 1) found.add(letters[i] + letters[i + 1]);
      }
    }
  }
  return [...found];
}

/** A snippet as nodes: `highlights` are begin and end in characters (code points), ordered and apart. */
export function marked({ text, highlights }) {
  const letters = [...text];
  const out = [];
  let done = 0;
  for (const [start, end] of highlights) {
    out.push(letters.slice(done, start).join(""), node("mark", {}, letters.slice(start, end).join("")));
    done = end;
  }
  out.push(letters.slice(done).join(""));
  return out;
}

/** The passage as nodes, with marks. */
export function highlight(text, question) {
  const marked = new Uint8Array(text.length);
  const lower = text.toLowerCase();
  if (lower.length !== text.length) return [text]; // letters that change length; better unmarked than wrongly marked
  for (const piece of pieces(question)) {
    const isWord = !HAN.test(piece);
    for (let at = lower.indexOf(piece); at >= 0; at = lower.indexOf(piece, at + 1)) {
      const before = lower[at - 1] ?? " ";
      if (isWord && /[a-z0-9]/.test(before)) continue;
      marked.fill(1, at, at + piece.length);
    }
  }
  const out = [];
  for (let start = 0; start < text.length; ) {
    let end = start + 1;
    while (end < text.length && marked[end] === marked[start]) end += 1;
    const part = text.slice(start, end);
    out.push(marked[start] ? node("mark", {}, part) : part);
    start = end;
  }
  return out;
}
