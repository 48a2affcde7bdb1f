import assert from "node:assert/strict";
import { Refusal } from "../refusal.ts";
import { fullOr } from "./disk_errors.ts";

Deno.test("fullOr() makes a refusal of a full disk or quota, and of nothing else", () => {
  for (const code of ["ENOSPC", "EDQUOT"]) {
    const mapped = fullOr(Object.assign(new Error("no space"), { code }));
    assert.ok(mapped instanceof Refusal);
    assert.equal(mapped.code, "body_store_full");
  }
  for (const other of [new Error("x"), Object.assign(new Error("x"), { code: "EIO" }), "text", undefined]) {
    assert.equal(fullOr(other), other);
  }
});
