// The page in a real browser against the real binary. One service and one browser for all flows, which stand in flows/.

import { after, before } from "node:test";
import { join } from "node:path";
import { clipFolder } from "./clip.mjs";
import { shotsFolder, startBrowser, startService } from "./service.mjs";
import { session } from "./session.mjs";

before(async () => {
  session.shots = await shotsFolder();
  console.log(`screenshots: ${session.shots}`);
  session.clip = join(session.shots, "clip");
  await clipFolder(session.clip);
  [session.service, session.browser] = await Promise.all([startService(), startBrowser()]);
});

after(async () => {
  await session.browser?.close();
  await session.service?.stop();
});

await import("./flows/assets.mjs");
await import("./flows/typing.mjs");
await import("./flows/pictures.mjs");
await import("./flows/examples.mjs");
await import("./flows/words-and-pictures.mjs");
await import("./flows/filters.mjs");
await import("./flows/facets.mjs");
await import("./flows/safety.mjs");
await import("./flows/collections.mjs");
await import("./flows/keeping.mjs");
await import("./flows/evaluation.mjs");
await import("./flows/tuning.mjs");
await import("./flows/looks.mjs");
