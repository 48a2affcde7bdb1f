import assert from "node:assert/strict";
import fc from "fast-check";
import { addressMatcher, comparableAddress, domainMatcher, longestPattern, textMatcher } from "./patterns.ts";

/** By the definition: tries every way of filling the stars. */
function slowMatch(pattern: string, text: string): boolean {
  if (pattern === "") return text === "";
  if (pattern.startsWith("*")) {
    const rest = pattern.slice(1);
    return slowMatch(rest, text) || (text !== "" && slowMatch(pattern, text.slice(1)));
  }
  return text !== "" && pattern.charAt(0) === text.charAt(0) && slowMatch(pattern.slice(1), text.slice(1));
}

Deno.test("textMatcher() matches whatever the stars can stand for, and nothing else", () => {
  const pattern = fc.string({ unit: fc.constantFrom("a", "b", "*"), maxLength: 8 });
  const text = fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 10 });
  fc.assert(fc.property(pattern, text, (given, asked) => {
    assert.equal(textMatcher(given)(asked), slowMatch(given, asked), `${given} and ${asked}`);
  }));
});

Deno.test("textMatcher() takes every other character for itself, whatever its case", () => {
  assert.ok(textMatcher("A.[b]+(C)?\\$")("a.[b]+(c)?\\$"));
  assert.ok(!textMatcher("a.c")("abc"));
  assert.ok(textMatcher("ÄRGER*")("ärger mit der Post"));
});

Deno.test("textMatcher() is not run away with by any pattern", () => {
  const text = "a".repeat(100_000);
  const matches = textMatcher(`${"*a".repeat(8)}*${"a".repeat(longestPattern - 20)}b*`);
  let tries = 0;
  // Thousands of times what one message asks; exponential work would never end.
  for (; tries < 50; tries++) assert.ok(!matches(text));
  assert.equal(tries, 50);
});

Deno.test("domainMatcher() and addressMatcher() compare names as A-labels", () => {
  const bucher = comparableAddress("x@BÜCHER.example").slice(2);
  assert.equal(bucher, "xn--bcher-kva.example");
  assert.ok(domainMatcher("bücher.example")(bucher));
  assert.ok(domainMatcher("*.bücher.example")(`a.${bucher}`));
  assert.ok(!domainMatcher("*.bücher.example")(bucher));
  assert.ok(addressMatcher("*@bücher.example")(`x@${bucher}`));
});

Deno.test("addressMatcher() takes a pattern without @ for a domain, and <> for the null sender alone", () => {
  assert.ok(addressMatcher("example.com")("someone@example.com"));
  assert.ok(!addressMatcher("example.com")("someone@sub.example.com"));
  assert.ok(!addressMatcher("*")(""));
  assert.ok(addressMatcher("<>")(""));
  assert.ok(!addressMatcher("<>")("someone@example.com"));
  assert.ok(addressMatcher('"a@b"@example.com')('"a@b"@example.com'));
});
