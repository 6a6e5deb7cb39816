// The page in a real browser against the real binary: typing, input methods, pictures, errors, languages, sizes, themes.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { after, before, test } from "node:test";
import { samplePicture, shotsFolder, startBrowser, startService } from "./service.mjs";

const QUESTION = "FAISS的架构包含哪些模块？";
let service;
let browser;
let shots;

before(async () => {
  shots = await shotsFolder();
  console.log(`screenshots: ${shots}`);
  service = await startService();
  browser = await startBrowser();
});

after(async () => {
  await browser?.close();
  await service?.stop();
});

/** Opens the page, hands it to `use`, and fails on any error that the page logged and `use` did not expect. */
async function withPage(options, use) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, locale: "zh-CN", ...options });
  const page = await context.newPage();
  const problems = [];
  const foreign = [];
  page.on("pageerror", (error) => problems.push(error.message));
  page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  page.on("request", (request) => {
    if (!/^(blob|data):/.test(request.url()) && !request.url().startsWith(service.url)) foreign.push(request.url());
  });
  await page.goto(`${service.url}/${options.hash ?? ""}`);
  await page.locator("#collections .choice").first().waitFor();
  try {
    await use(page, problems);
    assert.deepEqual(problems, [], "the page logged errors");
    assert.deepEqual(foreign, [], "the page asked another host");
  } finally {
    await context.close();
  }
}

const searches = (page) => {
  const seen = [];
  page.on("request", (request) => request.url().endsWith("/search") && seen.push(request.postDataJSON()));
  return seen;
};

/** Gives a file to the page as a browser would on drop or paste. */
async function give(page, kind, path, type) {
  const bytes = (await readFile(path)).toString("base64");
  await page.evaluate(
    ([kind, name, type, base64]) => {
      const content = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
      const carried = new DataTransfer();
      carried.items.add(new File([content], name, { type }));
      if (kind === "paste") {
        document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData: carried, bubbles: true, cancelable: true }));
        return;
      }
      for (const event of ["dragenter", "dragover", "drop"]) {
        document.body.dispatchEvent(new DragEvent(event, { dataTransfer: carried, bubbles: true, cancelable: true }));
      }
    },
    [kind, basename(path), type, bytes],
  );
}

const firstCard = (page) => page.locator(".card .name").first();

test("typing a Chinese question finds the passage, with place, score and times", () =>
  withPage({}, async (page) => {
    await page.locator("#query").pressSequentially(QUESTION, { delay: 15 });
    await page.locator(".passage").first().waitFor();
    await page.locator(".passage .text", { hasText: "模块" }).first().waitFor();
    const first = page.locator(".passage").first();
    assert.match(await first.locator(".trail").innerText(), /^1/);
    assert.match(await first.innerText(), /\.(md|txt)/);
    assert.match(await first.locator(".score-value").innerText(), /^0\.\d{4}$/);
    assert.ok((await first.locator("mark").count()) > 0, "shared words are marked");
    assert.match(await page.locator("#status").innerText(), /毫秒/);
    const scores = (await page.locator(".score-value").allInnerTexts()).map(Number);
    // Words count for the rank as well; what is shown stays the cosine.
    assert.equal(scores[0], Math.max(...scores));
    assert.match(decodeURIComponent(page.url()), /#c=course&q=FAISS/);
  }));

test("words can be asked for, in either script, and what matched is marked", () =>
  withPage({}, async (page) => {
    const asked = searches(page);
    await page.selectOption("#mode", "lexical");
    await page.fill("#query", "向量檢索");
    await page.locator(".passage mark").first().waitFor();
    assert.ok(asked.every((body) => body.mode === "lexical"), JSON.stringify(asked));
    const marks = await page.locator(".passage mark").allInnerTexts();
    assert.ok(marks.some((mark) => /向量|检索/.test(mark)), marks.join());
    const [request] = await Promise.all([page.waitForRequest("**/search"), page.selectOption("#mode", "")]);
    assert.equal(request.postDataJSON().mode, undefined);
  }));

test("nothing is asked while an input method composes", () =>
  withPage({}, async (page) => {
    const asked = searches(page);
    const keyboard = await page.context().newCDPSession(page);
    await page.locator("#query").focus();
    for (const text of ["x", "xi", "xiang", "xiang liang"]) {
      await keyboard.send("Input.imeSetComposition", { text, selectionStart: text.length, selectionEnd: text.length });
      await page.waitForTimeout(250);
    }
    assert.deepEqual(asked, [], "pinyin is not a question");
    await keyboard.send("Input.insertText", { text: "向量" });
    await page.locator(".passage").first().waitFor();
    assert.deepEqual(asked.map((body) => body.text), ["向量"]);
  }));

test("the last question wins, however late an earlier answer comes", () =>
  withPage({}, async (page) => {
    await page.route("**/search", async (route) => {
      const isFirst = route.request().postDataJSON().text === "first";
      if (isFirst) await new Promise((done) => setTimeout(done, 700));
      await route.continue().catch(() => {}); // aborted meanwhile, which is what the page should do
    });
    await page.fill("#query", "first");
    await page.waitForTimeout(300);
    await page.fill("#query", QUESTION);
    await page.locator(".passage").first().waitFor();
    const shown = await page.locator(".passage .text").first().innerText();
    await page.waitForTimeout(900);
    assert.equal(await page.locator(".passage .text").first().innerText(), shown);
  }));

for (const kind of ["drop", "paste"]) {
  test(`a picture comes in by ${kind} and finds itself`, () =>
    withPage({}, async (page) => {
      const path = await samplePicture("birds");
      await give(page, kind, path, "image/jpeg");
      await page.locator(".card").first().waitFor();
      assert.equal(await firstCard(page).innerText(), basename(path).replace(/\.\w+$/, ""));
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
    const name = await second.locator(".name").getAttribute("title");
    await second.locator(".more").click();
    await page.waitForFunction((id) => document.querySelector("#asked-name").textContent.endsWith(id), name);
    await page.waitForFunction((id) => document.querySelector(".card .name")?.title !== id, name);
    assert.ok(!(await page.locator(".card .name").evaluateAll((all) => all.map((one) => one.title))).includes(name));
    await page.keyboard.press("Escape");
    assert.equal(await page.locator(".card").count(), 0);
    await page.locator("body").click({ position: { x: 5, y: 400 } });
    await page.keyboard.press("/");
    assert.equal(await page.evaluate(() => document.activeElement.id), "query");
  }));

test("what is no picture is refused kindly, and the page goes on", () =>
  withPage({ locale: "en-US" }, async (page, problems) => {
    await give(page, "drop", new URL(import.meta.url).pathname, "text/javascript");
    await page.locator("#problem").waitFor();
    assert.match(await page.locator("#problem").innerText(), /is not a picture/);
    await give(page, "drop", new URL(import.meta.url).pathname, "image/png");
    await page.locator("#problem", { hasText: /./ }).waitFor();
    await page.waitForResponse((answer) => answer.status() === 422).catch(() => {});
    await page.fill("#query", QUESTION);
    await page.locator(".passage").first().waitFor();
    assert.ok(await page.locator("#problem").isHidden());
    problems.splice(0, problems.length, ...problems.filter((text) => !text.includes("status of 422")));
  }));

test("hostile names and documents are shown as text and run nothing", async () => {
  const evil = `<img src=x onerror="window.caught=1"><script>window.caught=2</script>`;
  const call = (method, path, body) =>
    fetch(`${service.url}${path}`, { method, headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  assert.equal((await call("PUT", "/v1/collections/hostile", {})).status, 201);
  const metadata = { source: evil, chapter: evil, [`key ${evil}`]: evil };
  const added = await call("POST", "/v1/collections/hostile/documents", {
    documents: [{ id: evil, text: `${evil} 向量`, metadata }],
  });
  assert.equal(added.status, 200);
  try {
    await withPage({ hash: `#c=hostile&q=${encodeURIComponent(evil)}` }, async (page) => {
      await page.locator(".passage").first().waitFor();
      assert.match(await page.locator(".passage .text").innerText(), /<script>/);
      assert.equal(await page.evaluate(() => window.caught), undefined);
      assert.equal(await page.locator("main script, main .passage img").count(), 0);
    });
  } finally {
    await call("DELETE", "/v1/collections/hostile");
  }
});

test("the language follows the browser and a switch that is remembered", () =>
  withPage({ locale: "en-US" }, async (page) => {
    assert.equal(await page.locator("html").getAttribute("lang"), "en");
    await page.fill("#query", "how does HNSW work");
    await page.locator(".passage").first().waitFor();
    assert.match(await page.locator("#status").innerText(), /results/);
    await page.click("#language");
    assert.equal(await page.locator("html").getAttribute("lang"), "zh-CN");
    assert.match(await page.locator("#status").innerText(), /条结果/);
    await page.reload();
    await page.locator("#collections .choice").first().waitFor();
    assert.equal(await page.locator("html").getAttribute("lang"), "zh-CN");
  }));

test("the API page works under its own policy", () =>
  withPage({}, async (page) => {
    await page.goto(`${service.url}/docs/`);
    await page.locator(".opblock").first().waitFor();
    assert.ok((await page.locator(".opblock").count()) >= 10);
  }));

for (const [width, height] of [[390, 844], [1440, 900]]) {
  for (const colorScheme of ["light", "dark"]) {
    test(`it fits ${width} px in ${colorScheme}`, () =>
      withPage({ viewport: { width, height }, colorScheme }, async (page) => {
        const keep = async (name) => {
          const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
          assert.ok(overflow <= 0, `${name} is ${overflow} px too wide`);
          await page.screenshot({ path: join(shots, `${name}-${width}-${colorScheme}.png`) });
        };
        await keep("empty");
        await page.fill("#query", QUESTION);
        await page.locator(".passage").first().waitFor();
        await keep("text");
        await page.setInputFiles("#file", await samplePicture("landmarks"));
        await page.locator(".card").first().waitFor();
        await page.waitForFunction(() => [...document.querySelectorAll(".card img")].slice(0, 4).every((i) => i.naturalWidth > 0));
        const heights = await page.locator(".card .frame").evaluateAll((all) => all.map((one) => one.offsetHeight));
        assert.ok(Math.max(...heights) - Math.min(...heights) <= 1, `tall pictures stretch their frames: ${heights}`);
        await keep("pictures");
      }));
  }
}
