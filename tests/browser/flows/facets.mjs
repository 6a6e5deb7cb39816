// Facets: the values of a field with their counts, as chips to filter by.

import assert from "node:assert/strict";
import { test } from "node:test";
import { searchOf, withPage } from "../session.mjs";

test("facets have counts, several values of a field are joined, and counts follow the other filters", () =>
  withPage({ locale: "en-US" }, async (page) => {
    await page.fill("#query", "vectors");
    const facet = page.locator('.facet[aria-label="source"]');
    const chip = (name) => facet.locator(".chip", { hasText: name });
    await chip("lecture4.pptx").waitFor();
    const counts = await facet.locator(".chip i").allInnerTexts();
    assert.deepEqual(counts.map(Number), counts.map(Number).toSorted((a, b) => b - a), "most frequent first");
    const one = await searchOf(page, () => chip("lecture4.pptx").click());
    assert.match(one.filter, /^source = ".*lecture4\.pptx"$/);
    await page.waitForFunction(() => [...document.querySelectorAll(".passage .source")].every((source) => source.textContent === "lecture4.pptx"));
    await facet.locator('.chip[aria-pressed="true"]').waitFor();
    assert.deepEqual(await facet.locator(".chip i").allInnerTexts(), counts, "a field's own filter does not hide its other values");
    const two = await searchOf(page, () => chip("lecture5.pptx").click());
    assert.match(two.filter, /^source IN \("[^"]+", "[^"]+"\)$/);
    const chapters = page.locator('.facet[aria-label="chapter"] .chip');
    await page.waitForFunction(() => document.querySelectorAll('.facet[aria-label="chapter"] .chip').length === 2);
    assert.equal(await chapters.count(), 2, "of two files, two chapters");
    await page.reload();
    await page.locator("#chips .chip").nth(1).waitFor();
    await searchOf(page, () => page.locator("#chips .chip").first().click());
    await page.waitForFunction(() => document.querySelectorAll("#chips .chip").length === 1);
  }));
