// Asking with a picture: dropped, pasted, picked, photographed, and from a result.

import assert from "node:assert/strict";
import { basename } from "node:path";
import { test } from "node:test";
import { samplePicture } from "../service.mjs";
import { QUESTION, forgive, give, settled, withPage } from "../session.mjs";

const firstCard = (page) => page.locator(".card .name").first();
const jpeg = async (category) => ({ path: await samplePicture(category), type: "image/jpeg" });

for (const kind of ["drop", "paste"]) {
  test(`a picture comes in by ${kind} and finds itself`, () =>
    withPage({}, async (page) => {
      const picture = await jpeg("birds");
      await give(page, kind, [picture]);
      await page.locator(".card").first().waitFor();
      assert.equal(await firstCard(page).innerText(), basename(picture.path).replace(/\.\w+$/, ""));
      assert.ok(Number(await page.locator(".card .score-value").first().innerText()) > 0.999);
      assert.ok(await page.locator('#collections input[value="pictures"]').isChecked(), "moved to the pictures");
      assert.ok(await page.locator("#veil").isHidden());
      await page.waitForFunction(() => [...document.querySelectorAll(".card img")].slice(0, 4).every((i) => i.naturalWidth > 0));
    }));
}

test("a picture can be picked, its neighbours looked at, and all of it cleared by keyboard", () =>
  withPage({}, async (page) => {
    await page.setInputFiles("#file", await samplePicture("fish"));
    await page.locator(".card").first().waitFor();
    const second = page.locator(".card").nth(1);
    const id = await second.locator(".name").getAttribute("title");
    const body = await settled(page, () => second.locator(".more").click());
    assert.equal(body.like, id);
    assert.ok(!(await page.locator(".card .name").evaluateAll((all) => all.map((one) => one.title))).includes(id));
    await page.locator(".card .frame button").first().click();
    await page.locator("dialog .document-picture").waitFor();
    assert.match(await page.locator("dialog").innerText(), /category/);
    await page.keyboard.press("Escape");
    await page.locator("dialog").waitFor({ state: "detached" });
    await page.keyboard.press("Escape");
    assert.equal(await page.locator(".card").count(), 0);
    await page.locator("body").click({ position: { x: 5, y: 400 } });
    await page.keyboard.press("/");
    assert.equal(await page.evaluate(() => document.activeElement.id), "query");
  }));

test("a phone can take a photograph", () =>
  withPage({ viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true }, async (page) => {
    assert.ok(await page.locator("#photo").isVisible());
    assert.equal(await page.getAttribute("#camera", "capture"), "environment");
    const [chooser] = await Promise.all([page.waitForEvent("filechooser"), page.tap("#photo")]);
    await chooser.setFiles(await samplePicture("animals"));
    await page.locator(".card").first().waitFor();
  }));

test("what is no picture is refused kindly, and the page goes on", () =>
  withPage({ locale: "en-US" }, async (page, problems) => {
    const script = new URL(import.meta.url).pathname;
    await give(page, "drop", [{ path: script, type: "text/javascript" }]);
    await page.locator("#problem", { hasText: "is not a picture" }).waitFor();
    const refused = page.waitForResponse("**/search");
    await give(page, "drop", [{ path: script, type: "image/png" }]);
    assert.equal((await refused).status(), 422);
    await page.locator("#problem", { hasText: /picture/ }).waitFor();
    await page.fill("#query", QUESTION);
    await page.locator(".passage").first().waitFor();
    assert.ok(await page.locator("#problem").isHidden());
    forgive(problems, 422);
  }));
