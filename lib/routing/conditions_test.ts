import assert from "node:assert/strict";
import { conditionsSchema, parseConditions } from "./conditions.ts";

Deno.test("conditionsSchema refuses what nobody documented, and what could never be met", () => {
  const wrong: readonly unknown[] = [
    { sender_domain: "example.com" },
    { sender: "" },
    { sender: "two words" },
    { sender: [] },
    { sender: "*".repeat(9) },
    { sender: "a".repeat(321) },
    { recipient_domain: "someone@example.com" },
    { recipient_domain: "*.example.*" },
    { smtp_account: "me" },
    { header: { name: "X Y" } },
    { header: { name: "X-Y", pattern: ".*" } },
    { header: [] },
    { size: {} },
    { size: { min: 2, max: 1 } },
    { size: { min: -1 } },
    { attachment: "yes" },
    { time: { zone: "Mars/Olympus" } },
    { time: { zone: "UTC", from: "8:00" } },
    { time: { zone: "UTC", from: "08:00", to: "08:00" } },
    { time: { zone: "UTC", days: ["monday"] } },
    { percentage: 101 },
    { percentage: null },
    [],
    "sender",
  ];
  for (const conditions of wrong) {
    assert.equal(conditionsSchema.safeParse(conditions).success, false, JSON.stringify(conditions));
    assert.equal(parseConditions(conditions), undefined);
  }
});

Deno.test("conditionsSchema takes none, one of each and several of each", () => {
  assert.deepEqual(parseConditions({}), {});
  const all = {
    sender: ["<>", "*@example.com"],
    "header_from": "example.com",
    "recipient_domain": ["*.example.net"],
    "smtp_account": ["019aa7e4-6f00-7000-8000-000000000000"],
    header: [{ name: "X-Campaign", matches: ["a*", "b"] }, { name: "List-Id" }],
    subject: "*invoice*",
    size: { max: 1000 },
    attachment: false,
    time: { zone: "Europe/Berlin", days: ["sat", "sun"], from: "22:00", to: "06:00" },
    percentage: 12.5,
  };
  assert.deepEqual(parseConditions(all), all);
});

Deno.test("conditionsSchema refuses a text of any length in a time that grows no faster than the text", () => {
  const long = `${"a".repeat(2_000_000)}@@`;
  for (const one of ["sender", "header_from", "recipient_domain", "smtp_account", "subject"]) {
    assert.equal(parseConditions({ [one]: long }), undefined);
    assert.equal(parseConditions({ [one]: "*a".repeat(1_000_000) }), undefined);
  }
  assert.equal(parseConditions({ header: { name: long, matches: long } }), undefined);
  assert.equal(parseConditions({ time: { zone: long, from: long } }), undefined);
});
