import assert from "node:assert/strict";
import { decodeWords } from "./encoded_words.ts";

Deno.test("decodeWords() decodes both encodings and joins neighbours", () => {
  assert.equal(decodeWords("=?utf-8?Q?a_b=20c?="), "a b c");
  assert.equal(decodeWords("=?ISO-8859-1?Q?gr=FCn?= und =?utf-8?b?YmxhdQ==?="), "grün und blau");
  assert.equal(decodeWords("=?utf-8?b?w6Q?=\t=?utf-8?b?w7Y=?="), "äö");
});

Deno.test("decodeWords() decodes a character that was cut in two words", () => {
  assert.equal(decodeWords("=?utf-8?q?=C3?= =?utf-8?q?=A4?="), "ä");
});

Deno.test("decodeWords() leaves what it cannot decode", () => {
  for (const text of ["plain", "=?utf-8?x?a?=", "=?utf-8?b?%%%?=", "=?utf-8?q?a", "=?=?=?", "a =? b ?= c"]) {
    assert.equal(decodeWords(text), text);
  }
  assert.equal(decodeWords("=?no-such-charset?q?a=E4?="), "aä");
});

Deno.test("decodeWords() costs no more than its length", () => {
  for (const piece of ["=?", "=?utf-8?q?", "=?utf-8?q?a?=", "?="]) decodeWords(piece.repeat(5000));
});
