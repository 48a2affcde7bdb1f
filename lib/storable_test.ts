import assert from "node:assert/strict";
import fc from "fast-check";
import { storable } from "./storable.ts";

Deno.test("storable() cuts before a character that would be halved, and keeps what fits", () => {
  assert.equal(storable("abc\u{1f600}d", 4), "abc");
  assert.equal(storable("abc\u{1f600}d", 5), "abc\u{1f600}");
  assert.equal(storable("abc", 3), "abc");
  assert.equal(storable("abc", 0), "");
});

Deno.test("storable() gives no NUL and no half of a character, whatever it is given", () => {
  assert.equal(storable("a\0b\ud83dc\ude00", 10), "a\ufffdb\ufffdc\ufffd");
  const unit = fc.constantFrom("a", "\0", "\ud83d", "\ude00", "\u{1f600}", "\u00e9");
  fc.assert(fc.property(fc.array(unit), fc.nat(20), (units, longest) => {
    const kept = storable(units.join(""), longest);
    assert.ok(kept.length <= longest && kept.isWellFormed() && !kept.includes("\0"));
  }));
});
