import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { latin1Bytes } from "./latin1.ts";

Deno.test("latin1Bytes() gives each character its byte, whatever bytes they were", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
    const text = Buffer.from(bytes).toString("latin1");
    assert.deepEqual(new Uint8Array(latin1Bytes(text)), bytes);
  }));
  for (const text of ["", "Subject: x\r\n", "J\u00f6rg", "\u00ff", "a\u0000b"]) {
    assert.equal(latin1Bytes(text).toString("latin1"), text);
  }
});
