// Measures how the page feels on the sample data: `BILIN=target/release/bilin node tests/browser/feel.mjs` prints one line of JSON.
// PAGE=http://127.0.0.1:8000 measures a service that runs already.
//
// First paint: the browser's own "first-contentful-paint" of reloads, when every asset is cached and revalidated. Keystrokes: from the input
// event to the frame after the results of that very text stand in the page; a key whose answer had not come when the next one was pressed
// counts as the time until then, so the figure cannot be flattered by dropping late ones.

import { startBrowser, startService } from "./service.mjs";

const RELOADS = 20;
const KEY_MS = Number(process.env.KEY_MS ?? 150);
const QUESTIONS = [
  "why do we normalise vectors", "how do I restore a backup", "what is nprobe", "which index saves memory", "FAISS的架构包含哪些模块",
  "为什么要归一化", "怎样选择切分长度", "倒排索引", "BM25 里的 k1", "召回率怎么测",
];

const quantile = (values, share) => {
  const sorted = values.toSorted((a, b) => a - b);
  return Number(sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)].toFixed(1));
};

const service = process.env.PAGE ? { url: process.env.PAGE, stop: async () => {} } : await startService();
const browser = await startBrowser();
try {
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 }, locale: "en-US" });
  await page.goto(service.url);
  await page.locator("#collections .choice").first().waitFor();
  const paints = [];
  for (let round = 0; round < RELOADS; round += 1) {
    await page.reload();
    await page.locator("#collections .choice").first().waitFor();
    paints.push(await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0].startTime));
  }
  await page.evaluate(() => {
    window.keys = [];
    const query = document.querySelector("#query");
    query.addEventListener("input", () => window.keys.push({ text: query.value.trim(), at: performance.now(), shown: null }), true);
    new MutationObserver(() => {
      const last = window.keys.at(-1);
      if (last && last.shown === null) requestAnimationFrame(() => (last.shown ??= performance.now()));
    }).observe(document.querySelector("#results"), { childList: true });
  });
  // Once for the model and its caches to be warm, as they are for all but the first question after a start.
  for (const isMeasured of [false, true]) {
    for (const question of isMeasured ? QUESTIONS : QUESTIONS.slice(0, 1)) {
      await page.evaluate(() => (document.querySelector("#query").value = ""));
      await page.locator("#query").pressSequentially(question, { delay: KEY_MS });
      await page.waitForFunction(() => window.keys.at(-1).shown !== null);
    }
    if (!isMeasured) await page.evaluate(() => (window.keys.length = 0));
  }
  // A space behind a word asks nothing new.
  const keys = (await page.evaluate(() => window.keys)).filter((key, at, all) => key.text !== "" && key.text !== all[at - 1]?.text);
  const waits = keys.map((key, at) => (key.shown ?? keys[at + 1].at) - key.at);
  const late = keys.filter((key) => key.shown === null).length;
  console.log(JSON.stringify({
    first_paint_ms: { p50: quantile(paints, 0.5), p95: quantile(paints, 0.95), reloads: RELOADS },
    keystroke_to_results_ms: { p50: quantile(waits, 0.5), p95: quantile(waits, 0.95), max: quantile(waits, 1), keys: keys.length, late, key_every_ms: KEY_MS },
  }));
} finally {
  await browser.close();
  await service.stop();
}
