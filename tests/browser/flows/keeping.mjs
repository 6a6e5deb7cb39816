// What goes on beside the searches: moving to another model, watched folders, and what went wrong.

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { startService } from "../service.mjs";
import { call, forgive, session, withCollection, withPage } from "../session.mjs";

test("a collection moves to another model, with its progress told", () => {
  const documents = ["苹果是水果。", "汽车有四个轮子。", "月亮绕着地球转。"].map((text, at) => ({ id: `n${at}`, text }));
  return withCollection("moving", { kind: "text" }, documents, () =>
    withPage({ locale: "en-US", hash: "#/collections/moving" }, async (page, problems) => {
      await page.locator(".facts").waitFor();
      await page.locator("button", { hasText: "Move to another model" }).click();
      const model = page.locator("dialog input");
      assert.equal(await model.inputValue(), (await call("GET", "/v1/collections/moving")).body.model);
      await model.fill("no-such-model");
      await page.locator("dialog button.main").click();
      await page.locator("dialog .problem", { hasText: "no-such-model" }).waitFor();
      forgive(problems, 404);
      await model.fill((await call("GET", "/v1/collections/moving")).body.model);
      await page.locator("dialog button.main").click();
      await page.locator("dialog").waitFor({ state: "detached" });
      const task = page.locator("#tasks .task", { hasText: "Moving to" });
      await task.locator(".badge", { hasText: "done" }).waitFor();
      assert.match(await task.innerText(), /3 of 3 items/);
      assert.equal((await call("GET", "/v1/collections/moving")).body.count, 3);
    }));
});

test("a watched folder is shown with its files, and what could not be read among the recent errors", async () => {
  const folder = await mkdtemp(join(tmpdir(), "bilin-watched-"));
  await writeFile(join(folder, "one.md"), "# 车\n\n汽车有四个轮子。");
  await writeFile(join(folder, "broken.pdf"), "no pdf");
  const service = await startService({ isEmpty: true, env: { BILIN_WATCH_SOURCES: `inbox=${folder}`, BILIN_WATCH_SETTLE: "50ms" } });
  try {
    const context = await session.browser.newContext({ locale: "en-US" });
    const page = await context.newPage();
    await page.goto(`${service.url}/#/collections`);
    const errors = page.locator("#errors");
    for (let tries = 0; tries < 50 && !(await errors.count()); tries += 1) {
      await page.reload();
      await page.locator(".tile, .empty").first().waitFor();
      await page.waitForLoadState("networkidle");
    }
    assert.equal(await errors.evaluate((one) => one.open), false, "folded until somebody wants to know");
    await errors.locator("summary").click();
    await errors.locator("li", { hasText: "broken.pdf" }).waitFor();
    assert.match(await errors.locator("li .badge").first().innerText(), /warn|error/);
    await page.locator(".tile", { hasText: "inbox" }).click();
    const watched = page.locator("section", { has: page.locator("h2", { hasText: "Watched folders" }) });
    await watched.locator("code", { hasText: folder }).waitFor();
    assert.match(await watched.innerText(), /watched[\s\S]*[12] files?, 0 still being written/);
    await context.close();
  } finally {
    await service.stop();
    await rm(folder, { recursive: true, force: true });
  }
});
