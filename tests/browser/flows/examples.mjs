// Asking with more than one picture: several together, less one; a region of one; and what is in a collection twice.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { samplePicture } from "../service.mjs";
import { call, give, settled, withCollection, withPage } from "../session.mjs";

const jpeg = async (category) => ({ path: await samplePicture(category), type: "image/jpeg" });

test("several pictures are asked together, less one, and each can be left out", () =>
  withPage({ locale: "en-US" }, async (page) => {
    const first = await settled(page, async () => give(page, "drop", [await jpeg("birds"), await jpeg("fish")]));
    assert.equal(first.image.length, 2);
    const unwanted = page.locator(".card").nth(3);
    const id = await unwanted.locator(".name").getAttribute("title");
    const less = await settled(page, () => unwanted.locator(".unlike").click());
    assert.equal(less.unlike, id);
    assert.equal(await page.locator(".asked-item.minus").count(), 1);
    assert.ok(!(await page.locator(".card .name").evaluateAll((all) => all.map((one) => one.title))).includes(id));
    const joined = await settled(page, () => page.locator(".card").first().locator(".join").click());
    assert.equal(joined.image.length, 2);
    assert.ok(joined.like && joined.unlike, JSON.stringify(Object.keys(joined)));
    assert.equal(await page.locator(".asked-item").count(), 4);
    const [chooser] = await Promise.all([page.waitForEvent("filechooser"), page.click("#ask-more")]);
    const more = await settled(page, async () => chooser.setFiles(await samplePicture("animals")));
    assert.equal(more.image.length, 3, "one more beside the others");
    for (let left = 5; left > 0; left = await page.locator(".asked-item").count()) {
      await page.locator(".asked-item button").first().click();
      await page.waitForFunction((before) => document.querySelectorAll(".asked-item").length < before, left);
    }
    await page.locator("#asked").waitFor({ state: "hidden" });
    assert.equal(await page.locator(".card").count(), 0);
  }));

test("a region is chosen by keyboard and by dragging, and given up again", () =>
  withPage({ locale: "en-US" }, async (page) => {
    await settled(page, async () => page.setInputFiles("#file", await samplePicture("landmarks")));
    await page.locator("#crop").focus();
    await page.keyboard.press("Enter");
    assert.ok(await page.evaluate(() => document.activeElement.matches(".crop-frame")));
    const moved = await settled(page, () => page.keyboard.press("ArrowLeft"));
    assert.deepEqual(moved.region, [0.2, 0.25, 0.5, 0.5]);
    const sized = await settled(page, () => page.keyboard.press("Shift+ArrowDown"));
    assert.deepEqual(sized.region, [0.2, 0.25, 0.5, 0.55]);
    assert.match(await page.locator("#crop-now").innerText(), /left 20 %, top 25 %, 50 % wide, 55 % high/);
    const box = await page.locator(".crop-stage").boundingBox();
    const at = (x, y) => [box.x + box.width * x, box.y + box.height * y];
    await page.mouse.move(...at(0.05, 0.05));
    await page.mouse.down();
    await page.mouse.move(...at(0.3, 0.3));
    await page.mouse.move(...at(0.6, 0.95));
    const drawn = await settled(page, () => page.mouse.up());
    for (const [part, wanted] of drawn.region.map((one, n) => [one, [0.05, 0.05, 0.55, 0.9][n]])) assert.ok(Math.abs(part - wanted) < 0.02, String(drawn.region));
    assert.ok(Number(await page.locator(".card .score-value").first().innerText()) < 0.999, "another question than all of the picture");
    await page.locator(".crop-frame").focus();
    const whole = await settled(page, () => page.keyboard.press("Escape"));
    assert.equal(whole.region, undefined);
    assert.ok(await page.evaluate(() => document.activeElement.id === "crop"), "the focus stays near");
    assert.equal(await page.locator(".asked-item").count(), 1);
  }));

test("duplicates are found, looked at and deleted", () =>
  withCollection("twice", { kind: "image" }, [], () =>
    withPage({ locale: "en-US", hash: "#/collections/twice" }, async (page) => {
      const picture = await samplePicture("birds");
      const bytes = await readFile(picture);
      await page.locator(".drop").waitFor();
      await give(page, "drop", [{ name: "one.jpg", type: "image/jpeg", bytes }, { name: "two.jpg", type: "image/jpeg", bytes }, await jpeg("fish")], ".drop");
      await page.locator(".added p[role=status]", { hasText: "3 documents added" }).waitFor();
      await page.click("#find-duplicates");
      await page.locator(".group h3", { hasText: "The same, 2 times" }).waitFor();
      assert.deepEqual(await page.locator(".group li b").allInnerTexts(), ["one", "two"]);
      await page.locator(".group li", { hasText: "two" }).locator("button").click();
      await page.locator("dialog button.loss").click();
      await page.locator("p", { hasText: "0 groups among 2 items" }).waitFor();
      assert.equal((await call("GET", "/v1/collections/twice")).body.documents, 2);
    })));
