import assert from "node:assert/strict";
import { controlsOf } from "./sendgrid_control.ts";

function controls(...values: readonly string[]) {
  return controlsOf(values.map((value) => ({ name: "X-SMTPAPI", value })));
}

Deno.test("controlsOf() reads the wishes of X-SMTPAPI, never recipients or texts", () => {
  const wishes = {
    category: ["a", "b", "a", "ü"],
    "unique_args": { k: "v", n: 5 },
    "send_at": 1_800_000_000,
    "asm_group_id": 7,
    "ip_pool": "pool",
    to: ["x@example.net"],
    sub: { "%a%": ["b"] },
  };
  assert.deepEqual(controls(JSON.stringify(wishes)), {
    categories: ["a", "b"],
    customArgs: { k: "v", n: "5" },
    sendAt: 1_800_000_000,
    unsubscribeGroup: 7,
    ipPool: "pool",
  });
  assert.deepEqual(controls('{"category":"one"}', '{"category":"two"}'), { categories: ["one", "two"] });
});

Deno.test("controlsOf() takes what cannot be read for nothing", () => {
  for (const value of ["", "{", "[]", "7", '{"category":7,"send_at":"soon","unique_args":[1]}']) {
    assert.deepEqual(controls(value), {}, value);
  }
  assert.deepEqual(
    controls(
      JSON.stringify({ unique_args: { k: "v".repeat(4000), l: "v".repeat(4999), m: "v".repeat(900) } }),
    ),
    {},
  );
});
