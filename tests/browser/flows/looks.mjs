// How it looks: both widths, both themes, both languages, by axe and by eye; what is remembered.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { test } from "node:test";
import { samplePicture } from "../service.mjs";
import { QUESTION, call, session, withPage } from "../session.mjs";

const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];

/** Serious and critical violations of the page as it is now, in a form that can be read. */
async function violations(page) {
  await page.evaluate(AXE); // by the debugger, which the page's policy does not bind
  return page.evaluate(async (tags) => {
    const found = await window.axe.run(document, { runOnly: tags, resultTypes: ["violations"] });
    return found.violations
      .filter((one) => ["serious", "critical"].includes(one.impact))
      .flatMap((one) => one.nodes.map((node) => `${one.id}: ${node.html.slice(0, 160)} ${node.any[0]?.message ?? ""}`));
  }, RULES);
}

/** Every page in a state worth looking at: a name, and what leads there. */
const PAGES = [
  ["empty", async () => {}],
  ["text", async (page) => {
    await page.fill("#query", QUESTION);
    await page.locator(".passage").first().waitFor();
    await page.locator("#filters").evaluate((one) => (one.open = true));
    await page.locator("#request").evaluate((one) => (one.open = true));
    await page.locator("#request pre").waitFor();
  }],
  ["pictures", async (page) => {
    await page.setInputFiles("#file", await samplePicture("landmarks"));
    await page.locator(".card").first().waitFor();
    await page.click("#crop");
    await page.waitForFunction(() => [...document.querySelectorAll(".card img")].slice(0, 2).every((i) => i.naturalWidth > 0));
  }],
  ["source", async (page) => {
    await page.fill("#query", QUESTION);
    await page.locator(".passage .source").first().click();
    await page.locator("dialog .here").waitFor();
  }],
  ["collections", async (page) => {
    await page.evaluate(() => (location.hash = "#/collections"));
    await page.locator(".tile").first().waitFor();
  }],
  ["collection", async (page) => {
    await page.evaluate(() => (location.hash = "#/collections/course"));
    await page.locator(".facts").waitFor();
  }],
  ["delete", async (page) => {
    await page.click("#delete-collection");
    await page.locator("dialog input").waitFor();
  }],
  ["create", async (page) => {
    await page.evaluate(() => (location.hash = "#/collections"));
    await page.click("#new-collection");
    await page.locator("#new-name").waitFor();
  }],
  ["evaluation", async (page) => {
    await page.evaluate(() => (location.hash = "#/evaluation/course"));
    await page.fill("#questions", '{"question": "FAISS的架构包含哪些模块？", "contains": "模块"}\n{"question": "BM25", "contains": "k1"}');
    await page.click("#run-evaluation");
    await page.locator("#report .plot").first().waitFor();
  }],
  ["tuning", async (page) => {
    await studied;
    await page.evaluate(() => (location.hash = "#/tuning/course"));
    await page.locator("#study .plot").first().waitFor();
  }],
];

/** A small study, so that the tuning page has something to show. */
const study = async () => {
  const wishes = { index: ["IVF8,RaBitQ,RFlat", "HNSW8"], nprobe: [1, 2, 4, 8], ef: [10, 20], refine: [1, 4], max_queries: 20 };
  assert.equal((await call("POST", "/v1/collections/course/tune", wishes)).status, 202);
  for (;;) {
    const { state } = (await call("GET", "/v1/collections/course/tune")).body;
    if (state !== "running") return assert.equal(state, "done");
    await new Promise((done) => setTimeout(done, 50));
  }
};
let studied = null;

const LOOKS = [[390, "light", "zh-CN"], [1440, "light", "en-US"], [390, "dark", "en-US"], [1440, "dark", "zh-CN"]];
for (const [width, colorScheme, locale] of LOOKS) {
  test(`every page at ${width} px, ${colorScheme}, ${locale}: it fits, and axe finds nothing serious`, () =>
    withPage({ viewport: { width, height: width < 500 ? 844 : 900 }, colorScheme, locale }, async (page, problems) => {
      const found = [];
      studied ??= study();
      for (const [name, lead] of PAGES) {
        await lead(page);
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        if (overflow > 0) found.push(`${name}: ${overflow} px too wide`);
        await page.screenshot({ path: join(session.shots, `${name}-${width}-${colorScheme}.png`) });
        found.push(...(await violations(page)).map((one) => `${name}: ${one}`));
        if (await page.locator("dialog[open]").count()) {
          await page.keyboard.press("Escape");
          await page.locator("dialog").waitFor({ state: "detached" });
        }
        if (name === "pictures") {
          const heights = await page.locator(".card .frame").evaluateAll((all) => all.map((one) => one.offsetHeight));
          assert.ok(Math.max(...heights) - Math.min(...heights) <= 1, `tall pictures stretch their frames: ${heights}`);
        }
      }
      assert.deepEqual(found, []);
    }));
}

test("language and theme follow the system, then what was chosen, and are remembered", () =>
  withPage({ locale: "en-US", colorScheme: "dark" }, async (page) => {
    const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const dark = await paper();
    assert.equal(await page.locator("html").getAttribute("lang"), "en");
    await page.fill("#query", "how does HNSW work");
    await page.locator(".passage").first().waitFor();
    assert.match(await page.locator("#status").innerText(), /results/);
    await page.click("#language");
    assert.equal(await page.locator("html").getAttribute("lang"), "zh-CN");
    assert.match(await page.locator("#status").innerText(), /条结果/);
    await page.click("#theme");
    assert.notEqual(await paper(), dark, "light now");
    assert.equal(await page.locator("#theme").getAttribute("aria-label"), "主题：浅色");
    await page.reload();
    await page.locator(".passage").first().waitFor();
    assert.equal(await page.locator("html").getAttribute("lang"), "zh-CN");
    assert.notEqual(await paper(), dark, "still light");
    await page.click("#theme");
    await page.click("#theme");
    assert.equal(await page.locator("html").getAttribute("data-theme"), null, "the system's again");
    assert.equal(await paper(), dark);
  }));

test("everything on the search page is reached by keyboard, in the order it is seen", () =>
  withPage({ locale: "en-US", hash: "#c=course&q=HNSW" }, async (page) => {
    await page.locator(".passage").first().waitFor();
    await page.locator("#skip").focus();
    const seen = [];
    for (let step = 0; step < 18; step += 1) {
      if (step > 0) await page.keyboard.press("Tab");
      seen.push(await page.evaluate(() => {
        const here = document.activeElement;
        return here.id || here.dataset.page || here.getAttribute("name") || here.className.split(" ")[0];
      }));
    }
    assert.equal(seen[0], "skip");
    for (const wanted of ["to-search", "collections", "evaluation", "tuning", "theme", "language", "query", "pick", "collection", "mode", "per", "top-k", "rerank", "link"]) {
      assert.ok(seen.includes(wanted), `${wanted} is not among ${seen}`);
    }
    await page.locator("#skip").focus();
    await page.keyboard.press("Enter");
    assert.equal(await page.evaluate(() => document.activeElement.id), "results");
  }));
