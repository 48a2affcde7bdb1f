import assert from "node:assert/strict";
import fc from "fast-check";
import type { RecipientId } from "../ids.ts";
import type { Recipient } from "../messages/message.ts";
import { namedMailboxes } from "../mime/mailboxes.ts";
import { addressAt, planPersonalizations } from "./sendgrid_recipients.ts";

function recipients(addresses: readonly string[]): readonly Recipient[] {
  return addresses.map((address, index) => ({ id: index + 1 as RecipientId, address, attempts: 0 }));
}

function plan(envelope: readonly string[], to: string, cc = "") {
  return planPersonalizations(recipients(envelope), namedMailboxes(to), namedMailboxes(cc));
}

Deno.test("planPersonalizations() shows To and Cc as far as the envelope goes, all others are blind", () => {
  assert.deepEqual(plan(["a@x.test", "b@x.test", "c@x.test"], "A <a@x.test>, z@x.test", "b@x.test"), [{
    to: [{ email: "a@x.test", name: "A" }],
    cc: [{ email: "b@x.test" }],
    bcc: [{ email: "c@x.test" }],
  }]);
});

Deno.test("planPersonalizations() names each address once, however it is written, To before Cc", () => {
  assert.deepEqual(plan(["A@x.test", "a@x.test"], "a@X.test, a@x.test", "A@x.test"), [{
    to: [{ email: "a@x.test" }],
  }]);
});

Deno.test("planPersonalizations() gives each recipient a mail of his own where nobody may be seen", () => {
  assert.deepEqual(plan(["a@x.test", "b@x.test"], "z@x.test", ""), [
    { to: [{ email: "a@x.test" }] },
    { to: [{ email: "b@x.test" }] },
  ]);
  assert.deepEqual(plan(["a@x.test", "b@x.test"], "", "b@x.test"), [
    { to: [{ email: "b@x.test" }], bcc: [{ email: "a@x.test" }] },
  ]);
});

Deno.test("planPersonalizations() reaches the envelope and nobody else, and shows nobody who is in no field", () => {
  const local = fc.constantFrom<string>("a", "b", "c", "d", "e", "f", "g");
  const names = fc.array(local, { maxLength: 8 });
  fc.assert(fc.property(names, names, fc.uniqueArray(local, { minLength: 1 }), (to, cc, envelope) => {
    const field = (list: readonly string[]) => list.map((name) => `${name}@x.test`).join(", ");
    const mails = plan(envelope.map((name) => `${name}@x.test`), field(to), field(cc));
    const all = mails.flatMap(({ to, cc = [], bcc = [] }) =>
      [...to, ...cc, ...bcc].map(({ email }) => email)
    );
    assert.deepEqual(all.toSorted(), envelope.map((name) => `${name}@x.test`).toSorted());
    for (const { to: shownTo, cc: shownCc = [] } of mails) {
      const shown = [...shownTo, ...shownCc].map(({ email }) => email.slice(0, 1));
      assert.ok(shown.length === 1 || shown.every((name) => to.includes(name) || cc.includes(name)));
    }
  }));
});

Deno.test("addressAt() finds the address that an error names", () => {
  const mails = plan(["a@x.test", "b@x.test", "c@x.test"], "a@x.test", "b@x.test");
  assert.equal(addressAt("personalizations.0.to.0.email", mails), "a@x.test");
  assert.equal(addressAt("personalizations.0.cc.0", mails), "b@x.test");
  assert.equal(addressAt("personalizations[0].bcc[0].email", mails), "c@x.test");
  for (
    const field of [
      "from.email",
      "personalizations.1.to.0.email",
      "personalizations.0.to.9",
      "personalizations.0",
    ]
  ) {
    assert.equal(addressAt(field, mails), undefined, field);
  }
});
