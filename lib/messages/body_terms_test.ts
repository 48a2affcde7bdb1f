import assert from "node:assert/strict";
import { longestTerms } from "./body_terms.ts";

Deno.test("longestTerms() keeps nothing longer than rows, and for ever what nothing ends", () => {
  assert.deepEqual(longestTerms({ delivered: 7, failed: 30, rows: 90 }), { deliveredMs: 7, failedMs: 30 });
  assert.deepEqual(longestTerms({ delivered: 0, failed: 100, rows: 90 }), { deliveredMs: 90, failedMs: 90 });
  assert.deepEqual(longestTerms({ delivered: 0, failed: 5, rows: 0 }), { failedMs: 5 });
});
