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

Deno.test("decodeWords() takes names in any case, a language, and what clients write besides the rules", () => {
  assert.equal(decodeWords("=?UTF-8?q?=c3?= =?utf-8?Q?=A4?="), "ä");
  assert.equal(decodeWords("=?utf-8*en-GB?q?a?="), "a");
  assert.equal(decodeWords("=?utf-8?q?a b?="), "a b");
  assert.equal(decodeWords("=?utf-8?B?w 6 Q?="), "ä");
  assert.equal(decodeWords("=?utf-8?q?1=3D1_50=?="), "1=1 50=");
  assert.equal(decodeWords("=?utf-8?q?a=4?="), "a=4");
});

Deno.test("decodeWords() decodes neighbours of different charsets apart", () => {
  assert.equal(decodeWords("=?iso-8859-1?q?=E4?= =?utf-8?q?=C3=B6?= =?iso-8859-1?q?=FC?="), "äöü");
});

Deno.test("decodeWords() drops white space between two words, and none other", () => {
  assert.equal(decodeWords(" =?utf-8?q?a?=  b =?utf-8?q?c?=\t"), " a  b c\t");
  assert.equal(decodeWords("=?utf-8?q?a?= =?utf-8?b?%?= =?utf-8?q?b?="), "a =?utf-8?b?%?= b");
  assert.equal(decodeWords("=?utf-8?q?a?= =?x?= =?utf-8?q?b?="), "a =?x?= b");
  assert.equal(decodeWords("=?utf-8?q?what??= =?utf-8?q?b?="), "=?utf-8?q?what??= b");
});

Deno.test("decodeWords() decodes many words, and leaves many beginnings of words", () => {
  assert.equal(decodeWords("=?utf-8?q?a?=".repeat(5000)), "a".repeat(5000));
  for (const piece of ["=?", "=?utf-8?q?", "?="]) {
    assert.equal(decodeWords(piece.repeat(5000)), piece.repeat(5000));
  }
});
