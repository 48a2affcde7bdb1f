import assert from "node:assert/strict";
import fc from "fast-check";
import { readContentField } from "./content_fields.ts";

function parameter(text: string, name = "filename"): string | undefined {
  return readContentField(text).parameters.get(name);
}

Deno.test("readContentField() reads value and parameters, quoted, folded and commented", () => {
  const { value, parameters } = readContentField(
    ' Text/PLAIN (why not);\r\n\tCharset="UTF-8" ; format=flowed (yes; no=1);x="a;b\\"c"',
  );
  assert.equal(value, "text/plain");
  assert.deepEqual(Object.fromEntries(parameters), { charset: "UTF-8", format: "flowed", x: 'a;b"c' });
});

Deno.test("readContentField() decodes names in another charset and in pieces", () => {
  assert.equal(parameter("attachment; filename*=UTF-8'de'%C3%A4%20b.txt"), "ä b.txt");
  assert.equal(
    parameter("attachment; filename*0*=iso-8859-1''Gr%F6; filename*1*=%DFe; filename*2=\".bin\""),
    "Größe.bin",
  );
  assert.equal(parameter("attachment; filename*1=b; filename*0=a"), "ab");
  assert.equal(parameter("attachment; filename=plain; filename*=utf-8''better"), "better");
  assert.equal(parameter('attachment; filename="=?utf-8?B?w6Q=?="'), "ä");
  assert.equal(parameter("attachment; filename*=nocharset"), "nocharset");
  assert.equal(parameter("attachment; filename*=x-unknown''%E4"), "ä");
  assert.equal(parameter('attachment; filename="\xc3\xa4"'), "ä");
  assert.equal(parameter('attachment; filename="\xe4"'), "ä");
});

Deno.test("readContentField() takes the first of two parameters of one name", () => {
  assert.equal(parameter("a/b; boundary=one; boundary=two", "boundary"), "one");
});

Deno.test("readContentField() copes with anything, and is not slow about it", () => {
  fc.assert(fc.property(fc.string({ maxLength: 100 }), (text) => {
    readContentField(text);
  }));
  for (const piece of [";", '"', "(", "a=", ';a="', "%", "\\", ";a*0*=''"]) {
    readContentField(piece.repeat(20_000));
  }
});
