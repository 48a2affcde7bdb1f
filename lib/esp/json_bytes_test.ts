import assert from "node:assert/strict";
import fc from "fast-check";
import { base64Of, JsonBytes } from "./json_bytes.ts";

Deno.test("JsonBytes writes what JSON.stringify() would, whatever its capacity and the pieces are", () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: "binary" })), fc.nat({ max: 100 }), (pieces, capacity) => {
      const json = new JsonBytes(capacity);
      json.raw('"');
      for (const piece of pieces) json.escaped(piece);
      json.raw('"');
      assert.equal(JSON.parse(new TextDecoder().decode(json.bytes())), pieces.join(""));
    }),
  );
});

Deno.test("base64Of() is the base64 of all pieces together", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array()), (pieces) => {
      const all = Uint8Array.from(pieces.flatMap((piece) => [...piece]));
      assert.equal([...base64Of(pieces)].join(""), all.toBase64());
    }),
  );
});
