import assert from "node:assert/strict";
import { describeAllowed, isAllowed, maySendFrom } from "./sender_policy.ts";

Deno.test("isAllowed() knows exact names, subdomains and any", () => {
  assert.equal(isAllowed("example.com", ["example.com"]), true);
  assert.equal(isAllowed("a.example.com", ["example.com"]), false);
  assert.equal(isAllowed("a.b.example.com", ["*.example.com"]), true);
  assert.equal(isAllowed("example.com", ["*.example.com"]), false);
  assert.equal(isAllowed("badexample.com", ["*.example.com", "example.com"]), false);
  assert.equal(isAllowed("anything.test", ["*"]), true);
});

Deno.test("isAllowed() compares lower-case A-labels", () => {
  assert.equal(isAllowed("xn--bcher-kva.example", ["Bücher.Example"]), true);
  assert.equal(isAllowed("mail.xn--bcher-kva.example", ["*.BÜCHER.example"]), true);
});

Deno.test("isAllowed() allows nothing with an empty, missing or nonsensical list", () => {
  for (const list of [[], undefined, [""], ["*."], ["**"], ["*com"], ["exa mple.com"], ["."]]) {
    assert.equal(isAllowed("example.com", list), false, JSON.stringify(list));
  }
});

Deno.test("maySendFrom() keeps the account's list within the group's where that is required", () => {
  const policy = { allowedDomains: ["*"], groupDomains: ["example.com"] };
  assert.equal(maySendFrom("example.com", policy, true), true);
  assert.equal(maySendFrom("other.test", policy, true), false);
  assert.equal(maySendFrom("other.test", policy, false), true);
  assert.equal(
    maySendFrom("example.com", { allowedDomains: ["example.com"], groupDomains: undefined }, true),
    false,
  );
});

Deno.test("describeAllowed() is bounded", () => {
  assert.equal(describeAllowed([]), "none");
  assert.equal(describeAllowed(["a.test", "b.test"]), "a.test, b.test");
  assert.match(describeAllowed(Array.from({ length: 100 }, () => "a.test")), /and 92 more$/);
});
