// Reads questions as people have them: a line of JSON each, a JSON list, or CSV with a header. What a question may say is judged by the server.

import { Problem } from "../api.js";
import { say } from "../words.js";

export const EXAMPLE = `{"question": "…", "source": "lecture4.pptx", "slide": "12"}
{"question": "…", "contains": "…"}`;

/** Fields of CSV that are lists with semicolons between. */
const LISTS = new Set(["tags", "ids"]);

/** The fields of one line of CSV and where the next one starts. */
function csvLine(text, start) {
  const cells = [];
  let cell = "";
  let at = start;
  let isQuoted = false;
  for (; at < text.length; at += 1) {
    const letter = text[at];
    if (isQuoted) {
      if (letter !== '"') cell += letter;
      else if (text[at + 1] === '"') {
        cell += '"';
        at += 1;
      } else isQuoted = false;
    } else if (letter === '"' && cell === "") isQuoted = true;
    else if (letter === ",") {
      cells.push(cell.trim());
      cell = "";
    } else if (letter === "\n") break;
    else if (letter !== "\r") cell += letter;
  }
  cells.push(cell.trim());
  return { cells, next: at + 1 };
}

function readCsv(text) {
  const { cells: header, next } = csvLine(text, 0);
  if (!header.includes("question")) throw new Problem(say("noQuestionColumn"), say("questionsHelp"));
  const found = [];
  for (let at = next; at < text.length; ) {
    const { cells, next: after } = csvLine(text, at);
    at = after;
    const given = header.map((key, column) => [key, cells[column] ?? ""]).filter(([key, value]) => key !== "" && value !== "");
    if (given.length > 0) {
      found.push(Object.fromEntries(given.map(([key, value]) => [key, LISTS.has(key) ? value.split(";").map((part) => part.trim()).filter(Boolean) : value])));
    }
  }
  return found;
}

function readJson(text, line) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Problem(say("badQuestionLine", line), `${error.message}. ${say("questionsHelp")}`);
  }
}

/** The questions in `text`, as objects. */
export function readQuestions(text) {
  const trimmed = text.replace(/^\uFEFF/, "").trim();
  if (trimmed === "") throw new Problem(say("noQuestions"), say("questionsHelp"));
  if (trimmed.startsWith("[")) return readJson(trimmed, 1);
  if (!trimmed.startsWith("{")) return readCsv(trimmed);
  return trimmed.split("\n").map((line, at) => [line.trim(), at + 1]).filter(([line]) => line !== "").map(([line, at]) => readJson(line, at));
}
