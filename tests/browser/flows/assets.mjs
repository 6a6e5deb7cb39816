// The files of the page: small, short, and with the same words in both languages.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { ASSETS } from "../service.mjs";

const MOST_COMPRESSED = 150 << 10;
const MOST_LINES = 400;

const files = readdirSync(ASSETS, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
const modules = files.filter((path) => path.endsWith(".js") && !path.includes("/words/"));

test("all files together are small, and each module is short", () => {
  const compressed = files.reduce((sum, path) => sum + gzipSync(readFileSync(path)).length, 0);
  console.log(`assets: ${files.length} files, ${compressed} bytes compressed`);
  assert.ok(compressed <= MOST_COMPRESSED, `${compressed} bytes`);
  for (const path of modules) {
    const lines = readFileSync(path, "utf8").split("\n").length;
    assert.ok(lines <= MOST_LINES, `${path} has ${lines} lines`);
  }
});

test("both languages say the same things, and everything that is said has words", async () => {
  const { EN } = await import(join(ASSETS, "js/words/en.js"));
  const { ZH } = await import(join(ASSETS, "js/words/zh.js"));
  assert.deepEqual(Object.keys(ZH).sort(), Object.keys(EN).sort());
  for (const key of Object.keys(EN)) assert.equal(typeof ZH[key], typeof EN[key], key);
  const texts = [...modules, join(ASSETS, "index.html")].map((path) => readFileSync(path, "utf8")).join("\n");
  const said = [...texts.matchAll(/say\("(\w+)"|data-say(?:-label|-title|-placeholder)?="(\w+)"/g)].map((found) => found[1] ?? found[2]);
  assert.ok(said.length > 150);
  assert.deepEqual(said.filter((key) => !(key in EN)), []);
});
