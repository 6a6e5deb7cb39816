// What every flow shares: the service and the browser that page.test.mjs started, pages that fail on errors they did not expect, and ways to
// hand files to a page as a browser would.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { basename } from "node:path";

export const QUESTION = "FAISS的架构包含哪些模块？";

/** Set before the first test. */
export const session = { service: null, browser: null, shots: null, clip: null };

/**
 * Opens the page, hands it to `use`, and fails on any error that the page logged and `use` did not take out of the list, and on any request
 * to another host.
 */
export async function withPage({ hash = "", ...options }, use) {
  const { browser, service } = session;
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, locale: "zh-CN", ...options });
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  const problems = [];
  const foreign = [];
  page.on("pageerror", (error) => problems.push(`${error.message} ${error.stack}`));
  page.on("console", (message) => message.type() === "error" && problems.push(`${message.text()} ${message.location().url}`));
  page.on("request", (request) => {
    if (!/^(blob|data):/.test(request.url()) && !request.url().startsWith(service.url)) foreign.push(request.url());
  });
  try {
    await page.goto(`${service.url}/${hash}`);
    await page.locator("#collections .choice").first().waitFor({ state: "attached" });
    await use(page, problems);
    assert.deepEqual(problems, [], "the page logged errors");
    assert.deepEqual(foreign, [], "the page asked another host");
  } finally {
    await context.close();
  }
}

/** Answers with this status are part of the test. */
export function forgive(problems, status) {
  problems.splice(0, problems.length, ...problems.filter((text) => !text.includes(`status of ${status}`)));
}

/** Bodies of the searches that a page sends from now on. */
export function searches(page) {
  const seen = [];
  page.on("request", (request) => request.url().endsWith("/search") && seen.push(request.postDataJSON()));
  return seen;
}

/** Waits for the search that `act` causes; gives its body. */
export async function searchOf(page, act) {
  const [request] = await Promise.all([page.waitForRequest("**/search"), act()]);
  return request.postDataJSON();
}

/** Waits for the search that `act` causes and for its pictures to stand there; gives the request's body. */
export async function settled(page, act) {
  const [answer] = await Promise.all([page.waitForResponse("**/search"), act()]);
  const first = (await answer.json()).results[0].id;
  await page.waitForFunction((id) => document.querySelector(".card .name")?.title === id, first);
  return answer.request().postDataJSON();
}

/** Gives files to the page as a browser would on drop or paste. */
export async function give(page, kind, files, target = "body") {
  const carried = await Promise.all(files.map(async ({ path, type, bytes, name }) =>
    ({ name: name ?? basename(path), type, base64: (bytes ?? (await readFile(path))).toString("base64") })));
  await page.evaluate(
    ([kind, files, target]) => {
      const transfer = new DataTransfer();
      for (const { name, type, base64 } of files) {
        transfer.items.add(new File([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))], name, { type }));
      }
      const element = document.querySelector(target);
      if (kind === "paste") {
        element.dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true }));
        return;
      }
      for (const event of ["dragenter", "dragover", "drop"]) {
        element.dispatchEvent(new DragEvent(event, { dataTransfer: transfer, bubbles: true, cancelable: true }));
      }
    },
    [kind, carried, target],
  );
}

/** Calls the API as a program does. */
export async function call(method, path, body) {
  const answer = await fetch(session.service.url + path, {
    method, headers: body === undefined ? {} : { "content-type": "application/json" }, body: body === undefined ? undefined : JSON.stringify(body),
  });
  return { status: answer.status, body: answer.status === 204 ? null : await answer.json() };
}

/** Makes a collection for a test and removes it afterwards, whatever happens. */
export async function withCollection(name, wishes, documents, use) {
  const made = await call("PUT", `/v1/collections/${name}`, wishes);
  assert.equal(made.status, 201, JSON.stringify(made.body));
  try {
    if (documents.length > 0) {
      const added = await call("POST", `/v1/collections/${name}/documents`, { documents });
      assert.equal(added.status, 200, JSON.stringify(added.body));
    }
    await use();
  } finally {
    await call("DELETE", `/v1/collections/${name}`);
  }
}
