// Nothing that was indexed can run; the policy is strict; a key is asked for by the browser itself.

import assert from "node:assert/strict";
import { test } from "node:test";
import { startService } from "../service.mjs";
import { give, session, withCollection, withPage } from "../session.mjs";

const EVIL = `<img src=x onerror="window.caught=1"><script>window.caught=2</script>`;

test("hostile names and documents are shown as text and run nothing, on every page", () => {
  const metadata = { source: EVIL, chapter: EVIL, url: "javascript:window.caught=3", category: EVIL, kind: EVIL, [`key ${EVIL}`]: EVIL };
  return withCollection("hostile", {}, [{ id: EVIL, text: `${EVIL} 向量`, metadata }], () =>
    withPage({ hash: `#c=hostile&q=${encodeURIComponent(EVIL)}` }, async (page) => {
      await page.locator(".passage").first().waitFor();
      assert.match(await page.locator(".passage .text").innerText(), /<script>/);
      await page.locator(".passage button.tag").first().click();
      assert.equal(await page.locator(".passage span.tag").count(), 1, "a field that no filter can name is no button");
      await page.locator("#chips .chip").waitFor();
      await page.locator("#request summary").click();
      await page.locator("#request pre", { hasText: "onerror" }).waitFor();
      await page.locator(".passage .source").click();
      await page.locator("dialog .document-part.here", { hasText: "<script>" }).waitFor();
      await page.keyboard.press("Escape");
      assert.equal(await page.locator('a[href^="javascript:"]').count(), 0);
      await page.goto(`${session.service.url}/#/collections/hostile`);
      await page.locator("#add-files").waitFor({ state: "attached" });
      await give(page, "drop", [{ name: `${EVIL}.txt`.replaceAll("/", ""), type: "text/plain", bytes: Buffer.from(EVIL) }], ".drop");
      await page.locator(".added p[role=status]").waitFor();
      assert.equal(await page.evaluate(() => window.caught), undefined);
      assert.equal(await page.locator("main script, main .passage img, dialog img, dialog script").count(), 0);
    }));
});

test("a script or style that is not ours is refused by the policy", () =>
  withPage({}, async (page, problems) => {
    const policy = (await (await fetch(`${session.service.url}/`)).headers).get("content-security-policy");
    assert.ok(policy.includes("script-src 'self'") && !policy.includes("unsafe"), policy);
    await page.evaluate(() => {
      const script = document.createElement("script");
      script.textContent = "window.caught = 1";
      document.body.append(script);
    });
    assert.equal(await page.evaluate(() => window.caught), undefined);
    assert.ok(problems.length > 0 && problems.every((text) => text.includes("Content Security Policy")), problems.join());
    problems.length = 0;
  }));

test("an address that was cut off does not break the page", () =>
  withPage({ hash: "#/nowhere/%E0%A4%A" }, async (page) => {
    await page.locator("#query").waitFor(); // an address that was cut off is the search
    await page.goto(`${session.service.url}/#/collections/%E0%A4%A`);
    await page.locator(".tile").first().waitFor();
  }));

test("with a key the browser asks for it, and the page works", async () => {
  const service = await startService({ isEmpty: true, env: { BILIN_API_KEY: "a key of the test" } });
  try {
    assert.equal((await fetch(service.url)).status, 401);
    const context = await session.browser.newContext({ locale: "en-US", httpCredentials: { username: "any", password: "a key of the test" } });
    const page = await context.newPage();
    await page.goto(service.url);
    await page.locator("#problem", { hasText: "Nothing to search yet" }).waitFor();
    await page.click('.pages a[data-page="collections"]');
    await page.locator(".empty", { hasText: "No collections yet" }).waitFor();
    await context.close();
  } finally {
    await service.stop();
  }
});

test("the API page works under its own policy", () =>
  withPage({}, async (page) => {
    await page.goto(`${session.service.url}/docs/`);
    await page.locator(".opblock").first().waitFor();
    assert.ok((await page.locator(".opblock").count()) >= 10);
  }));
