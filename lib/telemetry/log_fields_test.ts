import assert from "node:assert/strict";
import { describeError, writableFields } from "./log_fields.ts";

Deno.test("writableFields() leaves absent fields out and cuts long texts", () => {
  const written = writableFields({ size: 3, detail: "x".repeat(5000), reason: undefined });
  assert.deepEqual(Object.keys(written), ["size", "detail"]);
  assert.equal(String(written["detail"]).length, 1001);
});

Deno.test("describeError() writes the stack of one error once", () => {
  const error = new TypeError("Cannot open the store");
  const first = describeError(error);
  const second = describeError(error);
  assert.equal(first["name"], "TypeError");
  assert.match(String(first["stack"]), /Cannot open the store/);
  assert.deepEqual(second, { name: "TypeError", message: "Cannot open the store" });
});

Deno.test("describeError() names codes and causes, and ends at a circle of causes", () => {
  const inner = Object.assign(new Error("refused"), { code: "ECONNREFUSED" });
  const outer = new Error("Cannot connect", { cause: inner });
  inner.cause = outer;
  const described = describeError(outer) as { cause: { code: string; message: string } };
  assert.equal(described.cause.code, "ECONNREFUSED");
  assert.equal(described.cause.message, "refused");
  assert.ok(JSON.stringify(described).length < 20_000);
});

Deno.test("describeError() takes what is not an error as text", () => {
  assert.deepEqual(describeError("gone"), { message: "gone" });
});
