import assert from "node:assert/strict";
import { asciiAddress, normalDomain, parseAddressList, parseMailbox } from "./address.ts";

function list(text: string): readonly string[] | undefined {
  return parseAddressList(text)?.map((mailbox) => mailbox.address);
}

Deno.test("parseMailbox() takes an address apart and lower-cases only the domain", () => {
  assert.deepEqual(parseMailbox("Ann.B+tag@EXAMPLE.com"), {
    local: "Ann.B+tag",
    domain: "example.com",
    address: "Ann.B+tag@example.com",
    isInternational: false,
  });
  assert.equal(parseMailbox('"a@b"@example.com')?.domain, "example.com");
  assert.equal(parseMailbox("ü@Bücher.example")?.address, "ü@xn--bcher-kva.example");
  assert.equal(parseMailbox("ü@Bücher.example")?.isInternational, true);
});

Deno.test("parseMailbox() refuses what is no address", () => {
  const bad = [
    "",
    "a",
    "a@",
    "@b.c",
    "a b@c.d",
    "a..b@c.d",
    ".a@c.d",
    "a.@c.d",
    "a@b..c",
    "a@.c",
    "a@c.",
    "a@b c.d",
  ];
  const worse = [
    "a@[300.1.1.1]",
    "a@[::1]",
    "a@[IPv6:1.2.3.4]",
    "a@1.2.3.4",
    "a@0x7f.1",
    '"a@b.c',
    'a"b@c.d',
    "a\u200b@b.c",
  ];
  for (
    const text of [
      ...bad,
      ...worse,
      `${"a".repeat(65)}@b.c`,
      `a@${"b".repeat(64)}.c`,
      `a@${"b.".repeat(130)}c`,
    ]
  ) {
    assert.equal(parseMailbox(text), undefined, text);
  }
});

Deno.test("normalDomain() gives one spelling for all of a name's", () => {
  for (const text of ["bücher.example", "BÜCHER.EXAMPLE", "xn--bcher-kva.example", "XN--BCHER-KVA.example"]) {
    assert.equal(normalDomain(text), "xn--bcher-kva.example");
  }
  assert.equal(normalDomain("a_b.example.com"), "a_b.example.com");
  for (const text of ["a/b.com", "a%62.com", "a:1", "a#b", "a?b", "a\\b", " a", ""]) {
    assert.equal(normalDomain(text), undefined, text);
  }
});

Deno.test("parseAddressList() reads what RFC 5322 allows", () => {
  assert.deepEqual(list("a@x.test"), ["a@x.test"]);
  assert.deepEqual(list(" Ann <a@x.test>, b@y.test (Bob), "), ["a@x.test", "b@y.test"]);
  assert.deepEqual(list('"Evil, <e@evil.test>" <a@x.test>'), ["a@x.test"]);
  assert.deepEqual(list("Team: a@x.test, Bob <b@y.test>;"), ["a@x.test", "b@y.test"]);
  assert.deepEqual(list("Empty:;"), []);
  assert.deepEqual(list("(com(ment\\)) <e@evil.test>) a@x.test"), ["a@x.test"]);
  assert.deepEqual(list("< a @ x.test >"), ["a@x.test"]);
  assert.deepEqual(list("<@r.test:a@x.test>"), ["a@x.test"]);
  assert.deepEqual(list('"a b"@x.test'), ['"a b"@x.test']);
  assert.deepEqual(list("=?utf-8?q?=3Ce=40evil=2Etest=3E?= <a@x.test>"), ["a@x.test"]);
  assert.deepEqual(list('"a@evil.test" <a@x.test>'), ["a@x.test"]);
  assert.deepEqual(list("Anna Ä <a@ä.test>"), ["a@xn--4ca.test"]);
});

Deno.test("parseAddressList() refuses what two readers would read differently", () => {
  const bad = [
    "<a@x.test> b@evil.test",
    "a@evil.test <a@x.test>",
    "b@y.test, Team: a @ evil.test (x) <a@x.test>;",
    "<a@x.test><b@evil.test>",
    "a@x.test>",
    "<a@x.test",
    '"unclosed <a@x.test>',
    "(unclosed a@x.test",
    "a@x.test b@evil.test",
    "Team: a@x.test",
    "<a@x.test>:b@evil.test;",
    "a@x.test: b@y.test;",
    "a@x.test; b@y.test",
    "Name only",
    "<>",
    "a@x.test, nobody",
  ];
  for (const text of bad) assert.equal(list(text), undefined, text);
  assert.equal(list(Array.from({ length: 101 }, () => "a@x.test").join()), undefined);
});

Deno.test("parseAddressList() costs no more than its length", () => {
  for (const piece of ["(", '"', "<", "a,", "a@b.c,", "\\", "g:;", " ", "@", ". "]) {
    list(piece.repeat(20_000));
  }
});

Deno.test("asciiAddress() writes the domain as A-labels and gives up where the local part needs SMTPUTF8", () => {
  assert.equal(asciiAddress("Ann@EXAMPLE.com"), "Ann@EXAMPLE.com");
  assert.equal(asciiAddress("ann@b\u00fccher.example"), "ann@xn--bcher-kva.example");
  assert.equal(asciiAddress("j\u00fcrgen@example.com"), undefined);
  assert.equal(asciiAddress("ann@\u00fc b"), undefined);
  assert.equal(asciiAddress("\u00fc"), undefined);
});
