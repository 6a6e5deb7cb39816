// The evaluation page: questions in, figures, plots and history out.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { QUESTIONS } from "../service.mjs";
import { withPage } from "../session.mjs";

test("questions are asked two ways, drawn, explained and remembered", () =>
  withPage({ locale: "en-US", hash: "#/evaluation/course" }, async (page) => {
    await page.locator("#questions").waitFor();
    await page.click("#run-evaluation");
    await page.locator(".problem", { hasText: "no questions" }).waitFor();
    await page.fill("#questions", "question,contains\nq");
    const few = (await readFile(QUESTIONS, "utf8")).split("\n").slice(0, 6).join("\n");
    await page.setInputFiles("#questions-file", { name: "questions.jsonl", mimeType: "application/json", buffer: Buffer.from(few) });
    await page.waitForFunction((text) => document.querySelector("#questions").value === text, few);
    await page.locator('#page input[value="dense"]').check();
    const looked = page.waitForResponse((one) => one.request().method() === "GET" && one.url().endsWith("/eval"));
    const drawn = page.locator("#page progress").waitFor();
    await page.click("#run-evaluation");
    await drawn;
    assert.equal((await looked).status(), 200, "how far it is, is asked for");
    await page.locator("#report .plot").first().waitFor();
    assert.equal(await page.locator("#report .plot svg").count(), 2);
    assert.ok((await page.locator("#report .headline b").allInnerTexts()).every((value) => /^[01]\.\d{3}$/.test(value)));
    await page.locator("#report", { hasText: "Compared with" }).waitFor();
    assert.equal(await page.locator("#report td", { hasText: "老师在演讲者备注里写的话能被检索到吗" }).count(), 1);
    await page.locator("#history tbody tr").nth(1).waitFor();
    assert.equal(await page.locator("#history tbody tr").count(), 2);
    await page.click('.pages a[data-page="collections"]');
    await page.locator(".tile").first().waitFor();
    await page.goBack();
    await page.locator("#report .plot").first().waitFor(); // what was found is still there
    await withPage({ locale: "en-US", hash: "#/evaluation/course" }, (other) => other.locator("#history tbody tr").nth(1).waitFor()); // another browser
    await page.locator("#history button").click();
    await page.locator("dialog button.loss").click();
    await page.locator("#history").waitFor({ state: "detached" });
  }));

test("CSV and lists of JSON are read, and a broken line is named", () =>
  withPage({ locale: "en-US", hash: "#/evaluation/course" }, async (page) => {
    await page.locator("#questions").waitFor();
    await page.fill("#questions", '{"question": "a", "contains": "b"}\n{"question": ');
    await page.click("#run-evaluation");
    await page.locator(".problem", { hasText: "Line 2 is not JSON" }).waitFor();
    await page.fill("#questions", 'question,contains,tags\r\n"FAISS的架构, ""模块""?",模块,a; b\r\n');
    const [request] = await Promise.all([page.waitForRequest("**/eval"), page.click("#run-evaluation")]);
    assert.deepEqual(request.postDataJSON().questions, [{ question: 'FAISS的架构, "模块"?', contains: "模块", tags: ["a", "b"] }]);
    await page.locator("#report .plot").first().waitFor();
  }));
