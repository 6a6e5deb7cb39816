// The tuning page: a sweep, its progress, its plots, its report, and what is remembered.

import assert from "node:assert/strict";
import { test } from "node:test";
import { call, session, withCollection, withPage } from "../session.mjs";

const ROWS = 400;
const DIM = 8;

/** Vectors in clusters, by a generator with a seed, so that every run sees the same ones. */
function vectors() {
  let state = 7;
  const next = () => {
    state = (state * 1103515245 + 12345) % 2147483648;
    return state / 2147483648 - 0.5;
  };
  const centres = Array.from({ length: 12 }, () => Array.from({ length: DIM }, next));
  return Array.from({ length: ROWS }, (_, at) => ({ id: `v${at}`, vector: centres[at % centres.length].map((value) => value + next() * 0.2) }));
}

test("a sweep runs with progress, is drawn, reported, applied and remembered", () =>
  withCollection("swept", { dim: DIM, metric: "l2" }, vectors(), () =>
    withPage({ locale: "en-US", hash: "#/tuning/swept" }, async (page) => {
      await page.fill("#tune-target", "0.9");
      const [request] = await Promise.all([page.waitForRequest((one) => one.method() === "POST" && one.url().endsWith("/tune")), page.click("#run-tuning")]);
      assert.deepEqual(request.postDataJSON(), { target_recall: 0.9, sweep: true, apply: false });
      await page.locator("#study .plot").first().waitFor({ timeout: 40_000 });
      assert.ok((await page.locator("#study .plot svg").count()) >= 3, "recall against QPS, and recall and time against an effort");
      assert.equal(await page.locator("#study tbody .badge.good", { hasText: "chosen" }).count(), 1);
      assert.ok((await page.locator("#study circle.chosen").count()) >= 1);
      const [recall] = await page.locator("#study .headline b").allInnerTexts();
      assert.ok(Number(recall) >= 0.9, recall);
      const href = await page.getAttribute("#tuning-report", "href");
      assert.equal((await fetch(session.service.url + href)).status, 200);
      await page.locator("h2", { hasText: "History" }).waitFor();
      const [report] = await Promise.all([page.waitForEvent("popup"), page.click("#tuning-report")]);
      await report.locator("svg").first().waitFor();
      await report.close();
      await page.click('.pages a[data-page="collections"]');
      await page.locator(".tile", { hasText: "swept" }).waitFor();
      await page.goBack();
      await page.locator("#study .plot").first().waitFor();
      const again = page.waitForRequest((one) => one.method() === "POST" && one.url().endsWith("/tune"));
      await page.locator("#study button", { hasText: "Apply the choice" }).click();
      assert.equal((await again).postDataJSON().apply, true);
      await page.locator("#study .badge.good", { hasText: "Applied" }).waitFor({ timeout: 40_000 });
      assert.equal((await call("GET", "/v1/collections/swept/tune")).body.state, "done");
    })));

test("an unknown name leads to a collection that can be tuned", () =>
  withPage({ locale: "en-US", hash: "#/tuning/nothing-of-that-name" }, async (page) => {
    await page.locator("#run-tuning").waitFor();
    assert.ok(await page.locator("#run-tuning").isEnabled());
  }));
