// Starts the real binary on a data folder made from the samples, and a real browser beside it.
//
// Environment: BILIN names the binary (else this checkout's release build), CHROMIUM the browser, SHOTS a folder that
// keeps the screenshots (else a temporary one).

import { execFile, spawn } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { chromium } from "playwright-core";

const ROOT = resolve(import.meta.dirname ?? new URL(".", import.meta.url).pathname, "../..");
const BINARY = process.env.BILIN ?? join(ROOT, "target/release/bilin");
const START_TIMEOUT_MS = 30_000;
export const ASSETS = join(ROOT, "crates/server/src/console/assets");
export const QUESTIONS = join(ROOT, "samples/course-questions.jsonl");
export const PICTURES = join(ROOT, "samples/pictures");

function freePort() {
  return new Promise((done, failed) => {
    const probe = createServer();
    probe.on("error", failed);
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => done(port));
    });
  });
}

/** A sample picture's path: the first of a category. */
export async function samplePicture(category) {
  const names = (await readdir(join(PICTURES, category))).sort();
  return join(PICTURES, category, names[0]);
}

/** `bilin serve` over the sample course and pictures, or over nothing at all; `env` adds to its environment, `args` to its command line. */
export async function startService({ isEmpty = false, env = {}, args = [] } = {}) {
  const folder = await mkdtemp(join(tmpdir(), "bilin-browser-"));
  const data = join(folder, "data");
  const run = promisify(execFile);
  if (!isEmpty) {
    await run(BINARY, ["add", "course", "samples/course", "--data", data], { cwd: ROOT });
    await run(BINARY, ["add", "pictures", "samples/pictures", "--data", data], { cwd: ROOT });
  }
  const url = `http://127.0.0.1:${await freePort()}`;
  const listen = url.slice("http://".length);
  const server = spawn(BINARY, ["serve", "--listen", listen, "--data", data, ...args], { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...env } });
  let log = "";
  for (const stream of [server.stdout, server.stderr]) {
    stream.on("data", (piece) => {
      log += piece;
    });
  }
  const until = Date.now() + START_TIMEOUT_MS;
  for (;;) {
    if (server.exitCode !== null) throw new Error(`bilin serve ended with ${server.exitCode}:\n${log}`);
    const isReady = await fetch(`${url}/readyz`).then((answer) => answer.ok || answer.status === 401, () => false); // 401: it wants its key
    if (isReady) break;
    if (Date.now() > until) throw new Error(`bilin serve is not ready after ${START_TIMEOUT_MS} ms:\n${log}`);
    await sleep(20);
  }
  return {
    url,
    async stop() {
      const ended = new Promise((done) => server.once("exit", done));
      server.kill("SIGTERM");
      const code = await ended;
      await rm(folder, { recursive: true, force: true });
      if (code !== 0) throw new Error(`bilin serve ended with ${code}:\n${log}`);
    },
  };
}

/** Debian's chromium, with nothing that calls home. */
export const startBrowser = () =>
  chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
      "--disable-sync", "--no-first-run",
    ],
  });

/** Where screenshots go. */
export async function shotsFolder() {
  if (!process.env.SHOTS) return mkdtemp(join(tmpdir(), "bilin-shots-"));
  await mkdir(process.env.SHOTS, { recursive: true });
  return process.env.SHOTS;
}
