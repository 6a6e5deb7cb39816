// Asking in words: typing, input methods, ways of searching, sources, the request to copy.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { QUESTION, searchOf, searches, session, withPage } from "../session.mjs";

test("typing a Chinese question finds the passage, with place, scores and times", () =>
  withPage({}, async (page) => {
    await page.locator("#query").pressSequentially(QUESTION, { delay: 5 });
    const first = page.locator(".passage", { hasText: "模块" }).first();
    await first.waitFor();
    assert.match(await page.locator(".passage .trail").first().innerText(), /^1/);
    assert.match(await page.locator(".passage .source").first().innerText(), /\.(md|txt)$/);
    assert.match(await page.locator(".score.main .score-value").first().innerText(), /^0\.\d{4}$/);
    assert.deepEqual(await page.locator(".passage").first().locator(".score-name").allInnerTexts(), ["余弦", "BM25"]);
    assert.ok((await first.locator("mark").count()) > 0, "shared words are marked");
    assert.match(await page.locator("#status").innerText(), /条结果[\s\S]*毫秒[\s\S]*编码[\s\S]*检索[\s\S]*取回/);
    await page.waitForFunction(() => decodeURIComponent(location.hash).includes("模块"));
    assert.match(decodeURIComponent(page.url()), /#c=course&q=FAISS/);
  }));

test("nothing is asked while an input method composes", () =>
  withPage({}, async (page) => {
    const asked = searches(page);
    const keyboard = await page.context().newCDPSession(page);
    await page.locator("#query").focus();
    for (const text of ["x", "xi", "xiang", "xiang liang"]) {
      await keyboard.send("Input.imeSetComposition", { text, selectionStart: text.length, selectionEnd: text.length });
      await page.waitForFunction((typed) => document.querySelector("#query").value === typed, text);
    }
    await keyboard.send("Input.insertText", { text: "向量" });
    await page.locator(".passage").first().waitFor();
    assert.deepEqual(asked.map((body) => body.text), ["向量"], "pinyin is not a question");
  }));

test("the last question wins, however late an earlier answer comes", () =>
  withPage({}, async (page) => {
    let release;
    const held = new Promise((done) => {
      release = done;
    });
    let isDone;
    const settled = new Promise((done) => {
      isDone = done;
    });
    await page.route("**/search", async (route) => {
      if (route.request().postDataJSON().text !== "first") return route.continue();
      await held;
      await route.continue().catch(() => {}); // aborted meanwhile, which is what the page should do
      return isDone();
    });
    await searchOf(page, () => page.fill("#query", "first"));
    await page.fill("#query", QUESTION);
    await page.locator(".passage", { hasText: "模块" }).first().waitFor();
    release();
    await settled;
    await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
    assert.match(await page.locator(".passage .text").first().innerText(), /模块/);
  }));

test("the ways of searching are asked for, kept, and what matched is marked in either script", () =>
  withPage({ locale: "en-US" }, async (page) => {
    await searchOf(page, () => page.fill("#query", "向量檢索"));
    const body = await searchOf(page, () => page.locator("#ways label", { hasText: "Words" }).click());
    assert.equal(body.mode, "lexical");
    await page.locator(".passage mark").first().waitFor();
    const marks = await page.locator(".passage mark").allInnerTexts();
    assert.ok(marks.some((mark) => /向量|检索/.test(mark)), marks.join());
    assert.equal((await searchOf(page, () => page.selectOption("#per", "document"))).per, "document");
    assert.equal((await searchOf(page, () => page.selectOption("#top-k", "3"))).top_k, 3);
    await page.waitForFunction(() => document.querySelectorAll(".passage").length === 3);
    const sources = await page.locator(".passage .source").allInnerTexts();
    assert.equal(new Set(sources).size, 3, "one passage of each document");
    await page.reload();
    await page.locator(".passage").first().waitFor();
    assert.equal(await page.inputValue("#per"), "document");
    assert.ok(await page.locator('#ways input[value="lexical"]').isChecked());
    assert.equal((await searchOf(page, () => page.locator("#ways label", { hasText: "Auto" }).first().click())).mode, undefined);
  }));

test("where there is no reranker the page says so, and goes on", () =>
  withPage({ locale: "en-US" }, async (page, problems) => {
    await page.fill("#query", QUESTION);
    await page.locator(".passage").first().waitFor();
    await page.check("#rerank");
    await page.locator("#problem", { hasText: "reranker" }).waitFor();
    await page.uncheck("#rerank");
    await page.locator(".passage").first().waitFor();
    assert.ok(await page.locator("#problem").isHidden());
    problems.splice(0, problems.length, ...problems.filter((text) => !text.includes("status of 4")));
  }));

test("a passage leads to its source, and to what is like it", () =>
  withPage({ locale: "en-US" }, async (page) => {
    await page.fill("#query", "what normalisation changes");
    await page.locator(".passage").first().waitFor();
    await page.locator(".passage .source").first().click();
    await page.locator("dialog .document-part.here").waitFor();
    assert.ok((await page.locator("dialog .document-part").count()) > 3, "all of the document");
    const isSeen = await page.locator("dialog .here").evaluate((part) => {
      const [inner, outer] = [part.getBoundingClientRect(), part.closest(".dialog-body").getBoundingClientRect()];
      return inner.top >= outer.top && inner.bottom <= outer.bottom;
    });
    assert.ok(isSeen, "the passage is in sight");
    await page.keyboard.press("Escape");
    await page.locator("dialog").waitFor({ state: "detached" });
    assert.ok(await page.evaluate(() => document.activeElement.matches(".source")), "the focus comes back");
    const body = await searchOf(page, () => page.locator(".passage .more").first().click());
    assert.ok(body.like, JSON.stringify(body));
    await page.locator("#asked .asked-item").waitFor();
    await page.keyboard.press("Escape");
    assert.equal(await page.locator(".passage").count(), 0);
  }));

test("the request can be copied as curl and as Python, and both say what was asked", () =>
  withPage({ locale: "en-US", permissions: ["clipboard-read", "clipboard-write"] }, async (page) => {
    await page.fill("#query", `it's "FAISS" 模块`);
    await page.locator(".passage").first().waitFor();
    await page.locator("#request summary").click();
    const curl = await page.locator("#request pre").innerText();
    const answer = JSON.parse(execFileSync("bash", ["-c", `${curl} -s`], { encoding: "utf8" }));
    assert.equal(answer.results.length, 10);
    await page.locator("#request label", { hasText: "Python" }).click();
    await page.locator("#request pre", { hasText: "import requests" }).waitFor();
    await page.click("#copy");
    await page.locator("#toast", { hasText: "Copied" }).waitFor();
    const copied = await page.evaluate(() => navigator.clipboard.readText());
    assert.ok(copied.includes(`${session.service.url}/v1/collections/course/search`) && copied.includes('"text": "it\'s \\"FAISS\\" 模块"'), copied);
    await page.fill("#query", "HNSW");
    await page.locator("#request pre", { hasText: "HNSW" }).waitFor(); // what is open stays open
  }));

test("cached and degraded answers are marked as such", () =>
  withPage({ locale: "en-US" }, async (page) => {
    await page.route("**/search", async (route) => {
      const answer = await route.fetch();
      const body = { ...(await answer.json()), cached: true, degraded: ["lexical"] };
      await route.fulfill({ response: answer, body: JSON.stringify(body) });
    });
    await page.fill("#query", QUESTION);
    await page.locator("#status .badge.good", { hasText: "cached" }).waitFor();
    await page.locator("#status .badge.warn", { hasText: "without lexical" }).waitFor();
  }));
