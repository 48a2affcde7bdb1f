import assert from "node:assert/strict";
import { faultText, isTimeout } from "./faults.ts";

Deno.test("faultText() tells what was said, or at least the code or the kind of an error", () => {
  assert.equal(faultText(new Error("connect ECONNREFUSED 127.0.0.1:1")), "connect ECONNREFUSED 127.0.0.1:1");
  const several = Object.assign(new AggregateError([], ""), { code: "ECONNREFUSED" });
  assert.equal(faultText(several), "ECONNREFUSED");
  assert.equal(faultText(new TypeError("")), "TypeError");
  assert.equal(faultText("gone"), "gone");
});

Deno.test("faultText() shows no text that may hold a connection string", () => {
  for (const url of ["postgres://u:hush@host:port/d", "postgres://u:hu%zzsh@h/d", "socket://u:hush@/run"]) {
    const text = faultText(new TypeError(`Invalid URL: '${url}'`));
    assert.equal(text, "TypeError, whose text is not shown: it may hold a connection string");
    assert.ok(!faultText(`cannot parse ${url}`).includes("hu"));
  }
});

Deno.test("isTimeout() knows a statement that took too long from one that was refused", () => {
  const states = ["57014", "55P03", "23505", "40P01", "57P01"];
  assert.deepEqual(states.map((code) => isTimeout(Object.assign(new Error(code), { code }))), [
    true,
    true,
    false,
    false,
    false,
  ]);
});
