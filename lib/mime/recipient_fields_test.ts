import assert from "node:assert/strict";
import fc from "fast-check";
import { parseAddressList } from "./address.ts";
import { listEntries, onlyRecipients } from "./recipient_fields.ts";

function only(fields: string, ...addresses: readonly string[]): string {
  const { fields: kept, bcc = "" } = onlyRecipients(fields.split(/(?<=\r\n)(?![ \t])/), addresses);
  return bcc + kept.join("");
}

Deno.test("onlyRecipients() leaves fields alone that name nobody else", () => {
  const fields =
    'to: "B, b" <b@Example.ORG>,\r\n\t(x, y) c@example.org\r\nSubject: s\r\nCC : d@example.org\r\n';
  assert.equal(only(fields, "b@example.org", "C@example.org", "d@example.org"), fields);
});

Deno.test("onlyRecipients() takes out who is not wanted and names the rest in Bcc", () => {
  assert.equal(
    only(
      'To: "B, b" <b@example.org>, c@example.org\r\nCc: C <c@example.org>\r\n',
      "b@example.org",
      "x@y.org",
    ),
    'Bcc: x@y.org\r\nTo: "B, b" <b@example.org>\r\n',
  );
  assert.equal(only("Subject: s\r\n", "x@y.org", "z@y.org"), "Bcc: x@y.org, z@y.org\r\nSubject: s\r\n");
});

Deno.test("onlyRecipients() keeps groups whole, empty ones too, and drops those it empties", () => {
  const group = 'To: "The: team": A <a@x.org>, b@x.org;, c@x.org\r\n';
  assert.equal(only(group, "a@x.org", "c@x.org"), 'To: "The: team": A <a@x.org>;, c@x.org\r\n');
  assert.equal(only(group, "c@x.org"), "To: c@x.org\r\n");
  assert.equal(
    only("To: undisclosed-recipients:;\r\n", "c@x.org"),
    "Bcc: c@x.org\r\nTo: undisclosed-recipients:;\r\n",
  );
});

Deno.test("onlyRecipients() takes out what cannot be read for certain", () => {
  for (const entry of ["a@x.org <c@x.org>", "<a@x.org", '"a@x.org', "a b@x.org", "a@x.org c@x.org"]) {
    assert.equal(
      only(`To: c@x.org, ${entry}\r\n`, "c@x.org", "a@x.org"),
      "Bcc: a@x.org\r\nTo: c@x.org\r\n",
      entry,
    );
  }
});

Deno.test("onlyRecipients() makes several fields of one name one field", () => {
  assert.equal(
    only("To: a@x.org\r\nCc: d@x.org\r\nto: b@x.org,, c@x.org\r\n", "a@x.org", "b@x.org", "d@x.org"),
    "To: a@x.org, b@x.org\r\nCc: d@x.org\r\n",
  );
});

Deno.test("onlyRecipients() folds before a line grows beyond 76 characters and keeps the folds of names", () => {
  const many = Array.from({ length: 200 }, (_, index) => `person.number${index}@example.org`);
  const text = only(`To: ${[...many, "out@x.org"].join(", ")}\r\n`, ...many);
  assert.ok(text.split("\r\n").every((line) => line.length <= 77));
  assert.deepEqual(
    parseAddressList(text.slice(3).replaceAll("\r\n", ""), 300)?.map((one) => one.address),
    many,
  );
  assert.equal(
    only("To: Long\r\n name <a@x.org>, b@x.org\r\n", "a@x.org"),
    "To: Long\r\n name <a@x.org>\r\n",
  );
});

const address = fc.constantFrom("a@x.org", "b.c@x.org", '"q, r"@x.org', "d@sub.x.org", "E@X.ORG", "f@x.org");
const mailbox = fc.oneof(
  address,
  address.map((one) => `<${one}>`),
  address.map((one) => `Ann <${one}>`),
  address.map((one) => `"A \\" ; : , b@evil.org" <${one}>`),
  address.map((one) => `(c, (d) e@evil.org) ${one}`),
  address.map((one) => `=?utf-8?Q?=C3=A4?=\r\n <${one}>`),
);
const entry = fc.oneof(
  mailbox,
  fc.array(mailbox, { maxLength: 3 }).map((members) => `Some group:${members.join(", ")};`),
);
const list = fc.array(entry, { minLength: 1, maxLength: 6 }).map((entries) => entries.join(",\r\n "));

Deno.test("onlyRecipients() leaves exactly the wanted addresses in To, Cc and Bcc together", () => {
  fc.assert(fc.property(list, list, fc.uniqueArray(address, { minLength: 1 }), (to, cc, wanted) => {
    const text = only(`To: ${to}\r\nSubject: s\r\nCc: ${cc}\r\n`, ...wanted);
    const named = [...text.matchAll(/^(To|Cc|Bcc):((?:.|\r\n[ \t])*)\r\n/gm)].flatMap(([, , value = ""]) =>
      parseAddressList(value.replaceAll("\r\n", ""), 100)?.map((one) => one.address.toLowerCase()) ??
        assert.fail(text)
    );
    assert.deepEqual([...new Set(named)].sort(), wanted.map((one) => one.toLowerCase()).sort());
    assert.match(text, /^Subject: s\r\n/m);
  }));
});

Deno.test("listEntries() finds as many addresses as there are, whatever stands in names and comments", () => {
  fc.assert(fc.property(list, (text) => {
    const found = listEntries(text).flatMap(({ mailbox }) => mailbox?.address ?? []);
    assert.deepEqual(found, parseAddressList(text.replaceAll("\r\n", ""))?.map((one) => one.address));
  }));
});

Deno.test("listEntries() takes time in proportion to the length of a list", () => {
  for (const piece of ["(", "<", '"', "[", "a@x.org,", ":", ";", "\\", '<"']) {
    listEntries(piece.repeat(20_000));
  }
});
