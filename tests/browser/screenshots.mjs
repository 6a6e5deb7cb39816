// Takes the pictures for the README: `BILIN=target/release/bilin node tests/browser/screenshots.mjs` writes docs/images/console-*.webp.

import { mkdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { samplePicture, startBrowser, startService } from "./service.mjs";

const TO = resolve(import.meta.dirname, "../../docs/images");
const MOST_BYTES = 150_000;

const service = await startService();
const browser = await startBrowser();

/** Writes what is on the page as WebP, at the best quality that is small enough; Chromium encodes it itself. */
async function keep(page, name) {
  const png = (await page.screenshot()).toString("base64");
  for (const quality of [0.9, 0.8, 0.65, 0.5]) {
    const bytes = Buffer.from(await page.evaluate(async ([png, quality]) => {
      const image = new Image();
      image.src = `data:image/png;base64,${png}`;
      await image.decode();
      const canvas = Object.assign(document.createElement("canvas"), { width: image.naturalWidth, height: image.naturalHeight });
      canvas.getContext("2d").drawImage(image, 0, 0);
      return canvas.toDataURL("image/webp", quality).split(",")[1];
    }, [png, quality]), "base64");
    if (bytes.length > MOST_BYTES) continue;
    await writeFile(join(TO, `${name}.webp`), bytes);
    console.log(`${name}.webp: ${bytes.length} bytes at quality ${quality}`);
    return;
  }
  throw new Error(`${name} does not fit ${MOST_BYTES} bytes`);
}

const open = async (options, hash = "") => {
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 }, locale: "en-US", ...options });
  await page.goto(`${service.url}/${hash}`);
  await page.locator("#collections .choice").first().waitFor({ state: "attached" });
  return page;
};
const seen = (page) => page.waitForFunction(() => [...document.querySelectorAll("main img")].filter((i) => i.getBoundingClientRect().top < innerHeight).every((i) => i.naturalWidth > 0));

try {
  await mkdir(TO, { recursive: true });
  let page = await open({});
  await page.fill("#query", "why do we normalise vectors?");
  await page.locator(".passage").first().waitFor();
  await page.waitForLoadState("networkidle");
  await keep(page, "console-search");

  page = await open({ colorScheme: "dark" });
  await page.setInputFiles("#file", await samplePicture("birds"));
  await page.locator(".card").first().waitFor();
  await page.waitForLoadState("networkidle");
  await seen(page);
  await keep(page, "console-pictures-dark");

  await fetch(`${service.url}/v1/backups`, { method: "POST", headers: { "content-type": "application/json" }, body: '{"collection":"course"}' });
  page = await open({}, "#/collections/course");
  await page.locator("#backups li").waitFor();
  await keep(page, "console-collection");

  page = await open({ viewport: { width: 390, height: 844 }, locale: "zh-CN", deviceScaleFactor: 2, isMobile: true, hasTouch: true });
  await page.fill("#query", "FAISS的架构包含哪些模块？");
  await page.locator(".passage").first().waitFor();
  await page.waitForLoadState("networkidle");
  await keep(page, "console-phone");
} finally {
  await browser.close();
  await service.stop();
}
