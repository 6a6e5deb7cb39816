// A model that reads words and pictures: words find pictures, alone and beside an example.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { samplePicture, startService } from "../service.mjs";
import { call, searchOf, session, settled, withCollection, withPage } from "../session.mjs";

// A service knows the model it was started with, and makes its text collections with it: so it is one of its own.
async function withClip(work) {
  const { service } = session;
  session.service = await startService({ isEmpty: true, args: ["--model", session.clip] });
  try {
    await work();
  } finally {
    await session.service.stop();
    session.service = service;
  }
}

test("words find pictures, stand beside an example, and go again", () => withClip(async () => {
  const documents = await Promise.all(["animals", "birds", "fish"].map(async (kind) => ({ id: kind, image: (await readFile(await samplePicture(kind))).toString("base64") })));
  await withCollection("seen", { kind: "image", model: session.clip }, documents, () =>
    withPage({ locale: "en-US", hash: "#c=seen" }, async (page) => {
      const alone = await settled(page, () => page.fill("#query", "car"));
      assert.deepEqual([alone.text, alone.image], ["car", undefined]);
      assert.equal(await page.locator(".card").count(), 3);
      const both = await settled(page, async () => page.setInputFiles("#file", await samplePicture("fish")));
      assert.equal(both.text, "car");
      assert.equal(typeof both.image, "string");
      assert.equal(await page.inputValue("#query"), "car", "the words stay");
      const { body } = await call("POST", "/v1/collections/seen/search", both);
      const shown = await page.locator(".card .name").evaluateAll((all) => all.map((one) => one.title));
      assert.deepEqual(shown, body.results.map((one) => one.id));
      const other = await searchOf(page, () => page.fill("#query", "a car"));
      assert.deepEqual([other.text, other.image], ["a car", both.image], "other words, the same example");
      const pictureAlone = await searchOf(page, () => page.fill("#query", ""));
      assert.deepEqual([pictureAlone.text, pictureAlone.image], [undefined, both.image]);
      await searchOf(page, () => page.fill("#query", "12"));
      const wordsAlone = await searchOf(page, () => page.locator(".asked-item button").click());
      assert.deepEqual([wordsAlone.text, wordsAlone.image], ["12", undefined]);
      await page.keyboard.press("Escape");
      await page.locator(".card").first().waitFor({ state: "detached" });
    }));
}));
