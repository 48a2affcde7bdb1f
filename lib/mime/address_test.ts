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

Deno.test("parseMailbox() takes address literals, IPv6 ones in lower case", () => {
  assert.equal(parseMailbox("a@[192.0.2.1]")?.address, "a@[192.0.2.1]");
  assert.equal(parseMailbox("a@[ipv6:2001:DB8::A]")?.domain, "[IPv6:2001:db8::a]");
});

Deno.test("parseMailbox() measures what an address may have", () => {
  const local = "a".repeat(64);
  assert.equal(parseMailbox(`${local}@example.com`)?.local, local);
  const domain = `${"b".repeat(63)}.${"c".repeat(63)}.example`;
  assert.equal(parseMailbox(`a@${domain}`)?.domain, domain);
  // RFC 5321 4.5.3.1.3: 254 octets between the angle brackets, however few characters they are.
  const wide = "ü".repeat(32);
  const long = (size: number) => `${"b".repeat(63)}.${"c".repeat(63)}.${"d".repeat(size)}.example`;
  assert.equal(parseMailbox(`${wide}@${long(53)}`)?.isInternational, true);
  assert.equal(parseMailbox(`${wide}@${long(54)}`), undefined);
  assert.equal(normalDomain(`${"ü.".repeat(40)}com`), undefined, "too long as A-labels");
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
      `${"\u00fc".repeat(33)}@b.c`,
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
  assert.deepEqual(list('"a\\" <e@evil.test> \\"" <a@x.test>'), ["a@x.test"]);
  assert.deepEqual(list("<a@x.test(at home)>, <(who)b@y.test>"), ["a@x.test", "b@y.test"]);
  assert.deepEqual(list(Array.from({ length: 100 }, () => "a@x.test").join())?.length, 100);
});

Deno.test("parseAddressList() reads names as old programs write them, where all readers agree on the address", () => {
  const names = [
    "[Alerts]",
    "CORP\\backup",
    "Ann (Sales)",
    "=?utf-8?q?M=C3=BCller?= & Co.",
    '"=?utf-8?q?a?=" x',
    '"Support" =?utf-8?q?M=C3=BCller?=',
    '=?UTF-8?B?w4Q=?= "of" =?utf-8?q?_X?=',
  ];
  for (const name of names) {
    assert.deepEqual(list(`${name} <a@x.test>`), ["a@x.test"], name);
  }
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
    "Team: Others: a@x.test;",
    "a(x)b@x.test",
    "<a(x)b@x.test>",
    '<a@x.test> "b@evil.test"',
    // Readers that stop at a character which may not stand in a name take what was quoted, or encoded, for the address.
    '"b@evil.test") <a@x.test>',
    '"b@evil.test"[<a@x.test>',
    '"b@evil.test"] <a@x.test>',
    '[" <b@evil.test>, "] <a@x.test>',
    'a\\" <b@evil.test>, "b <a@x.test>',
    "=?utf-8?q?b=40evil.test?=\\<a@x.test>",
    "=?utf-8?q?b=40evil.test?= [x] <a@x.test>",
    '=?utf-8?q?"?= <b@evil.test> " <a@x.test>',
    '"Ann"=?utf-8?q?b=40evil.test?= <a@x.test>',
    '"Ann" =?utf-8?q?b=40evil.test?=<a@x.test>',
    '"Ann" =?utf-8?q?b@evil.test?= <a@x.test>',
    '"b@evil.test") Team: a@x.test;',
    // Who decodes it shows another address.
    "=?utf-8?b?YkBldmlsLnRlc3QA?=@x.test",
    "<=?utf-8?q?b=40evil.test=3E=2C?=@x.test>",
  ];
  for (const text of bad) assert.equal(list(text), undefined, text);
  assert.equal(list(Array.from({ length: 101 }, () => "a@x.test").join()), undefined);
});

Deno.test("parseAddressList() reads what is long without end, or refuses it", () => {
  for (const piece of ["(", '"', "<", "a,", "a@b.c,", "\\", "@", ". "]) {
    assert.equal(list(piece.repeat(20_000)), undefined, piece);
  }
  for (const piece of ["g:;", " ", ",", "(c)"]) assert.deepEqual(list(piece.repeat(20_000)), [], piece);
});

Deno.test("asciiAddress() writes the domain as A-labels and gives up where the local part needs SMTPUTF8", () => {
  assert.equal(asciiAddress("Ann@EXAMPLE.com"), "Ann@EXAMPLE.com");
  assert.equal(asciiAddress("ann@b\u00fccher.example"), "ann@xn--bcher-kva.example");
  assert.equal(asciiAddress("j\u00fcrgen@example.com"), undefined);
  assert.equal(asciiAddress("ann@\u00fc b"), undefined);
  assert.equal(asciiAddress("\u00fc"), undefined);
});
