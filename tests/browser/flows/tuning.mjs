// The tuning page: a sweep, its progress, its plots, its report.

import assert from "node:assert/strict";
import { test } from "node:test";
import { forgive, hasRoute, withPage } from "../session.mjs";

test("a server without the route says so", async (t) => {
  if (await hasRoute("/v1/collections/course/tune")) return t.diagnostic("it has the route");
  return withPage({ locale: "en-US", hash: "#/tuning/course" }, async (page, problems) => {
    await page.locator(".problem", { hasText: "does not tune" }).waitFor();
    assert.ok(await page.locator("#run-tuning").isDisabled());
    forgive(problems, 404);
  });
});
