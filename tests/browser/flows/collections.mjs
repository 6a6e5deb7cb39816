// The collections page: making one, adding by drop, backing up, restoring, verifying, merging, deleting.

import assert from "node:assert/strict";
import { test } from "node:test";
import { samplePicture } from "../service.mjs";
import { call, give, session, withCollection, withPage } from "../session.mjs";

const note = (name, text) => ({ name, type: "text/plain", bytes: Buffer.from(text) });
const fact = (page, term) => page.locator(".facts div", { has: page.locator("dt", { hasText: term }) }).locator("dd").first();

test("a collection is made, filled by drop, backed up, changed, restored and deleted with its name typed", () =>
  withPage({ locale: "en-US", hash: "#/collections" }, async (page, problems) => {
    await page.locator(".tile", { hasText: "course" }).waitFor();
    await page.click("#new-collection");
    await page.fill("#new-name", "fresh");
    await page.locator("dialog button[type=submit]").click();
    await page.locator("h1", { hasText: "fresh" }).waitFor();
    await page.waitForFunction(() => document.activeElement.tagName === "H1"); // the new page is announced

    await give(page, "drop", [note("one.txt", "苹果是水果。"), note("two.md", "# 车\n\n汽车有四个轮子。"), note("bad.pdf", "no pdf")], ".drop");
    await page.locator(".added p[role=status]", { hasText: "2 documents added" }).waitFor();
    await page.locator(".added .problem", { hasText: "bad.pdf" }).waitFor();
    await page.waitForFunction(() => /in 2 documents/.test(document.querySelector(".facts").textContent));
    assert.match(await page.locator(".why").first().innerText(), /exact/);

    await page.click("#make-backup");
    await page.locator("#backups li").waitFor();
    await page.locator("#backups button", { hasText: "Verify" }).click();
    await page.locator("#toast", { hasText: "as it was made" }).waitFor();

    await give(page, "drop", [note("three.txt", "月亮绕着地球转。")], ".drop");
    await page.waitForFunction(() => /in 3 documents/.test(document.querySelector(".facts").textContent));
    await page.locator("#backups button", { hasText: "Restore" }).click();
    await page.locator("dialog button.loss").click();
    await page.waitForFunction(() => /in 2 documents/.test(document.querySelector(".facts").textContent));
    assert.equal((await call("GET", "/v1/collections/fresh")).body.documents, 2);

    await page.click("#verify");
    await page.locator(".why", { hasText: "read back" }).waitFor();

    await page.click("#delete-collection");
    const go = page.locator("dialog button.loss");
    assert.ok(await go.isDisabled());
    await page.locator("dialog input").fill("fres");
    assert.ok(await go.isDisabled());
    await page.locator("dialog input").fill("fresh");
    await page.keyboard.press("Enter");
    await page.locator(".tile", { hasText: "course" }).waitFor();
    assert.equal(await page.locator(".tile", { hasText: "fresh" }).count(), 0);
    assert.equal((await call("GET", "/v1/collections/fresh")).status, 404);
    problems.splice(0, problems.length, ...problems.filter((text) => !/status of 4(22|15)/.test(text))); // the bad file
  }));

test("figures, health and what watches are shown, and the page leads to the search", () =>
  withPage({ locale: "en-US", hash: "#/collections/course" }, async (page) => {
    await page.locator(".facts").waitFor();
    const { body } = await call("GET", "/v1/collections/course");
    assert.match(await fact(page, "Items").innerText(), new RegExp(`^${body.count}\\s+in ${body.documents} documents$`));
    assert.match(await fact(page, "Index").innerText(), /Flat/);
    assert.match(await fact(page, "On disk").innerText(), /(KB|MB)/);
    await page.locator(".badge.good", { hasText: "healthy" }).waitFor();
    await page.locator("a", { hasText: "Search in it" }).click();
    await page.locator("#query").waitFor();
    assert.ok(await page.locator('#collections input[value="course"]').isChecked());
  }));

test("pictures are added with a category, and one collection is merged into another", () =>
  withCollection("album", { kind: "image" }, [], () =>
    withCollection("second", { kind: "image" }, [], () =>
      withPage({ locale: "en-US", hash: "#/collections/album" }, async (page) => {
        await page.locator(".drop").waitFor();
        await page.locator(".added input").fill("fowl");
        await page.setInputFiles("#add-files", [await samplePicture("birds"), await samplePicture("fish")]);
        await page.locator(".added p[role=status]", { hasText: "2 documents added" }).waitFor();
        const found = await call("POST", "/v1/collections/album/search", { filter: 'category = "fowl"', like: "duck.jpg" });
        assert.equal(found.status, 200, JSON.stringify(found.body));
        assert.equal(found.body.results.length, 1);
        await page.goto(`${session.service.url}/#/collections/second`);
        await page.locator("h1", { hasText: "second" }).waitFor();
        await page.locator("button", { hasText: "Merge" }).click();
        await page.locator("dialog select").first().selectOption("album");
        await page.locator("dialog button.main").click();
        await page.locator(".why", { hasText: "2 added" }).waitFor();
        assert.equal((await call("GET", "/v1/collections/second")).body.documents, 2);
      }))));
