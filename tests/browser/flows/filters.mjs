// Filters: from a result's tag, and in words.

import assert from "node:assert/strict";
import { test } from "node:test";
import { samplePicture } from "../service.mjs";
import { forgive, searchOf, withPage } from "../session.mjs";

test("a tag on a result filters, a chip takes the filter away, and the address keeps it", () =>
  withPage({ locale: "en-US" }, async (page) => {
    await page.setInputFiles("#file", await samplePicture("birds"));
    await page.locator(".card").first().waitFor();
    const body = await searchOf(page, () => page.locator(".card .tag", { hasText: "animals" }).first().click());
    assert.equal(body.filter, 'category = "animals"');
    await page.waitForFunction(() => [...document.querySelectorAll(".card .tag")].every((tag) => tag.textContent === "animals"));
    assert.match(decodeURIComponent(page.url()), /f=\["category","animals"\]/);
    const again = await searchOf(page, () => page.locator("#chips .chip").click());
    assert.equal(again.filter, undefined);
    assert.ok(await page.locator("#chips").isHidden());
  }));

test("a filter in words is applied, and a wrong one is explained", () =>
  withPage({ locale: "en-US" }, async (page, problems) => {
    await page.fill("#query", "vectors");
    await page.locator(".passage").first().waitFor();
    await page.fill("#expression-text", 'source LIKE "%pptx"');
    const body = await searchOf(page, () => page.keyboard.press("Enter"));
    assert.equal(body.filter, 'source LIKE "%pptx"');
    await page.waitForFunction(() => [...document.querySelectorAll(".passage .source")].every((source) => source.textContent.endsWith(".pptx")));
    await page.fill("#expression-text", "source LIKE");
    await page.keyboard.press("Enter");
    await page.locator("#problem", { hasText: "filter" }).waitFor();
    await page.locator("#chips .chip").click();
    await page.locator(".passage").first().waitFor();
    forgive(problems, 422);
  }));
