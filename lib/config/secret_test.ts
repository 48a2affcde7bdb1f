import assert from "node:assert/strict";
import { inspect } from "node:util";
import { Secret } from "./secret.ts";

Deno.test("Secret prints as [secret] however it is printed", () => {
  const secret = new Secret("hunter2");
  const prints = [
    `${secret}`,
    String(secret),
    "" + secret,
    JSON.stringify({ secret }),
    Deno.inspect({ secret }),
    inspect({ secret }),
    JSON.stringify(Object.entries(secret)),
    JSON.stringify(structuredClone({ ...secret })),
  ];
  for (const printed of prints) assert.doesNotMatch(printed, /hunter2/);
  assert.equal(`${secret}`, "[secret]");
  assert.equal(JSON.stringify({ secret }), '{"secret":"[secret]"}');
});

Deno.test("Secret.reveal() gives the text, isEmpty tells that there is none", () => {
  assert.equal(new Secret("hunter2").reveal(), "hunter2");
  assert.equal(new Secret("").isEmpty, true);
  assert.equal(new Secret("x").isEmpty, false);
});
