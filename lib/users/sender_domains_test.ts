import assert from "node:assert/strict";
import { covers, domainOutside } from "./sender_domains.ts";

Deno.test("covers() knows exact domains, domains below and everything", () => {
  assert.equal(covers("*", "*"), true);
  assert.equal(covers("*", "a.example"), true);
  assert.equal(covers("a.example", "a.example"), true);
  assert.equal(covers("a.example", "b.a.example"), false);
  assert.equal(covers("*.a.example", "b.a.example"), true);
  assert.equal(covers("*.a.example", "*.b.a.example"), true);
  assert.equal(covers("*.a.example", "a.example"), false);
  assert.equal(covers("*.a.example", "xa.example"), false);
  assert.equal(covers("*.a.example", "*"), false);
  assert.equal(covers("a.example", "*"), false);
});

Deno.test("domainOutside() names the first domain that the group was not given", () => {
  assert.equal(domainOutside(["a.example", "c.b.example"], ["a.example", "*.b.example"]), undefined);
  assert.equal(domainOutside(["a.example", "b.example"], ["a.example"]), "b.example");
  assert.equal(domainOutside(["a.example"], []), "a.example");
  assert.equal(domainOutside([], []), undefined);
});
